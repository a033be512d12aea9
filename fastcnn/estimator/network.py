"""The networks of the scikit-learn estimator: the models of `fastcnn.models` made to fit any data, and one for tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import window
from ..layers import Conv2d, Flatten, Layer, Linear, ReLU, Sequential
from ..models import MODELS, digit_net
from .inputs import Shape, is_table

_LEAST = 4  # pixels a side that digit_net's two poolings leave something of
_HIDDEN = 128


def build(model: Any, shape: Shape, classes: int, rng: np.random.Generator) -> Layer:
    """Return a new network for samples of `shape`, which gives `classes` logits.

    Parameters
    ----------
    model : "auto", a name in `fastcnn.models.MODELS`, or callable (shape, classes, rng) -> Layer
        "auto" is `digit_net` for images from 4 x 4 on, and `dense_net` for what is smaller and for tables.
    shape : (C, H, W)

    Raises
    ------
    TypeError, ValueError
        There is no such model, it does not take the shape, or it gives something else.
    """
    if isinstance(model, Layer):
        raise TypeError("CNNClassifier: model must be a function that makes a network, as every fit begins with a new one; got a Layer")
    if callable(model):
        network = model(shape, classes, rng)
        if not isinstance(network, Layer):
            raise TypeError(f"CNNClassifier: model must return a Layer; got {type(network).__name__}")
    elif isinstance(model, str) and model == "auto" and (is_table(shape) or min(shape[1:]) < _LEAST):
        network = dense_net(shape, classes, rng)
    else:
        network = _named(model, shape, classes, rng)
    try:
        output = network.output_shape(shape)
    except ValueError as error:
        raise ValueError(f"CNNClassifier: the model does not take samples of shape {shape}: {error}") from error
    if output != (classes,):
        raise ValueError(f"CNNClassifier: the model must give one logit for each of {classes} classes; got shape (N, {_joined(output)})")
    return network


def _named(model: Any, shape: Shape, classes: int, rng: np.random.Generator) -> Layer:
    known: dict[str, Callable[..., Sequential]] = {"auto": digit_net, **MODELS}
    if not isinstance(model, str) or model not in known:
        raise ValueError(f"CNNClassifier: model must be one of {', '.join(known)}, or a callable; got {window.shown(model)}")
    make, ends = known[model], {"channels": shape[0], "classes": classes}
    ends = {name: count for name, count in ends.items() if name in inspect.signature(make).parameters}
    try:
        return adapted(make(min(shape[1:]), rng, **ends), shape, classes, rng)
    except ValueError as error:
        raise ValueError(f"CNNClassifier: model {model!r} does not take samples of shape {shape}: {error}") from error


def adapted(network: Sequential, shape: Shape, classes: int, rng: np.random.Generator) -> Sequential:
    """Return a network with new layers in place of those that other channels, heights, widths and classes do not fit.

    Those are a `Conv2d` or `Linear` whose inputs are of another number, and the last `Linear`, whose outputs are the classes. The new ones
    have torch's initial values. This is for what a model's own arguments do not say: heights other than widths, at least.
    """
    layers = list(network.layers)
    last = max((i for i, layer in enumerate(layers) if type(layer) is Linear), default=None)
    inside: tuple[int, ...] = shape
    for i, layer in enumerate(layers):
        bias = "bias" in layer.params
        if type(layer) is Conv2d and layer.window["groups"] == 1:
            K, C, *kernel = layer.params["weight"].shape
            if inside[0] != C:
                layers[i] = Conv2d(inside[0], K, tuple(kernel), bias=bias, rng=rng, **layer.window)
        elif type(layer) is Linear:
            O, I = layer.params["weight"].shape
            wanted = classes if i == last else O
            if (wanted, inside[-1]) != (O, I):
                layers[i] = Linear(inside[-1], wanted, bias, rng=rng)
        inside = layers[i].output_shape(inside)
    return Sequential(*layers, fuse=network.fuse)


def dense_net(shape: Shape, classes: int, rng: np.random.Generator) -> Sequential:
    """Return the network for tables, and for images that are too small to be pooled: dense -> 128, ReLU, dense -> 128, ReLU, dense."""
    C, H, W = shape
    return Sequential(
        Flatten(),
        Linear(C * H * W, _HIDDEN, rng=rng),
        ReLU(),
        Linear(_HIDDEN, _HIDDEN, rng=rng),
        ReLU(),
        Linear(_HIDDEN, classes, rng=rng),
    )


def _joined(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
