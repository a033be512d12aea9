"""Trousers from dresses with a single 3x3 filter: a loop over `scipy.signal.convolve`, and the same network here.

filter 3x3 ("same"), ReLU, dense -> 1, sigmoid, log loss: 793 weights, without biases. Every pixel is standardised by its mean and deviation
over the training images; a step takes one image, drawn with replacement, at a learning rate of 0.001. Both networks begin with the same
weights and see the same images, so their losses must be the same, step for step. Then ours takes 64 images a step, as one would.

Without Fashion-MNIST's files it is two handwritten digits, 1 and 3, that are told apart.

B. Chowdhury, "Convolutional Neural Networks using Numpy - Part 1", 2019; there the initial weights are missing from the text, and the
clip at 1 - 1e-16 does nothing in float32. Here the log loss of logits needs none.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from _common import BLUE, GREY, ORANGE, figure, load, parser, run, save, table, tell
from fastcnn import losses, optim
from fastcnn.data import Dataset, DatasetNotFound, fashion_mnist, moments, standardise
from fastcnn.extras import require
from fastcnn.layers import Conv2d, Flatten, Linear, ReLU, Sequential
from fastcnn.train import running_average

CLASSES, RATE, BATCH = (1, 3), 0.001, 64


class Found(NamedTuple):
    """Losses of every step, test accuracy and images per second: of the loop, of ours, and of ours with batches."""

    names: tuple[str, ...]
    losses: tuple[np.ndarray, ...]
    accuracies: tuple[float, ...]
    rates: tuple[float, ...]


def main(argv: Sequence[str] = ()) -> Found:
    """Train all three; print and draw losses, accuracies and speeds."""
    options = parser(__doc__).parse_args(argv)
    data = two_classes(options)
    moment = moments(data.train_images, "pixel")
    images, tests = (np.ascontiguousarray(standardise(part, *moment), np.float32) for part in (data.train_images, data.test_images))
    labels = data.train_labels.astype(np.float32)
    steps = 640 if options.quick else 12_800
    draws = np.random.default_rng(options.seed).integers(0, len(images), steps)
    results = []
    for name, kind, batch in (("scipy loop", ScipyNetwork, 1), ("ours", OurNetwork, 1), (f"ours, batches of {BATCH}", OurNetwork, BATCH)):
        kind(images.shape[-1], options.seed).step(images[draws[:batch]], labels[draws[:batch]])  # compiles, before the clock runs
        model = kind(images.shape[-1], options.seed)
        begin = time.perf_counter()
        found = [model.step(images[chosen], labels[chosen]) for chosen in draws.reshape(-1, batch)]
        rate = steps / (time.perf_counter() - begin)
        results.append((name, np.array(found), float(np.mean((model.logits(tests) > 0) == data.test_labels)), rate))
        tell(f"{name}: {steps:,} images, {rate:,.0f} images/s")
    result = Found(*zip(*results, strict=True))
    rows = [(name, len(loss), float(loss[-len(loss) // 8 :].mean()), f"{100 * share:.2f} %", f"{rate:,.0f}")
            for name, loss, share, rate in results]  # fmt: skip
    tell("\n" + table(("network", "steps", "loss, last eighth", "test accuracy", "images/s"), rows))
    apart = float(np.abs(result.losses[0] - result.losses[1]).max())
    first, second, third = result.rates
    tell(f"\nStep for step the losses of loop and ours differ by {apart:.0e} at most. With one image a step ours runs at "
         f"{second / first:.1f} times the loop's speed - for a single filter a step is no more than the calls of Python around it - and "
         f"with {BATCH} at {third / first:.0f} times.")  # fmt: skip
    draw(options, result)
    return result


def two_classes(options: argparse.Namespace) -> Dataset:
    """Return trousers (1) and dresses (3), or, where Fashion-MNIST's files are not there, handwritten 1 and 3."""
    if not options.quick:
        try:
            found = fashion_mnist(options.data_dir).only(CLASSES)
            tell(f"fashion-mnist: {len(found.train_images):,} trousers and dresses to train on, {len(found.test_images):,} to test with")
            return found
        except DatasetNotFound:
            tell("Fashion-MNIST's files are not here")
    tell("Handwritten 1 and 3 take the place of trousers and dresses.")
    return load(options).only(CLASSES)


