"""Poolings of `fastcnn.functional`: values by plain definitions in float64, gradients by differences, forms of arrays, refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil, floor, inf, nan
from typing import Any

import numpy as np
import pytest

from fastcnn import functional as F

Ranges = list[list[range]]  # for every axis, for every window along it, the pixels of the axis in it


# --- The definition -----------------------------------------------------------------------------------------------------


def _sliding(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> list[range]:
    """Return the pixels of every window; the last one begins inside the axis or the padding before it."""
    span, found = dilation * (kernel - 1) + 1, []
    for start in range(-padding, size + (stride if ceil_mode else 0) + padding, stride):
        whole = start + span <= size + padding
        if whole or (ceil_mode and start < size and start - stride + span < size + padding):
            found.append(range(start, start + span, dilation))
    return found


def _adaptive(size: int, windows: int) -> list[range]:
    return [range(floor(Fraction(i * size, windows)), ceil(Fraction((i + 1) * size, windows))) for i in range(windows)]


def _pixels(windows: tuple[range, ...], size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the pixels of a window that lie in the image, in row-major order."""
    return itertools.product(*[[i for i in window if 0 <= i < length] for window, length in zip(windows, size, strict=True)])


def _maxima(x: np.ndarray, axes: Ranges) -> tuple[np.ndarray, np.ndarray]:
    shape = (*x.shape[:2], *map(len, axes))
    y, indices = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    for n, c, *place in np.ndindex(*shape):
        window = tuple(windows[i] for windows, i in zip(axes, place, strict=True))
        best, where = (-inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min), -1
        for pixel in _pixels(window, x.shape[2:]):
            value = x[(n, c, *pixel)]
            if where < 0 or value > best or value != value:
                best, where = value, int(np.ravel_multi_index(pixel, x.shape[2:]))
        y[(n, c, *place)], indices[(n, c, *place)] = best, where
    return y, indices


def _averages(x: np.ndarray, axes: Ranges, padding: tuple[int, ...], include: bool, divisor: int | None) -> np.ndarray:
    y = np.empty((*x.shape[:2], *map(len, axes)))
    for place in np.ndindex(*y.shape[2:]):
        window = tuple(windows[i] for windows, i in zip(axes, place, strict=True))
        inside = list(_pixels(window, x.shape[2:]))
        padded = np.prod([sum(i < n + p for i in w) for w, n, p in zip(window, x.shape[2:], padding, strict=True)])
        total = sum(x[(slice(None), slice(None), *pixel)].astype(np.float64) for pixel in inside)
        y[(slice(None), slice(None), *place)] = total / (divisor or (padded if include else len(inside)))
    return y


def _integers(*shape: int) -> np.ndarray:
    """Return values with many ties."""
    return np.random.default_rng(sum(shape)).integers(-3, 4, shape).astype(np.float64)


SHAPES = {1: (2, 9, 11), 2: (2, 9, 7, 8), 3: (2, 3, 5, 6, 7)}
WINDOWS = {
    "halving": (2, None, 0, 1, False),
    "overlapping": (3, 2, 1, 1, False),
    "ceil": (3, 2, 1, 1, True),
    "gapped": (2, 4, 1, 1, True),
    "dilated": (2, 1, 1, 2, False),
}
RANKS = (1, 2, 3)


def _axes(rank: int, window: tuple[Any, ...]) -> Ranges:
    kernel, stride, padding, dilation, ceil_mode = window
    return [_sliding(size, kernel, stride or kernel, padding, dilation, ceil_mode) for size in SHAPES[rank][2:]]


# --- Values -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint16])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("rank", RANKS)
def test_maxima_and_where_they_are(rank: int, window: tuple[Any, ...], dtype: type) -> None:
    x = np.abs(_integers(*SHAPES[rank])).astype(dtype)
    if x.dtype.kind == "f":
        x.flat[::7], x.flat[3::11], x.flat[5::13] = nan, -inf, inf
    forward = getattr(F, f"max_pool{rank}d")
    y, indices = forward(x, *window, return_indices=True)
    want, places = _maxima(x, _axes(rank, window))
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(forward(x, *window), want)
    assert (y.dtype, indices.dtype) == (dtype, np.int64)


