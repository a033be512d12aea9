"""What moves values without computing: shapes, slices, joins, conversions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..graph import Node, dtype_of
from .registry import Inputs, Run, axis_of, listed, operator, plain, refuse, require_memory

plain(Identity=lambda x: x)


@operator("Constant")
def constant(node: Node, inputs: Inputs) -> Run:
    """Bind the node's value."""
    name, value = next(iter(node.attributes.items()))
    dtypes = {"value": None, "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if name not in dtypes:
        raise refuse(node, f"a constant by {name!r}")
    array = np.asarray(value, dtypes[name])
    return lambda: array


@operator("ConstantOfShape")
def constant_of_shape(node: Node, inputs: Inputs) -> Run:
    """Bind an array of one value."""
    shape, value = inputs.integers(0), np.asarray(node.get("value", np.zeros(1, np.float32))).reshape(())
    array = np.full(require_memory(node, shape or (), value.dtype), value, value.dtype)
    array.flags.writeable = False
    return lambda _: array


@operator("Shape")
def shape_of(node: Node, inputs: Inputs) -> Run:
    """Bind the shape, or a part of it."""
    sizes = np.array(inputs[0].shape[node.get("start", 0) : node.get("end")], np.int64)
    return lambda _: sizes


@operator("Size")
def size(node: Node, inputs: Inputs) -> Run:
    """Bind the number of elements."""
    count = np.array(inputs[0].size, np.int64)
    return lambda _: count


@operator("Reshape")
def reshape(node: Node, inputs: Inputs) -> Run:
    """Bind the same values in another shape: 0 keeps a size (unless allowzero), -1 is what remains."""
    wanted = listed(node, inputs, 1, "shape") or ()
    sizes = inputs[0].shape
    if not node.get("allowzero", 0):
        wanted = tuple(sizes[i] if size == 0 else size for i, size in enumerate(wanted))
    if -1 in wanted and inputs[0].size == 0:
        rest = math.prod(size for size in wanted if size != -1)
        wanted = tuple((0 if rest else 1) if size == -1 else size for size in wanted)
    return lambda x, *_: x.reshape(wanted)


@operator("Flatten")
def flatten(node: Node, inputs: Inputs) -> Run:
    """Bind a matrix of the axes before and from `axis` on."""
    sizes = inputs[0].shape
    axis = axis_of(node, len(sizes), 1)
    shape = math.prod(sizes[:axis]), math.prod(sizes[axis:])
    return lambda x: x.reshape(shape)


@operator("Transpose")
def transpose(node: Node, inputs: Inputs) -> Run:
    """Bind a view with its axes in another order."""
    order = node.get("perm")
    return lambda x: x.transpose(order)


@operator("Squeeze")
def squeeze(node: Node, inputs: Inputs) -> Run:
    """Bind a view without axes of size 1."""
    axes = listed(node, inputs, 1, "axes")
    return lambda x, *_: x.squeeze(axes)


@operator("Unsqueeze")
def unsqueeze(node: Node, inputs: Inputs) -> Run:
    """Bind a view with new axes of size 1."""
    axes = listed(node, inputs, 1, "axes") or ()
    return lambda x, *_: np.expand_dims(x, axes)


@operator("Concat")
def concat(node: Node, inputs: Inputs) -> Run:
    """Bind arrays one behind the other; they keep a memory format that all of them share."""
    axis = axis_of(node, inputs[0].ndim, 1)
    return lambda *arrays: np.concatenate(arrays, axis)


@operator("Split")
def split(node: Node, inputs: Inputs) -> Run:
    """Bind views of parts: of sizes that are given, or equal ones."""
    axis = axis_of(node, inputs[0].ndim)
    sizes = listed(node, inputs, 1, "split")
    if sizes is None:
        parts, length = int(node.get("num_outputs", len(node.outputs))), inputs[0].shape[axis]
        whole = -(-length // parts)
        sizes = tuple(max(0, min(whole, length - i * whole)) for i in range(parts))
    ends = list(itertools.accumulate(sizes))[:-1]
    return lambda x, *_: tuple(np.split(x, ends, axis))


@operator("Slice")
def slice_(node: Node, inputs: Inputs) -> Run:
    """Bind a view of a range of each axis."""
    if node.version < 10:
        starts, ends, axes, steps = node.get("starts"), node.get("ends"), node.get("axes"), None
    else:
        starts, ends, axes, steps = (inputs.integers(i) for i in range(1, 5))
    ranges = [slice(None)] * inputs[0].ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[i] if axes is not None else i, steps[i] if steps is not None else 1
        size = inputs[0].shape[axis]
        first = min(max(start + size if start < 0 else start, 0), size if step > 0 else size - 1)
        last = min(max(end + size if end < 0 else end, 0 if step > 0 else -1), size)
        ranges[axis] = slice(first, None if last < 0 else last, step)
    places = tuple(ranges)
    return lambda x, *_: x[places]


@operator("Gather")
def gather(node: Node, inputs: Inputs) -> Run:
    """Bind the slices of some indices along an axis; NumPy checks them."""
    axis = axis_of(node, inputs[0].ndim)
    return lambda x, indices: np.take(x, indices, axis)


@operator("GatherElements")
def gather_elements(node: Node, inputs: Inputs) -> Run:
    """Bind single elements along an axis."""
    axis = axis_of(node, inputs[0].ndim)
    return lambda x, indices: np.take_along_axis(x, indices, axis)


@operator("GatherND")
def gather_nd(node: Node, inputs: Inputs) -> Run:
    """Bind slices by tuples of indices, batch by batch."""
    batch = node.get("batch_dims", 0)

    def run(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        grid: tuple[np.ndarray, ...] = np.indices(indices.shape[:batch], sparse=True)
        lead = tuple(place.reshape(place.shape + (1,) * (indices.ndim - 1 - batch)) for place in grid)
        return x[lead + tuple(np.moveaxis(indices, -1, 0))]

    return run


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node, inputs: Inputs) -> Run:
    """Bind a copy with single elements replaced, or combined with others."""
    axis, how = axis_of(node, inputs[0].ndim), node.get("reduction", "none")
    combine: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}

    def run(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        result = x.copy()
        places: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
        places[axis] = indices
        if how == "none":
            result[tuple(places)] = updates
        else:
            combine[how].at(result, tuple(places), updates)
        return result

    return run


@operator("Cast", "CastLike")
def cast(node: Node, inputs: Inputs) -> Run:
    """Bind a conversion to another dtype."""
    dtype = dtype_of(node.get("to")) if node.kind == "Cast" else inputs[1].dtype
    if inputs[0].dtype.kind not in "biuf" or dtype.kind not in "biuf":
        raise refuse(node, f"a conversion from {inputs[0].dtype} to {dtype}")
    return lambda x, *_: x.astype(dtype, copy=False)


@operator("Expand")
def expand(node: Node, inputs: Inputs) -> Run:
    """Bind a broadcast view."""
    shape = require_memory(node, np.broadcast_shapes(inputs[0].shape, inputs.integers(1) or ()), inputs[0].dtype)
    return lambda x, _: np.broadcast_to(x, shape)


@operator("Tile")
def tile(node: Node, inputs: Inputs) -> Run:
    """Bind repetitions of the whole along each axis."""
    if node.version < 6:
        raise refuse(node, "Tile before opset 6")
    repeats = inputs.integers(1) or ()
    require_memory(node, (*inputs[0].shape, *repeats), inputs[0].dtype)  # their product counts
    return lambda x, _: np.tile(x, repeats)


@operator("Pad")
def pad(node: Node, inputs: Inputs) -> Run:
    """Bind a frame around the array: of a value, of the rim, mirrored or periodic; negative widths cut."""
    if node.version < 11:
        widths, axes, value = node.get("pads", node.get("paddings")), None, np.asarray(node.get("value", 0.0))
    else:
        given = inputs.values(2)
        widths, axes, value = inputs.integers(1), inputs.integers(3), np.asarray(0 if given is None else given)
    x, mode = inputs[0], node.get("mode", "constant")
    places = range(x.ndim) if axes is None else [axis % x.ndim for axis in axes]
    before, after = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(places):
        before[axis], after[axis] = widths[i], widths[i + len(widths) // 2]
    cut = tuple(slice(max(0, -b), size - max(0, -a)) for b, a, size in zip(before, after, x.shape, strict=True))
    frame = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
    require_memory(node, [b + size + a for (b, a), size in zip(frame, x.shape, strict=True)], x.dtype)
    options = {"constant_values": value.astype(x.dtype).reshape(())} if mode == "constant" else {}
    return lambda x, *_: np.pad(x[cut], frame, mode=mode, **options)


@operator("DepthToSpace")
def depth_to_space(node: Node, inputs: Inputs) -> Run:
    """Bind channels laid out as blocks of pixels; the block's place is the slowest of the channel's indices, or with CRD the fastest."""
    b = node.get("blocksize")
    n, c, h, w = inputs[0].shape
    inner = c // b**2
    if node.get("mode", "DCR") == "DCR":
        return lambda x: x.reshape(n, b, b, inner, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, inner, h * b, w * b)
    return lambda x: x.reshape(n, inner, b, b, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, inner, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(node: Node, inputs: Inputs) -> Run:
    """Bind blocks of pixels stacked as channels."""
    b = node.get("blocksize")
    n, c, h, w = inputs[0].shape
    order = (0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return lambda x: x.reshape(n, c, h // b, b, w // b, b).transpose(order).reshape(n, c * b * b, h // b, w // b)


@operator("Range")
def range_(node: Node, inputs: Inputs) -> Run:
    """Bind evenly spaced numbers."""
    start, limit, step = (np.asarray(inputs.values(i)).item() for i in range(3))
    count, dtype = max(math.ceil((limit - start) / step), 0), inputs[0].dtype
    require_memory(node, (count,), np.float64)
    array = (start + np.arange(count) * step).astype(dtype)
    return lambda *_: array


@operator("EyeLike")
def eye_like(node: Node, inputs: Inputs) -> Run:
    """Bind ones on a diagonal."""
    dtype = dtype_of(node.get("dtype")) if node.get("dtype") is not None else inputs[0].dtype
    rows, columns = require_memory(node, inputs[0].shape, dtype)
    array = np.eye(rows, columns, node.get("k", 0), dtype)
    return lambda _: array


@operator("OneHot")
def one_hot(node: Node, inputs: Inputs) -> Run:
    """Bind a vector per index that is `on` there and `off` elsewhere."""
    depth = (inputs.integers(1) or (0,))[0]
    axis = axis_of(node, inputs[0].ndim + 1, -1)
    require_memory(node, (*inputs[0].shape, depth), np.float64)
    numbers = np.arange(depth).reshape((depth,) + (1,) * (inputs[0].ndim - axis))

    def run(indices: np.ndarray, _: np.ndarray, values: np.ndarray) -> np.ndarray:
        wrapped = np.where(indices < 0, indices + depth, indices)
        return np.where(np.expand_dims(wrapped, axis) == numbers, values[1], values[0])

    return run


@operator("Trilu")
def trilu(node: Node, inputs: Inputs) -> Run:
    """Bind the upper or lower triangle."""
    k = (inputs.integers(1) or (0,))[0]
    triangle = np.triu if node.get("upper", 1) else np.tril
    return lambda x, *_: triangle(x, k)


@operator("CumSum")
def cumulative_sum(node: Node, inputs: Inputs) -> Run:
    """Bind sums of all that comes before along an axis."""
    axis = (inputs.integers(1) or (0,))[0]
    exclusive, reverse = node.get("exclusive", 0), node.get("reverse", 0)

    def run(x: np.ndarray, _: np.ndarray) -> np.ndarray:
        ordered = np.flip(x, axis) if reverse else x
        sums = np.cumsum(ordered, axis, dtype=x.dtype)
        if exclusive:
            sums = np.roll(sums, 1, axis)
            np.moveaxis(sums, axis, 0)[:1] = 0
        return np.flip(sums, axis) if reverse else sums

    return run


@operator("NonZero")
def non_zero(node: Node, inputs: Inputs) -> Run:
    """Bind the indices of what is not 0; how many there are depends on the values."""
    inputs.values(0)
    return lambda x: np.array(np.nonzero(x), np.int64)


@operator("TopK")
def top_k(node: Node, inputs: Inputs) -> Run:
    """Bind the k largest or smallest values along an axis, and where they were."""
    k = node.get("k") if node.version < 10 else (inputs.integers(1) or (0,))[0]
    axis, largest = axis_of(node, inputs[0].ndim, -1), node.get("largest", 1)

    def run(x: np.ndarray, *_: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if largest:  # of equal values the first one comes first
            order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
        else:
            order = np.argsort(x, axis, kind="stable")
        places = np.take(order, np.arange(k), axis)
        return np.take_along_axis(x, places, axis), places.astype(np.int64, copy=False)

    return run
