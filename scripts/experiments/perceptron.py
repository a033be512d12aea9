"""A perceptron draws a line and says on which side of it a point lies; that makes AND, NAND and OR, and two layers of it make XOR.

Each gate is a dense layer of one output, w1 x1 + w2 x2 + b, and a step that turns it into 0 or 1. No line has (1, 0) and (0, 1) on one
side and (0, 0) and (1, 1) on the other, so a single gate cannot be XOR: that is AND(NAND, OR). The last picture shows why two layers can:
the first moves the four points to where a line is enough.

M. Minsky & S. Papert, "Perceptrons", 1969; K. Saito, "Deep Learning from Scratch", 2016, chapter 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from _common import BLUE, GREY, ORANGE, figure, parser, run, save, table, tell
from fastcnn.layers import Layer, Linear, Sequential, Step

GATES = {"AND": (0.5, 0.5, -0.7), "NAND": (-0.5, -0.5, 0.7), "OR": (0.5, 0.5, -0.2)}  # w1, w2, b
CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


def gates(*names: str) -> Sequential:
    """Return a layer of perceptrons: points (N, 2) become answers (N, gates) of 0 and 1."""
    dense = Linear(2, len(names))
    numbers = np.array([GATES[name] for name in names], np.float32)
    dense.params["weight"][...], dense.params["bias"][...] = numbers[:, :2], numbers[:, 2]
    return Sequential(dense, Step())


def main(argv: Sequence[str] = ()) -> dict[str, list[int]]:
    """Print and draw the gates; return each one's answers to (0, 0), (0, 1), (1, 0) and (1, 1)."""
    options = parser(__doc__).parse_args(argv)
    networks: dict[str, Layer] = {name: gates(name) for name in GATES}
    networks["XOR"] = Sequential(gates("NAND", "OR"), gates("AND"))
    answers = {name: network(CORNERS)[:, 0].astype(int).tolist() for name, network in networks.items()}
    rows = [(f"{x1:.0f}", f"{x2:.0f}", *(found[i] for found in answers.values())) for i, (x1, x2) in enumerate(CORNERS)]
    tell(table(("x1", "x2", *answers), rows))
    tell("One line tells the corners of AND, NAND and OR apart; XOR takes two lines, NAND's and OR's, and an AND behind them.")
    draw(options, networks, answers)
    return answers


# --- The picture --------------------------------------------------------------------------------------------------------


def draw(options: argparse.Namespace, networks: dict[str, Layer], answers: dict[str, list[int]]) -> None:
    """Draw where each network says 1, the lines of its perceptrons, and the four corners."""
    drawn, ((*axes, behind),) = figure(1, 5, size=(15.5, 3.9), title="Perceptrons as gates: where they answer 1")
    for (name, network), one in zip(networks.items(), axes, strict=True):
        region(one, network)
        lines = [name] if name in GATES else ["NAND", "OR"]
        for line in lines:
            boundary(one, *GATES[line], line if len(lines) > 1 else "")
        corners(one, CORNERS, answers[name])
        words = "{:g} x1 {:+g} x2 {:+g} > 0".format(*GATES[name]) if name in GATES else "AND(NAND, OR)"
        describe(one, f"{name}\n", words, "x1", "x2")
    region(behind, networks["AND"])
    boundary(behind, *GATES["AND"])
    corners(behind, networks["XOR"].children()["0"](CORNERS), answers["XOR"])
    behind.annotate("(0, 1) and (1, 0)\nboth come here", (1, 1), (0.32, 1.32), fontsize=8, arrowprops={"arrowstyle": "->", "color": GREY})
    describe(behind, "What XOR's second layer sees\n", "AND, of what NAND and OR answer", "NAND(x1, x2)", "OR(x1, x2)")
    save(drawn, options, "perceptron")


def region(axes: Any, network: Layer) -> None:
    """Tint the part of the plane where a network says 1."""
    line = np.linspace(-0.5, 1.6, 421, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    axes.contourf(line, line, network(points).reshape(421, 421), levels=[-0.5, 0.5, 1.5], colors=["white", ORANGE], alpha=0.22)


def boundary(axes: Any, w1: float, w2: float, b: float, name: str = "") -> None:
    """Draw the line w1 x1 + w2 x2 + b = 0, and its name beside it."""
    ends = np.array([-0.5, 1.6])
    axes.plot(ends, -(w1 * ends + b) / w2, color=BLUE)
    if name:
        above = name == "NAND"  # whose line is the upper one
        x, y = 0.25, -(w1 * 0.25 + b) / w2
        axes.text(x, y, name, color=BLUE, fontsize=9, rotation=-45, rotation_mode="anchor", ha="center", va="bottom" if above else "top")


def corners(axes: Any, points: np.ndarray, answers: Sequence[int]) -> None:
    """Draw points: filled where the answer is 1, hollow where it is 0."""
    for (x, y), answer in zip(points, answers, strict=True):
        axes.plot(x, y, "o", markersize=11, color="black", markerfacecolor="black" if answer else "white", markeredgewidth=1.6, zorder=3)


def describe(axes: Any, title: str, words: str, x_label: str, y_label: str) -> None:
    """Give a picture of the plane its title, labels and limits."""
    axes.set_title(title)
    axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=9, color="#555555")
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(-0.5, 1.6), ylim=(-0.5, 1.6), aspect="equal", xticks=[0, 1], yticks=[0, 1])


if __name__ == "__main__":
    sys.exit(run(main))