@pytest.mark.parametrize(("include", "divisor"), [(True, None), (False, None), (True, 3), (False, -2)])
@pytest.mark.parametrize("window", [WINDOWS[name] for name in WINDOWS if name != "dilated"])
@pytest.mark.parametrize("rank", RANKS)
def test_averages(rank: int, window: tuple[Any, ...], include: bool, divisor: int | None) -> None:
    x = np.random.default_rng(1).standard_normal(SHAPES[rank])
    kernel, stride, padding, _, ceil_mode = window
    more = (divisor,) if rank > 1 else ()
    want = _averages(x, _axes(rank, window), (padding,) * rank, include, divisor if more else None)
    forward = getattr(F, f"avg_pool{rank}d")
    for dtype, limit in ((np.float32, 1e-6), (np.float64, 1e-14)):
        y = forward(x.astype(dtype), kernel, stride, padding, ceil_mode, include, *more)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, want, rtol=0, atol=limit * np.abs(want).max())


@pytest.mark.parametrize("output", [1, 2, 5, 13, None])
@pytest.mark.parametrize("rank", RANKS)
def test_adaptive_windows_share_every_axis(rank: int, output: int | None) -> None:
    x = _integers(*SHAPES[rank])
    axes = [_adaptive(size, output or size) for size in x.shape[2:]]
    y = getattr(F, f"adaptive_avg_pool{rank}d")(x, (output,) * rank)
    np.testing.assert_allclose(y, _averages(x, axes, (0,) * rank, True, None), rtol=1e-14, atol=1e-14)
    maxima = getattr(F, f"adaptive_max_pool{rank}d")
    for found, want in zip(maxima(x, (output,) * rank, True), _maxima(x, axes), strict=True):
        np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(maxima(x, (output,) * rank), _maxima(x, axes)[0])


def test_adaptive_sizes_of_their_own_and_none_at_all() -> None:
    x = _integers(1, 2, 4, 6, 5)
    assert F.adaptive_avg_pool3d(x, (None, 2, 7)).shape == (1, 2, 4, 2, 7)
    assert F.adaptive_max_pool2d(x[0], [3, None]).shape == (2, 4, 3, 5)
    assert F.adaptive_avg_pool2d(x[0], (0, 2)).shape == (2, 4, 0, 2)
    y, indices = F.adaptive_max_pool3d(x, 0, True)
    assert y.shape == indices.shape == (1, 2, 0, 0, 0)
    assert not F.adaptive_max_pool3d_backward(y, indices, x.shape, 0).any()
    assert not F.adaptive_avg_pool3d_backward(y, x.shape, 0).any()
    assert not F.adaptive_avg_pool2d_backward(np.ones((2, 4, 0, 2)), x[0].shape, (0, 2)).any()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_global_poolings_are_means_and_maxima(channels: int, layout: str) -> None:
    x = np.random.default_rng(2).standard_normal((3, channels, 7, 9))
    image = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    axes = (2, 3) if layout == "NCHW" else (1, 2)
    y = F.global_avg_pool2d(image, layout=layout)
    np.testing.assert_allclose(y, image.mean(axis=axes, keepdims=True), rtol=1e-13, atol=1e-15)
    dx = F.global_avg_pool2d_backward(y, image.shape, layout=layout)
    np.testing.assert_allclose(dx, np.broadcast_to(y / 63, image.shape), rtol=1e-14)
    best, indices = F.global_max_pool2d(image, True, layout=layout)
    np.testing.assert_array_equal(best, image.max(axis=axes, keepdims=True))
    np.testing.assert_array_equal(F.global_max_pool2d(image, layout=layout), best)
    back = F.global_max_pool2d_backward(best, indices, image.shape, layout=layout)
    np.testing.assert_array_equal(back, np.where(image == best, image, 0))


