"""Resize and Upsample: every axis by itself, as sums of a few taps with weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..graph import Node
from .registry import Inputs, Run, operator, refuse, require_memory

_COORDINATES: dict[str, Callable[[np.ndarray, float, int, float], np.ndarray]] = {
    "half_pixel": lambda i, scale, size, target: (i + 0.5) / scale - 0.5,
    "asymmetric": lambda i, scale, size, target: i / scale,
    "align_corners": lambda i, scale, size, target: i * (size - 1) / (target - 1) if target > 1 else i * 0.0,
    "pytorch_half_pixel": lambda i, scale, size, target: (i + 0.5) / scale - 0.5 if target > 1 else i * 0.0,
    "half_pixel_symmetric": lambda i, scale, size, target: (
        size / 2 * (1 - math.floor(target) / target) + (i + 0.5) / scale - 0.5
    ),
}  # fmt: skip
_ROUNDING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@operator("Upsample")
def upsample(node: Node, inputs: Inputs) -> Run:
    """Bind the older form of Resize, whose coordinates are asymmetric."""
    scales = inputs.values(1) if len(inputs) > 1 else np.asarray(node.get("scales"))
    if scales is None or scales.size != inputs[0].ndim:
        raise ValueError(f"{node}: scales must be one per axis")
    sizes = [math.floor(size * scale) for size, scale in zip(inputs[0].shape, scales, strict=True)]
    mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear"}.get(node.get("mode", "nearest"))
    if mode is None:
        raise refuse(node, f"mode {node.get('mode')!r}")
    like = Node("Resize", node.inputs, node.outputs, {"mode": mode, "nearest_mode": "floor"}, node.version)
    return _bound(like, inputs[0], dict(enumerate(zip(scales.tolist(), sizes, strict=True))), "asymmetric")


@operator("Resize")
def resize(node: Node, inputs: Inputs) -> Run:
    """Bind an interpolation to other sizes, given themselves or by scales."""
    x = inputs[0]
    first = 1 if node.version < 11 else 2
    scales, sizes = inputs.values(first), inputs.integers(first + 1)
    axes = [axis % x.ndim for axis in node.get("axes", range(x.ndim))]
    if sizes is not None and len(sizes) == len(axes):
        policy = node.get("keep_aspect_ratio_policy", "stretch")
        ratios = [size / x.shape[axis] for axis, size in zip(axes, sizes, strict=True)]
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [ratio] * len(axes)
            sizes = tuple(math.floor(ratio * x.shape[axis] + 0.5) for axis in axes)
        wanted = {axis: (ratio, float(size)) for axis, ratio, size in zip(axes, ratios, sizes, strict=True)}
    elif scales is not None and scales.size == len(axes):
        wanted = {axis: (scale, x.shape[axis] * scale) for axis, scale in zip(axes, scales.tolist(), strict=True)}
    else:
        raise ValueError(f"{node}: scales or sizes must be one per axis of {axes}")
    coordinates = node.get("coordinate_transformation_mode", "half_pixel" if node.version >= 11 else "asymmetric")
    return _bound(node, x, wanted, coordinates)


def _bound(node: Node, x: np.ndarray, wanted: dict[int, tuple[float, float]], coordinates: str) -> Run:
    """Return the interpolation to a scale and an unrounded size for each axis."""
    if coordinates not in _COORDINATES or node.get("antialias", 0):
        raise refuse(node, f"coordinate_transformation_mode {coordinates!r}, or antialias")
    require_memory(node, [math.floor(wanted[axis][1]) if axis in wanted else size for axis, size in enumerate(x.shape)], np.float64)
    tables = {}
    for axis, (scale, target) in wanted.items():
        size = x.shape[axis]
        if math.floor(target) != size or scale != 1:
            at = _COORDINATES[coordinates](np.arange(math.floor(target)), scale, size, target)
            tables[axis] = _taps(node, np.asarray(at, np.float64), size)

    def run(x: np.ndarray, *_: np.ndarray) -> np.ndarray:
        dtype = x.dtype
        for axis, (places, weights) in tables.items():
            if weights is None:
                x = np.take(x, places[:, 0], axis)
                continue
            shape = (-1,) + (1,) * (x.ndim - 1 - axis)
            pairs = zip(places.T, weights.T, strict=True)
            x = sum(np.take(x, place, axis) * weight.reshape(shape) for place, weight in pairs)
        return x.astype(dtype, copy=False)

    return run


def _taps(node: Node, at: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the places (outputs, taps) that each output reads on an axis, and their weights (None for 1)."""
    mode = node.get("mode", "nearest")
    if mode == "nearest":
        rounding = _ROUNDING[node.get("nearest_mode", "round_prefer_floor" if node.version >= 11 else "floor")]
        return np.clip(rounding(at).astype(np.int64), 0, size - 1)[:, None], None
    if mode == "linear":
        at = np.clip(at, 0, size - 1)
        offsets = np.arange(2)
    elif mode == "cubic":
        offsets = np.arange(-1, 3)
    else:
        raise refuse(node, f"mode {mode!r}")
    places = np.floor(at).astype(np.int64)[:, None] + offsets
    distance = np.abs(at[:, None] - places)
    weights = np.maximum(0, 1 - distance) if mode == "linear" else _cubic(distance, node.get("cubic_coeff_a", -0.75))
    if node.get("exclude_outside", 0):
        weights = weights * ((places >= 0) & (places < size))
        weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(places, 0, size - 1), weights


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
