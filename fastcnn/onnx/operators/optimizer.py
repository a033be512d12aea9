"""The optimisers of ONNX's training domain: one step, for any number of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node
from .registry import Inputs, Run, operator, refuse

_DOMAIN = "ai.onnx.preview.training"

Step = Callable[..., tuple[np.ndarray, ...]]  # (rate, step number, tensor, gradient, states) to the new tensor and states


def _several(step: Step, states: int) -> Run:
    """Return a function of (rate, number, all tensors, all gradients, all first states, ...), results grouped alike."""

    def run(rate: np.ndarray, number: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        count = len(arrays) // (2 + states)
        made = [step(rate, number, *arrays[i::count]) for i in range(count)]
        return tuple(array.astype(arrays[0].dtype, copy=False) for group in zip(*made, strict=True) for array in group)

    return run


@operator("Adagrad", domain=_DOMAIN)
def adagrad(node: Node, inputs: Inputs) -> Run:
    """Bind a step divided by the root of all squared gradients so far."""
    epsilon, decay, norm = node.get("epsilon", 1e-6), node.get("decay_factor", 0.0), node.get("norm_coefficient", 0.0)

    def step(rate: Any, number: Any, x: np.ndarray, gradient: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, ...]:
        gradient = norm * x + gradient
        squares = squares + gradient * gradient
        return x - rate / (1 + number * decay) * gradient / (np.sqrt(squares) + epsilon), squares

    return _several(step, 1)


@operator("Adam", domain=_DOMAIN)
def adam(node: Node, inputs: Inputs) -> Run:
    """Bind a step by running means of the gradient and its square."""
    alpha, beta, epsilon = node.get("alpha", 0.9), node.get("beta", 0.999), node.get("epsilon", 1e-6)
    norm, norm_after = node.get("norm_coefficient", 0.0), node.get("norm_coefficient_post", 0.0)

    def step(rate: Any, number: Any, x: np.ndarray, gradient: np.ndarray, mean: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, ...]:
        gradient = norm * x + gradient
        mean, square = alpha * mean + (1 - alpha) * gradient, beta * square + (1 - beta) * gradient * gradient
        if number > 0:
            rate = rate * np.sqrt(1 - beta**number) / (1 - alpha**number)
        return (1 - norm_after) * (x - rate * mean / (np.sqrt(square) + epsilon)), mean, square

    return _several(step, 2)


@operator("Momentum", domain=_DOMAIN)
def momentum(node: Node, inputs: Inputs) -> Run:
    """Bind a step by the running sum of gradients, as it is or looking ahead."""
    alpha, beta, norm, mode = node.get("alpha"), node.get("beta"), node.get("norm_coefficient"), node.get("mode")
    if mode not in ("standard", "nesterov"):
        raise refuse(node, f"mode {mode!r}")

    def step(rate: Any, number: Any, x: np.ndarray, gradient: np.ndarray, speed: np.ndarray) -> tuple[np.ndarray, ...]:
        gradient = norm * x + gradient
        speed = alpha * speed + (beta if number > 0 else 1.0) * gradient
        return x - rate * (gradient + alpha * speed if mode == "nesterov" else speed), speed

    return _several(step, 1)