def test_the_average_of_a_constant_is_that_constant_but_for_rounding() -> None:
    for channels in (1, 3, 16, 70):
        x = np.full((1, channels, 7, 7), 0.1, np.float32)
        last = np.full((1, 7, 7, channels), 0.1, np.float32)
        for y in (
            F.avg_pool2d(x, 4),
            F.avg_pool2d(last, 3, 2, 1, layout="NHWC", count_include_pad=False),
            F.adaptive_avg_pool2d(x, (2, 4)),
        ):
            np.testing.assert_allclose(y, np.float32(0.1), rtol=2e-7)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_infinities_and_nan_reach_their_windows_only(layout: str) -> None:
    for channels in (2, 20):
        x = np.ones((1, channels, 6, 6), np.float32)
        x[0, :, 0, 0], x[0, :, 5, 5], x[0, :, 0, 5] = inf, nan, -inf
        image = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        y = F.avg_pool2d(image, 2, layout=layout)
        y = y if layout == "NCHW" else y.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(y[0, 1], [[inf, 1, -inf], [1, 1, 1], [1, 1, nan]])


# --- Gradients ----------------------------------------------------------------------------------------------------------


def _differences(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return the gradient of sum(function(x) * dy) by central differences."""
    found, eps = np.empty(x.shape), 1e-3
    for index in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[index] = eps
        found[index] = ((function(x + step) - function(x - step)) * dy).sum() / (2 * eps)
    return found


def _distinct(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).permutation(int(np.prod(shape))).reshape(shape).astype(np.float64)


SMALL = {1: (2, 2, 7), 2: (1, 2, 5, 6), 3: (1, 2, 3, 4, 5)}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("rank", RANKS)
def test_gradients_of_maxima_and_averages(rank: int, window: tuple[Any, ...]) -> None:
    x, rng = _distinct(*SMALL[rank]), np.random.default_rng(4)
    forward, backward = getattr(F, f"max_pool{rank}d"), getattr(F, f"max_pool{rank}d_backward")
    y, indices = forward(x, *window, return_indices=True)
    dy = rng.standard_normal(y.shape)
    want = _differences(lambda x: forward(x, *window), x, dy)
    np.testing.assert_allclose(backward(dy, indices, x.shape, *window), want, rtol=0, atol=1e-9)
    if window[3] == 1:
        forward, backward = getattr(F, f"avg_pool{rank}d"), getattr(F, f"avg_pool{rank}d_backward")
        for include in (False, True):
            options = (*window[:3], window[4], include)
            want = _differences(lambda x, options=options: forward(x, *options), x, dy)
            np.testing.assert_allclose(backward(dy, x.shape, *options), want, rtol=0, atol=1e-9)


@pytest.mark.parametrize("output", [1, 2, 7])
@pytest.mark.parametrize("rank", RANKS)
def test_gradients_of_adaptive_pooling(rank: int, output: int) -> None:
    x = _distinct(*SMALL[rank])
    y, indices = getattr(F, f"adaptive_max_pool{rank}d")(x, output, True)
    dy = np.random.default_rng(5).standard_normal(y.shape)
    want = _differences(lambda x: getattr(F, f"adaptive_max_pool{rank}d")(x, output), x, dy)
    np.testing.assert_allclose(getattr(F, f"adaptive_max_pool{rank}d_backward")(dy, indices, x.shape, output), want, rtol=0, atol=1e-9)
    want = _differences(lambda x: getattr(F, f"adaptive_avg_pool{rank}d")(x, output), x, dy)
    np.testing.assert_allclose(getattr(F, f"adaptive_avg_pool{rank}d_backward")(dy, x.shape, output), want, rtol=0, atol=1e-9)


# --- Unpooling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", RANKS)
def test_unpooling_puts_maxima_back(rank: int) -> None:
    x = _distinct(*SMALL[rank]) + 1
    y, indices = getattr(F, f"max_pool{rank}d")(x, 2, return_indices=True)
    forward, backward = getattr(F, f"max_unpool{rank}d"), getattr(F, f"max_unpool{rank}d_backward")
    back = forward(y, indices, 2, output_size=x.shape)
    np.testing.assert_array_equal(back, np.where(np.isin(x, y), x, 0))
    np.testing.assert_array_equal(forward(y, indices, 2, output_size=x.shape[2:]), back)
    dy = np.random.default_rng(6).standard_normal(x.shape)
    np.testing.assert_array_equal(backward(dy, indices, 2, output_size=x.shape)[y > 0], dy[np.isin(x, y)][_order(x, y)])
    single = forward(y[0], indices[0], 2, output_size=x.shape[2:])
    np.testing.assert_array_equal(single, back[0])
    assert forward(y[:0], indices[:0], 2, output_size=x.shape[2:]).shape == (0, *x.shape[1:])


def _order(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return where the values of y are among those that x shares with it."""
    return np.array([np.flatnonzero(x[np.isin(x, y)] == value)[0] for value in y.ravel()])


def test_unpooling_in_channels_last_and_its_default_size() -> None:
    x = _distinct(2, 3, 6, 4)
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    last = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (y, indices)]
    want = F.max_unpool2d(y, indices, 2)
    assert want.shape == x.shape
    got = F.max_unpool2d(*last, 2, layout="NHWC")
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), want)
    back = F.max_unpool2d_backward(got, last[1], 2, layout="NHWC")
    np.testing.assert_array_equal(back, last[0])


