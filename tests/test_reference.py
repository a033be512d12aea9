"""The references themselves: against literal loops, scipy, torch's documented values and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from fastcnn import registry
from fastcnn.ops.conv2d import Conv2dProblem
from fastcnn.registry import Operation

OPERATIONS = registry.operations()
SMALL = 3000  # elements of a problem whose gradient is checked number by number


def _literal_convolution(p: Conv2dProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Seven loops and an if, as the definition is written on paper."""
    y = np.zeros(p.output_shape)
    for n, k, i, j in np.ndindex(*y.shape):
        y[n, k, i, j] = b[k]
        first = k // (p.K // p.groups) * (p.C // p.groups)
        for c in range(p.C // p.groups):
            for r in range(p.R):
                for s in range(p.S):
                    h = i * p.stride_h + r * p.dilation_h - p.top
                    v = j * p.stride_w + s * p.dilation_w - p.left
                    if 0 <= h < p.H and 0 <= v < p.W:
                        y[n, k, i, j] += x[n, first + c, h, v] * w[k, c, r, s]
    return y


LITERAL = [case for case in OPERATIONS["conv2d"].problem.CASES if OPERATIONS["conv2d"].problem.work(case.problem, "forward") < 150_000]


@pytest.mark.parametrize("case", LITERAL, ids=lambda case: case.name)
def test_conv2d_against_seven_loops(case) -> None:
    op = OPERATIONS["conv2d"]
    arguments = op.problem.arguments(case.problem, "forward", np.float64, np.random.default_rng(0))
    (y,) = op.problem.outputs(case.problem, "forward", np.float64)
    op.run("reference", "forward", case.problem, arguments, (y,))
    np.testing.assert_allclose(y, _literal_convolution(case.problem, *arguments), rtol=1e-12, atol=1e-12)


def test_literal_cases_cover_the_hard_arguments() -> None:
    problems = [case.problem for case in LITERAL]
    assert any(p.groups > 1 for p in problems)
    assert any(p.dilation_h > 1 for p in problems)
    assert any(p.stride_h != p.stride_w for p in problems)
    assert any(p.top != p.bottom for p in problems)


def test_conv2d_against_scipy() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 3, 2))
    problem = Conv2dProblem(2, 3, 9, 8, 4, 3, 2)
    y = np.empty(problem.output_shape)
    OPERATIONS["conv2d"].run("reference", "forward", problem, (x, w, np.zeros(4)), (y,))
    want = [[sum(signal.correlate2d(x[n, c], w[k, c], "valid") for c in range(3)) for k in range(4)] for n in range(2)]
    np.testing.assert_allclose(y, want, rtol=1e-12)


def _differentiable(op: Operation, direction: str) -> bool:
    return direction != "forward" and op.name not in (
        "relu",
        "max_pool2d",
        "batch_norm",
        "layer_norm",
    )  # corners, two modes, or gradients of parameters too: they have tests of their own


@pytest.mark.parametrize(
    ("op", "direction", "case"),
    [
        pytest.param(op, direction, case, id=f"{op.name}-{direction}-{case.name}")
        for op in OPERATIONS.values()
        for direction in op.directions
        for case in op.problem.CASES
        if _differentiable(op, direction) and op.problem.work(case.problem, direction) < SMALL
    ],
)
def test_gradients_by_finite_differences(op: Operation, direction: str, case) -> None:
    """d(sum of y * dy)/d(argument) by central differences, for every element of x or weight."""
    rng = np.random.default_rng(5)
    problem = case.problem
    forward_arguments = [a.astype(np.float64) for a in op.problem.arguments(problem, "forward", np.float64, rng)]
    (y,) = op.problem.outputs(problem, "forward", np.float64)
    dy = rng.standard_normal(y.shape)
    position = 1 if direction == "backward_weight" else 0
    moved = forward_arguments[position]

    def loss() -> float:
        op.run("reference", "forward", problem, forward_arguments, (y,))
        return float((y * dy).sum())

    numeric, eps = np.empty_like(moved), 1e-5
    for index in np.ndindex(*moved.shape):
        kept = moved[index]
        moved[index] = kept + eps
        above = loss()
        moved[index] = kept - eps
        numeric[index] = (above - loss()) / (2 * eps)
        moved[index] = kept
    analytic = op.problem.outputs(problem, direction, np.float64)[0]
    loss()  # the output at the arguments as they are
    op.run("reference", direction, problem, _backward_arguments(op, direction, dy, forward_arguments, y), (analytic,))
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-7)


def _backward_arguments(op: Operation, direction: str, dy: np.ndarray, forward: list[np.ndarray], y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the inputs of a backward for the forward's inputs and output."""
    if direction == "backward_weight":
        return forward[0], dy
    if op.name in ("softmax_cross_entropy", "activation"):
        return dy, *forward
    if op.name == "softmax":
        return dy, y
    return (dy, forward[1]) if len(forward) > 1 else (dy,)


def test_relu_and_its_corner() -> None:
    x, y = np.array([-1.0, 0.0, -0.0, 2.0, np.nan]), np.empty(5)
    OPERATIONS["relu"].run("reference", "forward", None, (x,), (y,))
    np.testing.assert_array_equal(y, [0, 0, 0, 2, np.nan])
    OPERATIONS["relu"].run("reference", "backward_input", None, (np.full(5, 3.0), x), (y,))
    np.testing.assert_array_equal(y, [0, 0, 0, 3, 3])


def test_max_pool_takes_the_first_of_equals() -> None:
    from fastcnn import max_pool2d, max_pool2d_backward

    x = np.array([[[[1.0, 5, 5, 0], [5, 2, 5, 5]]]])
    for algorithm in ("reference", "direct"):
        y, indices = max_pool2d(x, 2, return_indices=True, algorithm=algorithm)
        np.testing.assert_array_equal(y, [[[[5, 5]]]])
        np.testing.assert_array_equal(indices, [[[[1, 2]]]])
        dx = max_pool2d_backward(np.array([[[[10.0, 20]]]]), indices, x.shape, 2, algorithm=algorithm)
        np.testing.assert_array_equal(dx, [[[[0, 10, 20, 0], [0, 0, 0, 0]]]])


def test_softmax_cross_entropy_known_values() -> None:
    from fastcnn import softmax_cross_entropy, softmax_cross_entropy_backward

    logits = np.log(np.array([[1.0, 2, 5]]))
    assert softmax_cross_entropy(logits, np.array([2])) == pytest.approx(np.log(8 / 5))
    np.testing.assert_allclose(softmax_cross_entropy_backward(1.0, logits, np.array([2])), [[1 / 8, 2 / 8, 5 / 8 - 1]])
    assert softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([0])) == 0  # no overflow
    smooth = softmax_cross_entropy(logits, np.array([2]), label_smoothing=0.3)
    assert smooth == pytest.approx(-(0.8 * np.log(5 / 8) + 0.1 * np.log(2 / 8) + 0.1 * np.log(1 / 8)))


@pytest.mark.parametrize("algorithm", ["reference", "direct"])
def test_a_logit_of_minus_infinity_costs_nothing_where_it_is_not_wanted(algorithm: str) -> None:
    from fastcnn import softmax_cross_entropy

    logits = np.array([[-np.inf, 0.0, 0.0]])
    assert softmax_cross_entropy(logits, np.array([1]), algorithm=algorithm) == pytest.approx(np.log(2))
    assert softmax_cross_entropy(logits, np.array([0]), algorithm=algorithm) == np.inf
