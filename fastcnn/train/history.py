"""What a training run came to: its epochs, the loss of every step, and how its images were normalised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import checks, files, scalars


class Epoch(NamedTuple):
    """One epoch, or the part of one that the run ended with.

    Attributes
    ----------
    number : int
        From 1.
    loss, accuracy : float
        Means over its training images, each as it was before the step of its batch.
    seconds : float
        Since training began; validation and the saving of checkpoints included, time between an interruption and its resumption not.
    learning_rate : float
        Of its last step.
    validation_loss, validation_accuracy : float or None
        Of the validation images after it, in evaluation mode.
    """

    number: int
    loss: float
    accuracy: float
    seconds: float
    learning_rate: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(eq=False)
class History:
    """What `fastcnn.train.fit` returns.

    Attributes
    ----------
    epochs : list of Epoch
    step_losses, step_accuracies : list of float
        Mean loss of each step's batch, and share of its images that were right, before the step. `running_average` smooths them.
    mean, deviation : float, or float64 array that broadcasts to (C, H, W)
        Bytes v went into the model as (v - mean) / deviation; `predict` and `evaluate` want the same. 0 and 1 for float inputs.
    """

    epochs: list[Epoch] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    mean: float | np.ndarray = 0.0
    deviation: float | np.ndarray = 1.0
    step_accuracies: list[float] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the history as JSON text; numbers keep all their digits."""
        return json.dumps(
            {
                "epochs": [epoch._asdict() for epoch in self.epochs],
                "step_losses": self.step_losses,
                "step_accuracies": self.step_accuracies,
                "mean": _plain(self.mean),
                "deviation": _plain(self.deviation),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> History:
        """Return the history of a `to_json`; ValueError where the text is not one."""
        try:
            found = files.parse_json(text)
            epochs = [Epoch(**epoch) for epoch in found["epochs"]]
            losses, shares = ([float(value) for value in steps] for steps in (found["step_losses"], found.get("step_accuracies", [])))
            return cls(epochs, losses, _number_or_array(found["mean"]), _number_or_array(found["deviation"]), shares)
        except (AttributeError, TypeError, KeyError, ValueError, OverflowError) as error:
            raise ValueError(f"History.from_json: not a history: {type(error).__name__}: {error}") from error

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same."""
        return isinstance(other, History) and self.to_json() == other.to_json()


def running_average(values: Sequence[float], decay: float = 0.98) -> np.ndarray:
    """Return means that forget: m[t] = sum over i <= t of decay^(t - i) v[i] / sum over i <= t of decay^(t - i).

    Parameters
    ----------
    values : sequence of float
        Such as `History.step_losses` or `History.step_accuracies`.
    decay : float
        At least 0 (the values themselves) and below 1; 1 / (1 - decay) is how many values count, about: 50 by default.

    Returns
    -------
    (len(values),) float64

    Raises
    ------
    ValueError
        `decay` is out of its range.

    Examples
    --------
    >>> from fastcnn.train import running_average
    >>> running_average([4.0, 1.0, 1.0], decay=0.5).tolist()
    [4.0, 2.0, 1.4285714285714286]
    """
    decay = scalars.between("running_average", "decay", decay, 0, 1, below=True)
    if not isinstance(values, (Sequence, np.ndarray)) or isinstance(values, str) or getattr(values, "ndim", 1) != 1:
        raise TypeError(f"running_average: values must be a sequence of numbers; got {type(values).__name__}")
    values = [checks.number("running_average", f"values[{t}]", value, finite=False) for t, value in enumerate(values)]
    found, total, weight = np.empty(len(values)), 0.0, 0.0
    for t, value in enumerate(values):
        total, weight = decay * total + value, decay * weight + 1
        found[t] = total / weight
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _number_or_array(value: Any) -> Any:
    return np.array(value, np.float64) if isinstance(value, list) else value