def test_of_values_with_one_index_the_last_stays() -> None:
    x, indices = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[0, 4, 0]]])
    np.testing.assert_array_equal(F.max_unpool1d(x, indices, 2), [[[3, 0, 0, 0, 2, 0]]])
    np.testing.assert_array_equal(F.max_unpool1d_backward(np.arange(6.0).reshape(1, 1, 6), indices, 2), [[[0, 4, 0]]])


# --- Forms --------------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[np.ndarray], Any]] = {
    **{f"max_pool{r}d": lambda x, r=r: getattr(F, f"max_pool{r}d")(x, 2, 1, return_indices=True) for r in RANKS},
    **{f"avg_pool{r}d": lambda x, r=r: getattr(F, f"avg_pool{r}d")(x, 2, 1, 1) for r in RANKS},
    **{f"adaptive_avg_pool{r}d": lambda x, r=r: getattr(F, f"adaptive_avg_pool{r}d")(x, 2) for r in RANKS},
    **{f"adaptive_max_pool{r}d": lambda x, r=r: getattr(F, f"adaptive_max_pool{r}d")(x, 2, True) for r in RANKS},
}
BACKWARD: dict[str, Callable[[np.ndarray, Any, tuple[int, ...]], np.ndarray]] = {
    **{f"max_pool{r}d": lambda dy, i, s, r=r: getattr(F, f"max_pool{r}d_backward")(dy, i, s, 2, 1) for r in RANKS},
    **{f"avg_pool{r}d": lambda dy, i, s, r=r: getattr(F, f"avg_pool{r}d_backward")(dy, s, 2, 1, 1) for r in RANKS},
    **{f"adaptive_avg_pool{r}d": lambda dy, i, s, r=r: getattr(F, f"adaptive_avg_pool{r}d_backward")(dy, s, 2) for r in RANKS},
    **{f"adaptive_max_pool{r}d": lambda dy, i, s, r=r: getattr(F, f"adaptive_max_pool{r}d_backward")(dy, i, s, 2) for r in RANKS},
}


