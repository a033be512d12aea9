"""Initialisers: the moments of large draws within five standard errors, the range, and what no distribution has: names and errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastcnn import init
from fastcnn.init import INITIALIZERS, constant, fan_in, fan_out, normal, orthogonal, truncated_normal, uniform, zeros
from fastcnn.layers import Conv2d, Linear

DENSE, FILTERS = (500, 800), (160, 100, 5, 5)  # 400,000 values each
FANS = {DENSE: (800, 500), FILTERS: (2500, 4000)}
COUNT = 400_000
CUT = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))  # variance of a normal cut at two deviations


def test_fans() -> None:
    for shape, (inputs, outputs) in FANS.items():
        assert (fan_in(shape), fan_out(shape)) == (inputs, outputs)
    assert (fan_in((8, 1, 3, 3)), fan_out((8, 1, 3, 3))) == (9, 72)
    for function in (fan_in, fan_out):
        with pytest.raises(ValueError, match=rf"{function.__name__}: shape must be that of a weight, .*; got \(3,\)"):
            function((3,))


# variance as a multiple of a power of the fans, by what the papers say: (fan_in, fan_out) -> variance
NORMAL: dict[str, Any] = {
    "he_normal": lambda i, o: 2 / i,
    "xavier_normal": lambda i, o: 2 / (i + o),
    "glorot_normal": lambda i, o: 2 / (i + o),
    "lecun_normal": lambda i, o: 1 / i,
    "normal": lambda i, o: 0.01**2,
}
UNIFORM: dict[str, Any] = {
    "torch_default": lambda i, o: 1 / (3 * i),
    "he_uniform": lambda i, o: 2 / i,
    "xavier_uniform": lambda i, o: 2 / (i + o),
    "glorot_uniform": lambda i, o: 2 / (i + o),
    "lecun_uniform": lambda i, o: 1 / i,
    "uniform": lambda i, o: 0.05**2 / 3,
}


def _require_moments(values: np.ndarray, variance: float, kurtosis: float) -> None:
    """Mean 0, the variance and the kurtosis E x^4 / variance^2; five standard errors, those of the last from its spread over parts."""
    values = values.astype(np.float64).ravel()
    assert abs(values.mean()) < 5 * math.sqrt(variance / COUNT)
    assert values.var() == pytest.approx(variance, rel=5 * math.sqrt((kurtosis - 1) / COUNT))
    parts = np.mean(values.reshape(100, -1) ** 4, axis=1) / variance**2
    assert parts.mean() == pytest.approx(kurtosis, abs=5 * parts.std() / 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", FANS, ids=["dense", "filters"])
@pytest.mark.parametrize("name", [*NORMAL, *UNIFORM])
def test_moments(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    weight = INITIALIZERS[name](shape, np.random.default_rng(7), dtype)
    assert weight.shape == shape
    assert weight.dtype == dtype
    variance = {**NORMAL, **UNIFORM}[name](*FANS[shape])
    _require_moments(weight, variance, 3.0 if name in NORMAL else 1.8)
    largest = abs(weight).max() / math.sqrt(variance)
    if name in UNIFORM:
        assert 0.9999 * math.sqrt(3) < largest <= math.sqrt(3) * (1 + 1e-6)
    else:
        assert 4 < largest < 6.5


def test_given_scales() -> None:
    rng = np.random.default_rng(1)
    _require_moments(normal(0.3)(DENSE, rng), 0.09, 3.0)
    _require_moments(uniform(0.3)(DENSE, rng), 0.03, 1.8)
    assert not normal(0)((2, 3), rng).any()


def test_truncated_normal() -> None:
    values = truncated_normal(0.1)(DENSE, np.random.default_rng(2), np.float64)
    assert 0.1999 < abs(values).max() <= 0.2
    assert values.var() == pytest.approx(0.01 * CUT, rel=0.01)
    assert math.sqrt(CUT) == pytest.approx(0.880, abs=5e-4)  # what the docstring says
    inside = np.abs(values) < 0.1  # one deviation: 68.27 of the 95.45 % within two
    assert inside.mean() == pytest.approx(math.erf(math.sqrt(0.5)) / math.erf(math.sqrt(2)), abs=5 * 0.5 / math.sqrt(COUNT))
    assert abs(truncated_normal(1.0, cut=0.5)((300, 300), np.random.default_rng(0))).max() <= 0.5


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30), (8, 3, 3, 3), (40, 2, 3, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    weight = orthogonal(1.5)(shape, np.random.default_rng(3), np.float64)
    matrix = weight.reshape(shape[0], -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    np.testing.assert_allclose(matrix @ matrix.T, 1.5**2 * np.eye(len(matrix)), atol=1e-12)
    assert weight.shape == shape
    assert weight.flags.c_contiguous


def test_orthogonal_has_no_preferred_direction() -> None:
    """Without the signs of R the diagonal would be mostly negative (Householder's); even, every entry has mean 0 and variance 1 / n."""
    rng = np.random.default_rng(4)
    many = np.stack([orthogonal()((3, 3), rng, np.float64) for _ in range(2000)])
    assert abs(many.mean(axis=0)).max() < 5 / math.sqrt(3 * 2000)
    np.testing.assert_allclose((many**2).mean(axis=0), 1 / 3, atol=5 * 0.3 / math.sqrt(2000))


def test_constants() -> None:
    assert zeros((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    filled = constant(0.5)((2, 2), None, np.float64)
    assert filled.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert filled.dtype == np.float64


@pytest.mark.parametrize("name", INITIALIZERS)
def test_layers_take_names_and_seeds(name: str) -> None:
    conv, dense = Conv2d(3, 4, 3, rng=5, init=name), Linear(7, 5, rng=5, init=name, dtype=np.float64)
    for layer, shape in ((conv, (4, 3, 3, 3)), (dense, (5, 7))):
        weight = layer.params["weight"]
        expected = INITIALIZERS[name](shape, np.random.default_rng(5), weight.dtype)
        np.testing.assert_array_equal(weight, expected, strict=True)
        assert layer.params["bias"].any() == (name == "torch_default")
    assert INITIALIZERS[name]((0, 3), np.random.default_rng(0), np.float32).shape == (0, 3)
    assert INITIALIZERS[name]((3, 0), np.random.default_rng(0), np.float32).shape == (3, 0)


def test_the_table_is_complete() -> None:
    makers = {"constant", "normal", "uniform", "truncated_normal", "orthogonal"}
    others = {"initial", "initializer", "fan_in", "fan_out", "torch_bias"}
    functions = {name for name in vars(init) if callable(getattr(init, name)) and name[0].islower() and name not in others}
    assert functions - set(INITIALIZERS) == {"constant"}  # which has no value of its own
    assert makers <= functions


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2d(1, 1, 3, init="he"), r"Conv2d: init must be one of \('torch_default', 'he_normal'.*; got 'he'"),
        (lambda: Linear(1, 1, init=0.1), r"Linear: init must be a name or a callable of \(shape, rng, dtype\); got float"),
        (lambda: normal(-1), "normal: std must not be negative; got -1"),
        (lambda: uniform("1"), "uniform: limit must be a float; got str"),
        (lambda: constant(math.inf), "constant: value must be finite; got inf"),
        (lambda: truncated_normal(1, 0), "truncated_normal: cut must be at least 0.01 deviations"),
        (lambda: orthogonal()((3,), np.random.default_rng(0)), "orthogonal: shape must be that of a weight"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
