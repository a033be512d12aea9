"""Activations: the table against differences, memory orders, parameters; and the elementary functions below them."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from _differences import assert_gradients

import fastcnn.functional as F
from fastcnn import machine
from fastcnn.engine.elementary import elementary
from fastcnn.jit import kernel
from fastcnn.ops.activation import ACTIVATIONS, FUNCTIONS

# parameters other than the defaults, by position and by name
SETTINGS = {
    "celu": (1.5,), "elu": (0.7,), "gelu": ("tanh",), "hardshrink": (0.3,), "hardtanh": (-0.5, 1.25), "leaky_relu": (0.2,),
    "softplus": (2.0, 1.5), "softshrink": (0.4,), "threshold": (0.25, -3.0),
}  # fmt: skip
TORCH = {  # torch's parameters and defaults
    "celu": {"alpha": 1.0}, "elu": {"alpha": 1.0}, "gelu": {"approximate": "none"}, "hardshrink": {"lambd": 0.5},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0}, "leaky_relu": {"negative_slope": 0.01}, "softplus": {"beta": 1.0, "threshold": 20.0},
    "softshrink": {"lambd": 0.5}, "threshold": {"threshold": inspect.Parameter.empty, "value": inspect.Parameter.empty},
}  # fmt: skip
NAMES = sorted(ACTIVATIONS)


def _cases() -> list:
    own = [pytest.param(name, (), id=name) for name in NAMES if name != "threshold"]
    return own + [pytest.param(name, values, id=f"{name}-{values}") for name, values in SETTINGS.items()]


@pytest.mark.parametrize(("name", "parameters"), _cases())
def test_gradients_by_central_differences(name: str, parameters: tuple) -> None:
    rng = np.random.default_rng(0)
    x = 0.06 * (rng.permutation(240).reshape(3, 8, 10) + 0.25 - 120)  # no step of 1e-5 crosses a corner
    forward, backward = FUNCTIONS[name]
    dy = rng.standard_normal(x.shape)
    assert_gradients(lambda: forward(x, *parameters), [x], backward(dy, x, *parameters), dy)


@pytest.mark.parametrize("name", NAMES)
def test_names_order_and_defaults_are_torch_s(name: str) -> None:
    forward, backward = FUNCTIONS[name]
    assert forward is getattr(F, name)
    assert backward is getattr(F, f"{name}_backward")
    for function, arrays in ((forward, ["input"]), (backward, ["grad_output", "input"])):
        parameters = inspect.signature(function).parameters
        assert list(parameters) == [*arrays, *TORCH.get(name, {}), "algorithm"]
        assert {key: parameters[key].default for key in TORCH.get(name, {})} == TORCH.get(name, {})
        assert all(f"\n{key} : " in function.__doc__ for key in parameters)


@pytest.mark.parametrize(("name", "parameters"), _cases())
def test_parameters_by_name_and_again(name: str, parameters: tuple) -> None:
    x = np.linspace(-4, 4, 33)
    named = dict(zip(TORCH.get(name, ()), parameters, strict=False))
    want = FUNCTIONS[name].forward(x, *parameters)
    for _ in range(2):  # the second call is a remembered one
        np.testing.assert_array_equal(FUNCTIONS[name].forward(x, **named), want)
        np.testing.assert_array_equal(FUNCTIONS[name].forward(input=x.copy(), **named), want)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_memory_gives_the_same(name: str, dtype: type) -> None:
    x = np.random.default_rng(1).standard_normal((2, 5, 6, 7)).astype(dtype)
    parameters = SETTINGS["threshold"] if name == "threshold" else ()
    forward, backward = FUNCTIONS[name]
    want, slope = forward(x, *parameters), backward(x, x, *parameters)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    frozen = x.copy()
    frozen.flags.writeable = False
    swapped = x.astype(x.dtype.newbyteorder())
    for other in (last, frozen, swapped, np.repeat(x, 2, axis=3)[..., ::2], np.asfortranarray(x)):
        got, pulled = forward(other, *parameters), backward(other, other, *parameters)
        assert got.dtype == pulled.dtype == x.dtype
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(pulled, slope)
    assert forward(last, *parameters).transpose(0, 2, 3, 1).flags.c_contiguous, "a channels-last image stays one"
    for empty in (x[:0], x[0, 0, 0, 0]):
        result = forward(np.asarray(empty), *parameters)
        assert isinstance(result, np.ndarray)
        assert result.shape == np.shape(empty)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_array_or_of_another_kind_is_refused(name: str) -> None:
    x = np.zeros((2, 3), np.float32)
    parameters = SETTINGS["threshold"] if name == "threshold" else ()
    forward, backward = FUNCTIONS[name]
    for wrong in ([1.0], 1.0, None, "x", x.astype(int), x.astype(np.float16), np.ma.masked_array(x)):
        with pytest.raises(TypeError, match=rf"^{name}: input must "):
            forward(wrong, *parameters)
        with pytest.raises(TypeError, match=rf"^{name}_backward: \w+ must "):
            backward(x, wrong, *parameters)
    with pytest.raises(TypeError, match=rf"^{name}_backward: expected arrays of one dtype"):
        backward(x.astype(np.float64), x, *parameters)
    with pytest.raises(ValueError, match=rf"^{name}_backward: grad_output must have shape \(2, 3\)"):
        backward(x[:1], x, *parameters)
    with pytest.raises(ValueError, match=rf"^{name}: algorithm must be"):
        forward(x, *parameters, algorithm="fastest")
    with pytest.raises(TypeError, match=rf"^{name}: expected at most {len(TORCH.get(name, ()))} parameters; got 5"):
        forward(x, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(TypeError, match=rf"^{name}: has no parameter 'beat'"):
        forward(x, beat=1.0)
    for key, default in TORCH.get(name, {}).items():
        rest = {other: 1.0 for other in TORCH[name] if other != key}
        kind = ValueError if isinstance(default, str) else TypeError
        for wrong in (None, [1.0], "one", True, 1j):
            with pytest.raises(kind, match=rf"^{name}: {key} "):
                forward(x, **{**rest, key: wrong})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", ["direct", "reference"])
def test_odd_numbers(dtype: type, algorithm: str) -> None:
    """A limit that is NaN makes all NaN; 0 stays 0 where the slope below it has no bound."""
    x = np.array([-3, -0.5, -0.0, 0, 0.5, 3] * 7, dtype)
    for low, high in ((math.nan, 1.0), (-1.0, math.nan), (math.nan, math.nan)):
        assert np.isnan(F.hardtanh(x, low, high, algorithm=algorithm)).all()
    np.testing.assert_array_equal(F.hardtanh(x, -math.inf, math.inf, algorithm=algorithm), x)
    for name in ("elu", "celu"):
        for alpha in (math.inf, -math.inf, math.nan):
            y = getattr(F, name)(x, alpha, algorithm=algorithm)
            np.testing.assert_array_equal(y[x >= 0], x[x >= 0])
            assert not np.isfinite(y[x < 0]).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: F.hardtanh(x, 1.0, -1.0), "hardtanh: min_val cannot be greater than max_val"),
        (lambda x: F.celu_backward(x, x, 0.0), "celu_backward: alpha cannot be 0 for CELU"),
        (lambda x: F.celu(x, -1e-300), "celu: 1 / alpha cannot be converted to type float32 without overflow; got an alpha of -1e-300"),
        (lambda x: F.celu(x.astype(np.float64), 1e-320), "celu: 1 / alpha cannot be converted to type float64 without overflow"),
        (lambda x: F.softshrink(x, -0.5), r"softshrink: lambda must be in range \[0, .* for input dtype float32, but found -0.5"),
        (lambda x: F.gelu(x, "exact"), "gelu: approximate argument must be either none or tanh; got 'exact'"),
    ],
)
def test_parameters_out_of_range(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.zeros(3, np.float32))


def test_a_missing_parameter_and_one_given_twice() -> None:
    with pytest.raises(TypeError, match="threshold: value must be given"):
        F.threshold(np.zeros(3), 1.0)
    with pytest.raises(TypeError, match="elu: got two values for parameter 'alpha'"):
        F.elu(np.zeros(3), 1.0, alpha=2.0)


def test_an_infinite_parameter_is_a_number() -> None:
    np.testing.assert_array_equal(F.hardtanh(np.array([-1.0, 5.0], np.float32), 0, math.inf), [0, 5])
    np.testing.assert_array_equal(F.hardtanh(np.array([-1.0, 5.0]), 0, 1e300), [0, 5])
    with pytest.raises(ValueError, match=r"hardtanh: value cannot be converted to type float32 without overflow; got 1e\+300"):
        F.hardtanh(np.array([-1.0, 5.0], np.float32), 0, 1e300)


def test_results_are_the_same_on_any_number_of_threads() -> None:
    x = np.random.default_rng(2).standard_normal(300_001).astype(np.float32)
    want = F.silu(x)
    with machine.threads(1):
        np.testing.assert_array_equal(F.silu(x), want)


def test_prelu() -> None:
    rng = np.random.default_rng(3)
    for shape, weights in (((3, 4, 5), (4,)), ((3, 4), (4,)), ((6,), (1,)), ((2, 3), ()), ((), ()), ((0, 4, 2), (4,))):
        x = np.asarray(rng.permutation(np.prod(shape, dtype=int)).reshape(shape) * 0.1 - 0.95)
        weight, dy = np.asarray(rng.uniform(0.1, 0.4, weights)), np.asarray(rng.standard_normal(shape))
        each = weight.reshape(-1, *[1] * (len(shape) - 2)) if weights == (4,) else weight
        np.testing.assert_allclose(F.prelu(x, weight), np.where(x > 0, x, each * x), rtol=1e-15)
        assert_gradients(lambda x=x, weight=weight: F.prelu(x, weight), [x, weight], F.prelu_backward(dy, x, weight), dy)
    with pytest.raises(TypeError, match="one dtype"):
        F.prelu(np.zeros((2, 3), np.float32), np.zeros(3))


@pytest.mark.skipif(machine.jit_is_disabled(), reason="intrinsics need the compiler")
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 4e-7), ("float64", 1e-15)])
def test_elementary_functions(dtype: str, limit: float) -> None:
    """Within a few units of the last place, from the smallest argument to the largest; NaN stays NaN."""
    f = elementary(dtype)
    least, most = (-87, 88.3) if dtype == "float32" else (-708, 709.4)
    wide = np.concatenate([np.linspace(least, most, 20_001), np.geomspace(1e-30, 1, 2001), -np.geomspace(1e-30, 1, 2001)])
    exact = {
        "exp": (wide, np.exp), "expm1": (wide, np.expm1), "log1p": (np.concatenate([[0.0], np.geomspace(1e-30, 1, 4001)]), np.log1p),
        "sigmoid": (wide[wide > -80], lambda x: 1 / (1 + np.exp(-x))), "tanh": (wide, np.tanh),
    }  # fmt: skip
    for name, (points, definition) in exact.items():
        each = _loop(getattr(f, name), (name, dtype))
        x = points.astype(dtype)
        y, want = np.full_like(x, np.nan), definition(x.astype(np.longdouble))
        each.launch(1, x, y, work=1)
        np.testing.assert_allclose(y, want.astype(np.float64), rtol=limit, atol=0, err_msg=name)
        odd, got = np.array([np.nan, -np.inf, np.inf, least - 30], dtype), np.empty(4, dtype)
        each.launch(1, odd, got, work=1)
        with np.errstate(all="ignore"):
            want = definition(odd.astype(np.float64))
        if name != "log1p":  # which is for 0 to 1
            np.testing.assert_allclose(got, want, rtol=limit, atol=1e-37, err_msg=name)


def _loop(function, specialisation: tuple):
    @kernel(specialisation=specialisation)
    def each(job, x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return each
