"""The operations as primitives of HIPS autograd: its own checker of gradients, of second order."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

autograd = pytest.importorskip("autograd", reason="HIPS autograd is not installed: pip install autograd (extra 'partners')")
from autograd.test_util import check_grads  # noqa: E402

import fastcnn  # noqa: E402
from fastcnn.adapters import autograd as adapter  # noqa: E402

anp = autograd.numpy


def _values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


CONVOLUTIONS = {
    "plain": ((2, 3, 5, 6), (4, 3, 3, 2), ()),
    "strided, padded": ((1, 2, 6, 5), (3, 2, 3, 3), ((2, 1), ((1, 0), (2, 1)))),
    "grouped, dilated": ((1, 4, 6, 6), (6, 2, 2, 3), (1, 1, (2, 1), 2)),
    "same": ((1, 2, 5, 5), (2, 2, 2, 3), (2, "same")),
    "unbatched": ((2, 4, 4), (3, 2, 3, 3), (1, 1)),
}


@pytest.mark.parametrize(("shape", "kernel", "window"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_conv2d(shape: tuple[int, ...], kernel: tuple[int, ...], window: tuple[Any, ...]) -> None:
    x, w, b = _values(*shape), _values(*kernel, seed=1), _values(kernel[0], seed=2)
    np.testing.assert_array_equal(adapter.conv2d(x, w, b, *window), fastcnn.conv2d(x, w, b, *window))
    check_grads(lambda x, w, b: adapter.conv2d(x, w, b, *window), modes=["rev"], order=2)(x, w, b)
    check_grads(lambda x, w: adapter.conv2d(x, w, None, *window), modes=["rev"], order=2)(x, w)


def test_window_by_name() -> None:
    x, w = _values(1, 2, 5, 5), _values(4, 1, 2, 2, seed=1)
    check_grads(lambda x, w: adapter.conv2d(x, w, stride=2, padding=1, groups=2), modes=["rev"], order=2)(x, w)


@pytest.mark.parametrize("lead", [(4,), (2, 3), ()])
def test_linear(lead: tuple[int, ...]) -> None:
    x, w, b = _values(*lead, 5), _values(3, 5, seed=1), _values(3, seed=2)
    np.testing.assert_array_equal(adapter.linear(x, w, b), fastcnn.linear(x, w, b))
    check_grads(adapter.linear, modes=["rev"], order=2)(x, w, b)
    check_grads(adapter.linear, modes=["rev"], order=2)(x, w)


def test_relu() -> None:
    check_grads(adapter.relu, modes=["rev"], order=2)(_values(3, 7))


@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (2, 5, 5)])
@pytest.mark.parametrize("window", [(2,), (3, 1, 1), ((2, 3), 2, (1, 0), (2, 1), True)])
def test_max_pool2d(window: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    x = _values(*shape)
    np.testing.assert_array_equal(adapter.max_pool2d(x, *window), fastcnn.max_pool2d(x, *window))
    check_grads(lambda x: adapter.max_pool2d(x, *window), modes=["rev"], order=2)(x)


def test_a_window_without_a_pixel_passes_nothing() -> None:
    x = _values(1, 1, 2, 2)
    pooled = adapter.max_pool2d(x, (2, 2), 1, 1, 3)
    assert np.isneginf(pooled).any()
    weight = np.where(np.isneginf(pooled), 0, 1)
    gradient = autograd.grad(lambda x: anp.sum(anp.where(weight, adapter.max_pool2d(x, (2, 2), 1, 1, 3), 0)))(x)
    assert np.isfinite(gradient).all()


def test_a_network_learns() -> None:
    x, target = _values(16, 1, 6, 6).astype(np.float32), np.arange(16) % 2
    x[target == 1, :, :3] += 2

    def loss(params: list[np.ndarray]) -> Any:
        hidden = adapter.max_pool2d(adapter.relu(adapter.conv2d(x, params[0], params[1])), 2)
        logits = adapter.linear(anp.reshape(hidden, (16, -1)), params[2])
        return anp.mean(anp.log(anp.sum(anp.exp(logits), 1)) - logits[anp.arange(16), target])

    params = [0.3 * _values(*shape, seed=7).astype(np.float32) for shape in ((4, 1, 3, 3), (4,), (2, 16))]
    first = loss(params)
    for _ in range(20):
        params = [p - np.float32(0.2) * g for p, g in zip(params, autograd.grad(loss)(params), strict=True)]
        assert {p.dtype for p in params} == {np.dtype(np.float32)}
    assert loss(params) < first / 2


def test_example() -> None:
    result = doctest.testmod(adapter)
    assert (result.attempted > 0, result.failed) == (True, 0)
