"""Any legal pooling: the same results in every layout, dtype and variant, and gradients that are those of the values."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcnn import functional as F

FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
LIMITS = {np.float32: 1e-5, np.float64: 1e-13}


@st.composite
def axes(draw: Any, dilated: bool = True) -> dict[str, int]:
    """Return one axis of a window that fits: its size, kernel, stride, padding and dilation."""
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3)) if dilated else 1
    span = dilation * (kernel - 1) + 1
    padding = draw(st.integers(0, kernel // 2))
    size = draw(st.integers(max(1, span - 2 * padding), span + 9))
    return {"size": size, "kernel": kernel, "stride": draw(st.integers(1, 4)), "padding": padding, "dilation": dilation}


@st.composite
def poolings(draw: Any, dilated: bool = True) -> dict[str, Any]:
    """Return the shape of images and a window on them."""
    vertical, horizontal = draw(axes(dilated)), draw(axes(dilated))
    pairs = {name: (vertical[name], horizontal[name]) for name in vertical}
    window = {"kernel_size": pairs["kernel"], "stride": pairs["stride"], "padding": pairs["padding"], "ceil_mode": draw(st.booleans())}
    batch = (draw(st.integers(0, 3)),) if draw(st.booleans()) else ()
    return {
        "shape": (*batch, draw(st.one_of(st.integers(1, 5), st.integers(6, 90))), *pairs["size"]),
        "window": window,
        "dilation": pairs["dilation"],
        "dtype": draw(st.sampled_from([np.float32, np.float64])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def _last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(array, -3, -1))


def _last_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-3], *shape[-2:], shape[-3])


def _close(found: np.ndarray, want: np.ndarray, dtype: Any) -> None:
    assert found.dtype == dtype
    np.testing.assert_allclose(found, want, rtol=0, atol=LIMITS[dtype] * max(1, float(np.abs(want).max(initial=0))))


@FEW
@given(poolings())
def test_maxima(pooling: dict[str, Any]) -> None:
    rng, shape, dtype = np.random.default_rng(pooling["seed"]), pooling["shape"], pooling["dtype"]
    window = {**pooling["window"], "dilation": pooling["dilation"]}
    x = rng.choice(np.array([np.nan, -np.inf, *range(-3, 4)], dtype), shape)
    want = F.max_pool2d(x, **window, return_indices=True, algorithm="reference")
    for found, expected in zip(F.max_pool2d(x, **window, return_indices=True), want, strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(F.max_pool2d(_last(x), **window, return_indices=True, layout="NHWC"), want, strict=True):
        np.testing.assert_array_equal(found, _last(expected))
    np.testing.assert_array_equal(F.max_pool2d(x, **window), want[0])
    np.testing.assert_array_equal(F.max_pool2d(_last(x), **window, layout="NHWC"), _last(want[0]))
    dy = rng.integers(-3, 4, want[0].shape).astype(dtype)
    dx = F.max_pool2d_backward(dy, want[1], shape, **window, algorithm="reference")
    np.testing.assert_array_equal(F.max_pool2d_backward(dy, want[1], shape, **window), dx)
    last = F.max_pool2d_backward(_last(dy), _last(want[1]), _last_shape(shape), **window, layout="NHWC")
    np.testing.assert_array_equal(last, _last(dx))
    assert dx.sum() == dy[want[1] >= 0].sum()


@FEW
@given(poolings(), st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]))
def test_maxima_of_integers(pooling: dict[str, Any], kind: str) -> None:
    window, limits = {**pooling["window"], "dilation": pooling["dilation"], "return_indices": True}, np.iinfo(kind)
    x = np.random.default_rng(pooling["seed"]).integers(limits.min, limits.max, pooling["shape"], kind, endpoint=True)
    want = F.max_pool2d(x, **window, algorithm="reference")
    for found, expected in zip(F.max_pool2d(x, **window), want, strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(F.max_pool2d(_last(x), **window, layout="NHWC"), want, strict=True):
        np.testing.assert_array_equal(found, _last(expected))
    window["return_indices"] = False
    np.testing.assert_array_equal(F.max_pool2d(_last(x), **window, layout="NHWC"), _last(want[0]))


@FEW
@given(poolings(dilated=False), st.booleans(), st.sampled_from([None, None, 3, -7]))
def test_averages(pooling: dict[str, Any], include: bool, divisor: int | None) -> None:
    rng, shape, dtype = np.random.default_rng(pooling["seed"]), pooling["shape"], pooling["dtype"]
    window = {**pooling["window"], "count_include_pad": include, "divisor_override": divisor}
    x = rng.standard_normal(shape).astype(dtype)
    want = F.avg_pool2d(x.astype(np.float64), **window, algorithm="reference")
    _close(F.avg_pool2d(x, **window), want, dtype)
    _close(F.avg_pool2d(_last(x), **window, layout="NHWC"), _last(want), dtype)
    dy = rng.standard_normal(want.shape).astype(dtype)
    dx = F.avg_pool2d_backward(dy.astype(np.float64), shape, **window, algorithm="reference")
    _close(F.avg_pool2d_backward(dy, shape, **window), dx, dtype)
    _close(F.avg_pool2d_backward(_last(dy), _last_shape(shape), **window, layout="NHWC"), _last(dx), dtype)


@FEW
@given(poolings(dilated=False), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_adaptive(pooling: dict[str, Any], output: tuple[int, int]) -> None:
    rng, shape, dtype = np.random.default_rng(pooling["seed"]), pooling["shape"], pooling["dtype"]
    x = rng.standard_normal(shape).astype(dtype)
    want = F.adaptive_avg_pool2d(x.astype(np.float64), output, algorithm="reference")
    _close(F.adaptive_avg_pool2d(x, output), want, dtype)
    _close(F.adaptive_avg_pool2d(_last(x), output, layout="NHWC"), _last(want), dtype)
    best = F.adaptive_max_pool2d(x, output, True, algorithm="reference")
    for found, expected in zip(F.adaptive_max_pool2d(_last(x), output, True, layout="NHWC"), best, strict=True):
        np.testing.assert_array_equal(found, _last(expected))
    dy = rng.standard_normal(want.shape).astype(dtype)
    dx = F.adaptive_avg_pool2d_backward(dy.astype(np.float64), shape, output, algorithm="reference")
    _close(F.adaptive_avg_pool2d_backward(_last(dy), _last_shape(shape), output, layout="NHWC"), _last(dx), dtype)


@settings(FEW, max_examples=60)
@given(poolings(), st.booleans())
def test_gradients_are_those_of_the_values(pooling: dict[str, Any], maxima: bool) -> None:
    """In one random direction: the difference of the values along it is the product with the gradient."""
    rng, shape = np.random.default_rng(pooling["seed"]), (*pooling["shape"][:-3], min(3, pooling["shape"][-3]), *pooling["shape"][-2:])
    window = {**pooling["window"], "dilation": pooling["dilation"]} if maxima else pooling["window"]
    if not maxima and any(n + 2 * p < k for n, p, k in zip(shape[-2:], window["padding"], window["kernel_size"], strict=True)):
        return  # without its dilation the window no longer fits
    x, step = rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float64), rng.uniform(-0.4, 0.4, shape)
    if maxima:
        y, indices = F.max_pool2d(x, **window, return_indices=True)
        dy = rng.standard_normal(y.shape)
        dx = F.max_pool2d_backward(dy, indices, shape, **window)
        finite = np.isfinite(y)
        ahead, behind = (np.where(finite, F.max_pool2d(x + sign * step, **window), 0) for sign in (1, -1))
    else:
        dy = rng.standard_normal(F.avg_pool2d(x, **window).shape)
        dx = F.avg_pool2d_backward(dy, shape, **window)
        ahead, behind = (F.avg_pool2d(x + sign * step, **window) for sign in (1, -1))
    np.testing.assert_allclose((dx * step).sum(), ((ahead - behind) * dy).sum() / 2, rtol=1e-9, atol=1e-9)
