"""Over-fitting: seven layers learn 300 images by heart; what weight decay and dropout do about it.

Six hidden layers of 100 units with ReLU, He's initial weights, batches of 100, SGD with a learning rate of 0.01 and a momentum of 0.9. The
gap between the accuracies on training images and on the others is the over-fitting. Dropout is behind every hidden layer; weight decay is
as strong as in the book, which keeps the network from learning anything well, and gentle.

References: K. Saito, "Deep Learning from Scratch", 2016, section 6.4.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from _common import BLUE, RED, figure, load, parser, percent, run, save, table, tell
from fastcnn import optim
from fastcnn.data import Dataset
from fastcnn.models import multi_layer_net
from fastcnn.train import Callback, evaluate, fit

IMAGES = 300
CASES = {
    "plain": (0.0, 0.0),
    "dropout 0.2": (0.0, 0.2),
    "weight decay 0.003": (0.003, 0.0),
    "weight decay 0.1": (0.1, 0.0),
}  # decay, dropout


class Watch(Callback):
    """Judges the training images and the others now and then, in evaluation mode: without dropout."""

    def __init__(self, data: Dataset, every: int) -> None:
        self.data, self.every = data, every
        self.epochs: list[int] = []
        self.train: list[float] = []
        self.test: list[float] = []

    def on_epoch(self, run: Any) -> None:
        """Note both accuracies."""
        number, history = run.history.epochs[-1].number, run.history
        if number % self.every == 1 or number == run.steps // (IMAGES // 100):
            self.epochs.append(number)
            normal = history.mean, history.deviation
            self.train.append(evaluate(run.model, self.data.train_images, self.data.train_labels, *normal))
            self.test.append(evaluate(run.model, self.data.test_images, self.data.test_labels, *normal))


class Curves(NamedTuple):
    """Accuracies on the 300 training images and on the test images after some epochs."""

    epochs: np.ndarray
    train: np.ndarray
    test: np.ndarray

    @property
    def gap(self) -> float:
        """What the training images are ahead by in the end."""
        return float(self.train[-1] - self.test[-1])


def train(data: Dataset, decay: float, dropout: float, epochs: int, seed: int) -> Curves:
    """Train a network on the training images of `data`, and return its curves."""
    net = multi_layer_net(data.train_images.shape[1], seed, hidden=(100,) * 6, dropout=dropout)
    watch = Watch(data, every=5)
    fit(net, data.train_images, data.train_labels, epochs=epochs, batch_size=100, standardise=(0, 255), seed=seed, callbacks=[watch],
        optimizer=optim.SGD(net.params, lr=0.01, momentum=0.9, weight_decay=decay))  # fmt: skip
    return Curves(np.array(watch.epochs), np.array(watch.train), np.array(watch.test))


def draw(found: dict[str, Curves]) -> Any:
    """Return a figure with a chart for each case."""
    drawn, grid = figure(2, 2, size=(9, 6.4), sharex=True, sharey=True, title=f"{IMAGES} images, learnt by heart or not")
    for axes, (name, curves) in zip(grid.flat, found.items(), strict=True):
        axes.fill_between(curves.epochs, curves.test, curves.train, color=RED, alpha=0.12, linewidth=0)
        axes.plot(curves.epochs, curves.train, color=BLUE, linestyle="--", label=f"the {IMAGES} training images")
        axes.plot(curves.epochs, curves.test, color=RED, label="test images")
        axes.set(title=f"{name}: test {100 * curves.test[-1]:.1f} %", ylim=(0, 1.02))
        percent(axes)
    grid[0, 0].legend(loc="lower right")
    drawn.supxlabel("epoch", fontsize=10)
    return drawn


def main(argv: Sequence[str] | None = None) -> dict[str, Curves]:
    """Train with no remedy and with each; return the curves."""
    options = parser(__doc__).parse_args(argv)
    data = load(options)
    data = data._replace(train_images=data.train_images[:IMAGES], train_labels=data.train_labels[:IMAGES])
    found = {}
    for name, (decay, dropout) in CASES.items():
        found[name] = train(data, decay, dropout, 200 if options.quick else 300, options.seed)
        tell(f"{name}: {found[name].train[-1]:.3f} of the training images, {found[name].test[-1]:.3f} of the others")
    tell(table(("network", "training", "test", "gap"),
               [(name, float(curves.train[-1]), float(curves.test[-1]), curves.gap) for name, curves in found.items()]))  # fmt: skip
    best = max(found, key=lambda name: found[name].test[-1])
    gain = 100 * (found[best].test[-1] - found["plain"].test[-1])
    tell(f"Left alone, the network knows its {IMAGES} images by heart, and the others less well. Best on those: {best}, {gain:+.1f} "
         "points. Too much of a remedy keeps it from learning either.")  # fmt: skip
    save(draw(found), options, "overfitting")
    return found


if __name__ == "__main__":
    sys.exit(run(main))
