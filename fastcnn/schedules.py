"""Learning rates over a run: a schedule is a callable from the step (0 ... steps - 1) to the learning rate."""

from __future__ import annotations

import math


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
        if steps < 1 or not 0 <= warmup <= 1 or not max_lr > 0 or not div > 0 or not final_div > 0:
            raise ValueError(
                "OneCycle: expected steps >= 1, 0 <= warmup <= 1 and positive max_lr, div, final_div; "
                f"got {steps}, {warmup}, {max_lr}, {div}, {final_div}"
            )
        if anneal not in ("cos", "linear"):
            raise ValueError(f"OneCycle: anneal must be 'cos' or 'linear'; got {anneal!r}")
        self.max_lr, self.steps, self.anneal = max_lr, steps, anneal
        self.start, self.end = max_lr / div, max_lr / div / final_div
        self.peak = warmup * steps - 1

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; ValueError beyond the last one."""
        if not 0 <= step < self.steps:
            raise ValueError(f"OneCycle: step must be between 0 and {self.steps - 1}; got {step}")
        if step <= self.peak:
            return self._between(self.start, self.max_lr, step / self.peak if self.peak else 1.0)
        return self._between(self.max_lr, self.end, (step - self.peak) / (self.steps - 1 - self.peak))

    def _between(self, first: float, last: float, share: float) -> float:
        if self.anneal == "linear":
            return first + (last - first) * share
        return last + (first - last) / 2 * (1 + math.cos(math.pi * share))
