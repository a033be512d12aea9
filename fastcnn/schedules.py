"""Learning rates over a run: a schedule is a callable from the step (0 ... steps - 1) to the learning rate.

A step is one batch. What PyTorch's schedulers count in epochs is counted in steps here: ``StepDecay(0.1, 10 * steps_per_epoch)``. Those
that know the length of a run refuse steps beyond it; see `fastcnn.train.count_steps`. An argument of another kind is a TypeError, one out
of its range a ValueError.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

from . import checks, scalars, window


class OneCycle:
    """Up from max_lr / div to max_lr in the first `warmup` share of the steps, then down to max_lr / (div * final_div).

    Parameters
    ----------
    max_lr : float
    steps : int
        Steps of the whole run.
    warmup : float
        Share of the steps that go up, 0 to 1.
    anneal : "cos" or "linear"
    div, final_div : float
        As torch's div_factor and final_div_factor.

    Raises
    ------
    ValueError
        A number out of its range, or another `anneal`.

    References
    ----------
    L. Smith & N. Topin, "Super-Convergence", 2017; `torch.optim.lr_scheduler.OneCycleLR`, whose values these are.
    """

    def __init__(
        self, max_lr: float, steps: int, warmup: float = 0.3, anneal: str = "cos", div: float = 25.0, final_div: float = 1e4
    ) -> None:
        numbers = {"max_lr": max_lr, "warmup": warmup, "div": div, "final_div": final_div}
        max_lr, warmup, div, final_div = (checks.number("OneCycle", name, value) for name, value in numbers.items())
        steps = window.whole("OneCycle", "steps", steps)
        if not 1 <= steps <= window.LARGEST or not 0 <= warmup <= 1 or not max_lr > 0 or not div > 0 or not final_div > 0:
            raise ValueError(
                f"OneCycle: expected steps from 1 to {window.LARGEST}, 0 <= warmup <= 1 and positive max_lr, div, final_div; "
                f"got {window.shown(steps)}, {warmup}, {max_lr}, {div}, {final_div}"
            )
        checks.choice("OneCycle", "anneal", anneal, ("cos", "linear"))
        self.max_lr, self.steps, self.anneal = max_lr, steps, anneal
        self.start, self.end = max_lr / div, max_lr / div / final_div
        self.peak = warmup * steps - 1

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; ValueError beyond the last one."""
        step = _step("OneCycle", step, self.steps)
        if step <= self.peak:
            return self._between(self.start, self.max_lr, step / self.peak if self.peak else 1.0)
        return self._between(self.max_lr, self.end, (step - self.peak) / (self.steps - 1 - self.peak))

    def _between(self, first: float, last: float, share: float) -> float:
        if self.anneal == "linear":
            return first + (last - first) * share
        return last + (first - last) / 2 * (1 + math.cos(math.pi * share))


