"""One picture of a training run: curves, filters before and after, the confusion matrix and the worst mistakes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np

from ..files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt


class EpochLike(Protocol):
    """An epoch of the history; see `fastcnn.train.Epoch`."""

    @property
    def loss(self) -> float: ...
    @property
    def accuracy(self) -> float: ...


def training_figure(
    path: Path,
    history: Sequence[EpochLike],
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    logits: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Write a PNG of a run.

    Parameters
    ----------
    history : epochs with `loss` and `accuracy`
    before, after : parameters by name
        The first one of four axes is shown as filters.
    logits : (N, classes)
    images : (N, H, W) uint8
    labels : (N,)
    """
    figure = plt.figure(figsize=(13, 9), constrained_layout=True)
    rows: Any = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    top, bottom = rows
    curves, matrix = top.subplots(1, 2, width_ratios=(1.4, 1))
    _draw_curves(curves, history)
    _draw_confusion(matrix, labels, logits.argmax(axis=1), logits.shape[1])
    filters, mistakes = bottom.subfigures(1, 2)
    name = next(name for name, value in after.items() if value.ndim == 4)
    _draw_filters(filters, name, before[name], after[name])
    _draw_mistakes(mistakes, logits, images, labels)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    with replacing(path) as file:
        file.write(buffer.getvalue())


def _draw_curves(axes: Any, history: Sequence[EpochLike]) -> None:
    numbers = range(1, len(history) + 1)
    axes.plot(numbers, [epoch.loss for epoch in history], "o-", color="tab:red")
    axes.set(xlabel="epoch", title="training")
    axes.set_ylabel("loss", color="tab:red")
    axes.xaxis.get_major_locator().set_params(integer=True)
    right = axes.twinx()
    right.plot(numbers, [100 * epoch.accuracy for epoch in history], "s-", color="tab:blue")
    right.set_ylabel("accuracy / %", color="tab:blue")


def _draw_confusion(axes: Any, labels: np.ndarray, predictions: np.ndarray, classes: int) -> None:
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels.astype(int), predictions), 1)
    wrong = counts * (1 - np.eye(classes, dtype=int))
    axes.imshow(wrong, cmap="Reds")
    for row, column in np.ndindex(classes, classes):
        if counts[row, column]:
            axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=7)
    axes.set(xlabel="prediction", ylabel="label", xticks=range(classes), yticks=range(classes))
    axes.set_title(f"{wrong.sum():,} of {counts.sum():,} test images wrong")


def _draw_filters(figure: Any, name: str, before: np.ndarray, after: np.ndarray) -> None:
    shown = min(len(after), 24)
    figure.suptitle(f"first filters ({name}): before | after")
    axes = figure.subplots(6, 9, gridspec_kw={"wspace": 0.1, "hspace": 0.1})
    for cell in axes.flat:
        cell.axis("off")
    for index in range(shown):
        for side, filters in ((0, before), (5, after)):
            limit = np.abs(filters[:, 0]).max()
            axes[index // 4, side + index % 4].imshow(filters[index, 0], cmap="RdBu", vmin=-limit, vmax=limit)


def _draw_mistakes(figure: Any, logits: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
    shifted = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    confidence = (shifted / shifted.sum(axis=1, keepdims=True)).max(axis=1)
    predictions = logits.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    worst = wrong[np.argsort(-confidence[wrong])][:20]
    figure.suptitle("worst mistakes: label > prediction (confidence)")
    for cell, index in zip(figure.subplots(4, 5).flat, [*worst, *[None] * (20 - len(worst))], strict=True):
        cell.axis("off")
        if index is not None:
            cell.imshow(images[index], cmap="gray_r")
            cell.set_title(f"{labels[index]} > {predictions[index]} ({100 * confidence[index]:.0f} %)", fontsize=8)
