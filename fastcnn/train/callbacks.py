"""What may be hooked into training: callbacks, and early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, window
from .history import Epoch

if TYPE_CHECKING:
    from .loop import Run


class Callback:
    """Base of callbacks: override what you need; the rest costs nothing.

    Each method gets the run: `run.step` of `run.steps` steps are done, `run.loss` and `run.accuracy` are means over the epoch so far, and
    there are `run.model`, `run.optimizer`, `run.history` (its last epoch, in `on_epoch`, is the one that has just ended). Returning
    True from `on_step` or `on_epoch` stops training there: the epoch is closed, a checkpoint saved, and `fit` returns as after its last
    step; a later run with ``resume=True`` would go on. An exception leaves `fit` as it is: the model keeps the weights that it has, and
    the checkpoint those of the last time it was saved.
    """

    def on_step(self, run: Run) -> bool | None:
        """After every step; returning True stops training."""

    def on_epoch(self, run: Run) -> bool | None:
        """After every epoch and its validation; returning True stops training."""

    def on_end(self, run: Run) -> None:
        """When training has ended and the model has its final weights; not after an exception or Ctrl-C."""


def hooks(callbacks: Sequence[Any], name: str) -> list[Any]:
    """Return the methods `name` of the callbacks that define it: TypeError for one that defines none of the three."""
    found = []
    for callback in callbacks:
        if not any(callable(getattr(callback, known, None)) for known in ("on_step", "on_epoch", "on_end")):
            raise TypeError(f"fit: a callback needs on_step, on_epoch or on_end (see fastcnn.train.Callback); got {window.shown(callback)}")
        method = getattr(callback, name, None)
        if method is not None and getattr(method, "__func__", None) is not getattr(Callback, name):
            found.append(method)
    return found


MONITORS = ("validation_loss", "validation_accuracy", "loss", "accuracy")


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when epochs bring nothing any more, and go back to the weights (and buffers) of the best one.

    Also where training runs to its end: the model then has the best epoch's weights.

    Attributes
    ----------
    patience : int
        So many epochs in a row without improvement end the training; at least 1.
    monitor : "validation_loss", "validation_accuracy", "loss" or "accuracy"
        What to watch: losses should fall, accuracies rise. NaN never improves.
    min_delta : float
        A smaller improvement counts as none.
    """

    patience: int = 3
    monitor: str = "validation_loss"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.patience, bool) or not isinstance(self.patience, (int, np.integer)) or self.patience < 1:
            raise ValueError(f"EarlyStopping: patience must be an int of at least 1; got {window.shown(self.patience)}")
        if not isinstance(self.monitor, str) or self.monitor not in MONITORS:
            raise ValueError(f"EarlyStopping: monitor must be one of {', '.join(MONITORS)}; got {window.shown(self.monitor)}")
        if not checks.number("EarlyStopping", "min_delta", self.min_delta, finite=False) >= 0:
            raise ValueError(f"EarlyStopping: min_delta must not be negative; got {self.min_delta}")

    def improves(self, epoch: Epoch, best: float | None) -> bool:
        """Whether the epoch is better than the best value before it (None: there is none)."""
        value = getattr(epoch, self.monitor)
        gain = value - best if best is not None else float("inf")
        if best is not None and self.monitor.endswith("loss"):
            gain = -gain
        return bool(value == value and gain > self.min_delta) if best is not None else bool(value == value)


@dataclass
class Best:
    """The best epoch so far, for early stopping: its value, its weights (empty at first), and how many epochs came after it."""

    value: float | None = None
    number: int = 0
    since: int = 0
    weights: dict[str, np.ndarray] = field(default_factory=dict)