def _results(found: Any) -> tuple[np.ndarray, ...]:
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("name", CALLS)
def test_forms_of_arrays(name: str) -> None:
    """Strided, transposed, read-only and swapped arrays, single images and empty batches; forward and backward."""
    rank = int(name[-2])
    x = _integers(*SMALL[rank])
    y, *indices = _results(CALLS[name](x))
    dy = _integers(*y.shape)
    dx = BACKWARD[name](dy, *(indices or [None]), x.shape)

    def forms(a: np.ndarray) -> Iterator[np.ndarray]:
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), 77, a.dtype)
        wide[..., ::2] = a
        frozen = a.copy()
        frozen.flags.writeable = False
        yield from (wide[..., ::2], np.asfortranarray(a), a[::-1].copy()[::-1], frozen, a.astype(a.dtype.newbyteorder()))

    for form in forms(x):
        for got, want in zip(_results(CALLS[name](form)), (y, *indices), strict=True):
            np.testing.assert_array_equal(got, want)
            assert got.flags.c_contiguous
            assert got.dtype == want.dtype
    for form in forms(dy):
        np.testing.assert_array_equal(BACKWARD[name](form, *(indices or [None]), x.shape), dx)
    for part, want in zip(_results(CALLS[name](x[0])), (y, *indices), strict=True):
        np.testing.assert_array_equal(part, want[0])
    single = [part[0] for part in indices] or [None]
    np.testing.assert_array_equal(BACKWARD[name](dy[0], *single, x.shape[1:]), dx[0])
    none = _results(CALLS[name](x[:0]))
    assert [part.shape for part in none] == [(0, *y.shape[1:])] * len(none)
    assert BACKWARD[name](none[0], *(none[1:] or [None]), (0, *x.shape[1:])).shape == (0, *x.shape[1:])


# --- Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arrays_are_refused(name: str) -> None:
    rank = int(name[-2])
    function, x = getattr(F, name), np.ones(SMALL[rank])
    for wrong in (x.tolist(), None, 1.0, np.ma.masked_array(x), x.astype(complex), x.astype(bool), x.astype(np.float16)):
        with pytest.raises(TypeError, match=rf"^{name}: input must "):
            function(wrong, 2)
    for wrong in (x[None, None], x[0, 0], np.ones(())):
        with pytest.raises(ValueError, match=rf"^{name}: .*input must be \(N, C, .* or \(C, .*; got shape"):
            function(wrong, 2)
    for axis in range(1, rank + 2):
        with pytest.raises(ValueError, match=rf"^{name}: .*no size but the batch's may be 0"):
            function(np.ones([0 if i == axis else n for i, n in enumerate(x.shape)]), 1)
    if "avg" in name:
        with pytest.raises(TypeError, match="input must have dtype float32 or float64; got int64"):
            function(x.astype(int), 2)
    backward, y = getattr(F, f"{name}_backward"), _results(function(x, 2))[0]
    dtype = pytest.raises(TypeError, match=f"^{name}_backward: ")
    shape = pytest.raises(ValueError, match=f"^{name}_backward: grad_output must have shape")
    if "avg" in name:
        with dtype:
            backward(y.astype(int), x.shape, 2)
        with shape:
            backward(y[..., 1:], x.shape, 2)
        return
    indices = np.zeros(y.shape, np.int64)
    with dtype:
        backward(y, indices.astype(np.int32), x.shape, 2)
    with shape:
        backward(y[..., 1:], indices[..., 1:], x.shape, 2)
    with pytest.raises(ValueError, match=f"^{name}_backward: indices must have shape"):
        backward(y, indices[..., 1:], x.shape, 2)
    for wrong in (-2, int(np.prod(x.shape[2:])), 2**62):
        indices.flat[-1] = wrong
        with pytest.raises(ValueError, match=rf"^{name}_backward: indices must be between -1 and .* got "):
            backward(y, indices, x.shape, 2)


