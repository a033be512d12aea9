"""A first tutorial's network as plain loops of Python, without its mistakes, beside the same network here: numbers and speeds.

filter 3x3 -> 8, pool 2x2, dense -> 10, softmax, cross-entropy; pixels from -0.5 to 0.5, a step per image at a learning rate of 0.005. The
loops go over places, as the text has them; within a window NumPy sums. What was wrong there and is right here: the output has h - 2 rows
*and* w - 2 columns, a window begins at 2 i, and the pooling's gradient goes to one maximum, not to each of several equal ones.

V. Zhou, "CNNs, Part 1: An Introduction to Convolutional Neural Networks" and "Part 2: Training", 2019.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from _common import BLUE, GREY, ORANGE, figure, inputs, load, parser, run, save, table, tell
from fastcnn import losses, optim
from fastcnn.layers import Sequential
from fastcnn.models import conv8_net
from fastcnn.train import running_average

RATE, BATCH = 0.005, 64


class Found(NamedTuple):
    """The losses of every step, loops and ours; the largest difference of any weight afterwards; images per second by name."""

    loops: np.ndarray
    ours: np.ndarray
    apart: float
    rates: dict[str, float]


def main(argv: Sequence[str] = ()) -> Found:
    """Train both with the same images, and print and draw losses and speeds."""
    options = parser(__doc__).parse_args(argv)
    data = load(options)
    count = 200 if options.quick else 1000
    chosen = np.random.default_rng(options.seed).permutation(len(data.train_images))[: max(count, 10 * BATCH)]
    images, labels = inputs(data.train_images[chosen]) - np.float32(0.5), data.train_labels[chosen].astype(np.int64)

    def make() -> Sequential:
        return conv8_net(images.shape[-1], options.seed)

    weights = make().params
    plain = Loops(weights["0.weight"][:, 0], weights["3.weight"], weights["3.bias"])
    begin, loops = time.perf_counter(), []
    for number, (x, label) in enumerate(zip(images[:count, 0], labels[:count], strict=True), 1):
        loops.append(plain.step(x, int(label)))
        if number % (count // 4) == 0:
            tell(f"loops: {number:,} images, {number / (time.perf_counter() - begin):,.0f} images/s")
    rates = {"plain loops": count / (time.perf_counter() - begin)}
    net, ours, rates["ours"] = train(make, images[:count], labels[:count], 1)
    *_, rates[f"ours, batches of {BATCH}"] = train(make, images, labels, BATCH)

    found = Found(np.array(loops), ours, plain.differs_from(net), rates)
    rows = [(name, f"{rate:,.0f}", f"{rate / rates['plain loops']:,.0f}") for name, rate in rates.items()]
    tell("\n" + table(("network", "images/s", "times the loops"), rows))
    tell(f"\nIn {count:,} steps the losses of both differed by {np.abs(found.loops - ours).max():.0e} at most, and the weights differ by "
         f"{found.apart:.0e}: they are the same network.")  # fmt: skip
    draw(options, found)
    return found


def train(make: Callable[[], Sequential], images: np.ndarray, labels: np.ndarray, batch: int) -> tuple[Sequential, np.ndarray, float]:
    """Train a network on whole batches, in order; return it, its losses and images/s, without the first step of all, which compiles."""
    for steps in (1, len(images) // batch):
        net, loss, found = make(), losses.SoftmaxCrossEntropy(), []
        optimizer, begin = optim.SGD(net.params, RATE), time.perf_counter()
        for part in (slice(step * batch, (step + 1) * batch) for step in range(steps)):
            found.append(loss(net(images[part]), labels[part]))
            net.backward(loss.backward(), input_gradient=False)
            optimizer.step(net.grads)
    return net, np.array(found), steps * batch / (time.perf_counter() - begin)


class Loops:
    """The network in loops over places: weights are copies, in float64."""

    def __init__(self, filters: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> None:
        self.filters, self.weight, self.bias = filters.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64)

    def differs_from(self, net: Sequential) -> float:
        """Return the largest difference of any weight from the network's."""
        pairs = {"0.weight": self.filters[:, None], "3.weight": self.weight, "3.bias": self.bias}
        return max(float(np.abs(mine - net.params[name]).max()) for name, mine in pairs.items())

    def step(self, x: np.ndarray, label: int) -> float:
        """Take a step for one image (H, W); return its loss before."""
        maps = self.convolve(x)
        pooled = self.pool(maps)
        logits = self.weight @ pooled.ravel() + self.bias
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()

        dlogits = shares.copy()
        dlogits[label] -= 1
        dpooled = (dlogits @ self.weight).reshape(pooled.shape)
        dfilters = self.convolve_backward(x, self.pool_backward(maps, dpooled))
        self.weight -= RATE * np.outer(dlogits, pooled.ravel())
        self.bias -= RATE * dlogits
        self.filters -= RATE * dfilters
        return float(-np.log(shares[label]))

    def convolve(self, x: np.ndarray) -> np.ndarray:
        """Return maps (K, h - 2, w - 2): y[k,i,j] = sum over the window at (i, j) of x w[k]."""
        h, w = x.shape
        y = np.zeros((len(self.filters), h - 2, w - 2))
        for i in range(h - 2):
            for j in range(w - 2):
                y[:, i, j] = (x[i : i + 3, j : j + 3] * self.filters).sum(axis=(1, 2))
        return y

    def convolve_backward(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return the filters' gradient: every window times the gradient of what it became."""
        gradient = np.zeros_like(self.filters)
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                gradient += dy[:, i, j, None, None] * x[i : i + 3, j : j + 3]
        return gradient

    def pool(self, maps: np.ndarray) -> np.ndarray:
        """Return the maximum of each window of 2x2, (K, h // 2, w // 2)."""
        filters, h, w = maps.shape
        y = np.zeros((filters, h // 2, w // 2))
        for i in range(h // 2):
            for j in range(w // 2):
                y[:, i, j] = maps[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
        return y

    def pool_backward(self, maps: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return gradients (K, h, w): each goes to the first maximum of its window, in row-major order."""
        dx = np.zeros_like(maps)
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                for k, window in enumerate(maps[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]):
                    r, s = divmod(int(window.argmax()), 2)
                    dx[k, 2 * i + r, 2 * j + s] = dy[k, i, j]
        return dx


# --- The picture --------------------------------------------------------------------------------------------------------


def draw(options: argparse.Namespace, found: Found) -> None:
    """Draw both losses, which lie on one another, and the speeds."""
    drawn, ((left, right),) = figure(
        1, 2, size=(11, 4.4), title="A tutorial's loops and the library: the same network", width_ratios=[1.6, 1]
    )
    steps = np.arange(1, len(found.loops) + 1)
    left.plot(steps, running_average(found.loops.tolist()), color=GREY, linewidth=5, label="plain loops")
    left.plot(steps, running_average(found.ours.tolist()), "--", color=BLUE, label="ours")
    left.set(title="Cross-entropy, mean over the last 50 images", xlabel="images", ylim=(0, None))
    left.legend()
    for place, (rate, colour) in enumerate(zip(found.rates.values(), (GREY, BLUE, ORANGE), strict=True)):
        right.barh(place, rate, color=colour, height=0.6)
        right.text(rate, place, f" {rate:,.0f}", va="center")
    least, most = min(found.rates.values()), max(found.rates.values())
    right.set(
        title="Training, images/s (in powers of ten)",
        xscale="log",
        yticks=range(3),
        yticklabels=list(found.rates),
        xlim=(least / 10, 12 * most),
    )
    right.invert_yaxis()
    right.set_axisbelow(True)
    right.grid(axis="y", visible=False)
    save(drawn, options, "original_loops")


if __name__ == "__main__":
    sys.exit(run(main))
