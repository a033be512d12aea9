"""A layer around which its input goes too: the block of residual networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..engine import addition
from .base import Layer
from .nested import Nested
from .sequential import Sequential


class Residual(Nested):
    """y = body(x) + shortcut(x); parameters are named ``body.0.weight``, ``shortcut.weight`` ... as in a `torch.nn.Module` with these two.

    Parameters
    ----------
    *body : Layer
        One after the other, as in a `Sequential`, which fuses them.
    shortcut : Layer, optional
        What is added to their output, which it must have the shape of: a projection such as a `Conv2d` 1x1 where the body changes the
        shape. By default x itself.

    Attributes
    ----------
    body : Sequential
    shortcut : Layer or None

    Raises
    ------
    TypeError
        An argument is no layer.
    ValueError
        The body is empty. In use: its output and that of the shortcut differ in shape.

    References
    ----------
    K. He et al., "Deep Residual Learning for Image Recognition", 2015, section 3.2: equations 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.layers import Conv2d, ReLU, Residual, Sequential
    >>> block = Residual(Conv2d(4, 8, 3, padding=1), ReLU(), Conv2d(8, 8, 3, padding=1), shortcut=Conv2d(4, 8, 1, bias=False))
    >>> Sequential(block, ReLU())(np.zeros((2, 4, 9, 9), np.float32)).shape
    (2, 8, 9, 9)
    >>> list(block.params)
    ['body.0.weight', 'body.0.bias', 'body.2.weight', 'body.2.bias', 'shortcut.weight']
    """

    def __init__(self, *body: Layer, shortcut: Layer | None = None) -> None:
        if not body:
            raise ValueError("Residual: body must have a layer; got none")
        given = {f"argument {i}": layer for i, layer in enumerate(body)} | ({} if shortcut is None else {"shortcut": shortcut})
        for name, layer in given.items():
            if not isinstance(layer, Layer):
                raise TypeError(f"Residual: {name} must be a Layer; got {type(layer).__name__}")
        self.body, self.shortcut = Sequential(*body), shortcut
        super().__init__({"body": self.body} if shortcut is None else {"body": self.body, "shortcut": shortcut})

    def inputs_inside(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(self.children(), shape)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        y, of_body = self.body.apply(x)
        around, of_shortcut = (x, None) if self.shortcut is None else self.shortcut.apply(x)
        return add(y, around), (of_body, of_shortcut)

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        of_body, of_shortcut = saved
        through, own = self.body.pull_back(of_body, dy, input_gradient)
        grads = {f"body.{name}": grad for name, grad in own.items()}
        around: np.ndarray | None = dy
        if self.shortcut is not None:
            around, own = self.shortcut.pull_back(of_shortcut, dy, input_gradient)
            grads.update({f"shortcut.{name}": grad for name, grad in own.items()})
        return (None if through is None or around is None else add(through, around)), grads

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        outputs = self.body.output_shape(shape), shape if self.shortcut is None else self.shortcut.output_shape(shape)
        _require_same(*outputs)
        return outputs[0]

    def flops(self, shape: tuple[int, ...]) -> int:
        return super().flops(shape) + math.prod(self.output_shape(shape))


def add(y: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Return the sum of a body's output, whose memory order it gets, and of what goes around the body.

    A new array: what the body returns may be what it keeps for its backward, or its input.
    """
    y, around = checks.array("Residual", "body's result", y, None), checks.array("Residual", "shortcut's result", around, None)
    _require_same(y.shape, around.shape)
    checks.same_dtype("Residual", body=y, shortcut=around)
    memory = checks.memory_order(y)
    total = checks.empty("Residual", memory.shape, y.dtype)
    addition.add(memory.reshape(-1), checks.memory_order(around, as_in=y).reshape(-1), total.reshape(-1))
    return checks.like(total, y)


def _require_same(body: tuple[int, ...], shortcut: tuple[int, ...]) -> None:
    if body != shortcut:
        raise ValueError(f"Residual: body and shortcut must give one shape; got {body} and {shortcut}")
