"""Freezing: which layer of a tiny CNN does the work.

Two digits, 1 and 3, and one epoch: a convolution of a single filter and a dense layer learn together, then each alone, with the other
frozen at its random initial weights. The network is that of the two-class CNN on scipy.signal: conv 3x3 -> 1 (padding 1), ReLU,
dense -> 2. Each case is trained from five different initial weights.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from _common import BLUE, GREEN, RED, figure, load, parser, percent, run, save, table, tell
from fastcnn import layers
from fastcnn.data import Dataset
from fastcnn.train import evaluate, fit, running_average

CASES = {"none": ("nothing frozen", BLUE), "conv": ("convolution frozen", GREEN), "dense": ("dense layer frozen", RED)}
BATCH = 16


class Found(NamedTuple):
    """Test accuracies, one per initial weights, and the curves (runs, steps) of the training accuracy; by case."""

    accuracies: dict[str, list[float]]
    curves: dict[str, np.ndarray]


def network(size: int, frozen: str, seed: int) -> layers.Sequential:
    """Return the network for images of `size`, with "conv", "dense" or "none" of its layers frozen."""
    rng = np.random.default_rng(seed)
    conv, dense = layers.Conv2d(1, 1, 3, padding=1, rng=rng), layers.Linear(size * size, 2, rng=rng)
    if frozen != "none":
        {"conv": conv, "dense": dense}[frozen].freeze()
    return layers.Sequential(conv, layers.ReLU(), layers.Flatten(), dense)


def train(data: Dataset, frozen: str, epochs: int, seed: int) -> tuple[float, np.ndarray]:
    """Train from initial weights of a seed; return the test accuracy and a running average of the batches' accuracies."""
    net = network(data.train_images.shape[1], frozen, seed)
    history = fit(net, data.train_images, data.train_labels, epochs=epochs, batch_size=BATCH, seed=seed)  # Adam, one cycle of rates
    accuracy = evaluate(net, data.test_images, data.test_labels, history.mean, history.deviation)
    return accuracy, running_average(history.step_accuracies, decay=0.97)


def draw(found: Found) -> Any:
    """Return a figure of curves with the range of the runs, and of test accuracies with a dot for each run."""
    drawn, ((curves, tests),) = figure(
        1, 2, size=(10, 4.2), title="Digits 1 and 3: train the filter, the dense layer, or both", width_ratios=(3, 2)
    )
    for place, (case, (name, colour)) in enumerate(CASES.items()):
        runs = found.curves[case]
        images = BATCH * (1 + np.arange(runs.shape[1]))
        curves.fill_between(images, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        curves.plot(images, runs.mean(axis=0), color=colour, label=name)
        accuracies = found.accuracies[case]
        tests.bar(place, np.mean(accuracies), color=colour, width=0.62)
        tests.plot([place] * len(accuracies), accuracies, "o", color="white", markeredgecolor="black", markersize=5, linewidth=0)
        tests.annotate(f"{100 * np.mean(accuracies):.1f} %", (place, 0.03), ha="center", color="white", weight="bold")
    curves.set(
        title="While training (mean and range of the runs)", xlabel="images seen", ylabel="accuracy on recent batches", ylim=(0.3, 1.02)
    )
    curves.legend(loc="lower right")
    tests.set(title="Test images (dots: runs)", ylim=(0, 1.02), xticks=range(len(CASES)))
    tests.set_xticklabels([name.replace(" ", "\n", 1) for name, _ in CASES.values()])
    tests.grid(visible=False, axis="x")
    for axes in (curves, tests):
        percent(axes)
    return drawn


def main(argv: Sequence[str] | None = None) -> Found:
    """Train all cases from several initial weights, and return what they came to."""
    options = parser(__doc__).parse_args(argv)
    data = load(options).only([1, 3])
    epochs, runs = (20, 3) if data.name == "digits" else (1, 5)  # scikit-learn's are 292 images of both kinds
    found = Found({}, {})
    for case, (name, _) in CASES.items():
        done = [train(data, case, epochs, options.seed + i) for i in range(runs)]
        found.accuracies[case], found.curves[case] = [accuracy for accuracy, _ in done], np.array([curve for _, curve in done])
        tell(f"{name}: " + ", ".join(f"{accuracy:.4f}" for accuracy in found.accuracies[case]))
    tell(table(("case", "test accuracy", "least", "most"),
               [(CASES[case][0], float(np.mean(a)), min(a), max(a)) for case, a in found.accuracies.items()]))  # fmt: skip
    tell("A dense layer learns the digits behind any filter, also a random one; a filter cannot make up for a random dense layer.")
    save(draw(found), options, "freezing")
    return found


if __name__ == "__main__":
    sys.exit(run(main))
