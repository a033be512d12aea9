"""How long a call of the estimator trains, with which optimiser, and at which learning rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from ..layers import Layer
from ..optim import Adam
from ..schedules import OneCycle
from ..train import History, count_steps
from ..train.fit import DEFAULT_BETAS, DEFAULT_WARMUP
from .settings import Settings

_STEADY_BETAS = 0.9, 0.999  # Adam's own; those of a cycle forget faster, and need a rate that comes down


class Course(NamedTuple):
    """Arguments of `fastcnn.train.fit`."""

    epochs: float
    optimizer: Adam
    schedule: Callable[[int], float]


def of_fit(model: Layer, settings: Settings, samples: int) -> Course:
    """Return one cycle of the rate, up and down; with early stopping, whose end nobody knows, a constant rate."""
    epochs = settings.epochs(samples)
    if settings.early_stopping:
        return Course(epochs, _adam(model, settings, _STEADY_BETAS), _constant(settings.learning_rate_init))
    steps = count_steps(samples, epochs, settings.batch(samples))
    schedule = OneCycle(settings.learning_rate_init, steps, warmup=DEFAULT_WARMUP, anneal="linear")
    return Course(epochs, _adam(model, settings, DEFAULT_BETAS), schedule)


def of_partial_fit(model: Layer, settings: Settings, optimizer: Adam | None) -> Course:
    """Return one epoch at a constant rate, by the optimiser of the call before where there was one."""
    if optimizer is None:
        optimizer = _adam(model, settings, _STEADY_BETAS)
    optimizer.weight_decay = settings.weight_decay
    return Course(1, optimizer, _constant(settings.learning_rate_init))


def joined(before: History, after: History) -> History:
    """Return the history of two calls: the epochs numbered on, and their seconds added up."""
    last = before.epochs[-1]
    later = [epoch._replace(number=epoch.number + last.number, seconds=epoch.seconds + last.seconds) for epoch in after.epochs]
    return dataclasses.replace(before, epochs=before.epochs + later, step_losses=before.step_losses + after.step_losses)


def _adam(model: Layer, settings: Settings, betas: tuple[float, float]) -> Adam:
    return Adam(model.params, settings.learning_rate_init, betas=betas, weight_decay=settings.weight_decay)


def _constant(rate: float) -> Callable[[int], float]:
    return lambda step: rate
