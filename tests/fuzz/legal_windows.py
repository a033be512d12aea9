"""Legal calls of convolutions, their gradients, im2col and col2im."""

from __future__ import annotations

import math
from typing import Any

from tests._strategies import Window, channels, windows
from tests.fuzz.legal import ALGORITHMS, DTYPES, Draw, array, batch, chance, flag, legal, one_of, optional, sizes


def rank(name: str) -> int:
    """Return the number of axes of pixels: the digit in a name."""
    return int(next(letter for letter in name if letter.isdigit()))


def outputs(window: Window) -> tuple[int, ...]:
    """Return how many windows there are along every axis."""
    each = zip(window.size, window.kernel, window.stride, window.dilation, window.sides, strict=True)
    return tuple((n + sum(sides) - d * (k - 1) - 1) // s + 1 for n, k, s, d, sides in each)


def moving(draw: Draw, window: Window) -> dict[str, str]:
    """Return stride, padding and dilation."""
    found = {"stride": sizes(draw, window.stride), "padding": repr(window.padding), "dilation": sizes(draw, window.dilation)}
    return {key: value for key, value in found.items() if value not in ("1", "0") or draw_given(draw)}


def draw_given(draw: Draw) -> bool:
    """Draw whether a default is written out."""
    return chance(draw, 2)


def options(draw: Draw, precision: bool = True) -> dict[str, str]:
    """Draw the keywords that say how to compute."""
    found = {"algorithm": repr(one_of(draw, *ALGORITHMS))} if chance(draw, 3) else {}
    return found | ({"precision": repr(one_of(draw, "highest", "high", "medium"))} if precision and chance(draw, 3) else {})


def ordered(shape: tuple[int, ...], last: bool) -> tuple[int, ...]:
    """Return the shape of images, channels last where asked for."""
    return (*shape[:-3], *shape[-2:], shape[-3]) if last else shape


class _Convolution:
    """A convolution that fits: shapes as a caller gives them."""

    def __init__(self, draw: Draw, dims: int, layouts: bool) -> None:
        self.window = draw(windows(dims, largest=5, kernel=3))
        self.C, self.K, self.groups = draw(channels(3))
        self.N, self.dtype = batch(draw), one_of(draw, *DTYPES)
        self.last = layouts and chance(draw, 4)
        self.weight = (self.K, self.C // self.groups, *self.window.kernel)
        single = chance(draw, 6)
        self.x = ordered((self.N, self.C, *self.window.size), self.last)[single:]
        self.y = ordered((self.N, self.K, *outputs(self.window)), self.last)[single:]

    def arguments(self, draw: Draw) -> dict[str, str]:
        found = moving(draw, self.window)
        found |= {"groups": repr(self.groups)} if self.groups > 1 or chance(draw, 3) else {}
        return found | ({"layout": "'NHWC'"} if self.last else {}) | options(draw)


_CONVOLUTIONS = [f"functional.conv{d}d{suffix}" for d in (1, 2, 3) for suffix in ("", "_input", "_weight", "_backward")]


@legal(*_CONVOLUTIONS, "conv2d_relu", "conv2d_relu_backward")
def _convolution(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    short = name.rpartition(".")[2]
    c = _Convolution(draw, rank(short), "2d" in short)
    x, w = array(draw, "ints", c.x, c.dtype), array(draw, "ints", c.weight, c.dtype)
    dy, bias = array(draw, "ints", c.y, c.dtype), array(draw, "ints", (c.K,), c.dtype)
    if short.endswith("_input"):
        found = {"input_size": repr(c.x), "weight": w, "grad_output": dy}
    elif short.endswith("_weight"):
        found = {"input": x, "weight_size": repr(c.weight), "grad_output": dy}
    elif short.endswith("_backward"):
        found = {"grad_output": dy, "input": x, "weight": w}
        if short.startswith("conv2d_relu"):
            found |= {"output": array(draw, "ints", c.y, c.dtype)}
            found |= optional(draw, input_gradient=lambda: flag(draw), weight_gradient=lambda: flag(draw))
    else:
        found = {"input": x, "weight": w, **optional(draw, bias=lambda: bias)}
    opening = f"{'fastcnn' if '.' not in name else 'F'}.{short}("
    return opening, {**found, **c.arguments(draw)}


@legal("conv2d_relu_max_pool2d", "conv2d_relu_max_pool2d_backward")
def _fused(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    c = _Convolution(draw, 2, True)
    inside = outputs(c.window)
    kernel = tuple(one_of(draw, *range(1, min(3, size) + 1)) for size in inside)
    stride = tuple(one_of(draw, 1, 2) for _ in inside)
    pooled = tuple((n - k) // s + 1 for n, k, s in zip(inside, kernel, stride, strict=True))
    single = len(c.x) == 3
    y = ordered((c.N, c.K, *pooled), c.last)[single:]
    found = {"input": array(draw, "ints", c.x, c.dtype), "weight": array(draw, "ints", c.weight, c.dtype)}
    if name.endswith("_backward"):
        found |= {"grad_output": array(draw, "ints", y, c.dtype), "output": array(draw, "ints", y, c.dtype)}
        found |= {"winners": f"labels({y}, {math.prod(kernel)}, 'u1')"}
        found |= optional(draw, input_gradient=lambda: flag(draw), weight_gradient=lambda: flag(draw))
    else:
        found |= optional(draw, bias=lambda: array(draw, "ints", (c.K,), c.dtype), return_winners=lambda: flag(draw))
    pool = {"pool_kernel": sizes(draw, kernel), "pool_stride": sizes(draw, stride), "pool_padding": "0", "pool_ceil_mode": "False"}
    return f"fastcnn.{name}(", {**found, **pool, **c.arguments(draw)}


@legal("prepare_conv2d")
def _prepared(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    c = _Convolution(draw, 2, True)
    found = {"input": array(draw, "ints", c.x, c.dtype), "weight": array(draw, "ints", c.weight, c.dtype)}
    found |= optional(draw, bias=lambda: array(draw, "ints", (c.K,), c.dtype), residual=lambda: array(draw, "ints", c.y, c.dtype))
    found |= {one_of(draw, "relu", "relu6"): flag(draw)} if chance(draw, 2) else {}
    return "prepared(fastcnn.prepare_conv2d, ", {**found, **c.arguments(draw)}


@legal(*(f"functional.conv_transpose{d}d{suffix}" for d in (1, 2, 3) for suffix in ("", "_backward")))
def _transposed(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    dims = rank(name)
    C, K, groups = draw(channels(3))
    N, dtype = batch(draw), one_of(draw, *DTYPES)
    each: list[dict[str, int]] = []
    for _ in range(dims):
        k, s, d = one_of(draw, 1, 2, 3), one_of(draw, 1, 2, 3), one_of(draw, 1, 1, 2)
        extra, n = one_of(draw, *range(max(s, d))), one_of(draw, 1, 2, 4)
        full = (n - 1) * s + d * (k - 1) + 1 + extra
        p = one_of(draw, *[p for p in (0, 1, 2) if full - 2 * p > 0])
        each.append({"kernel": k, "stride": s, "dilation": d, "output_padding": extra, "size": n, "padding": p, "full": full - 2 * p})
    of = {key: tuple(axis[key] for axis in each) for key in each[0]}
    single = chance(draw, 6)
    x, y = (N, C, *of["size"])[single:], (N, K, *of["full"])[single:]
    found = {"input": array(draw, "ints", x, dtype), "weight": array(draw, "ints", (C, K // groups, *of["kernel"]), dtype)}
    if name.endswith("_backward"):
        found |= {"grad_output": array(draw, "ints", y, dtype)}
    else:
        found |= optional(draw, bias=lambda: array(draw, "ints", (K,), dtype))
    moved = {key: sizes(draw, of[key]) for key in ("stride", "padding", "output_padding", "dilation")}
    return f"F.{name.rpartition('.')[2]}(", {**found, **moved, "groups": repr(groups), **options(draw)}


@legal(*(f"functional.{name}{suffix}" for name in ("im2col", "col2im") for suffix in ("", "_backward")))
def _columns(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    w = draw(windows(2, largest=5, kernel=3))
    N, C, dtype, single = batch(draw), one_of(draw, 1, 2, 3), one_of(draw, *DTYPES), chance(draw, 6)
    image = (N, C, *w.size)[single:]
    columns = (N, C * math.prod(w.kernel), math.prod(outputs(w)))[single:]
    short = name.rpartition(".")[2]
    arrays: dict[str, Any] = {
        "im2col": {"input": array(draw, "ints", image, dtype)},
        "im2col_backward": {"grad_output": array(draw, "ints", columns, dtype), "input_shape": repr(image)},
        "col2im": {"input": array(draw, "ints", columns, dtype), "output_size": repr(w.size)},
        "col2im_backward": {"grad_output": array(draw, "ints", image, dtype), "output_size": repr(w.size)},
    }
    return f"F.{short}(", {**arrays[short], "kernel_size": sizes(draw, w.kernel), **moving(draw, w), **options(draw, precision=False)}


@legal(*(f"adapters.columns.{name}{suffix}" for name in ("im2col", "col2im") for suffix in ("", "_indices")))
def _course_columns(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    N, C, n, k = one_of(draw, 1, 2), one_of(draw, 1, 3), one_of(draw, 3, 4, 5), one_of(draw, 1, 2, 3)
    stride, pad, short = one_of(draw, 1, 2), one_of(draw, 0, 1), name.rpartition(".")[2]
    wins = (n + 2 * pad - k) // stride + 1
    rows, columns = N * wins * wins, C * k * k
    book = not short.endswith("indices")
    windows_ = {("filter_h" if book else "field_height"): repr(k), ("filter_w" if book else "field_width"): repr(k)}
    moved = {"stride": repr(stride), ("pad" if book else "padding"): repr(pad)}
    if short.startswith("im2col"):
        arrays = {"input_data" if book else "X": array(draw, "ints", (N, C, n, n), "f4")}
    else:
        shape = (rows, columns) if book else (columns, rows)
        arrays = {"col" if book else "cols": array(draw, "ints", shape, "f4"), "input_shape" if book else "x_shape": repr((N, C, n, n))}
    return f"columns.{short}(", {**arrays, **windows_, **moved}
