"""What two apples and three oranges cost, as a graph of nodes that multiply and add: forward to the price, backward to every gradient.

A node knows two things alone: what it makes of its inputs, and how much each input matters to its output. Backward, it multiplies what
arrives by that and hands it on; so d(price)/d(anything) comes out, without anybody having looked at the whole formula::

    price = (apples x apple's price + oranges x orange's price) x tax

The gradients are compared with central differences of that formula.

K. Saito, "Deep Learning from Scratch", 2016, sections 5.1 and 5.4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from _common import BLACK, BLUE, RED, figure, parser, run, save, table, tell
from fastcnn import numerical_gradient

APPLES = {"apples": 2.0, "apple's price": 100.0, "tax": 1.1}
FRUIT = {"apples": 2.0, "apple's price": 100.0, "orange's price": 150.0, "oranges": 3.0, "tax": 1.1}


class Multiply:
    """x y; backward, each input gets the other one times what arrives."""

    sign = "×"

    def forward(self, x: float, y: float) -> float:
        """Return x y, and remember both."""
        self.x, self.y = x, y
        return x * y

    def backward(self, dout: float) -> tuple[float, float]:
        """Return the gradients with respect to x and y."""
        return dout * self.y, dout * self.x


class Add:
    """x + y; backward, both inputs get what arrives."""

    sign = "+"

    def forward(self, x: float, y: float) -> float:
        """Return x + y."""
        return x + y

    def backward(self, dout: float) -> tuple[float, float]:
        """Return the gradients with respect to x and y."""
        return dout, dout


class Graph:
    """Nodes in an order in which each finds its inputs: (output, node, first input, second input).

    Attributes
    ----------
    values, gradients : dict of str to float
        Of inputs and outputs by name, after `forward` and `backward`.
    """

    def __init__(self, *nodes: tuple[str, Multiply | Add, str, str]) -> None:
        self.nodes = nodes
        self.values: dict[str, float] = {}
        self.gradients: dict[str, float] = {}

    def forward(self, inputs: Mapping[str, float]) -> float:
        """Return the value of the last node."""
        self.values = dict(inputs)
        for output, node, first, second in self.nodes:
            self.values[output] = node.forward(self.values[first], self.values[second])
        return self.values[self.nodes[-1][0]]

    def backward(self) -> dict[str, float]:
        """Return the gradients of the last node's value with respect to every name."""
        self.gradients = dict.fromkeys(self.values, 0.0)
        self.gradients[self.nodes[-1][0]] = 1.0
        for output, node, *inputs in reversed(self.nodes):
            for name, gradient in zip(inputs, node.backward(self.gradients[output]), strict=True):
                self.gradients[name] += gradient  # a name that two nodes read would matter in both ways
        return self.gradients


def apples_alone() -> Graph:
    """Return the graph of  apples x apple's price x tax."""
    return Graph(("for apples", Multiply(), "apples", "apple's price"), ("price", Multiply(), "for apples", "tax"))


def apples_and_oranges() -> Graph:
    """Return the graph of  (apples x apple's price + oranges x orange's price) x tax."""
    return Graph(
        ("for apples", Multiply(), "apples", "apple's price"),
        ("for oranges", Multiply(), "orange's price", "oranges"),
        ("fruit", Add(), "for apples", "for oranges"),
        ("price", Multiply(), "fruit", "tax"),
    )


