"""What a training run came to: its epochs, the loss of every step, and how its images were normalised."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple


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


@dataclass
class History:
    """What `fastcnn.train.fit` returns.

    Attributes
    ----------
    epochs : list of Epoch
    step_losses : list of float
        Mean loss of each step's batch.
    mean, deviation : float
        Bytes v went into the model as (v - mean) / deviation; `predict` and `evaluate` want the same. 0 and 1 for float inputs.
    """

    epochs: list[Epoch] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    mean: float = 0.0
    deviation: float = 1.0

    def to_json(self) -> str:
        """Return the history as JSON text; numbers keep all their digits."""
        return json.dumps(
            {
                "epochs": [epoch._asdict() for epoch in self.epochs],
                "step_losses": self.step_losses,
                "mean": self.mean,
                "deviation": self.deviation,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> History:
        """Return the history of a `to_json`; ValueError where the text is not one."""
        try:
            found = json.loads(text)
            epochs = [Epoch(**epoch) for epoch in found["epochs"]]
            return cls(epochs, [float(loss) for loss in found["step_losses"]], found["mean"], found["deviation"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"History.from_json: not a history: {type(error).__name__}: {error}") from error
