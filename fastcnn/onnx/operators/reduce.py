"""Reductions along axes, and the places of extremes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node
from .registry import Inputs, Run, axis_of, listed, operator

Axes = tuple[int, ...] | None


def _log_sum_exp(x: np.ndarray, axis: Axes, keepdims: bool) -> np.ndarray:
    top = x.max(axis=axis, keepdims=True, initial=-np.inf)
    finite = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    total = np.log(np.exp(x - finite).sum(axis=axis, keepdims=True)) + finite
    result: np.ndarray = total if keepdims else total.reshape(np.sum(x, axis=axis).shape)
    return result


def _extreme(function: Any, lowest: bool) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, axis: Axes, keepdims: bool) -> np.ndarray:
        if x.dtype.kind == "b":
            return (np.any if lowest else np.all)(x, axis=axis, keepdims=keepdims)
        if x.dtype.kind == "f":
            initial = -np.inf if lowest else np.inf
        else:
            limits = np.iinfo(x.dtype)
            initial = limits.min if lowest else limits.max
        return function(x, axis=axis, keepdims=keepdims, initial=initial)

    return run


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": lambda x, axis, keepdims: x.sum(axis=axis, keepdims=keepdims, dtype=x.dtype),
    "ReduceMean": lambda x, axis, keepdims: x.mean(axis=axis, keepdims=keepdims, dtype=x.dtype),
    "ReduceProd": lambda x, axis, keepdims: x.prod(axis=axis, keepdims=keepdims, dtype=x.dtype),
    "ReduceMax": _extreme(np.max, True),
    "ReduceMin": _extreme(np.min, False),
    "ReduceL1": lambda x, axis, keepdims: np.abs(x).sum(axis=axis, keepdims=keepdims, dtype=x.dtype),
    "ReduceL2": lambda x, axis, keepdims: np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims, dtype=x.dtype)),
    "ReduceSumSquare": lambda x, axis, keepdims: np.square(x).sum(axis=axis, keepdims=keepdims, dtype=x.dtype),
    "ReduceLogSum": lambda x, axis, keepdims: np.log(x.sum(axis=axis, keepdims=keepdims, dtype=x.dtype)),
    "ReduceLogSumExp": _log_sum_exp,
}


@operator(*_REDUCTIONS)
def reduction(node: Node, inputs: Inputs) -> Run:
    """Bind a reduction; the axes are an attribute, or an input in later opsets."""
    function, keepdims = _REDUCTIONS[node.kind], bool(node.get("keepdims", 1))
    axes = listed(node, inputs, 1, "axes")
    if not axes:
        axes = () if node.get("noop_with_empty_axes", 0) else None
    return lambda x, *_: function(x, axes, keepdims)


@operator("ArgMax", "ArgMin")
def place(node: Node, inputs: Inputs) -> Run:
    """Bind the index of the first extreme, or the last."""
    axis, keepdims = axis_of(node, inputs[0].ndim), bool(node.get("keepdims", 1))
    find = np.argmax if node.kind == "ArgMax" else np.argmin
    if not node.get("select_last_index", 0):
        return lambda x: find(x, axis, keepdims=keepdims).astype(np.int64, copy=False)
    last = inputs[0].shape[axis] - 1
    return lambda x: (last - find(np.flip(x, axis), axis, keepdims=keepdims)).astype(np.int64, copy=False)
