"""Optimisers on one parameter, step by step, against their published formulas; regularisation, initial values and schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from fastcnn import optim

from .rows import mistake, row

GRADIENTS = [1.0, -2.0, 0.5, 3.0]
LR = 0.1


def moved(make: Callable[[Mapping[str, np.ndarray]], optim.Optimizer]) -> list[float]:
    """Return where a parameter that begins at 1 is after each step."""
    w = np.ones(1)
    optimizer, found = make({"w": w}), []
    for gradient in GRADIENTS:
        optimizer.step({"w": np.array([gradient])})
        found.append(float(w[0]))
    return found


def sgd() -> Iterator[float]:
    for g in GRADIENTS:
        yield LR * g


def momentum() -> Iterator[float]:
    v = 0.0
    for g in GRADIENTS:
        v = 0.9 * v + g
        yield LR * v


def nesterov() -> Iterator[float]:
    v = 0.0
    for g in GRADIENTS:
        v = 0.9 * v + g
        yield LR * (g + 0.9 * v)


def adagrad() -> Iterator[float]:
    h = 0.0
    for g in GRADIENTS:
        h += g * g
        yield LR * g / (math.sqrt(h) + 1e-10)


def rmsprop() -> Iterator[float]:
    h = 0.0
    for g in GRADIENTS:
        h = 0.99 * h + 0.01 * g * g
        yield LR * g / (math.sqrt(h) + 1e-8)


def adam() -> Iterator[float]:
    m = v = 0.0
    for t, g in enumerate(GRADIENTS, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        yield LR * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)


def adadelta() -> Iterator[float]:
    h = d = 0.0
    for g in GRADIENTS:
        h = 0.9 * h + 0.1 * g * g
        change = g * math.sqrt(d + 1e-6) / math.sqrt(h + 1e-6)
        d = 0.9 * d + 0.1 * change**2
        yield LR * change


def placed(changes: Iterator[float]) -> np.ndarray:
    return 1 - np.cumsum(list(changes))


RULES: dict[str, tuple[Callable[..., optim.Optimizer], Callable[[], Iterator[float]]]] = {
    "SGD": (lambda p: optim.SGD(p, LR), sgd),
    "Momentum": (lambda p: optim.SGD(p, LR, 0.9), momentum),
    "Nesterov": (lambda p: optim.SGD(p, LR, 0.9, nesterov=True), nesterov),
    "AdaGrad": (lambda p: optim.Adagrad(p, LR), adagrad),
    "RMSprop": (lambda p: optim.RMSprop(p, LR), rmsprop),
    "Adam": (lambda p: optim.Adam(p, LR), adam),
    "AdamW": (lambda p: optim.AdamW(p, LR, weight_decay=0.0), adam),
    "Adadelta": (lambda p: optim.Adadelta(p, LR), adadelta),
}


@row(
    "optimisers",
    "SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW, Adadelta: every step as the papers' formulas have it",
    module="fastcnn.optim",
    example="README.md#use-it",
)
@pytest.mark.parametrize("rule", RULES)
def test_optimisers(rule: str) -> None:
    make, steps = RULES[rule]
    np.testing.assert_allclose(moved(make), placed(steps()), rtol=1e-9, atol=1e-12)


def test_decoupled_decay() -> None:
    """AdamW takes lr times decay from the weight itself, and leaves the gradient alone."""
    w = 1.0
    for change, found in zip(adam(), moved(lambda p: optim.AdamW(p, LR, weight_decay=0.2)), strict=True):
        w = w * (1 - LR * 0.2) - change
        assert found == pytest.approx(w, rel=1e-9)


@mistake("dn: Nesterov is plain SGD", "it looks ahead: w -= lr (g + m v)")
def test_nesterov_is_neither_sgd_nor_momentum() -> None:
    assert len({moved(RULES[rule][0])[1] for rule in ("SGD", "Momentum", "Nesterov")}) == 3
    # v = 1, then 0.9 - 2 = -1.1: 1 - 0.1 (1 + 0.9), then - 0.1 (-2 - 0.99)
    np.testing.assert_allclose(moved(RULES["Nesterov"][0])[:2], [0.81, 1.109])


@mistake("dn: Adam's moments share a list", "the mean of g and the mean of its square are kept apart")
def test_adam_keeps_two_moments() -> None:
    w = np.ones(1)
    optimizer = optim.Adam({"w": w}, LR)
    for gradient in (2.0, -2.0):
        optimizer.step({"w": np.array([gradient])})
    assert optimizer.state["w"]["exp_avg"][0] == pytest.approx(0.9 * 0.2 - 0.2)
    assert optimizer.state["w"]["exp_avg_sq"][0] == pytest.approx(0.999 * 0.004 + 0.004)


@mistake("001: AdaGrad as printed", "h += g g; w -= lr g / (sqrt(h) + eps)")
def test_adagrad_by_hand() -> None:
    # h = 1, then 5: 1 - 0.1, then + 0.1 * 2 / sqrt(5)
    np.testing.assert_allclose(moved(RULES["AdaGrad"][0])[:2], [0.9, 0.9 + 0.2 / math.sqrt(5)], rtol=1e-8)
