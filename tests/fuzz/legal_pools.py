"""Legal calls of pooling, adaptive pooling and unpooling, over one, two and three axes."""

from __future__ import annotations

import math

from tests.fuzz.legal import ALGORITHMS, DTYPES, Draw, array, batch, chance, flag, legal, one_of, optional, sizes
from tests.fuzz.legal_windows import ordered, rank


def _form(draw: Draw, dims: int) -> tuple[bool, bool]:
    """Draw whether channels are last, and whether there is a single image."""
    return dims == 2 and chance(draw, 4), chance(draw, 6)


def _keywords(draw: Draw, last: bool) -> dict[str, str]:
    return ({"layout": "'NHWC'"} if last else {}) | ({"algorithm": repr(one_of(draw, *ALGORITHMS[:-1]))} if chance(draw, 3) else {})


class _Sliding:
    """Windows that slide and fit, over `dims` axes."""

    def __init__(self, draw: Draw, dims: int, dilated: bool) -> None:
        self.kernel = tuple(one_of(draw, 1, 2, 3) for _ in range(dims))
        self.stride = tuple(one_of(draw, 1, 2, 3) for _ in range(dims))
        self.dilation = tuple(one_of(draw, 1, 1, 2) if dilated else 1 for _ in range(dims))
        extent = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        self.padding = tuple(one_of(draw, *range(k // 2 + 1)) for k in self.kernel)
        self.size = tuple(e + one_of(draw, 0, 1, 2, 4) for e in extent)
        self.ceil = draw_ceil = chance(draw, 3)
        count = []
        for n, e, s, p in zip(self.size, extent, self.stride, self.padding, strict=True):
            up = -((e - n - 2 * p) // s) + 1
            count.append((up - 1 if (up - 1) * s >= n + p else up) if draw_ceil else (n + 2 * p - e) // s + 1)
        self.count = tuple(count)

    def arguments(self, draw: Draw, dilated: bool) -> dict[str, str]:
        found = {"kernel_size": sizes(draw, self.kernel), "stride": sizes(draw, self.stride), "padding": sizes(draw, self.padding)}
        return found | ({"dilation": sizes(draw, self.dilation)} if dilated else {}) | {"ceil_mode": repr(self.ceil)}


@legal(*(f"functional.{kind}_pool{d}d{suffix}" for kind in ("max", "avg") for d in (1, 2, 3) for suffix in ("", "_backward")))
def _pool(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    dims, short = rank(name), name.rpartition(".")[2]
    most = short.startswith("max")
    w, (last, single) = _Sliding(draw, dims, most), _form(draw, dims)
    N, C, dtype = batch(draw), one_of(draw, 1, 2, 3), one_of(draw, *DTYPES)
    x, y = (ordered((N, C, *pixels), last)[single:] for pixels in (w.size, w.count))
    if short.endswith("_backward"):
        found = {"grad_output": array(draw, "ints", y, dtype), "input_shape": repr(x)}
        found |= {"indices": f"labels({y}, {math.prod(w.size)})"} if most else {}
    else:
        found = {"input": array(draw, "distinct", x, dtype)} | (optional(draw, return_indices=lambda: flag(draw)) if most else {})
    if not most:
        divisor = {"divisor_override": lambda: repr(one_of(draw, None, 1, 5))} if dims > 1 else {}
        found |= optional(draw, count_include_pad=lambda: flag(draw), **divisor)
    return f"F.{short}(", {**found, **w.arguments(draw, most), **_keywords(draw, last)}


@legal(*(f"functional.adaptive_{kind}_pool{d}d{suffix}" for kind in ("max", "avg") for d in (1, 2, 3) for suffix in ("", "_backward")))
def _adaptive(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    dims, short = rank(name), name.rpartition(".")[2]
    size, (last, single) = tuple(one_of(draw, 1, 2, 3, 5) for _ in range(dims)), _form(draw, dims)
    count = tuple(one_of(draw, 1, 2, 3, 7, None) for _ in range(dims))
    kept = tuple(n if c is None else c for n, c in zip(size, count, strict=True))
    N, C, dtype = batch(draw), one_of(draw, 1, 2, 3), one_of(draw, *DTYPES)
    x, y = (ordered((N, C, *pixels), last)[single:] for pixels in (size, kept))
    most = "max" in short
    if short.endswith("_backward"):
        found = {"grad_output": array(draw, "ints", y, dtype), "input_shape": repr(x)}
        found |= {"indices": f"labels({y}, {math.prod(size)})"} if most else {}
    else:
        found = {"input": array(draw, "distinct", x, dtype)} | (optional(draw, return_indices=lambda: flag(draw)) if most else {})
    return f"F.{short}(", {**found, "output_size": sizes(draw, count), **_keywords(draw, last)}


@legal(*(f"functional.global_{kind}_pool2d{suffix}" for kind in ("max", "avg") for suffix in ("", "_backward")))
def _global(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    short, (last, single) = name.rpartition(".")[2], _form(draw, 2)
    H, W, dtype = one_of(draw, 1, 2, 5), one_of(draw, 1, 3), one_of(draw, *DTYPES)
    N, C = batch(draw), one_of(draw, 1, 3)
    x, y = (ordered((N, C, *pixels), last)[single:] for pixels in ((H, W), (1, 1)))
    if not short.endswith("_backward"):
        found = {"input": array(draw, "distinct", x, dtype)} | (optional(draw, return_indices=lambda: flag(draw)) if "max" in short else {})
    else:
        found = {"grad_output": array(draw, "ints", y, dtype), "input_shape": repr(x)}
        found |= {"indices": f"labels({y}, {H * W})"} if "max" in short else {}
    return f"F.{short}(", {**found, **_keywords(draw, last)}


@legal(*(f"functional.max_unpool{d}d{suffix}" for d in (1, 2, 3) for suffix in ("", "_backward")))
def _unpool(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    dims, short = rank(name), name.rpartition(".")[2]
    kernel = tuple(one_of(draw, 1, 2, 3) for _ in range(dims))
    stride = tuple(one_of(draw, *range(1, k + 1)) for k in kernel)
    pooled = tuple(one_of(draw, 2, 3) for _ in range(dims))
    size = tuple((n - 1) * s + k for n, s, k in zip(pooled, stride, kernel, strict=True))
    given = tuple(n + one_of(draw, 0, s - 1) for n, s in zip(size, stride, strict=True))
    last, single = _form(draw, dims)
    N, C, dtype = one_of(draw, 1, 2), one_of(draw, 1, 3), one_of(draw, *DTYPES)
    named = chance(draw, 2)
    x, y = (ordered((N, C, *pixels), last)[single:] for pixels in (pooled, given if named else size))
    below = math.prod(given if named else size)
    indices = f"places({(N, C, *pooled)}, 2, {below})"
    indices += ".transpose(0, 2, 3, 1)" if last else ""
    found = {"grad_output" if short.endswith("_backward") else "input": array(draw, "ints", y if short.endswith("_backward") else x, dtype)}
    found |= {"indices": f"{indices}[0]" if single else indices, "kernel_size": sizes(draw, kernel), "stride": sizes(draw, stride)}
    found |= {"output_size": repr(given)} if named else {}
    return f"F.{short}(", {**found, "padding": "0", **({"layout": "'NHWC'"} if last else {})}
