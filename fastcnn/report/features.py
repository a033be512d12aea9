"""What the layers of a network see in one image; and the network itself, made again from its name and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import models
from ..layers import Conv2d, Dropout, Flatten, Layer, ReLU
from ..ops.conv2d import conv2d


class Unknown(ValueError):
    """A network cannot be made again; the message says why."""


class FeatureMap(NamedTuple):
    """The output of some layers for one image: (C, H, W) or (values,)."""

    name: str
    values: np.ndarray


def rebuild(name: Any, size: int, weights: Mapping[str, np.ndarray]) -> Layer:
    """Return a network of `fastcnn.models.MODELS` for images of `size` pixels with these weights, in evaluation mode.

    Raises
    ------
    Unknown
        There is no such network, or the weights do not fit it.
    """
    if not isinstance(name, str):
        raise Unknown("result.json does not name the network")
    make = models.MODELS.get(name)
    if make is None:
        raise Unknown(f"fastcnn.models has no {name}")
    try:
        model: Layer = make(size)
        model.load_state_dict(weights)
    except (TypeError, ValueError) as error:
        raise Unknown(f"the weights do not fit {name}: {error}") from error
    return model.eval()


def feature_maps(model: Layer, x: np.ndarray) -> list[FeatureMap]:
    """Return what each layer of a `Sequential` makes of one image (1, C, H, W).

    Layers that only change the form are left out, and what a ReLU follows is shown behind it, as the next layer sees it.

    Raises
    ------
    Unknown
        The network is no chain of layers.
    """
    layers = getattr(model, "layers", None)
    if layers is None:
        raise Unknown(f"{type(model).__name__} is no chain of layers")
    found: list[FeatureMap] = []
    names: list[str] = []
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        x = _output(layer, x)
        if not isinstance(layer, Dropout | Flatten):
            names.append(type(layer).__name__ if layer.children() else repr(layer).removesuffix("()"))
        if names and not isinstance(after, ReLU) and not isinstance(layer, Dropout | Flatten):
            found.append(FeatureMap(", ".join(names), np.asarray(x[0], np.float64)))
            names = []
    return found


def _output(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Return a layer's output for one image, with next to nothing to compile: the choice for one image differs from training's.

    Convolutions by im2col and BLAS; with the chosen kernels the report of a first run took 4 s.
    """
    if type(layer) is Conv2d and layer.window["groups"] == 1:
        return conv2d(x, layer.params["weight"], layer.params.get("bias"), **layer.window, algorithm="im2col")
    return layer.apply(x)[0]