# --- The networks -------------------------------------------------------------------------------------------------------


def initial(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first filter (3, 3) and the first dense weights (size^2,): normal, of deviations 2/3 and 1/size."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2 / 3, (3, 3)).astype(np.float32), rng.normal(0, 1 / size, size * size).astype(np.float32)


class ScipyNetwork:
    """The network as a loop over images, and over the nine weights of the filter's gradient."""

    def __init__(self, size: int, seed: int) -> None:
        self.convolve = require("scipy.signal", "SciPy", "bench", "the loop over scipy.signal.convolve").convolve
        self.filter, self.dense = initial(size, seed)

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Take a step for each image; return the mean loss before it."""
        losses = []
        for x, label in zip(images[:, 0], labels, strict=True):
            mixed, hidden, logit = self.forward(x)
            share = 1 / (1 + np.exp(-logit))
            losses.append(-np.log(share if label else 1 - share))
            error = share - label  # of the loss, with respect to the logit
            behind = np.where(mixed > 0, error * self.dense.reshape(x.shape), 0)
            padded = np.pad(x, 1)
            height, width = x.shape
            gradient = [[(padded[r : r + height, s : s + width] * behind).sum() for s in range(3)] for r in range(3)]
            self.dense = self.dense - RATE * error * hidden.ravel()
            self.filter = self.filter - RATE * np.array(gradient)
        return float(np.mean(losses))

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return an image after the filter and after ReLU, and its logit."""
        mixed = self.convolve(x, self.filter[::-1, ::-1], "same", "direct")
        hidden = np.maximum(mixed, 0)
        return mixed, hidden, float(hidden.ravel() @ self.dense)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logit of every image."""
        return np.array([self.forward(x)[2] for x in images[:, 0]])


class OurNetwork:
    """The same network as layers; the gradients of a batch are summed, as the loop's steps add up."""

    def __init__(self, size: int, seed: int) -> None:
        self.net = Sequential(Conv2d(1, 1, 3, padding=1, bias=False), ReLU(), Flatten(), Linear(size * size, 1, bias=False))
        self.net.params["0.weight"][0, 0], self.net.params["3.weight"][0] = initial(size, seed)
        self.loss, self.optimizer = losses.BCEWithLogitsLoss(reduction="sum"), optim.SGD(self.net.params, RATE)

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Take one step for all images; return their mean loss before it."""
        loss = self.loss(self.net(images), labels[:, None])
        self.net.backward(self.loss.backward(), input_gradient=False)
        self.optimizer.step(self.net.grads)
        return loss / len(images)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logit of every image."""
        return self.net(images)[:, 0]


# --- The picture --------------------------------------------------------------------------------------------------------


def draw(options: argparse.Namespace, found: Found) -> None:
    """Draw the losses, of which the first two lie on one another, and the speeds."""
    drawn, ((left, right),) = figure(1, 2, size=(11, 4.4), title="Two classes, one filter: a scipy loop and ours", width_ratios=[1.7, 1])
    looks = ((GREY, "-", 5.0), (BLUE, "--", 1.8), (ORANGE, "-", 1.8))
    for name, loss, (colour, dash, width) in zip(found.names, found.losses, looks, strict=True):
        seen = np.arange(1, len(loss) + 1) * (len(found.losses[0]) // len(loss))
        left.plot(seen, running_average(loss.tolist(), 1 - seen[0] / 500), dash, color=colour, linewidth=width, label=name)
    left.set(title="Log loss, mean over the last 500 images", xlabel="images", yscale="log")
    left.legend()
    for place, (rate, (colour, *_)) in enumerate(zip(found.rates, looks, strict=True)):
        right.barh(place, rate, color=colour, height=0.6)
        right.text(rate, place, f" {rate:,.0f}", va="center")
    right.set(title="Training, images/s", yticks=range(3), yticklabels=found.names, xlim=(0, 1.25 * max(found.rates)))
    right.locator_params("x", nbins=4)
    right.invert_yaxis()
    right.set_axisbelow(True)
    right.grid(axis="y", visible=False)
    save(drawn, options, "fashion_two_classes")


if __name__ == "__main__":
    sys.exit(run(main))
