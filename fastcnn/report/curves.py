"""What happened during a training: loss, accuracy and learning rate as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .charts import Series, line_chart

_POINTS = 300  # of a curve; more would not show
_MEMORY = 0.03  # share of a run's steps over which its loss is averaged


def smoothed(values: Sequence[float], memory: float) -> list[float]:
    """Return the exponential mean of the values so far; unbiased at the beginning.

    m[i] = d[i] m[i-1] + v[i], over the same sum of ones, where d[i] = 1 - 1 / max(1, min(memory, i / 4)): at the beginning, where a
    loss falls quickly, the mean remembers a quarter of what was, later `memory` values.
    """
    total, weight, found = 0.0, 0.0, []
    for i, value in enumerate(values):
        decay = 1 - 1 / max(1.0, min(memory, i / 4))
        total, weight = decay * total + value, decay * weight + 1
        found.append(total / weight)
    return found


def charts(history: Mapping[str, Any], epochs: float | None = None) -> list[str]:
    """Return the charts that a history (as its JSON has it) gives: those for which it has values, by epoch from two epochs on.

    `epochs` is how many the run had, where the last was only begun (2.5, say); without it the last epoch counts whole.
    """
    found, losses = [], history["step_losses"]
    rows = history["epochs"]
    whole = float(rows[-1]["number"]) if rows else 1.0
    end = epochs if epochs is not None and whole - 1 < epochs <= whole else whole
    validation = _of(rows, end, "validation_loss", "validation")
    if losses or rows:
        training = _loss(losses, end) if losses else _of(rows, end, "loss", "training")
        found.append(line_chart("Loss", [training, validation], x_label="epoch", log=True))
    if len(rows) > 1:  # one point is no curve
        both = [_of(rows, end, "accuracy", "training", 100), _of(rows, end, "validation_accuracy", "validation", 100)]
        found.append(line_chart("Accuracy", both, x_label="epoch", unit=" %"))
        found.append(line_chart("Learning rate at the end of each epoch", [_of(rows, end, "learning_rate", "rate")], x_label="epoch"))
    return found


def _of(rows: Sequence[Mapping[str, Any]], end: float, field: str, name: str, factor: float = 1.0) -> Series:
    points = [(min(float(row["number"]), end), factor * row[field]) for row in rows if row.get(field) is not None]
    return Series(name, points, dots=True)


def _loss(losses: Sequence[float], end: float) -> Series:
    """Return the smoothed loss against the epoch, and behind it the range of the steps that each of its points stands for."""
    per_step = end / len(losses)
    means = smoothed(losses, _MEMORY * len(losses))
    stride = -(-len(losses) // _POINTS)
    chosen = sorted({*range(0, len(losses), stride), len(losses) - 1})
    points = [((i + 1) * per_step, means[i]) for i in chosen]
    parts = [losses[max(0, i - stride + 1) : i + 1] for i in chosen]
    return Series("training", points, band=[(x, min(part), max(part)) for (x, _), part in zip(points, parts, strict=True)])
