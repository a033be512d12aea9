"""Inference with weights that are packed once: a network's snapshot, which later changes to the network do not reach.

Why a snapshot, and not weights packed behind the scenes in evaluation mode: parameters are plain arrays. Optimisers, loaders and users
write to them in place, through views too, and an array tells nobody that it was written; packed weights that follow would have to be
compared with them at every call, which costs as much as packing. So `eval` leaves every layer as right as ever, and who wants the speed
asks for it and sees what it is: an object with weights of its own, as `prepare_conv2d` returns.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..ops.conv2d import PreparedConv2d, prepare_conv2d
from ..ops.conv2d_relu_max_pool2d import conv2d_relu_max_pool2d, in_one_pass
from ..ops.max_pool2d import max_pool2d
from ..ops.relu import relu as rectified
from ..registry import PRECISIONS
from . import fused
from .activation import ReLU
from .base import Layer, channels_first, channels_last
from .conv2d import Conv2d
from .folding import folded
from .norm import BatchNorm
from .pool import MaxPool2d
from .residual import Residual, add
from .sequential import Sequential

Step = Callable[[np.ndarray], np.ndarray]


class PreparedNetwork:
    """A network as it was when `prepare` made it: to be called with inputs, from any number of threads; it has no backward.

    Attributes
    ----------
    precision : "highest", "high" or "medium"
        What its convolutions and fully connected layers may use.
    """

    def __init__(self, model: Layer, precision: str) -> None:
        self.precision = precision
        self._model = _copied(model).eval().use(precision)
        self._steps = list(_steps(folded(self._model), precision))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the network's output for x, in evaluation mode."""
        for step in self._steps:
            x = step(x)
        return x

    def __repr__(self) -> str:
        return f"<prepared, precision {self.precision!r}: {self._model!r}>"


def prepare(model: Layer, precision: str = "high") -> PreparedNetwork:
    """Return a copy of a model for inference whose convolutions pack or transform their weights once, instead of at every call.

    The copy has weights of its own: training the model further, loading into it or writing to its parameters changes the model, and not
    the copy; call `prepare` again. Batch normalisations go into the weights of the `Conv2d` or `Linear` before them, which changes results
    by rounding only. Subclasses of `Conv2d` are copied, and compute as they do in evaluation mode.

    Parameters
    ----------
    model : Layer
    precision : "highest", "high" or "medium"
        As of `fastcnn.conv2d`; "medium" allows bfloat16 products.

    Returns
    -------
    PreparedNetwork

    Raises
    ------
    TypeError, ValueError
        `model` is no layer, or `precision` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.layers import Conv2d, ReLU, Sequential, prepare
    >>> predict = prepare(Sequential(Conv2d(3, 8, 3, rng=0), ReLU()))
    >>> predict(np.zeros((1, 3, 6, 6), np.float32)).shape
    (1, 8, 4, 4)
    """
    if not isinstance(model, Layer):
        raise TypeError(f"prepare: model must be a Layer; got {type(model).__name__}")
    checks.choice("prepare", "precision", precision, PRECISIONS)
    return PreparedNetwork(model, precision)


def _copied(model: Layer) -> Layer:
    """Return a copy without what the last forward and backward left, which may be larger than all parameters."""
    left: dict[int, Any] = {}
    layers = [model]
    for layer in layers:  # grows by the layers inside
        if not _is_constant(layer._saved):
            left[id(layer._saved)] = None
        left[id(layer.grads)] = {}
        layers += layer.children().values()
    return copy.deepcopy(model, left)


def _is_constant(value: Any) -> bool:
    """Whether the same object may serve elsewhere in the model: there is only one 1."""
    return all(map(_is_constant, value)) if type(value) is tuple else isinstance(value, (type(None), bool, int, float, str))


def _steps(model: Layer, precision: str) -> Iterator[Step]:
    """Yield functions that compute a model one after the other."""
    if type(model) is Sequential:
        layers, first = model.layers, 0
        for length in fused.plan(layers, (Residual, ReLU)) if model.fuse else [1] * len(layers):
            yield from _run(layers[first : first + length], precision)
            first += length
    else:
        yield from _run([model], precision)


def _run(layers: Sequence[Layer], precision: str) -> Iterator[Step]:
    """Yield the functions of layers that are fused where this is faster (or of a single one)."""
    conv = layers[0]
    if type(conv) is Sequential:
        yield from _steps(conv, precision)
    elif type(conv) is Residual:
        yield _residual(conv, precision, relu=len(layers) == 2)
    elif isinstance(conv, BatchNorm):
        yield (lambda x: conv.apply(x, relu=True)[0]) if len(layers) == 2 else (lambda x: conv.apply(x)[0])
    elif type(conv) is not Conv2d:
        yield lambda x: conv.apply(x)[0]
    else:
        yield _convolution(conv, layers, precision)


def _residual(block: Residual, precision: str, relu: bool) -> Step:
    """Return the function of a block, with the ReLU behind it or without.

    Where the body ends in a convolution, this adds what goes around the block as it stores.
    """
    *before, last = block.body.layers
    convolve = _prepared(last, precision, relu) if isinstance(last, Conv2d) and type(last) is Conv2d else None
    body = list(_steps(block.body if convolve is None else Sequential(*before), precision))
    shortcut = [] if block.shortcut is None else list(_steps(block.shortcut, precision))

    def run(x: np.ndarray) -> np.ndarray:
        y = around = x
        for step in shortcut:
            around = step(around)
        for step in body:
            y = step(y)
        if convolve is None:
            return rectified(add(y, around)) if relu else add(y, around)
        return channels_first(convolve(channels_last(block, y), layout="NHWC", residual=channels_last(block, around)))

    return run


def _prepared(conv: Conv2d, precision: str, relu: bool = False) -> PreparedConv2d:
    return prepare_conv2d(conv.params["weight"], conv.params.get("bias"), **conv.window, relu=relu, precision=precision)


def _convolution(conv: Conv2d, layers: Sequence[Layer], precision: str) -> Step:
    """Return the function of a convolution with the ReLU and the pooling behind it."""
    weight = conv.params["weight"]
    convolve = _prepared(conv, precision, any(type(layer) is ReLU for layer in layers))
    pool = next((layer for layer in layers if isinstance(layer, MaxPool2d)), None)

    @functools.lru_cache(maxsize=64)
    def one_pass(shape: tuple[int, ...]) -> Callable[..., np.ndarray] | None:
        if pool is None:
            return None
        kernel, stride, padding, dilation, ceil_mode = pool.window
        if dilation not in (1, (1, 1)) or not in_one_pass(
            shape, weight.shape, conv.window, (kernel, stride, padding, ceil_mode), precision
        ):
            return None
        pooled = {"pool_kernel": kernel, "pool_stride": stride, "pool_padding": padding, "pool_ceil_mode": ceil_mode}
        return functools.partial(conv2d_relu_max_pool2d, **conv.window, **pooled, precision=precision, layout="NHWC")

    def run(x: np.ndarray) -> np.ndarray:
        pixels = channels_last(conv, x)
        fused_call = one_pass(pixels.shape)
        if fused_call is not None:
            return channels_first(fused_call(pixels, weight, conv.params.get("bias")))
        y = convolve(pixels, layout="NHWC")
        return channels_first(y if pool is None else max_pool2d(y, *pool.window, layout="NHWC"))

    return run
