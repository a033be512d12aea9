"""Layers that consist of layers: names, state and settings of a whole are those of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .base import Layer


class Nested(Layer):
    """Base of layers that consist of others, its children; parameters and buffers are theirs, under names that begin with the child's.

    Whoever derives from it defines `apply`, `pull_back`, `output_shape`, and `inputs_inside`.
    """

    def __init__(self, children: Mapping[str, Layer]) -> None:
        super().__init__()
        self._children = dict(children)
        for child, layer in children.items():
            self.params.update({f"{child}.{name}": param for name, param in layer.params.items()})
            self.buffers.update({f"{child}.{name}": buffer for name, buffer in layer.buffers.items()})

    def children(self) -> dict[str, Layer]:
        return self._children

    def inputs_inside(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of what each child takes in, for an input of `shape`, both without the batch axis."""
        raise TypeError(f"{type(self).__name__} defines no inputs_inside")

    @property
    def trainable(self) -> bool:
        """Whether training changes any of the layers; assigned, it is passed on to all of them, as by `freeze` and `unfreeze`."""
        return any(layer.trainable for layer in self._children.values() if layer.params)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._children.values():
            layer.trainable = value

    @property
    def trainable_params(self) -> dict[str, np.ndarray]:
        return {f"{child}.{name}": param for child, layer in self._children.items() for name, param in layer.trainable_params.items()}

    def flops(self, shape: tuple[int, ...]) -> int:
        return sum(self._children[name].flops(taken) for name, taken in self.inputs_inside(shape).items())

    def summary(self, shape: tuple[int, ...]) -> str:
        """Return a table of layers: output shapes for an input of `shape` (no batch axis), parameters, FLOPs of a sample.

        Layers inside others have rows of their own; what consists of layers shows only what it adds to theirs.

        Raises
        ------
        ValueError
            The layers do not fit together, or the input.
        """
        total = self.flops(shape)
        rows = [("layer", "output shape", "parameters", "FLOPs"), *_rows(self, "", shape)]
        rows.append(("total", "", f"{self.parameter_count:,}", f"{total:,}"))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
        lines = [line.rstrip() for line in lines]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        lines = [f"{child}: {layer!r}".replace("\n", "\n  ") for child, layer in self._children.items()]
        return f"{type(self).__name__}(\n" + "".join(f"  {line}\n" for line in lines) + ")"


def _rows(parent: Nested, prefix: str, shape: tuple[int, ...]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows of a summary for the layers inside `parent`, whose input has this shape."""
    for name, taken in parent.inputs_inside(shape).items():
        layer = parent.children()[name]
        output = str(layer.output_shape(taken))
        if isinstance(layer, Nested):
            own = layer.flops(taken) - Nested.flops(layer, taken)
            yield f"{prefix}{name} {type(layer).__name__}", output, "", f"{own:,}" if own else ""
            yield from _rows(layer, f"{prefix}{name}.", taken)
        else:
            yield f"{prefix}{name} {layer!r}", output, f"{layer.parameter_count:,}", f"{layer.flops(taken):,}"
