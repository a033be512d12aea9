"""Batch normalisation in evaluation is a product and a sum per channel: the layer before it can take both into its weights."""

from __future__ import annotations

import copy

import numpy as np

from .base import Layer
from .conv2d import Conv2d
from .linear import Linear
from .norm import BatchNorm, BatchNorm1d, BatchNorm2d
from .residual import Residual
from .sequential import Sequential

_PAIRS = ((Conv2d, BatchNorm2d), (Linear, BatchNorm1d))


def folded(model: Layer) -> Layer:
    """Return a model that computes the same in evaluation, within rounding, without batch normalisations behind layers of weights.

    The layers are the model's own, but for those that took a normalisation in. Subclasses stay as they are, and so does a `Sequential`
    that does not fuse, a normalisation by the batch's statistics, and one whose weights would become infinite.
    """
    if type(model) is Residual:
        around = None if model.shortcut is None else folded(model.shortcut)
        return Residual(*folded(model.body).children().values(), shortcut=around).eval()
    if type(model) is not Sequential:
        return model
    layers: list[Layer] = []
    for layer in map(folded, model.layers):
        pair = (type(layers[-1]), type(layer)) if layers and model.fuse else None
        taken = _taken_in(layers[-1], layer) if pair in _PAIRS and isinstance(layer, BatchNorm) else None
        if taken is None:
            layers.append(layer)
        else:
            layers[-1] = taken
    return Sequential(*layers, fuse=model.fuse).eval()


def _taken_in(layer: Layer, norm: BatchNorm) -> Layer | None:
    """Return a layer that computes norm(layer(x)) in evaluation; None where there is none."""
    weight = layer.params["weight"]
    dtypes = {array.dtype for array in (weight, *norm.params.values(), norm.buffers.get("running_mean", weight))}
    if not norm.buffers or norm.num_features != len(weight) or len(dtypes) > 1:
        return None  # the last two are errors, which belong to the call
    mean, variance = (norm.buffers[name].astype(np.float64) for name in ("running_mean", "running_var"))
    with np.errstate(all="ignore"):
        scale = norm.params.get("weight", 1.0) / np.sqrt(variance + norm.eps)
        new_weight = (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
        new_bias = ((layer.params.get("bias", 0.0) - mean) * scale + norm.params.get("bias", 0.0)).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return None
    result = copy.copy(layer)
    result.params = {"weight": new_weight, "bias": new_bias}
    return result
