"""Optimisers compared: how fast eight of them learn digits, and which way they go down a valley.

The network is of four hidden layers of 100 units with ReLU, He's initial weights, batches of 128 of MNIST's bytes as 0 to 1. The valley is
f(x, y) = x^2 / 20 + y^2: steep across, flat along, so that plain descent zigzags.

References: K. Saito, "Deep Learning from Scratch", 2016, section 6.1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from _common import BLACK, COLOURS, GREY, figure, load, parser, run, save, table, tell
from fastcnn import optim
from fastcnn.models import multi_layer_net
from fastcnn.train import count_steps, evaluate, fit, running_average

Make = Callable[[Mapping[str, np.ndarray]], optim.Optimizer]
BATCH, START, STEPS = 128, (-7.0, 2.0), 30


class Contestant(NamedTuple):
    """How an optimiser is made for the network, and for the valley, where steps are larger."""

    network: Make
    valley: Make
    rates: tuple[float, float]


def _contestant(kind: Callable[..., optim.Optimizer], network: float, valley: float, **settings: Any) -> Contestant:
    return Contestant(lambda p: kind(p, lr=network, **settings), lambda p: kind(p, lr=valley, **settings), (network, valley))


CONTESTANTS = {  # learning rates: the book's where it has them
    "SGD": _contestant(optim.SGD, 0.01, 0.95),
    "Momentum": _contestant(optim.SGD, 0.01, 0.1, momentum=0.9),
    "Nesterov": _contestant(optim.SGD, 0.01, 0.1, momentum=0.9, nesterov=True),
    "AdaGrad": _contestant(optim.Adagrad, 0.01, 1.5),
    "RMSprop": _contestant(optim.RMSprop, 0.001, 0.3, alpha=0.9),
    "Adam": _contestant(optim.Adam, 0.001, 0.3),
    "AdamW": _contestant(optim.AdamW, 0.001, 0.3, weight_decay=0.1),
    "Adadelta": _contestant(optim.Adadelta, 1.0, 100.0),
}


class Found(NamedTuple):
    """By optimiser: losses of every step, test accuracy, and the path (steps + 1, 2) through the valley."""

    losses: dict[str, list[float]]
    accuracies: dict[str, float]
    paths: dict[str, np.ndarray]


def valley(x: Any, y: Any) -> Any:
    """Return f(x, y)."""
    return x**2 / 20 + y**2


def path(make: Make) -> np.ndarray:
    """Return where an optimiser goes from START in STEPS steps: (STEPS + 1, 2)."""
    place = np.array(START)
    optimizer, way = make({"place": place}), [place.copy()]
    for _ in range(STEPS):
        optimizer.step({"place": place * [1 / 10, 2]})  # the gradient of the valley
        way.append(place.copy())
    return np.array(way)


def draw_losses(found: Found) -> Any:
    """Return a figure of the losses, smoothed; the best is at the top of the legend."""
    drawn, ((axes,),) = figure(size=(8, 4.8))
    from matplotlib.ticker import LogLocator  # behind `figure`, which says what to install where it is missing

    for name in sorted(found.accuracies, key=lambda name: -found.accuracies[name]):
        smooth = running_average(found.losses[name], decay=0.98)
        place = list(CONTESTANTS).index(name)
        axes.plot(np.arange(1, len(smooth) + 1), smooth, color=COLOURS[place], linestyle="-" if place % 2 else "--",
                  label=f"{name}  {100 * found.accuracies[name]:.1f} %")  # fmt: skip
    axes.set(title="Eight optimisers on digits", xlabel="step", ylabel="training loss (running average)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.01)
    axes.legend(title="test accuracy at the end", loc="center left", bbox_to_anchor=(1.0, 0.5), alignment="left")
    return drawn


def draw_paths(found: Found) -> Any:
    """Return a figure with a path over the valley's contours for each optimiser."""
    drawn, grid = figure(2, 4, size=(12.5, 5.4), sharex=True, sharey=True,
                         title=f"The way down f(x, y) = x² / 20 + y² in {STEPS} steps")  # fmt: skip
    x, y = np.meshgrid(np.linspace(-8, 8, 161), np.linspace(-3, 3, 121))
    for axes, (name, way), colour in zip(grid.flat, found.paths.items(), COLOURS, strict=True):
        axes.contour(x, y, valley(x, y), levels=np.geomspace(0.05, 12, 9), colors=GREY, linewidths=0.6, alpha=0.7)
        axes.plot(*way.T, "o-", color=colour, markersize=3.5, linewidth=1.4)
        axes.plot(0, 0, "+", color=BLACK, markersize=11, markeredgewidth=1.6)
        axes.set(title=f"{name}: f = {valley(*way[-1]):.2g}", xlim=(-8, 8), ylim=(-3, 3))
        axes.grid(visible=False)
    return drawn


def main(argv: Sequence[str] | None = None) -> Found:
    """Run the contest and return what came of it."""
    options = parser(__doc__).parse_args(argv)
    data = load(options)
    images, size = len(data.train_images), data.train_images.shape[1]
    epochs = 2000 / count_steps(images, 1, BATCH) if not options.quick else 15
    found = Found({}, {}, {})
    for name, made in CONTESTANTS.items():
        net = multi_layer_net(size, options.seed)  # the same initial weights for all
        history = fit(net, data.train_images, data.train_labels, epochs=epochs, batch_size=BATCH, standardise=(0, 255), seed=options.seed,
                      optimizer=made.network(net.params))  # fmt: skip
        found.losses[name] = history.step_losses
        found.accuracies[name] = evaluate(net, data.test_images, data.test_labels, history.mean, history.deviation)
        found.paths[name] = path(made.valley)
        tell(f"{name}: {len(history.step_losses):,} steps, loss {np.mean(history.step_losses[-50:]):.4f}")
    rows = [(name, made.rates[0], float(np.mean(found.losses[name][-50:])), found.accuracies[name], made.rates[1],
             float(valley(*found.paths[name][-1]))) for name, made in CONTESTANTS.items()]  # fmt: skip
    tell(table(("optimiser", "rate", "last losses", "test accuracy", "rate in the valley", "f at its end"), rows))
    last, first = max(rows, key=lambda row: row[2]), min(rows, key=lambda row: row[2])
    tell(f"{last[0]} ends at {last[2] / first[2]:.1f} times the loss of {first[0]}; down the valley it zigzags. Momentum, or a step "
         "of its own for every weight, is what helps.")  # fmt: skip
    save(draw_losses(found), options, "optimisers")
    save(draw_paths(found), options, "optimiser_paths")
    return found


if __name__ == "__main__":
    sys.exit(run(main))
