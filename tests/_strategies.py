"""Hypothesis strategies: any legal window over any number of axes, and arrays in any form, for tests of convolutions and pools."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st


class Window(NamedTuple):
    """A window that fits: sizes of the input, its own, and how it moves, as arguments and as numbers for each axis."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    sides: tuple[tuple[int, int], ...]  # what the padding comes to
    padding: Any  # as an argument

    @property
    def arguments(self) -> dict[str, Any]:
        """Stride, padding and dilation as arguments."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}


@st.composite
def windows(draw: st.DrawFn, dims: int, largest: int = 9, kernel: int = 4, words: bool = True) -> Window:
    """Draw a window over `dims` axes: kernels up to `kernel`, inputs up to `largest` beyond what the window spans.

    The padding is a number, a number per axis, (before, after) per axis, or, with `words`, "same" or "valid".
    """
    each = st.tuples
    kernels = draw(each(*[st.integers(1, kernel)] * dims))
    strides = draw(each(*[st.integers(1, 4)] * dims))
    dilations = draw(each(*[st.sampled_from((1, 1, 2, 3))] * dims))
    extents = [d * (k - 1) + 1 for k, d in zip(kernels, dilations, strict=True)]
    kind = draw(st.sampled_from(("number", "numbers", "sides", *(("same", "valid") if words else ()))))
    if kind == "same":
        sizes = draw(each(*[st.integers(1, largest)] * dims))
        totals = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(sizes, strides, extents, strict=True)]
        sides = tuple((total // 2, total - total // 2) for total in totals)
        return Window(sizes, kernels, strides, dilations, sides, kind)
    number = draw(st.integers(0, 3))
    padding: Any = {"number": number, "valid": "valid"}.get(kind)
    sides = ((number if kind == "number" else 0,) * 2,) * dims
    if kind == "numbers":
        padding = draw(each(*[st.integers(0, 3)] * dims))
        sides = tuple((n, n) for n in padding)
    elif kind == "sides":
        padding = sides = draw(each(*[each(st.integers(0, 4), st.integers(0, 4))] * dims))
    least = [max(1, extent - sum(side)) for extent, side in zip(extents, sides, strict=True)]
    sizes = draw(each(*[st.integers(n, n + largest - 1) for n in least]))
    return Window(sizes, kernels, strides, dilations, sides, padding)


@st.composite
def channels(draw: st.DrawFn, largest: int = 5) -> tuple[int, int, int]:
    """Draw (C, K, groups)."""
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    return groups * draw(st.integers(1, largest)), groups * draw(st.integers(1, largest)), groups


dtypes = st.sampled_from((np.float32, np.float64))
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, dtype: Any, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return random arrays of these shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _stepped(a: np.ndarray) -> np.ndarray:
    spacious = np.full([2 * size + 1 for size in a.shape], 77, a.dtype)
    view = spacious[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


FORMS = {
    "contiguous": np.ascontiguousarray,
    "channels last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "fortran": np.asfortranarray,
    "stepped": _stepped,
    "reversed": lambda a: np.flip(np.flip(a).copy()),
}
forms = st.sampled_from(sorted(FORMS)).map(FORMS.__getitem__)
