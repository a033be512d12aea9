"""Softmax, normalisations, padding and dropout by their definitions, gradients by differences, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from _differences import assert_gradients

import fastcnn.functional as F

# --- Softmax -------------------------------------------------------------------------------------------------------------

SOFT = ("softmax", "log_softmax", "softmin")


def _soft(name: str, x: np.ndarray, dim: int) -> np.ndarray:
    e = np.exp(-x if name == "softmin" else x)
    y = e / e.sum(dim, keepdims=True)
    return np.log(y) if name == "log_softmax" else y


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize(("shape", "dim"), [((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 4), -2), ((2, 3, 2, 3), 1), ((), 0), ((2, 0), 1)])
def test_softmax(name: str, shape: tuple[int, ...], dim: int) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape), np.asarray(rng.standard_normal(shape))
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")
    want = _soft(name, x.reshape(shape or (1,)), dim).reshape(shape)
    y = forward(x, dim)
    assert isinstance(y, np.ndarray)
    np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-15)
    single = forward(x.astype(np.float32), dim)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, want, rtol=1e-5, atol=1e-6)
    assert forward(x.astype(np.float32), dim, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(forward(np.asfortranarray(x), dim), y)
    assert_gradients(lambda: forward(x, dim), [x], backward(dy, y, dim), dy)


def test_softmax_of_steep_infinite_and_missing_values() -> None:
    x = np.array([[1e30, 0], [-1e30, -1e30], [-np.inf, 0], [np.nan, 0], [np.inf, 0]], np.float32)
    for other in (x, np.repeat(x[..., None], 3, axis=2)):
        y = F.softmax(other, 1).reshape(5, 2, -1)[..., 0]
        np.testing.assert_array_equal(y, [[1, 0], [0.5, 0.5], [0, 1], [np.nan] * 2, [np.nan] * 2])
        logs = F.log_softmax(other, 1).reshape(5, 2, -1)[..., 0]
        np.testing.assert_allclose(logs[:3], [[0, -1e30], [-np.log(2)] * 2, [-np.inf, 0]], rtol=1e-6)


@pytest.mark.parametrize("name", SOFT)
def test_softmax_refuses(name: str) -> None:
    x = np.zeros((2, 3), np.float32)
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")
    for dim in (2, -3, 10**6):
        with pytest.raises(ValueError, match=rf"^{name}: Dimension out of range \(expected to be in range of \[-2, 1\], but got {dim}\)"):
            forward(x, dim)
    for wrong in (1.0, "1", True, [1]):
        with pytest.raises(TypeError, match=rf"^{name}: dim must be an int"):
            forward(x, wrong)
    for wrong in ("int8", "nothing", 3):
        with pytest.raises(TypeError, match=rf"^{name}: dtype must be float32 or float64"):
            forward(x, 0, dtype=wrong)
    for wrong in ([1.0], None, x.astype(int)):
        with pytest.raises(TypeError, match=rf"^{name}: input must"):
            forward(wrong, 0)
    with pytest.raises(TypeError, match=rf"^{name}_backward: expected arrays of one dtype"):
        backward(x, x.astype(np.float64), 0)
    with pytest.raises(ValueError, match=rf"^{name}_backward: grad_output must have shape"):
        backward(x[:1], x, 0)
    with pytest.raises(ValueError, match=rf"^{name}: algorithm must be"):
        forward(x, 0, algorithm="best")
    with pytest.warns(UserWarning, match=f"Implicit dimension choice for {name} has been deprecated"):
        np.testing.assert_array_equal(forward(x), forward(x, 1))


# --- Normalisations ------------------------------------------------------------------------------------------------------


def _normal(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def _layer(x: np.ndarray, weight: Any, bias: Any, axes: int = 2) -> np.ndarray:
    y = _normal(x, tuple(range(x.ndim - axes, x.ndim)), 0.1)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def _group(x: np.ndarray, groups: int, weight: Any, bias: Any) -> np.ndarray:
    if not x.size:
        return x.copy()
    split = x.reshape(x.shape[0], groups, -1)
    y, column = _normal(split, (2,), 0.1).reshape(x.shape), (-1, *[1] * (x.ndim - 2))
    return y * (1 if weight is None else weight.reshape(column)) + (0 if bias is None else bias.reshape(column))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 4), (1, 3, 5), (2, 2, 6, 7), (0, 2, 3)])
def test_layer_norm(shape: tuple[int, ...], affine: bool) -> None:
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal(shape) + 3, rng.standard_normal(shape)
    weight, bias = (rng.uniform(0.5, 2, shape[-2:]) if affine else None for _ in range(2))
    y = F.layer_norm(x, shape[-2:], weight, bias, 0.1)
    np.testing.assert_allclose(y, _layer(x, weight, bias), rtol=1e-10, atol=1e-12)
    single = F.layer_norm(*[None if a is None else np.asarray(a, np.float32) for a in (x,)], shape[-2:], eps=0.1)
    np.testing.assert_allclose(single, _layer(x, None, None), rtol=1e-4, atol=1e-5)
    found = F.layer_norm_backward(dy, x, shape[-2:], weight, 0.1)
    arrays = [x, weight, bias] if affine else [x]
    assert_gradients(lambda: F.layer_norm(x, shape[-2:], weight, bias, 0.1), arrays, found[: len(arrays)], dy, 1e-5)


def test_layer_norm_of_a_mean_far_beyond_the_deviation() -> None:
    x = np.random.default_rng(2).standard_normal((4, 1000)) + 1e4
    x32 = x.astype(np.float32)
    np.testing.assert_allclose(F.layer_norm(x32, 1000), _normal(x32.astype(np.float64), (1,), 1e-5), atol=2e-5)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5), 3), ((2, 4, 3, 2), 1), ((3, 4), 2), ((2, 4, 3), 4), ((0, 4, 3), 2)])
def test_group_norm(shape: tuple[int, ...], groups: int, affine: bool) -> None:
    rng = np.random.default_rng(3)
    x, dy = rng.standard_normal(shape) - 2, rng.standard_normal(shape)
    weight, bias = (rng.uniform(0.5, 2, shape[1]) if affine else None for _ in range(2))
    np.testing.assert_allclose(
        F.group_norm(x, groups, weight, bias, 0.1), _group(x, groups, weight, bias).reshape(shape), rtol=1e-10, atol=1e-12
    )
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    np.testing.assert_array_equal(F.group_norm(last, groups, weight, bias, 0.1), F.group_norm(x, groups, weight, bias, 0.1))
    found = F.group_norm_backward(dy, x, groups, weight, 0.1)
    arrays = [x, weight, bias] if affine else [x]
    assert_gradients(lambda: F.group_norm(x, groups, weight, bias, 0.1), arrays, found[: len(arrays)], dy, 1e-5)


@pytest.mark.parametrize("use_input_stats", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 2), (1, 2, 2, 3, 2), (0, 3, 4)])
def test_instance_norm(shape: tuple[int, ...], use_input_stats: bool) -> None:
    rng = np.random.default_rng(4)
    x, dy, (weight, bias) = rng.standard_normal(shape), rng.standard_normal(shape), rng.uniform(0.5, 2, (2, shape[1]))
    mean, var = rng.standard_normal(shape[1]), rng.uniform(1, 2, shape[1])

    def run() -> np.ndarray:
        return F.instance_norm(x, mean.copy(), var.copy(), weight, bias, use_input_stats, eps=0.1)

    column = (-1, *[1] * (len(shape) - 2))
    if use_input_stats:
        want = _group(x, shape[1], weight, bias)
    else:
        want = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + 0.1) * weight.reshape(column) + bias.reshape(column)
    np.testing.assert_allclose(run(), want, rtol=1e-10)
    found = F.instance_norm_backward(dy, x, mean, var, weight, use_input_stats, 0.1)
    assert_gradients(run, [x, weight, bias], found, dy, 1e-5)


def test_moments_of_values_whose_squares_float32_does_not_hold() -> None:
    x = np.array([[0.25, 1e38], [-1e38, 1e38], [2e38, 3e38], [1e20, -3e20]], np.float32)
    for size in (2, 300):
        values = np.tile(x, (1, size // 2))
        exact = F.layer_norm(values.astype(np.float64), size)
        np.testing.assert_allclose(F.layer_norm(values, size), exact, rtol=1e-5)
        dx, dweight, _ = F.layer_norm_backward(np.ones_like(values) * np.arange(size, dtype=np.float32), values, size)
        wide = np.ones(values.shape) * np.arange(size)
        _, exact_dweight, _ = F.layer_norm_backward(wide, values.astype(np.float64), size)
        assert np.abs(dx).max() < 1e-15, "divided by the deviation"
        np.testing.assert_allclose(dweight, exact_dweight, rtol=1e-4, atol=1e-4 * np.abs(exact_dweight).max())


def test_instance_norm_moves_the_running_moments() -> None:
    x = np.random.default_rng(5).standard_normal((3, 2, 7))
    mean, var = np.zeros(2), np.ones(2)
    F.instance_norm(x, mean, var, momentum=0.25)
    np.testing.assert_allclose(mean, 0.25 * x.mean((0, 2)))
    np.testing.assert_allclose(var, 0.75 + 0.25 * x.var(2, ddof=1).mean(0))
    with pytest.raises(ValueError, match="running_mean must be writeable"):
        F.instance_norm(x, np.broadcast_to(mean, 2), np.broadcast_to(var, 2))


class _Proud(np.ndarray):
    """A subclass whose own arithmetic must not be used."""

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a subclass reached a computation")


@pytest.mark.parametrize("name", ["instance_norm", "batch_norm"])
def test_running_moments_may_be_of_a_subclass_or_in_foreign_byte_order(name: str) -> None:
    x = np.random.default_rng(5).standard_normal((3, 2, 7))
    forward = F.instance_norm if name == "instance_norm" else lambda *arrays: F.batch_norm(*arrays, training=True)
    mean, var = np.zeros(2), np.ones(2)
    y = forward(x, mean, var)
    for form in (lambda a: a.view(_Proud), lambda a: a.astype(a.dtype.newbyteorder())):
        own, other = form(np.zeros(2)), form(np.ones(2))
        np.testing.assert_array_equal(forward(x, own, other), y)
        assert np.asarray(own).tolist() == mean.tolist()
        assert np.asarray(other).tolist() == var.tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("shape", [(2, 6, 3), (1, 4, 2, 3), (0, 3, 2)])
def test_local_response_norm(shape: tuple[int, ...], size: int) -> None:
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    sums = np.zeros(shape)
    for c, k in itertools.product(range(shape[1]), repeat=2):
        if c - size // 2 <= k <= c + (size - 1) // 2:
            sums[:, c] += x[:, k] ** 2
    want = x / (1.5 + 0.3 * sums / size) ** 0.6
    np.testing.assert_allclose(F.local_response_norm(x, size, 0.3, 0.6, 1.5), want, rtol=1e-12)
    found = F.local_response_norm_backward(dy, x, size, 0.3, 0.6, 1.5)
    assert_gradients(lambda: F.local_response_norm(x, size, 0.3, 0.6, 1.5), [x], found, dy)


X = np.ones((2, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.layer_norm(X, ()), ValueError, "layer_norm: Expected normalized_shape to be at least 1-dimensional"),
        (lambda: F.layer_norm(X, (4, 2)), ValueError, r"Given normalized_shape=\[4, 2\], expected input with shape \[\*, 4, 2\], but got"),
        (lambda: F.layer_norm(X, 3.0), TypeError, "layer_norm: normalized_shape must be an int"),
        (lambda: F.layer_norm(X, 3, X[0, 0, :2]), ValueError, "Expected weight to be of same shape as normalized_shape"),
        (lambda: F.layer_norm(X, 3, np.ones(3)), TypeError, "expected arrays of one dtype"),
        (lambda: F.layer_norm(X, 3, eps=None), TypeError, "layer_norm: eps must be a float"),
        (lambda: F.layer_norm([[1.0]], 1), TypeError, "layer_norm: input must be a NumPy array"),
        (lambda: F.layer_norm_backward(X[:1], X, 3), ValueError, "layer_norm_backward: grad_output must have shape"),
        (lambda: F.group_norm(X, 3), ValueError, "Expected number of channels in input to be divisible by num_groups"),
        (lambda: F.group_norm(X[0, 0], 1), ValueError, "Expected at least 2 dimensions for input tensor but received 1"),
        (lambda: F.group_norm(X, 0), ValueError, "num_groups must be between 1"),
        (lambda: F.group_norm(X[:1, :, 0], 4), ValueError, "Expected more than 1 value per channel when training"),
        (lambda: F.group_norm(X, 2, X[0, :3, 0]), ValueError, r"weight must have shape \(4,\)"),
        (lambda: F.group_norm(X, 2, None, np.ones(4)), TypeError, "expected arrays of one dtype"),
        (lambda: F.group_norm_backward(X.astype(float), X, 2), TypeError, "group_norm_backward: expected arrays of one dtype"),
        (lambda: F.instance_norm(X[..., :1]), ValueError, "Expected more than 1 spatial element when training"),
        (lambda: F.instance_norm(X, use_input_stats=1), TypeError, "use_input_stats must be a bool"),
        (lambda: F.instance_norm(X, use_input_stats=False), ValueError, "Expected running_mean and running_var to be defined"),
        (lambda: F.instance_norm_backward(X, X, use_input_stats=False), ValueError, "Expected running_mean and running_var to be defined"),
        (lambda: F.instance_norm(X, X[0, :, 0]), ValueError, "running_mean and running_var must both be arrays"),
        (lambda: F.instance_norm(X[0, 0]), ValueError, r"instance_norm: input must be \(N, C, \.\.\.\)"),
        (lambda: F.local_response_norm(X[0], 2), ValueError, r"Expected 3D or higher dimensionality input \(got 2 dimensions\)"),
        (lambda: F.local_response_norm(X, 0), ValueError, "local_response_norm: size must be between 1"),
        (lambda: F.local_response_norm(X, 2, beta="1"), TypeError, "local_response_norm: beta must be a float"),
        (lambda: F.local_response_norm_backward(X[:1], X, 2), ValueError, "grad_output must have shape"),
    ],
)
def test_normalisations_refuse(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- Padding -------------------------------------------------------------------------------------------------------------

NUMPY = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize(
    ("shape", "pads"), [((2, 5), (2, 1)), ((2, 3, 4, 5), (1, 2, 0, 3)), ((1, 2, 3, 4, 3), (2, 0, 1, 1, 0, 2)), ((0, 3, 4), (1, 3))]
)
def test_pad_as_numpy_pads(shape: tuple[int, ...], pads: tuple[int, ...], mode: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal(shape)
    widths = [(0, 0)] * (len(shape) - len(pads) // 2) + [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
    if x.size:
        np.testing.assert_array_equal(F.pad(x, pads, mode), np.pad(x, widths, NUMPY[mode]))
        assert F.pad(np.abs(x).astype(np.uint8), pads, mode).dtype == np.uint8
    dy = rng.standard_normal(F.pad(x, pads, mode).shape)
    assert_gradients(lambda: F.pad(x, pads, mode), [x], F.pad_backward(dy, shape, pads, mode), dy)


@pytest.mark.parametrize(
    ("mode", "pads", "want"),
    [
        ("constant", (-1, 2), [1, 2, 3, 9, 9]),
        ("constant", (-1, 1), [1, 2, 3, 9]),
        ("constant", (-2, -2), []),
        ("reflect", (-1, 2), [1, 2, 3, 2, 1]),
        ("replicate", (-4, 3), [3, 3, 3]),
        ("replicate", (2, -3), [0, 0, 0]),
        ("circular", (-1, 2), [1, 2, 3, 1, 2]),
    ],
)
def test_negative_padding(mode: str, pads: tuple[int, int], want: list[int]) -> None:
    x = np.arange(4.0)[None]
    value = 9.0 if mode == "constant" else None
    assert F.pad(x, pads, mode, value).tolist() == [want]
    dy = np.random.default_rng(8).standard_normal((1, len(want)))
    assert_gradients(lambda: F.pad(x, pads, mode, value), [x], F.pad_backward(dy, x.shape, pads, mode), dy)


def test_an_unpadded_result_is_a_copy() -> None:
    x = np.zeros((2, 3))
    for mode in NUMPY:
        assert not np.shares_memory(F.pad(x, (0, 0), mode), x)
        assert not np.shares_memory(F.pad_backward(x, x.shape, (0, 0), mode), x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.pad(X, (1,)), ValueError, "pad: Padding length must be divisible by 2"),
        (lambda: F.pad(X, (0,) * 8), ValueError, "Padding length should be less than or equal to two times the input dimension but got 8"),
        (lambda: F.pad(X, 1), TypeError, "pad: pad must be a sequence of int"),
        (lambda: F.pad(X, (1, 1.5)), TypeError, r"pad: pad\[1\] must be an int"),
        (lambda: F.pad(X, (-2, -2)), ValueError, "resulted in a negative output size"),
        (
            lambda: F.pad(X, (3, 0), "reflect"),
            ValueError,
            r"Padding size should be less than the corresponding input dimension, but got: padding \(3, 0\)",
        ),
        (lambda: F.pad(X, (4, 0), "circular"), ValueError, "Padding value causes wrapping around more than once"),
        (lambda: F.pad(X[..., :0], (1, 0), "circular"), ValueError, "Padding value causes wrapping around more than once"),
        (lambda: F.pad(X[:, :0], (1, 0), "replicate"), ValueError, "Expected 2D or 3D .batch mode. tensor with possibly 0 batch size"),
        (lambda: F.pad_backward(X, X[..., :0].shape, (3, 0), "reflect"), ValueError, "pad_backward: Expected 2D or 3D"),
        (lambda: F.pad(X, (-2, -1), "replicate"), ValueError, r"is too small: padding of \(-2, -1\) leaves nothing of axis 2"),
        (lambda: F.pad(X, (1, 1), "mirror"), ValueError, r"pad: mode must be one of \('constant'"),
        (lambda: F.pad(X, (1, 1), "reflect", 1.0), ValueError, "Padding mode 'reflect' doesn't take in value argument"),
        (lambda: F.pad(X, (1, 1), value="0"), TypeError, "pad: value must be a float"),
        (lambda: F.pad(X, (1, 1, 1, 1, 1, 1), "reflect"), ValueError, "Only 2D, 3D, 4D, 5D padding with non-constant padding"),
        (lambda: F.pad(X, (2**31 - 1, 2**31 - 1, 2**31 - 1, 0)), ValueError, "would take"),
        (lambda: F.pad([1.0], (1, 1)), TypeError, "pad: input must be a NumPy array"),
        (lambda: F.pad_backward(X, (2, 4, 3), (1, 1)), ValueError, r"grad_output must have shape \(2, 4, 5\)"),
        (lambda: F.pad_backward(X, 3, (1, 1)), TypeError, "input_shape must be a tuple of int"),
    ],
)
def test_padding_refuses(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- Dropout -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["dropout", "dropout2d"])
def test_dropout(name: str, dtype: type) -> None:
    function, pull = getattr(F, name), getattr(F, f"{name}_backward")
    x = np.ones((200, 50, 4, 3), dtype)
    y, mask = function(x, 0.3, rng=1, return_mask=True)
    assert y.dtype == dtype
    assert mask.shape == (x.shape if name == "dropout" else (200, 50, 1, 1))
    np.testing.assert_array_equal(y, np.broadcast_to(mask, x.shape) * dtype(1 / 0.7))
    assert mask.mean() == pytest.approx(0.7, abs=5 * np.sqrt(0.21 / mask.size))
    np.testing.assert_array_equal(pull(x, mask, 0.3), y)
    np.testing.assert_array_equal(function(x, 0.3, rng=1), y)
    assert (function(x, 0.3) != y).any()
    assert function(x, 0.3, False) is x
    assert not function(x, 1.0).any()
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert function(last, 0.3).transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.dropout(X, 1.5), ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
        (lambda: F.dropout(X, "0.5"), TypeError, "dropout: p must be a float"),
        (lambda: F.dropout(X, 0.5, 1), TypeError, "dropout: training must be a bool"),
        (lambda: F.dropout(X, rng="x"), TypeError, "dropout: rng must be a Generator, a seed or None"),
        (lambda: F.dropout(1.0), TypeError, "dropout: input must be a NumPy array"),
        (lambda: F.dropout2d(X[0]), ValueError, r"dropout2d: input must be \(N, C, H, W\) or \(N, C, L\)"),
        (lambda: F.dropout_backward(X, X, 0.5), TypeError, "dropout_backward: mask must have dtype bool"),
        (lambda: F.dropout_backward(X, np.ones((2, 4, 2), bool), 0.5), ValueError, "mask must broadcast"),
    ],
)
def test_dropout_refuses(call, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_the_gradient_of_no_padding_is_an_array_of_its_own() -> None:
    dy = np.ones((1, 2, 3))
    dx = F.pad_backward(dy, dy.shape, (0, 0), "reflect")
    assert not np.shares_memory(dx, dy)
    np.testing.assert_array_equal(dx, dy)
