"""Every variant, direction and case of every operation against the float64 reference; the grid comes from the registry."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn import machine, registry
from fastcnn.agreement import Trial, error_share, tolerance
from fastcnn.ops.conv2d import bias_gradient
from fastcnn.registry import Operation

OPERATIONS = registry.operations()
GRID = [
    pytest.param(op, variant, direction, case.problem, id=f"{op.name}-{direction}-{variant}-{case.name}")
    for op in OPERATIONS.values()
    for direction in op.directions
    for variant, case in op.accepted(direction, op.problem.CASES)
]


def _run(op: Operation, variant: str, direction: str, problem, arguments, channels_last: bool = False) -> tuple[np.ndarray, ...]:
    """Return the float32 outputs of a variant, written over NaN; with `channels_last` images lie in memory as (N, H, W, C)."""
    outputs = op.problem.outputs(problem, direction, np.float32)
    if channels_last:
        arguments, outputs = (tuple(_channels_last(problem, a) for a in arrays) for arrays in (arguments, outputs))
    for output in outputs:
        output.fill(np.nan if output.dtype.kind == "f" else _pattern(output.dtype))
    op.run(variant, direction, problem, arguments, outputs)
    return outputs


def _channels_last(problem, array: np.ndarray) -> np.ndarray:
    is_image = array.shape in (problem.input_shape, problem.output_shape)
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if is_image else array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("op", "variant", "direction", "problem"), GRID)
def test_agrees_with_reference(op: Operation, variant: str, direction: str, problem, dtype) -> None:
    trial = Trial(op, direction, problem, dtype, np.random.default_rng(1))
    kept = [a.copy() for a in trial.arguments]
    assert trial.error(op.variants[variant].directions[direction]) <= 1
    for argument, copy in zip(trial.arguments, kept, strict=True):
        np.testing.assert_array_equal(argument, copy, err_msg="an input was changed")


IMAGES = ("avg_pool2d", "conv2d", "max_pool2d")
POOLS = [p for p in GRID if p.values[0].name == "max_pool2d" and p.values[2] == "forward"]
# Exponentials and roots of integers are no integers.
EXACT = [p for p in GRID if p.values[0].name not in ("softmax_cross_entropy", "softmax", "batch_norm", "layer_norm", "activation")]
HOSTED = [  # in both memory formats, where there are images (those of the fused operations: tests/test_fusion.py)
    pytest.param(*p.values, last, id=p.id + ("-NHWC" if last else ""))
    for p in EXACT
    for last in ((False, True) if p.values[0].name in IMAGES else (False,))
]
MARGIN = 64  # elements on either side of an array, more than the widest vector


def _pattern(dtype: np.dtype) -> int:
    """Return a value that no result has."""
    return 249 if dtype.kind == "u" else -7


def _surrounded(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (a copy of the array in the middle of a larger one, that larger one): NaN, or the smallest integer, lies around it."""
    hostile = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).min
    around = np.full(array.size + 2 * MARGIN, hostile, array.dtype)
    inside = around[MARGIN : MARGIN + array.size].reshape(array.shape)
    inside[...] = array
    return inside, around


@pytest.mark.parametrize(("op", "variant", "direction", "problem", "channels_last"), HOSTED)
def test_integers_are_exact_and_nothing_around_is_touched(
    op: Operation, variant: str, direction: str, problem, channels_last: bool
) -> None:
    """Any order of exact sums gives the same bits. NaN beyond the inputs would show in the sums, a write beyond the outputs around them.

    Transforms with roots (`error_growth` above 1) and averages round, but integers so small come out to a thousandth.
    """
    exact = op.variants[variant].directions[direction].error_growth == 1 and op.name != "avg_pool2d"

    def hosted(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        is_image = channels_last and array.shape in (problem.input_shape, problem.output_shape)
        inside, around = _surrounded(array.transpose(0, 2, 3, 1) if is_image else array)
        return inside.transpose(0, 3, 1, 2) if is_image else inside, around

    rng = np.random.default_rng(2)
    arguments = [
        rng.integers(-4, 5, a.shape).astype(np.float32) if a.dtype.kind == "f" else a
        for a in op.problem.arguments(problem, direction, np.float32, rng)
    ]
    want = op.problem.outputs(problem, direction, np.float64)
    op.run("reference", direction, problem, arguments, want)
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            inputs = [hosted(a)[0] for a in arguments]
            outputs = [hosted(np.full_like(a, _pattern(a.dtype))) for a in op.problem.outputs(problem, direction, np.float32)]
            op.run(variant, direction, problem, inputs, [inside for inside, _ in outputs])
            for (got, around), expected in zip(outputs, want, strict=True):
                if exact:
                    np.testing.assert_array_equal(got, expected)
                elif got.dtype.kind == "f":  # the winner of a tie is whoever was rounded up
                    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3 * (1 + np.abs(expected).max(initial=0)))
                untouched = np.full(MARGIN, around[0])
                np.testing.assert_array_equal(around[:MARGIN], untouched)
                np.testing.assert_array_equal(around[-MARGIN:], untouched)


@pytest.mark.parametrize(("op", "variant", "direction", "problem"), [p for p in GRID if p.values[0].name in IMAGES])
def test_channels_last_memory_gives_the_same(op: Operation, variant: str, direction: str, problem) -> None:
    arguments = op.problem.arguments(problem, direction, np.float32, np.random.default_rng(3))
    plain = _run(op, variant, direction, problem, arguments)
    last = _run(op, variant, direction, problem, arguments, channels_last=True)
    for a, b in zip(plain, last, strict=True):
        if op.name == "max_pool2d":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("op", "variant", "direction", "problem"), POOLS)
def test_pooling_of_nan_and_infinities(op: Operation, variant: str, direction: str, problem, channels_last: bool) -> None:
    """NaN wins over every number and infinity, in planes and in channels; the same values and places as the reference's."""
    rng = np.random.default_rng(5)
    x = rng.choice(np.array([np.nan, np.inf, -np.inf, 0, 1, 2], np.float32), problem.input_shape)
    want = _run(op, "reference", direction, problem, (x,))
    for got, expected in zip(_run(op, variant, direction, problem, (x,), channels_last), want, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
def test_conv2d_large_enough_for_threads(direction: str) -> None:
    """Jobs of several threads: the same bits run after run, and within tolerance of the reference."""
    op = OPERATIONS["conv2d"]
    problem = next(case.problem for case in op.problem.BENCH if case.name == "mnist-32c3")
    trial = Trial(op, direction, problem, np.float32, np.random.default_rng(4))
    run = op.variants["direct"].directions[direction]
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            assert trial.error(run) <= 1
            first, second = (_run(op, "direct", direction, problem, trial.arguments) for _ in range(2))
            np.testing.assert_array_equal(first[0], second[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 2), (2, 33, 41, 53), (0, 3, 2, 2)])
def test_bias_gradient_is_a_sum_over_pixels(shape: tuple[int, ...], channels_last: bool, dtype: type) -> None:
    dy = np.random.default_rng(6).standard_normal(shape).astype(dtype)
    want, size = (a.astype(np.float64).sum(axis=(0, 2, 3)) for a in (dy, np.abs(dy)))
    got = bias_gradient(dy.transpose(0, 2, 3, 1).copy() if channels_last else dy, "NHWC" if channels_last else "NCHW")
    assert got.dtype == dtype
    assert error_share(got, want, tolerance(dy.size // max(shape[1], 1) or 1, size, dtype)) <= 1
