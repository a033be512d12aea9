"""Hyper-parameters by random search: learning rate and weight decay of a network that sees 500 images.

Both are drawn evenly on a logarithmic scale, the rate from 1e-6 to 1e-2, the decay from 1e-8 to 1e-4; a fifth of the images is held
out, and judges. The test images have no say: they are looked at once, by the winner. Six hidden layers of 100 units with ReLU, batches of
100, plain SGD.

References: K. Saito, "Deep Learning from Scratch", 2016, section 6.5; J. Bergstra & Y. Bengio, "Random Search for Hyper-Parameter
Optimization", 2012.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from _common import GREY, RED, count, figure, load, parser, percent, run, save, table, tell
from fastcnn import optim
from fastcnn.data import Dataset
from fastcnn.layers import Sequential
from fastcnn.models import multi_layer_net
from fastcnn.train import History, evaluate, fit

IMAGES, SHARE = 500, 0.2
RATES, DECAYS = (1e-6, 1e-2), (1e-8, 1e-4)


class Trial(NamedTuple):
    """Settings, and the validation accuracy after every epoch."""

    rate: float
    decay: float
    accuracies: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Return the last one."""
        return self.accuracies[-1]


class Found(NamedTuple):
    """Trials, the best first, and the test accuracy of the best."""

    trials: list[Trial]
    test_accuracy: float


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is spread evenly: as many between 1e-6 and 1e-5 as between 1e-3 and 1e-2."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def train(data: Dataset, rate: float, decay: float, epochs: int, seed: int) -> tuple[Sequential, History]:
    """Train on the training images of `data`, judged by its others; return network and history."""
    net = multi_layer_net(data.train_images.shape[1], seed, hidden=(100,) * 6)
    optimizer = optim.SGD(net.params, lr=rate, weight_decay=decay)
    history = fit(net, data.train_images, data.train_labels, epochs=epochs, batch_size=100, standardise=(0, 255), seed=seed,
                  validation=(data.test_images, data.test_labels), optimizer=optimizer)  # fmt: skip
    return net, history


def draw(found: Found) -> Any:
    """Return a figure of the trials by their settings, and of the curves of the best ten."""
    drawn, ((plane, curves),) = figure(1, 2, size=(11, 4.4), title=f"{len(found.trials)} random settings")
    rates, decays, accuracies = zip(*((t.rate, t.decay, t.accuracy) for t in reversed(found.trials)), strict=True)
    dots = plane.scatter(
        rates, decays, c=accuracies, cmap="viridis", vmin=0, vmax=1, s=45, clip_on=False, zorder=4, edgecolor="white", linewidth=0.5
    )
    best = found.trials[0]
    plane.scatter([best.rate], [best.decay], s=150, clip_on=False, zorder=5, facecolor="none", edgecolor=RED, linewidth=2)
    plane.set(title="Validation accuracy (ring: the best)", xscale="log", yscale="log", xlim=RATES, ylim=DECAYS, xlabel="learning rate",
              ylabel="weight decay")  # fmt: skip
    bar = drawn.colorbar(dots, ax=plane, format=lambda value, _: f"{100 * value:.0f} %")
    bar.outline.set_visible(False)
    epochs = np.arange(1, len(best.accuracies) + 1)
    for trial in reversed(found.trials[:10]):
        leads = trial is best
        curves.plot(epochs, trial.accuracies, color=RED if leads else GREY, linewidth=2.2 if leads else 1, zorder=3 if leads else 2)
    curves.annotate(f"rate {best.rate:.2g}, decay {best.decay:.2g}", (0.97, 0.06), xycoords="axes fraction", ha="right", color=RED)
    curves.set(title="The ten best while training", xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1.02))
    percent(curves)
    return drawn


def main(argv: Sequence[str] | None = None) -> Found:
    """Search, and return the trials and what the best is worth."""
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=count, help="how many settings (default: 100; 30 with --quick)")
    options = arguments.parse_args(argv)
    data, rng = load(options), np.random.default_rng(options.seed)
    few = data._replace(train_images=data.train_images[:IMAGES], train_labels=data.train_labels[:IMAGES])
    part, epochs = few.validation_split(SHARE, seed=options.seed), 50
    trials: list[Trial] = []
    for number in range(1, (options.trials or (30 if options.quick else 100)) + 1):
        rate, decay = log_uniform(rng, *RATES), log_uniform(rng, *DECAYS)
        _, history = train(part, rate, decay, epochs, options.seed)
        trials.append(Trial(rate, decay, tuple(float(epoch.validation_accuracy or 0) for epoch in history.epochs)))
        if number % 10 == 0:
            tell(f"{number} trials, the best {max(trial.accuracy for trial in trials):.3f}")
    trials.sort(key=lambda trial: -trial.accuracy)
    best = trials[0]
    net, history = train(part, best.rate, best.decay, epochs, options.seed)  # the same again, for its weights
    found = Found(trials, evaluate(net, data.test_images, data.test_labels, history.mean, history.deviation))
    tell(table(("place", "learning rate", "weight decay", "validation accuracy"),
               [(str(i), f"{t.rate:.2e}", f"{t.decay:.2e}", t.accuracy) for i, t in enumerate(trials[:10], 1)]))  # fmt: skip
    tell(f"The best five have rates from {min(t.rate for t in trials[:5]):.1e} to {max(t.rate for t in trials[:5]):.1e}, and any decay: "
         f"so small a one does nothing. The winner is right about {100 * found.test_accuracy:.1f} % of the test images.")  # fmt: skip
    save(draw(found), options, "hyper_parameters")
    return found


if __name__ == "__main__":
    sys.exit(run(main))