WRONG_WINDOWS = [
    ({"kernel_size": 0}, ValueError, "kernel_size must be greater than zero, but got 0"),
    ({"kernel_size": ()}, ValueError, "kernel_size must be an int or a"),
    ({"kernel_size": 2.0}, TypeError, "kernel_size must be an int; got float"),
    ({"kernel_size": (1, 1, 1, 1)}, ValueError, "kernel_size must be an int or a"),
    ({"kernel_size": 2, "stride": 0}, ValueError, "stride must be greater than zero, but got 0"),
    ({"kernel_size": 2, "stride": True}, TypeError, "stride must be an int; got bool"),
    ({"kernel_size": 2, "padding": -1}, ValueError, "pad must be non-negative"),
    ({"kernel_size": 2, "padding": 2}, ValueError, "pad should be at most half of effective kernel size"),
    ({"kernel_size": 2, "padding": "same"}, TypeError, "padding must be an int; got str"),
    ({"kernel_size": 2**31}, ValueError, "kernel_size must be between 1 and 2147483647"),
    ({"kernel_size": 9}, ValueError, "Output size is too small"),
    ({"kernel_size": 2, "ceil_mode": 1}, TypeError, "ceil_mode must be a bool"),
    ({"kernel_size": 2, "algorithm": "fast"}, ValueError, "algorithm must be 'auto' or one of"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG_WINDOWS)
@pytest.mark.parametrize("name", [name for name in CALLS if "adaptive" not in name])
def test_wrong_windows_are_refused(name: str, arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^{name}: .*{message}"):
        getattr(F, name)(np.ones(SMALL[int(name[-2])]), **arguments)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_padding_is_at_most_half_of_the_kernel_whatever_its_dilation(rank: int) -> None:
    x, call = np.ones(SMALL[rank]), getattr(F, f"max_pool{rank}d")
    assert call(x, 2, 1, 1, 2).size
    for dilation in (2, 3):
        with pytest.raises(
            ValueError, match="pad should be smaller than or equal to half of kernel size, whatever the dilation, but got pad=2"
        ):
            call(x, 3, 1, 2, dilation)


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [(-1, ValueError, "elements of output_size must be greater than or equal to 0"), (1.5, TypeError, "output_size must be an int"),
     ((), ValueError, "output_size"), ((1,) * 4, ValueError, "output_size"), (True, TypeError, "output_size must be an int"),
     ("1", TypeError, "output_size must be an int"), (2**31, ValueError, "output_size must be between 0 and")],
)  # fmt: skip
@pytest.mark.parametrize("name", [name for name in CALLS if "adaptive" in name])
def test_wrong_sizes_are_refused(name: str, output: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^{name}: .*{message}"):
        getattr(F, name)(np.ones(SMALL[int(name[-2])]), output)


@pytest.mark.parametrize("rank", RANKS)
def test_unpooling_refuses_what_lies_outside(rank: int) -> None:
    x, forward, backward = np.ones(SMALL[rank]), getattr(F, f"max_unpool{rank}d"), getattr(F, f"max_unpool{rank}d_backward")
    indices, outside = np.zeros(x.shape, np.int64), int(np.prod([2 * size for size in x.shape[2:]]))
    for wrong in (-1, outside, 2**62, -(2**63)):
        indices.flat[-1] = wrong
        with pytest.raises(ValueError, match=r"Found an invalid max index: -?[0-9]+; indices must be between 0 and"):
            forward(x, indices, 2)
        with pytest.raises(ValueError, match="Found an invalid max index"):
            backward(np.ones((*x.shape[:2], *[2 * size for size in x.shape[2:]])), indices, 2)
    indices[...] = 0
    for size in ((1,) * rank, (100,) * rank, (4,) * (rank + 1), 5, [8] * (rank + 3)):
        with pytest.raises(ValueError, match=r"output_size"):
            forward(x, indices, 2, output_size=size)
    with pytest.raises(ValueError, match="Expected shape of indices to be same as that of the input tensor"):
        forward(x, indices[..., 1:], 2)
    with pytest.raises(TypeError, match="indices must have dtype int64; got int32"):
        forward(x, indices.astype(np.int32), 2)
    with pytest.raises(ValueError, match="grad_output must have shape"):
        backward(x, indices, 2)
    with pytest.raises(ValueError, match="this machine has"):
        forward(x, indices, 2**31 - 1, 2**31 - 1)
