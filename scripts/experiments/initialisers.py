"""Initial weights: what they make of the activations, and whether the network learns then.

A signal passes five layers of 100 units with sigmoid, tanh or ReLU, whose weights are normal with a deviation of 0.01, Xavier's or He's.
Where activations shrink from layer to layer, or are all alike, so are the gradients, and nothing is learnt. The same networks are then
trained on digits: batches of 128, plain SGD with a learning rate of 0.1.

References: K. Saito, "Deep Learning from Scratch", 2016, section 6.2; X. Glorot & Y. Bengio, 2010; K. He et al., 2015.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from _common import BLUE, GREEN, RED, figure, load, parser, run, save, table, tell
from fastcnn import layers, optim
from fastcnn.init import he_normal, normal, xavier_normal
from fastcnn.models import multi_layer_net
from fastcnn.models.perceptrons import ACTIVATIONS
from fastcnn.train import count_steps, fit, running_average

INITIALISERS = {"0.01": (normal(0.01), "deviation 0.01", RED), "xavier": (xavier_normal, "Xavier", BLUE), "he": (he_normal, "He", GREEN)}
KINDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 2.0)}  # and the range of their histograms
NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}
DEPTH, UNITS, BATCH = 5, 100, 128
Case = tuple[str, str]  # of KINDS, of INITIALISERS


class Found(NamedTuple):
    """By activation and initialiser: outputs of every layer (5, 1000, 100), and losses of every step."""

    activations: dict[Case, np.ndarray]
    losses: dict[Case, list[float]]


def activations(kind: str, initialiser: str, seed: int) -> np.ndarray:
    """Return what each of five layers makes of 1,000 normal signals: (5, 1000, 100)."""
    rng = np.random.default_rng(seed)
    x, found = rng.standard_normal((1000, UNITS)).astype(np.float32), []
    for _ in range(DEPTH):
        x = ACTIVATIONS[kind]()(layers.Linear(UNITS, UNITS, rng=rng, init=INITIALISERS[initialiser][0])(x))
        found.append(x)
    return np.array(found)


def draw_activations(found: Found) -> Any:
    """Return a figure of nine charts, each with a histogram for every layer, one behind the other."""
    drawn, grid = figure(3, 3, size=(11, 8.4), title="Activations of five layers, the first at the top")
    for axes, ((kind, initialiser), outputs) in zip(grid.flat, found.activations.items(), strict=True):
        low, high = KINDS[kind]
        _, name, colour = INITIALISERS[initialiser]
        for layer, values in enumerate(outputs):
            counts, edges = np.histogram(values, bins=50, range=(low, high))
            rest = counts[1:] if kind == "relu" else counts  # ReLU's zeros, half of all, would flatten the others
            heights = np.minimum(counts / max(rest.max(), 1), 1)
            base = DEPTH - 1 - layer
            axes.stairs(base + 0.9 * heights, edges, baseline=base, fill=True, color=colour, alpha=0.4 + 0.12 * layer)
            axes.axhline(base, color=colour, linewidth=0.8)
            axes.text(1.02, base + 0.1, f"{values.std():.2g}", transform=axes.get_yaxis_transform(), fontsize=9, color="#555555")
        axes.set(title=f"{NAMES[kind]}, {name}", xlim=(low, high), ylim=(0, DEPTH), yticks=np.arange(DEPTH) + 0.4)
        axes.set_yticklabels(range(DEPTH, 0, -1))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False)
    drawn.supxlabel("activation (numbers at the right: standard deviation; the bars of ReLU's zeros are cut off)", fontsize=10)
    drawn.supylabel("layer", fontsize=10)
    return drawn


def draw_losses(found: Found) -> Any:
    """Return a figure of the losses, a chart for each activation."""
    drawn, (charts,) = figure(1, 3, size=(11, 3.9), sharey=True, title="Learning from these initial weights")
    for axes, kind in zip(charts, KINDS, strict=True):
        for (initialiser, (_, name, colour)), style in zip(INITIALISERS.items(), ("-", "--", "-"), strict=True):
            smooth = running_average(found.losses[kind, initialiser], decay=0.97)
            axes.plot(np.arange(1, len(smooth) + 1), smooth, color=colour, linestyle=style, label=name)
        axes.set(title=NAMES[kind], xlabel="step", ylim=(0, 2.5))
    charts[0].set_ylabel("training loss (running average)")
    charts[0].legend(loc="center right")
    return drawn


def main(argv: Sequence[str] | None = None) -> Found:
    """Look at the activations, train, and return both."""
    options = parser(__doc__).parse_args(argv)
    data = load(options)
    images, size = len(data.train_images), data.train_images.shape[1]
    epochs = (300 if options.quick else 2000) / count_steps(images, 1, BATCH)
    found = Found({}, {})
    for kind in KINDS:
        for initialiser, (draw, name, _) in INITIALISERS.items():
            found.activations[kind, initialiser] = activations(kind, initialiser, options.seed)
            net = multi_layer_net(size, options.seed, hidden=(UNITS,) * DEPTH, activation=kind, init=draw)
            history = fit(net, data.train_images, data.train_labels, epochs=epochs, batch_size=BATCH, standardise=(0, 255),
                          seed=options.seed, optimizer=optim.SGD(net.params, lr=0.1))  # fmt: skip
            found.losses[kind, initialiser] = history.step_losses
            tell(f"{NAMES[kind]}, {name}: loss {np.mean(history.step_losses[-50:]):.3f}")
    rows = [(f"{NAMES[kind]}, {INITIALISERS[name][1]}", *(f"{layer.std():.2g}" for layer in outputs),
             float(np.mean(found.losses[kind, name][-50:]))) for (kind, name), outputs in found.activations.items()]  # fmt: skip
    tell(table(("deviation of the activations of layer", *map(str, range(1, DEPTH + 1)), "last losses"), rows))
    tell("With a deviation of 0.01 the signal dies on its way, and nothing is learnt; He's keeps ReLU's alive, Xavier's that of tanh. "
         "Five sigmoids in a row, whose slopes are at most 1/4, learn from none of them.")  # fmt: skip
    save(draw_activations(found), options, "activations")
    save(draw_losses(found), options, "initialisers")
    return found


if __name__ == "__main__":
    sys.exit(run(main))
