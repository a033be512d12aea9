"""A gradient check of a small CNN: every gradient beside central differences, and the same with a mistake.

conv 3x3 -> 4, ReLU, pool, dense -> 10, on four images of 8 x 8; kinks are where a difference steps over a corner of ReLU or to another
maximum. The mistake is a common one: the convolution's gradient is averaged over the images once more. The last picture, of a network
without corners, tells why the step of a difference is 1e-5: larger ones see the curvature, smaller ones the rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from _common import BLUE, COLOURS, GREEN, GREY, RED, figure, inputs, parser, run, save, tell
from fastcnn import gradient_check, numerical_gradient
from fastcnn.data import digits
from fastcnn.gradients import GradientCheck
from fastcnn.layers import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, Tanh
from fastcnn.losses import SoftmaxCrossEntropy

STEPS = np.logspace(-1, -12, 23)


class Mistaken(Conv2d):
    """A convolution that divides its gradients by the number of images, though the loss has done so."""

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Return the input's gradient, and wrong ones of weight and bias."""
        dx, grads = super().pull_back(saved, dy, input_gradient)
        return dx, {name: grad / len(dy) for name, grad in grads.items()}


class Found(NamedTuple):
    """Both checks; gradients of the mean loss, computed and numerical, by parameter; errors of differences with STEPS."""

    right: GradientCheck
    wrong: GradientCheck
    gradients: dict[str, tuple[np.ndarray, np.ndarray]]
    errors: np.ndarray


def network(seed: int, conv: type[Conv2d] = Conv2d, smooth: bool = False) -> Sequential:
    """Return the network in float64, with a convolution of some kind; `smooth` has tanh and means for ReLU and maxima."""
    rng = np.random.default_rng(seed)
    between = (Tanh(), AvgPool2d(2)) if smooth else (ReLU(), MaxPool2d(2))
    first, last = conv(1, 4, 3, rng=rng, dtype=np.float64), Linear(36, 10, rng=rng, dtype=np.float64)
    return Sequential(first, *between, Flatten(), last)


def gradients(net: Sequential, images: np.ndarray, labels: np.ndarray, eps: float = 1e-5) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the gradients of the loss with respect to every parameter: as `backward` computes them, and by differences."""
    loss = SoftmaxCrossEntropy()
    loss(net(images), labels)
    net.backward(loss.backward(), input_gradient=False)
    computed = {name: grad.copy() for name, grad in net.grads.items()}
    numerical = {name: numerical_gradient(lambda _: loss(net(images), labels), value, eps) for name, value in net.params.items()}
    return {name: (computed[name], numerical[name]) for name in computed}


def draw(found: Found) -> Any:
    """Return a figure of computed against numerical gradients, of both checks' errors, and of the errors by the step."""
    drawn, ((pairs, bars, steps),) = figure(1, 3, size=(13, 4.2))
    for (name, (computed, numerical)), colour in zip(found.gradients.items(), COLOURS, strict=False):
        pairs.plot(numerical.ravel(), computed.ravel(), "o", markersize=4, color=colour, alpha=0.6, label=name)
    pairs.axline((0, 0), slope=1, color=GREY, linewidth=0.8, zorder=1)
    pairs.set(title="Every gradient of the network", xlabel="by central differences", ylabel="as computed")
    pairs.legend(loc="upper left")

    names = [row.name for row in found.right.rows]
    for shift, check, name, colour in ((-0.2, found.right, "the network", GREEN), (0.2, found.wrong, "with the mistake", RED)):
        bars.barh(np.arange(len(names)) + shift, [row.error for row in check.rows], height=0.36, color=colour, label=name)
    bars.axvline(found.right.tolerance, color=GREY, linestyle="--", linewidth=1.2, label="tolerance")
    bars.set(title="Largest relative error", xscale="log", xlim=(1e-13, 30), yticks=range(len(names)), xlabel="|a - b| / (|a| + |b|)")
    bars.set_yticklabels(names)
    bars.invert_yaxis()
    bars.grid(visible=False, axis="y")
    bars.legend(loc="upper right", bbox_to_anchor=(1.0, -0.2), ncols=3)

    steps.loglog(STEPS, found.errors, "o-", color=BLUE, markersize=4)
    steps.set(title="Error of differences by their step", xlabel="step", ylabel="largest relative error")
    steps.annotate("rounding", (0.04, 0.06), xycoords="axes fraction", color="#555555")
    steps.annotate("curvature", (0.96, 0.06), xycoords="axes fraction", color="#555555", ha="right")
    return drawn


def main(argv: Sequence[str] | None = None) -> Found:
    """Check, and return what was found."""
    options = parser(__doc__).parse_args(argv)
    data = digits()
    images, labels = inputs(data.train_images[:4]).astype(np.float64), data.train_labels[:4].astype(np.int64)
    tell("The network:")
    right = gradient_check(network(options.seed), images, labels, SoftmaxCrossEntropy())
    tell(str(right))
    tell("\nWith the convolution's gradient averaged once too often:")
    wrong = gradient_check(network(options.seed, Mistaken), images, labels, SoftmaxCrossEntropy())
    tell(str(wrong))
    errors = []
    for eps in STEPS:
        computed, numerical = gradients(network(options.seed, smooth=True), images, labels, eps)["0.weight"]
        errors.append(np.abs(computed - numerical).max() / np.abs(computed).max())
    wrongs = ", ".join(row.name for row in wrong.rows if row.verdict == "wrong")
    tell(f"\nThe check finds the mistake where it is: in {wrongs}. Differences are best with a step of {STEPS[np.argmin(errors)]:.0e}.")
    found = gradients(network(options.seed), images, labels)
    result = Found(right, wrong, found, np.array(errors))
    save(draw(result), options, "gradient_check")
    return result


if __name__ == "__main__":
    sys.exit(run(main))