class Constant:
    """The same learning rate at every step.

    Parameters
    ----------
    lr : float
    """

    def __init__(self, lr: float) -> None:
        self.lr = scalars.not_negative("Constant", "lr", lr)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, at least 0."""
        step = _step("Constant", step)
        return self.lr


class StepDecay:
    """lr gamma^floor(step / step_size): a factor of gamma after every `step_size` steps.

    Parameters
    ----------
    lr : float
    step_size : int
    gamma : float

    Raises
    ------
    TypeError, ValueError
        A number is of another kind, or out of its range.

    References
    ----------
    `torch.optim.lr_scheduler.StepLR`, whose values these are.
    """

    def __init__(self, lr: float, step_size: int, gamma: float = 0.1) -> None:
        self.lr, self.gamma = scalars.not_negative("StepDecay", "lr", lr), scalars.not_negative("StepDecay", "gamma", gamma)
        self.step_size = window.integer("StepDecay", "step_size", step_size, 1)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, at least 0."""
        step = _step("StepDecay", step)
        return _decayed(self.lr, self.gamma, step // self.step_size)


class MultiStep:
    """lr gamma^(how many of the milestones are not beyond the step).

    Parameters
    ----------
    lr : float
    milestones : sequence of int
        Steps from which on the learning rate has one factor of gamma more, in rising order; twice the same gives two.
    gamma : float

    Raises
    ------
    TypeError, ValueError
        A number is of another kind, or out of its range; or the milestones fall.

    References
    ----------
    `torch.optim.lr_scheduler.MultiStepLR`, whose values these are.
    """

    def __init__(self, lr: float, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.lr, self.gamma = scalars.not_negative("MultiStep", "lr", lr), scalars.not_negative("MultiStep", "gamma", gamma)
        self.milestones = [window.integer("MultiStep", f"milestones[{i}]", step, 1) for i, step in enumerate(_sequence(milestones))]
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"MultiStep: milestones must be in rising order; got {list(milestones)}")

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, at least 0."""
        step = _step("MultiStep", step)
        return _decayed(self.lr, self.gamma, bisect.bisect_right(self.milestones, step))


class Exponential:
    """lr gamma^step.

    Parameters
    ----------
    lr : float
    gamma : float
        Of one step: ``(last / lr) ** (1 / (steps - 1))`` ends a run at the learning rate `last`.

    References
    ----------
    `torch.optim.lr_scheduler.ExponentialLR`, whose values these are.
    """

    def __init__(self, lr: float, gamma: float) -> None:
        self.lr, self.gamma = scalars.not_negative("Exponential", "lr", lr), scalars.not_negative("Exponential", "gamma", gamma)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, at least 0."""
        step = _step("Exponential", step)
        return _decayed(self.lr, self.gamma, step)


class Cosine:
    """min_lr + (max_lr - min_lr) (1 + cos(pi step / steps)) / 2: half a cosine down, which would arrive behind the last step.

    With `restarts` the run is cut into that many cosines more, each `factor` times as long as the one before.

    Parameters
    ----------
    max_lr : float
    steps : int
        Steps of the first cosine, and without restarts of the whole run.
    min_lr : float
    restarts : int
    factor : int

    Attributes
    ----------
    total : int
        Steps of the whole run: steps (1 + factor + ... + factor^restarts).

    Raises
    ------
    TypeError, ValueError
        A number is of another kind, or out of its range.

    References
    ----------
    I. Loshchilov & F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5;
    `torch.optim.lr_scheduler.CosineAnnealingLR` and `CosineAnnealingWarmRestarts`, whose values these are.
    """

    def __init__(self, max_lr: float, steps: int, min_lr: float = 0.0, restarts: int = 0, factor: int = 1) -> None:
        self.max_lr, self.min_lr = scalars.not_negative("Cosine", "max_lr", max_lr), scalars.not_negative("Cosine", "min_lr", min_lr)
        self.steps = window.integer("Cosine", "steps", steps, 1)
        self.restarts, self.factor = window.integer("Cosine", "restarts", restarts, 0), window.integer("Cosine", "factor", factor, 1)
        self.total = _cycles(self.steps, self.restarts, self.factor)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; ValueError beyond the last one."""
        step = _step("Cosine", step, self.total)
        length = self.steps
        if self.factor == 1:
            step %= length
        while step >= length:
            step -= length
            length *= self.factor
        return self.min_lr + (self.max_lr - self.min_lr) * (1 + math.cos(math.pi * step / length)) / 2


class Linear:
    """From lr start_factor to lr end_factor in a straight line over `steps` steps, and there from then on.

    Parameters
    ----------
    lr : float
    steps : int
        The step at which the end is reached.
    start_factor, end_factor : float

    Raises
    ------
    TypeError, ValueError
        A number is of another kind, or out of its range.

    References
    ----------
    `torch.optim.lr_scheduler.LinearLR`, whose values and defaults these are.
    """

    def __init__(self, lr: float, steps: int, start_factor: float = 1 / 3, end_factor: float = 1.0) -> None:
        self.lr, self.steps = scalars.not_negative("Linear", "lr", lr), window.integer("Linear", "steps", steps, 1)
        self.start_factor = scalars.not_negative("Linear", "start_factor", start_factor)
        self.end_factor = scalars.not_negative("Linear", "end_factor", end_factor)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, at least 0."""
        step = _step("Linear", step)
        return self.lr * (self.start_factor + (self.end_factor - self.start_factor) * min(step, self.steps) / self.steps)


class Warmup:
    """Linearly from start_factor of another schedule's first learning rate up to it in `steps` steps, then that schedule from its start.

    Parameters
    ----------
    schedule : callable
        From its own steps, 0 ..., to the learning rate: those of the whole run less `steps`.
    steps : int
    start_factor : float

    Raises
    ------
    TypeError, ValueError
        `schedule` is no callable; a number is of another kind, or out of its range.

    References
    ----------
    P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2. The values of `torch.optim.lr_scheduler.SequentialLR` of a
    `LinearLR` and the schedule.

    Examples
    --------
    >>> from fastcnn.schedules import Cosine, Warmup
    >>> schedule = Warmup(Cosine(0.1, steps=100), steps=4, start_factor=0.2)
    >>> [round(schedule(step), 4) for step in (0, 1, 2, 3, 4, 54, 103)]
    [0.02, 0.04, 0.06, 0.08, 0.1, 0.05, 0.0]
    """

    def __init__(self, schedule: Callable[[int], float], steps: int, start_factor: float = 1 / 3) -> None:
        if not callable(schedule):
            raise TypeError(f"Warmup: schedule must be a callable of the step; got {type(schedule).__name__}")
        self.schedule, self.steps = schedule, window.integer("Warmup", "steps", steps, 1)
        self.start_factor = scalars.not_negative("Warmup", "start_factor", start_factor)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; ValueError beyond the other schedule's last one."""
        step = _step("Warmup", step)
        if step >= self.steps:
            return float(self.schedule(step - self.steps))
        return float(self.schedule(0)) * (self.start_factor + (1 - self.start_factor) * step / self.steps)


def _sequence(milestones: Any) -> Sequence[Any]:
    if not isinstance(milestones, (tuple, list)):
        raise TypeError(f"MultiStep: milestones must be a sequence of int; got {type(milestones).__name__}")
    return milestones


def _decayed(lr: float, gamma: float, times: int) -> float:
    """Return lr gamma^times, infinite where that is beyond a float."""
    try:
        return float(lr * gamma**times)
    except OverflowError:
        return math.inf if lr else 0.0


def _cycles(steps: int, restarts: int, factor: int) -> int:
    """Return the steps of restarts + 1 cosines; ValueError where there are too many to count."""
    total, length = 0, steps
    if factor == 1:
        total = steps * (restarts + 1)
    else:
        for _ in range(restarts + 1):
            total, length = total + length, length * factor
            if total > window.LARGEST:
                break
    if total > window.LARGEST:
        raise ValueError(f"Cosine: all cosines together must have at most {window.LARGEST} steps; got {restarts} restarts of {steps} steps")
    return total


def _step(op: str, step: Any, steps: int | None = None) -> int:
    """Return a checked step."""
    step = window.whole(op, "step", step)
    if step < 0 or (steps is not None and step >= steps):
        raise ValueError(f"{op}: step must be {'at least 0' if steps is None else f'between 0 and {steps - 1}'}; got {window.shown(step)}")
    return step