def main(argv: Sequence[str] = ()) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Print and draw both graphs; return values and gradients of each by name."""
    options = parser(__doc__).parse_args(argv)
    found = {}
    for title, graph, inputs in (("apples", apples_alone(), APPLES), ("apples and oranges", apples_and_oranges(), FRUIT)):
        price = graph.forward(inputs)
        gradients = graph.backward()
        differences = by_differences(graph, inputs)
        tell(f"\n{title}: the price is {price:.4g}\n")
        rows = [(name, inputs[name], gradients[name], float(by)) for name, by in zip(inputs, differences, strict=True)]
        tell(table(("input", "value", "gradient", "by differences"), rows))
        found[title] = dict(graph.values), dict(gradients)
    _, gradients = found["apples and oranges"]
    more, orange, rise = (gradients[name] for name in ("apples", "oranges", "apple's price"))
    tell(f"\nOne apple more would cost {more:.4g}, one orange more {orange:.4g}; an apple's price up by 1 puts ours up by {rise:.4g}.")
    draw(options, found)
    return found


def by_differences(graph: Graph, inputs: Mapping[str, float]) -> np.ndarray:
    """Return the gradients with respect to the inputs, in their order, by central differences."""
    values = np.array(list(inputs.values()))
    found = numerical_gradient(lambda x: graph.forward(dict(zip(inputs, x, strict=True))), values)
    graph.forward(inputs)  # the values as they were
    return found


# --- The picture --------------------------------------------------------------------------------------------------------

_INPUTS, _CIRCLE = 0.0, 0.19  # x of the column of inputs; radius of a node
_PLACES = {  # (x, y) of inputs and nodes, a node by the name of its output
    "apples": {"apples": (_INPUTS, 3.2), "apple's price": (_INPUTS, 2.2), "tax": (_INPUTS, 0.9),
               "for apples": (1.5, 2.7), "price": (3.0, 1.9)},
    "apples and oranges": {"apples": (_INPUTS, 3.9), "apple's price": (_INPUTS, 2.9), "orange's price": (_INPUTS, 1.9),
                           "oranges": (_INPUTS, 0.9), "tax": (_INPUTS, -0.1), "for apples": (1.5, 3.4), "for oranges": (1.5, 1.4),
                           "fruit": (3.0, 2.4), "price": (4.5, 1.6)},
}  # fmt: skip


def draw(options: argparse.Namespace, found: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]]) -> None:
    """Draw both graphs: values above their edges, gradients below them."""
    title = "Forward the value of every edge (black), backward d(price)/d(edge) (red)"
    drawn, ((left, right),) = figure(1, 2, size=(14, 5.8), title=title, width_ratios=[5.6, 7.1])
    for axes, graph, (name, (values, gradients)) in zip((left, right), (apples_alone(), apples_and_oranges()), found.items(), strict=True):
        places = _PLACES[name]
        axes.set_title(f"{name[0].upper()}{name[1:]}")
        axes.set(aspect="equal", xlim=(-1.25, places["price"][0] + 1.35), ylim=(-0.4, 4.3))
        axes.axis("off")
        for output, node, *inputs in graph.nodes:
            x, y = places[output]
            axes.add_patch(circle((x, y), _CIRCLE))
            axes.text(x, y, node.sign, ha="center", va="center", fontsize=16, color="white", zorder=4)
            for input_ in inputs:
                edge(axes, places[input_], (x, y), values[input_], gradients[input_], begin=0.0 if input_ in inputs_of(graph) else _CIRCLE)
        for input_ in inputs_of(graph):
            axes.text(_INPUTS - 0.1, places[input_][1], input_, ha="right", va="center", color=BLUE, fontsize=10)
        x, y = places["price"]
        edge(axes, (x, y), (x + 1.2, y), values["price"], gradients["price"], begin=_CIRCLE, end=0.0)
        axes.text(x + 1.22, y, " price", ha="left", va="center", color=BLUE, fontsize=10)
    save(drawn, options, "computation_graph")


def inputs_of(graph: Graph) -> list[str]:
    """Return the names that no node makes."""
    made = {output for output, *_ in graph.nodes}
    return [name for _, _, *names in graph.nodes for name in names if name not in made]


def circle(centre: tuple[float, float], radius: float) -> Any:
    """Return a node's disc."""
    from matplotlib.patches import Circle

    return Circle(centre, radius, color=BLUE, zorder=3)


def edge(
    axes: Any, start: tuple[float, float], stop: tuple[float, float], value: float, gradient: float, begin: float, end: float = _CIRCLE
) -> None:
    """Draw an arrow that leaves out `begin` and `end` at its ends, with a value above its middle and a gradient below."""
    first, last = np.array(start), np.array(stop)
    along = (last - first) / np.hypot(*(last - first))
    first, last = first + begin * along, last - end * along
    axes.annotate("", last, first, arrowprops={"arrowstyle": "-|>", "color": BLACK, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.2})
    x, y = (first + last) / 2
    turn = {"rotation": np.degrees(np.arctan2(along[1], along[0])), "rotation_mode": "anchor", "ha": "center", "fontsize": 10}
    normal = 0.07 * np.array([-along[1], along[0]])
    axes.text(x + normal[0], y + normal[1], f"{value:.4g}", va="bottom", color=BLACK, **turn)
    axes.text(x - normal[0], y - normal[1], f"{gradient:.4g}", va="top", color=RED, **turn)


if __name__ == "__main__":
    sys.exit(run(main))
