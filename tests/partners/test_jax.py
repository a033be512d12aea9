"""The operations inside JAX: its own checker of gradients, under `jit` and `vmap`."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install jax (extra 'partners')")
from jax.test_util import check_grads  # noqa: E402

import fastcnn  # noqa: E402
from fastcnn.adapters import jax as adapter  # noqa: E402

jnp = jax.numpy


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def _values(*shape: int, seed: int = 0) -> Any:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


CONVOLUTIONS = {
    "plain": ((2, 3, 5, 6), (4, 3, 3, 2), {}),
    "strided, padded": ((1, 2, 6, 5), (3, 2, 3, 3), {"stride": [2, 1], "padding": ((1, 0), (2, 1))}),
    "grouped, dilated": ((1, 4, 6, 6), (6, 2, 2, 3), {"padding": 1, "dilation": (2, 1), "groups": 2}),
    "same": ((1, 2, 5, 5), (2, 2, 2, 3), {"stride": 2, "padding": "same"}),
    "unbatched": ((2, 4, 4), (3, 2, 3, 3), {"padding": 1}),
}


@pytest.mark.parametrize(("shape", "kernel", "window"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_conv2d(shape: tuple[int, ...], kernel: tuple[int, ...], window: dict[str, Any]) -> None:
    arrays = _values(*shape), _values(*kernel, seed=1), _values(kernel[0], seed=2)

    def convolve(x: Any, w: Any, b: Any = None) -> Any:
        return adapter.conv2d(x, w, b, **window)

    np.testing.assert_allclose(convolve(*arrays), fastcnn.conv2d(*arrays, **window), rtol=0, atol=1e-12)
    check_grads(convolve, arrays, order=2, modes=["rev"])
    check_grads(jax.jit(convolve), arrays[:2], order=2, modes=["rev"])


@pytest.mark.parametrize("lead", [(4,), (2, 3), ()])
def test_linear(lead: tuple[int, ...]) -> None:
    arrays = _values(*lead, 5), _values(3, 5, seed=1), _values(3, seed=2)
    np.testing.assert_allclose(adapter.linear(*arrays), fastcnn.linear(*arrays), rtol=0, atol=1e-12)
    check_grads(adapter.linear, arrays, order=2, modes=["rev"])
    check_grads(jax.jit(adapter.linear), arrays[:2], order=2, modes=["rev"])


def test_relu() -> None:
    check_grads(jax.jit(adapter.relu), (_values(3, 7),), order=2, modes=["rev"])


@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (2, 5, 5)])
@pytest.mark.parametrize("pool", [(2,), ([3, 3], 1, 1), ((2, 3), 2, (1, 0), (2, 1), True)])
def test_max_pool2d(pool: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    x = _values(*shape)
    np.testing.assert_array_equal(adapter.max_pool2d(x, *pool), fastcnn.max_pool2d(x, *pool))
    check_grads(jax.jit(lambda x: adapter.max_pool2d(x, *pool)), (x,), order=1, modes=["rev"])


def test_vmap_is_one_by_one() -> None:
    x, w = _values(3, 2, 2, 5, 5), _values(4, 2, 3, 3, seed=1)
    found = jax.vmap(lambda x: adapter.max_pool2d(adapter.conv2d(x, w), 2))(x)
    np.testing.assert_array_equal(found, np.stack([fastcnn.max_pool2d(fastcnn.conv2d(one, w), 2) for one in x]))
    each = jax.vmap(jax.grad(lambda w, x: adapter.conv2d(x, w).sum()), (None, 0))(w, x)
    assert each.shape == (3, *w.shape)


def test_single_precision_without_x64() -> None:
    with jax.enable_x64(False):
        x, w = (jnp.asarray(a, jnp.float32) for a in (_values(2, 3, 8, 8), _values(4, 3, 3, 3, seed=1)))
        loss = jax.jit(lambda x, w: adapter.max_pool2d(adapter.relu(adapter.conv2d(x, w)), 2).sum())
        found = jax.grad(loss, (0, 1))(x, w)
        expected = jax.grad(
            lambda x, w: jax.lax.reduce_window(
                jax.nn.relu(jax.lax.conv(x, w, (1, 1), "VALID")), -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"
            ).sum(),
            (0, 1),
        )(x, w)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == jnp.float32
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_mistakes_are_found_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="conv2d: input must be"):
        jax.eval_shape(adapter.conv2d, jnp.zeros(3), jnp.zeros((1, 1, 1, 1)))
    with pytest.raises(ValueError, match="Kernel size can't be greater"):
        jax.eval_shape(adapter.conv2d, jnp.zeros((1, 1, 2, 2)), jnp.zeros((1, 1, 3, 3)))
    x, w = jnp.zeros((1, 1, 2, 2)), jnp.zeros((3, 1, 1, 1))
    with pytest.raises(TypeError, match="conv2d: expected arrays of one dtype; got input float64, weight float32"):
        jax.eval_shape(adapter.conv2d, x, w.astype(jnp.float32))
    with pytest.raises(TypeError, match="conv2d: expected arrays of one dtype; got input float64, bias float32"):
        jax.eval_shape(adapter.conv2d, x, w, jnp.zeros(3, jnp.float32))
    with pytest.raises(ValueError, match=r"conv2d: bias must have shape \(3,\)"):
        jax.eval_shape(adapter.conv2d, x, w, jnp.zeros(1))
    with pytest.raises(ValueError, match=r"linear: input must be \(\.\.\., I\) and weight"):
        jax.eval_shape(adapter.linear, jnp.zeros((2, 3)), jnp.zeros((2, 4)))
    with pytest.raises(TypeError, match="relu: input must have dtype float32 or float64; got bfloat16"):
        jax.eval_shape(adapter.relu, jnp.zeros(3, jnp.bfloat16))
    with pytest.raises(ValueError, match="max_pool2d: input must be"):
        adapter.max_pool2d(jnp.zeros(3), 2)


def test_example() -> None:
    with jax.enable_x64(False):
        result = doctest.testmod(adapter)
    assert (result.attempted > 0, result.failed) == (True, 0)
