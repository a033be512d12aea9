"""The measure of agreement itself, and numbers that were chosen to lose digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fastcnn import registry
from fastcnn.agreement import Trial, error_share, tolerance
from fastcnn.registry import Operation

OPERATIONS = registry.operations()
U, ETA = 2.0**-24, 2.0**-149  # of float32: half the distance of 1 to its neighbour, the smallest subnormal


def test_the_bound_is_the_one_of_the_paper() -> None:
    """min(K + 4, 6 sqrt(K) + 8) u A + (K + 2) eta; in float64 u is twice as large, as the oracle rounds too."""
    size = np.array([0.0, 1.0, 3.0])
    for terms, factor in ((1, 5), (4, 8), (100, 68), (10_000, 608)):
        np.testing.assert_allclose(tolerance(terms, size, np.float32), factor * U * size + (terms + 2) * ETA, rtol=1e-15)
    np.testing.assert_allclose(tolerance(100, size, np.float64)[1:], 68 * 2.0**-52 * size[1:], rtol=1e-15)
    np.testing.assert_array_equal(tolerance(0, size, np.float32), 0)


def test_a_share_counts_what_is_missed_as_infinite() -> None:
    one = np.ones(1)
    assert error_share(np.float32([1.5]), one, np.array([0.25])) == 2
    assert error_share(np.float32([1]), one, np.array([0.0])) == 0
    for got, want in ((np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf), (1.5, 1.0)):
        assert error_share(np.float32([got]), np.array([want]), np.array([0.0])) == math.inf
    for same in (np.nan, np.inf, -np.inf):
        assert error_share(np.float32([same]), np.array([same]), np.array([0.0])) == 0


def test_a_result_that_was_not_written_is_infinitely_wrong() -> None:
    op = OPERATIONS["conv2d"]
    trial = Trial(op, "forward", op.problem.CASES[3].problem, np.float32, np.random.default_rng(0))
    assert trial.error(lambda problem, *arrays: None) == math.inf
    assert trial.error(op.variants["reference"].directions["forward"]) <= 1


# --- Adversarial numbers -----------------------------------------------------------------------------------------------

SUMS = ("avg_pool2d", "conv2d", "linear")
CASES = {  # every tail of a tile, padding, strides, groups and single channels
    "channels-31-33", "channels-3-5", "channels-16-17", "pointwise", "strided", "kernel-11", "padding-asymmetric", "row-27", "stem-7x7",
    "dilated", "groups-2", "groups-of-4", "depthwise", "depthwise-40", "depthwise-1-channel", "depthwise-row-37",
}  # fmt: skip


# Of the second factor of every product, and of the others: the first, and a bias, which must not drown the sums.


def _huge(rng: np.random.Generator, shape: tuple[int, ...], second: bool) -> np.ndarray:
    """Return numbers of up to 1e30 and as small as 1e-30; what they are multiplied with is below 1."""
    return rng.choice([-1.0, 1.0], shape) * 10.0 ** (rng.uniform(-6, 0, shape) if second else rng.uniform(-30, 30, shape))


def _tiny(rng: np.random.Generator, shape: tuple[int, ...], second: bool) -> np.ndarray:
    """Return numbers near the smallest that float32 has, denormals most of them, as are their products with what is below 1."""
    return rng.choice([-1.0, 1.0], shape) * (rng.uniform(0.01, 1, shape) if second else 10.0 ** rng.uniform(-45, -37, shape))


def _cancelling(rng: np.random.Generator, shape: tuple[int, ...], second: bool) -> np.ndarray:
    """Return numbers whose products are nearly one number, half of them negative: sums are thousands of times smaller than their terms."""
    return (1.0 if second else rng.choice([-1.0, 1.0], shape)) * (1e4 + rng.standard_normal(shape))


NUMBERS: tuple[Callable[[np.random.Generator, tuple[int, ...], bool], np.ndarray], ...] = (_huge, _tiny, _cancelling)


def _plain_sums() -> Iterator[object]:
    """Yield every variant and direction that computes sums of products as they are, without a transform and in full precision."""
    for name in SUMS:
        op = OPERATIONS[name]
        for direction in op.directions:
            for variant in sorted({variant for variant, _ in op.accepted(direction, op.problem.CASES)}):
                if op.variants[variant].precision == "highest" and op.variants[variant].directions[direction].error_growth == 1:
                    yield pytest.param(op, direction, variant, id=f"{name}-{direction}-{variant}")


@pytest.mark.parametrize(("op", "direction", "variant"), list(_plain_sums()))
def test_adversarial_numbers_stay_within_their_bound(op: Operation, direction: str, variant: str) -> None:
    """(K + 4) u A + (K + 2) eta, with A the sum of absolute values: denormals are kept, nothing overflows that need not."""
    tried = 0
    for case in op.problem.CASES:
        if (op.name == "conv2d" and case.name not in CASES) or op.variants[variant].refuses(case.problem, direction) is not None:
            continue
        terms = op.problem.reduction(case.problem, direction)
        for seed, numbers in enumerate(NUMBERS):
            rng = np.random.default_rng(seed)
            shapes = [a.shape for a in op.problem.arguments(case.problem, direction, np.float32, rng)]
            arguments = [numbers(rng, shape, place == 1).astype(np.float32) for place, shape in enumerate(shapes)]
            got = op.problem.outputs(case.problem, direction, np.float32)
            for output in got:
                output.fill(np.nan)
            op.run(variant, direction, case.problem, arguments, got)
            want, sizes = (op.problem.outputs(case.problem, direction, np.float64) for _ in range(2))
            exact = [a.astype(np.float64) for a in arguments]
            op.run("reference", direction, case.problem, exact, want)
            op.run("reference", direction, case.problem, [np.abs(a) for a in exact], sizes)
            for g, w, size in zip(got, want, sizes, strict=True):
                assert error_share(g, w, (terms + 4) * U * size + (terms + 2) * ETA) <= 1, (case.name, numbers.__name__)
                tried += g.size
    assert tried > 0
