"""Convolutions over one and three axes and transposed ones: the definition in float64, and gradients by finite differences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from _definitions import agree, convolution, require_gradients, transposed

from fastcnn import functional


class Problem(NamedTuple):
    """A problem of a convolution, with a number for each axis."""

    name: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    sides: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    output_padding: tuple[int, ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the public function."""
        more = {"output_padding": self.output_padding} if self.output_padding else {}
        return {"stride": self.stride, "padding": self.sides, "dilation": self.dilation, "groups": self.groups, **more}

    def define(self, x: np.ndarray, weight: np.ndarray, bias: Any) -> np.ndarray:
        """Return the result by the definition."""
        if self.output_padding:
            return transposed(x, weight, bias, self.stride, self.sides, self.output_padding, self.groups, self.dilation)
        return convolution(x, weight, bias, self.stride, self.sides, self.dilation, self.groups)


DIRECT = [
    Problem("conv1d", (2, 3, 9), (5, 3, 3), (1,), ((1, 1),), (1,)),
    Problem("conv1d", (1, 40, 131), (48, 40, 5), (1,), ((2, 2),), (1,)),
    Problem("conv1d", (2, 6, 17), (4, 3, 4), (3,), ((0, 5),), (2,), 2),
    Problem("conv1d", (3, 5, 12), (10, 1, 3), (1,), ((2, 0),), (1,), 5),
    Problem("conv1d", (1, 1, 1), (1, 1, 1), (1,), ((0, 0),), (1,)),
    Problem("conv3d", (2, 3, 4, 5, 6), (4, 3, 3, 3, 3), (1, 1, 1), ((1, 1), (1, 1), (1, 1)), (1, 1, 1)),
    Problem("conv3d", (1, 33, 6, 9, 10), (17, 33, 3, 3, 3), (1, 1, 1), ((0, 0), (1, 1), (1, 1)), (1, 1, 1)),
    Problem("conv3d", (2, 4, 7, 5, 6), (6, 2, 2, 3, 2), (3, 2, 1), ((0, 4), (3, 1), (0, 2)), (2, 1, 3), 2),
    Problem("conv3d", (2, 6, 5, 6, 7), (6, 1, 3, 3, 3), (1, 2, 2), ((1, 1), (1, 1), (1, 1)), (1, 1, 1), 6),
    Problem("conv3d", (1, 5, 1, 6, 7), (10, 1, 3, 3, 3), (1, 1, 1), ((3, 2), (1, 0), (1, 1)), (2, 1, 1), 5),  # multiplier 2
    Problem("conv3d", (2, 4, 4, 5, 6), (4, 1, 2, 3, 2), (3, 1, 1), ((2, 1), (0, 0), (0, 3)), (3, 1, 2), 4),
    Problem("conv3d", (1, 2, 2, 3, 3), (3, 2, 1, 2, 2), (1, 1, 1), ((6, 0), (0, 0), (0, 0)), (1, 1, 1)),
    Problem("conv3d", (1, 2, 1, 3, 3), (3, 2, 7, 2, 2), (4, 1, 1), ((6, 6), (0, 0), (0, 0)), (1, 1, 1)),
    Problem("conv3d", (2, 3, 9, 4, 5), (4, 3, 3, 1, 1), (2, 1, 1), ((1, 0), (0, 0), (0, 0)), (2, 1, 1)),  # depth alone
    Problem("conv3d", (2, 3, 4, 5, 9), (4, 3, 1, 1, 4), (1, 1, 2), ((0, 0), (0, 0), (2, 1)), (1, 1, 1)),  # width alone
    Problem("conv3d", (2, 5, 3, 4, 5), (7, 5, 1, 1, 1), (1, 1, 1), ((0, 0), (0, 0), (0, 0)), (1, 1, 1)),
    Problem("conv3d", (2, 3, 4, 4, 5), (4, 3, 3, 1, 1), (1, 1, 1), ((1, 1), (0, 2), (0, 0)), (1, 1, 1)),
    Problem("conv3d", (2, 3, 5, 4, 4), (4, 3, 1, 1, 1), (2, 2, 1), ((0, 0), (1, 0), (0, 0)), (1, 1, 1)),
]
TRANSPOSED = [
    Problem("conv_transpose1d", (2, 3, 5), (3, 4, 3), (2,), ((1, 1),), (1,), 1, (1,)),
    Problem("conv_transpose1d", (1, 6, 4), (6, 2, 4), (1,), ((0, 2),), (3,), 3, (2,)),
    Problem("conv_transpose2d", (2, 3, 4, 5), (3, 6, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1, (1, 1)),
    Problem("conv_transpose2d", (2, 17, 4, 5), (17, 33, 4, 4), (2, 2), ((1, 1), (1, 1)), (1, 1), 1, (0, 0)),
    Problem("conv_transpose2d", (1, 4, 3, 4), (4, 3, 2, 3), (3, 1), ((0, 2), (1, 0)), (1, 2), 2, (2, 1)),
    Problem("conv_transpose2d", (1, 3, 4, 4), (3, 2, 2, 2), (4, 3), ((0, 0), (0, 1)), (1, 1), 1, (3, 2)),  # zeros beyond the taps
    Problem("conv_transpose2d", (2, 3, 1, 3), (3, 2, 1, 1), (4, 1), ((1, 1), (0, 0)), (1, 1), 1, (3, 0)),  # no tap reaches the output
    Problem("conv_transpose2d", (2, 8, 5, 5), (8, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 8, (1, 1)),
    Problem("conv_transpose3d", (2, 3, 2, 3, 4), (3, 4, 2, 3, 2), (2, 1, 2), ((1, 0), (1, 1), (0, 0)), (1, 1, 1), 1, (1, 0, 1)),
    Problem("conv_transpose3d", (1, 4, 3, 2, 2), (4, 1, 3, 2, 2), (1, 2, 3), ((0, 1), (0, 0), (2, 0)), (2, 1, 1), 2, (0, 1, 2)),
]
PROBLEMS = [pytest.param(problem, id=f"{problem.name}-{'x'.join(map(str, problem.x))}") for problem in (*DIRECT, *TRANSPOSED)]


def _arrays(problem: Problem, dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    filters = problem.weight[1] * problem.groups if problem.output_padding else problem.weight[0]
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in (problem.x, problem.weight, (filters,)))
    return x, weight, bias


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_results_are_as_defined(problem: Problem, dtype: Any) -> None:
    forward, (x, weight, bias) = getattr(functional, problem.name), _arrays(problem, dtype)
    scale, terms = problem.define(*map(np.abs, (x, weight, bias))), weight[0].size
    for given in (bias, None):
        want = problem.define(x, weight, given)
        for _ in range(2):  # the second call follows a plan
            got = forward(x, weight, given, **problem.arguments)
            assert got.dtype == dtype
            agree(got, want, scale, terms)
        agree(forward(x[0], weight, given, **problem.arguments), want[0], scale, terms)
        agree(forward(x[0], weight, given, **problem.arguments), want[0], scale, terms)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_gradients_are_finite_differences(problem: Problem) -> None:
    forward, backward = getattr(functional, problem.name), getattr(functional, f"{problem.name}_backward")
    x, weight, bias = _arrays(problem, np.float64)
    require_gradients(problem.define, (x, weight, bias), lambda dy: backward(dy, x, weight, **problem.arguments))
    rounded = tuple(a.astype(np.float32) for a in (x, weight))
    dy = np.random.default_rng(2).standard_normal(forward(x, weight, bias, **problem.arguments).shape)
    want = backward(dy, x, weight, **problem.arguments)
    scales = backward(np.abs(dy), np.abs(x), np.abs(weight), **problem.arguments)
    for _ in range(2):
        for got, one, scale in zip(backward(dy.astype(np.float32), *rounded, **problem.arguments), want, scales, strict=True):
            assert got.dtype == np.float32
            agree(got, one, scale, 8)
    single = backward(dy[0], x[0], weight, **problem.arguments)
    batch = backward(dy[:1], x[:1], weight, **problem.arguments)
    for number, (got, one) in enumerate(zip(single, batch, strict=True)):
        np.testing.assert_array_equal(got, one if number else one[0])


@pytest.mark.parametrize("name", ["conv1d", "conv3d"])
def test_gradients_apart_are_those_of_backward(name: str) -> None:
    for problem in DIRECT:
        if problem.name == name:
            x, weight, bias = _arrays(problem, np.float32)
            dy = getattr(functional, name)(x, weight, bias, **problem.arguments)
            dx, dweight, dbias = getattr(functional, f"{name}_backward")(dy, x, weight, **problem.arguments)
            np.testing.assert_array_equal(dx, getattr(functional, f"{name}_input")(x.shape, weight, dy, **problem.arguments))
            np.testing.assert_array_equal(dweight, getattr(functional, f"{name}_weight")(x, weight.shape, dy, **problem.arguments))
            agree(dbias, dy.astype(np.float64).sum(axis=(0, *range(2, dy.ndim))), np.abs(dy).sum(), 1)


@pytest.mark.parametrize("folded_bytes", [1, 5000])
def test_a_volume_folded_in_parts_gives_the_same(folded_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for problem in DIRECT:
        if problem.name == "conv3d":
            x, weight, bias = _arrays(problem, np.float64)
            with monkeypatch.context() as patch:
                patch.setattr("fastcnn.functional._depth._FOLDED_BYTES", folded_bytes)
                y = functional.conv3d(x, weight, bias, **problem.arguments)
                gradients = functional.conv3d_backward(y, x, weight, **problem.arguments)
            np.testing.assert_allclose(y, functional.conv3d(x, weight, bias, **problem.arguments), rtol=0, atol=1e-12)
            for got, want in zip(gradients, functional.conv3d_backward(y, x, weight, **problem.arguments), strict=True):
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * (1 + np.abs(want).max()))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("algorithm", ["auto", "im2col", "reference"])
def test_nan_and_infinities_stay_where_the_definition_has_them(algorithm: str, groups: int) -> None:
    """Zeros of the padding times an infinite weight are NaN, in the definition too; the input's gradient meets no such zeros."""
    rng = np.random.default_rng(3)
    x, weight = (rng.integers(-2, 3, shape).astype(np.float32) for shape in ((1, 2, 4, 5, 5), (2, 2 // groups, 3, 3, 3)))
    x[0, 1, 2, 2, 2], x[0, 0, 0, 0, 0], weight[1, -1, 0, 1, 1] = np.nan, np.inf, -np.inf
    arguments = {"padding": 1, "groups": groups, "algorithm": algorithm}
    y = functional.conv3d(x, weight, **arguments)
    numbers = (1,) * 3, ((1, 1),) * 3, (1,) * 3, groups
    with np.errstate(invalid="ignore"):
        want = convolution(x, weight, None, *numbers)
    np.testing.assert_array_equal(y, want)
    dy = np.ones(y.shape, np.float32)
    dx, _, _ = functional.conv3d_backward(dy, x, weight, **arguments)
    assert np.isneginf(dx[0, 1, :3]).all()  # all that the infinite tap reads; in front of the last slice it has no output
    assert np.isfinite(dx[0, 0]).all()
    assert np.isfinite(dx[0, 1, 3]).all()
    dy[0, 0, 0, 2, 2] = np.inf
    dweight = functional.conv3d_weight(np.ones_like(x), weight.shape, dy, **arguments)
    assert np.isnan(dweight[0, :, 0]).all()  # the padding in front times infinity
    assert np.isposinf(dweight[0, :, 1:]).all()
    assert np.isfinite(dweight[1]).all()


def test_infinities_and_nan_give_no_warning() -> None:
    image, weight = np.full((1, 2, 4, 4), np.inf, np.float32), np.full((2, 2, 3, 3), -np.inf, np.float32)
    y = functional.conv_transpose2d(image, weight, np.full(2, np.inf, np.float32))
    assert np.isnan(y).all()
    functional.conv_transpose2d_backward(y, image, weight)
    functional.conv1d_backward(y[..., 0][..., :2], image[..., 0], weight[..., 0])


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "reference"])
def test_an_algorithm_by_name(algorithm: str) -> None:
    for problem in (DIRECT[0], DIRECT[5], TRANSPOSED[2], TRANSPOSED[-2]):
        x, weight, bias = _arrays(problem, np.float64)
        got = getattr(functional, problem.name)(x, weight, bias, **problem.arguments, algorithm=algorithm, precision="highest")
        np.testing.assert_allclose(got, problem.define(x, weight, bias), rtol=0, atol=1e-12)


def test_tensors_of_others_are_arguments() -> None:
    class Tensor:
        def __init__(self, values: np.ndarray) -> None:
            self.values = values

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return self.values

    x, weight, _ = _arrays(DIRECT[0], np.float32)
    np.testing.assert_array_equal(functional.conv1d(Tensor(x), Tensor(weight)), functional.conv1d(x, weight))
    dy = functional.conv1d(x, weight)
    for got, want in zip(
        functional.conv1d_backward(Tensor(dy), Tensor(x), Tensor(weight)), functional.conv1d_backward(dy, x, weight), strict=True
    ):
        np.testing.assert_array_equal(got, want)
