"""Schedules: the values of PyTorch's schedulers, by their recursions (theirs here are closed forms), and what is out of range.

Beside PyTorch itself they stand in tests/partners/test_optim.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastcnn.layers import Flatten, Linear, Sequential
from fastcnn.optim import SGD
from fastcnn.schedules import Constant, Cosine, Exponential, MultiStep, OneCycle, StepDecay, Warmup
from fastcnn.schedules import Linear as LinearRate
from fastcnn.train import fit


def _recursion(first: float, factor: Callable[[int], float], steps: int) -> list[float]:
    """Return rates each of which is factor(t) times the one before."""
    rates = [first]
    for t in range(1, steps):
        rates.append(rates[-1] * factor(t))
    return rates


def _wave(t: int) -> float:
    return 1 + math.cos(math.pi * t / STEPS)


STEPS = 25
CASES: dict[str, tuple[Any, list[float]]] = {
    "constant": (Constant(0.3), [0.3] * STEPS),
    "step": (StepDecay(0.5, 4, 0.3), _recursion(0.5, lambda t: 0.3 if t % 4 == 0 else 1, STEPS)),
    "multi-step": (MultiStep(0.5, [3, 9, 9, 20], 0.2), _recursion(0.5, lambda t: {3: 0.2, 9: 0.04, 20: 0.2}.get(t, 1), STEPS)),
    "exponential": (Exponential(0.5, 0.9), _recursion(0.5, lambda t: 0.9, STEPS)),
    # the recursion of SGDR's derivative, as CosineAnnealingLR documents it
    "cosine": (Cosine(0.5, STEPS), _recursion(0.5, lambda t: _wave(t) / _wave(t - 1), STEPS)),
    "linear": (LinearRate(0.6, 5, 0.5, 2.0), [0.6 * (0.5 + 0.3 * min(t, 5)) for t in range(STEPS)]),
    "warmup": (Warmup(Exponential(0.8, 0.5), 4, 0.25), [0.2, 0.35, 0.5, 0.65, *(0.8 * 0.5**t for t in range(STEPS - 4))]),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    schedule, expected = CASES[name]
    rates = [schedule(step) for step in range(STEPS)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert all(type(rate) is float for rate in rates)
    assert schedule(np.int64(3)) == rates[3]


def test_cosine_goes_between_its_ends() -> None:
    schedule = Cosine(1.0, 10, min_lr=0.2)
    assert schedule(0) == 1
    assert schedule(5) == pytest.approx(0.6)
    assert schedule(9) == pytest.approx(0.6 + 0.4 * math.cos(0.9 * math.pi))


def test_cosine_restarts_in_longer_and_longer_cycles() -> None:
    schedule = Cosine(1.0, 3, min_lr=0.1, restarts=2, factor=2)
    assert schedule.total == 3 + 6 + 12
    expected = [0.1 + 0.45 * (1 + math.cos(math.pi * step / length)) for length in (3, 6, 12) for step in range(length)]
    np.testing.assert_allclose([schedule(step) for step in range(21)], expected)
    with pytest.raises(ValueError, match="Cosine: step must be between 0 and 20; got 21"):
        schedule(21)


def test_training_follows_them() -> None:
    """The rate of every step is the schedule's, and the history has those of the last steps."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (24, 3, 3), np.uint8), rng.integers(0, 2, 24)
    schedule = Warmup(Cosine(0.5, 7), 2)
    seen: list[float] = []

    def followed(step: int) -> float:
        seen.append(schedule(step))
        return seen[-1]

    net = Sequential(Flatten(), Linear(9, 2, rng=0))
    optimizer = SGD(net.params, 9.0)
    history = fit(net, images, labels, epochs=3, batch_size=8, optimizer=optimizer, schedule=followed)
    rates = [schedule(step) for step in range(9)]
    assert seen[-9:] == rates
    assert [epoch.learning_rate for epoch in history.epochs] == rates[2::3]
    assert optimizer.lr == rates[-1]
    with pytest.raises(ValueError, match="the schedule must know steps 0 to 8; step 8: Cosine: step must be between 0 and 5; got 6"):
        fit(net, images, labels, epochs=3, batch_size=8, optimizer=optimizer, schedule=Warmup(Cosine(0.5, 6), 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "Constant: lr must not be negative; got -1"),
        (lambda: Constant("1"), "Constant: lr must be a float; got str"),
        (lambda: StepDecay(0.1, 0), "StepDecay: step_size must be between 1"),
        (lambda: StepDecay(0.1, 2, math.nan), "StepDecay: gamma must be finite; got nan"),
        (lambda: MultiStep(0.1, [3, 2]), r"MultiStep: milestones must be in rising order; got \[3, 2\]"),
        (lambda: MultiStep(0.1, [2.5]), r"MultiStep: milestones\[0\] must be an int"),
        (lambda: Exponential(0.1, -0.5), "Exponential: gamma must not be negative; got -0.5"),
        (lambda: Cosine(0.1, 0), "Cosine: steps must be between 1"),
        (lambda: Cosine(0.1, 5, restarts=-1), "Cosine: restarts must be between 0"),
        (lambda: LinearRate(0.1, 5, start_factor=-1), "Linear: start_factor must not be negative"),
        (lambda: Warmup(0.1, 5), "Warmup: schedule must be a callable of the step; got float"),
        (lambda: Warmup(Cosine(0.1, 5), 2)(7), "Cosine: step must be between 0 and 4; got 5"),
        *((lambda make=make: make(-1), "step must be") for make, _ in CASES.values()),
        (lambda: OneCycle(0.1, 5)(-1), "step must be"),
    ],
)
def test_errors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
