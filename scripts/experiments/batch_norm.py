"""Batch normalisation against bad initial weights: sixteen scales, from far too large to far too small, with it and without.

Five hidden layers of 100 units with ReLU; weights normal with a deviation of 1 down to 0.0001; 1,000 images of digits, batches of 100,
plain SGD with a learning rate of 0.01.

References: K. Saito, "Deep Learning from Scratch", 2016, section 6.3; S. Ioffe & C. Szegedy, "Batch Normalization", 2015.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from _common import BLUE, RED, figure, load, parser, percent, run, save, table, tell
from fastcnn import optim
from fastcnn.data import Dataset
from fastcnn.init import normal
from fastcnn.models import multi_layer_net
from fastcnn.train import Callback, fit

SCALES = np.logspace(0, -4, 16)
IMAGES = 1000


class Found(NamedTuple):
    """Training accuracies (16 scales, epochs) with batch normalisation and without; NaN from where a loss was no number any more."""

    scales: np.ndarray
    with_norm: np.ndarray
    without: np.ndarray


class Accuracies(Callback):
    """Keeps the training accuracy of every epoch, also of a run that breaks off."""

    def __init__(self, epochs: int) -> None:
        self.values = np.full(epochs, np.nan)

    def on_epoch(self, run: Any) -> None:
        """Note the mean over the epoch's batches."""
        self.values[run.history.epochs[-1].number - 1] = run.history.epochs[-1].accuracy


def accuracies(data: Dataset, scale: float, norm: bool, epochs: int, seed: int) -> np.ndarray:
    """Return the training accuracy of every epoch; NaN after the weights have exploded."""
    net = multi_layer_net(data.train_images.shape[1], seed, hidden=(100,) * 5, init=normal(float(scale)), norm=norm)
    kept = Accuracies(epochs)
    try:
        fit(net, data.train_images[:IMAGES], data.train_labels[:IMAGES], epochs=epochs, batch_size=100, standardise=(0, 255), seed=seed,
            optimizer=optim.SGD(net.params, lr=0.01), callbacks=[kept])  # fmt: skip
    except FloatingPointError as error:  # what a scale of 1 without normalisation is here to show
        tell(f"  scale {scale:.4g}: {error}")
    return kept.values


def draw(found: Found) -> Any:
    """Return a figure with a chart for each scale."""
    drawn, grid = figure(4, 4, size=(11, 8), sharex=True, sharey=True, title="Training accuracy with batch normalisation and without")
    epochs = np.arange(1, found.without.shape[1] + 1)
    for axes, scale, normed, plain in zip(grid.flat, found.scales, found.with_norm, found.without, strict=True):
        axes.plot(epochs, normed, color=BLUE, label="batch normalisation")
        axes.plot(epochs, plain, color=RED, linestyle="--", label="without")
        if np.isnan(plain[-1]):
            axes.text(epochs[-1], 0.06, "without: the loss became NaN", color=RED, ha="right", fontsize=9)
        axes.set(ylim=(0, 1.02))
        axes.set_title(f"deviation {scale:.2g}", weight="normal", fontsize=10)
    percent(grid[0, 0])
    drawn.supxlabel("epoch", fontsize=10)
    drawn.legend(*grid[0, 1].get_legend_handles_labels(), loc="upper right", ncols=2)
    return drawn


def main(argv: Sequence[str] | None = None) -> Found:
    """Train the 32 networks and return their curves."""
    options = parser(__doc__).parse_args(argv)
    data, epochs = load(options), 20
    curves: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for number, scale in enumerate(SCALES, 1):
        for norm, done in curves.items():
            done.append(accuracies(data, scale, norm, epochs, options.seed))
        tell(f"{number}/{len(SCALES)}  deviation {scale:.2g}: with {curves[True][-1][-1]:.3f}, without {curves[False][-1][-1]:.3f}")
    found = Found(SCALES, np.array(curves[True]), np.array(curves[False]))
    tell(table(("deviation", "with", "without"),
               [(f"{scale:.2g}", float(a[-1]), float(b[-1])) for scale, a, b in zip(*found, strict=True)]))  # fmt: skip
    learnt = [int((a[:, -1] > 0.5).sum()) for a in (found.with_norm, found.without)]
    tell(f"More than half of the images are right at {learnt[0]} of 16 scales with batch normalisation, at {learnt[1]} without.")
    save(draw(found), options, "batch_norm")
    return found


if __name__ == "__main__":
    sys.exit(run(main))
