"""Keras 3's NumPy backend with these kernels: experimental, and for the versions of Keras in `VERSIONS` only.

That backend serves inference, and borrows its convolutions and poolings from JAX. `install` puts ours in their place: `conv` and
`max_pool` in one and two dimensions, `depthwise_conv` and `separable_conv`, and `relu`, of float32 and float64; other arguments go to what
was there before. It reaches into Keras's insides, which have no promise of staying: with another version it refuses.

Examples
--------
With ``KERAS_BACKEND=numpy`` in the environment::

    import keras
    import numpy as np
    from fastcnn.adapters import keras as adapter

    adapter.install()
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(8, 5), keras.layers.MaxPooling2D()])
    print(model.predict(np.zeros((2, 28, 28, 1), np.float32), verbose=0).shape)  # (2, 12, 12, 8)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks, extras, window
from ..ops import conv2d as _conv2d
from ..ops import max_pool2d as _max_pool2d
from ..ops import relu as _relu

VERSIONS = ("3.15.",)

keras = extras.require("keras", "Keras", "partners", __name__)

_originals: dict[str, Callable[..., Any]] = {}


def install() -> None:
    """Let Keras's NumPy backend compute with these kernels from now on; a second call changes nothing.

    Raises
    ------
    RuntimeError
        Keras has another backend, or is of a version that this module does not know.
    """
    if not keras.__version__.startswith(VERSIONS):
        raise RuntimeError(f"install: written for Keras {' and '.join(f'{v}x' for v in VERSIONS)}; got {keras.__version__}")
    if keras.config.backend() != "numpy":
        raise RuntimeError(f"install: Keras must run on its NumPy backend (KERAS_BACKEND=numpy); got {keras.config.backend()!r}")
    backend = _backend()
    for name, function in _REPLACEMENTS.items():
        if name not in _originals:
            _originals[name] = getattr(backend, name)
            setattr(backend, name, functools.update_wrapper(functools.partial(function), _originals[name]))


def uninstall() -> None:
    """Give Keras its own functions back."""
    backend = _backend()
    while _originals:
        setattr(backend, *_originals.popitem())


def _backend() -> Any:
    """Return the module whose functions Keras's operations call."""
    return extras.require("keras.src.backend.numpy.nn", "Keras", "partners", __name__)


def _ours(name: str, arrays: tuple[Any, ...], *others: Any) -> Any:
    """Return what a function here computes; what it does not take goes to Keras's own."""
    given = [array if isinstance(array, np.ndarray) else _backend().convert_to_tensor(array) for array in arrays]
    if given[0].dtype in checks.FLOATS and {array.dtype for array in given} == {given[0].dtype} and given[0].ndim in (3, 4):
        return _KERNELS[name](*given, *others)
    return _originals[name](*arrays, *others)


def _conv(inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1) -> Any:
    return _ours("conv", (inputs, kernel), strides, padding, data_format, dilation_rate)


def _depthwise(inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1) -> Any:
    return _ours("depthwise_conv", (inputs, kernel), strides, padding, data_format, dilation_rate)


def _max_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None) -> Any:
    return _ours("max_pool", (inputs,), pool_size, strides, padding, data_format)


def _rectify(x: Any) -> Any:
    return _relu.relu(x) if isinstance(x, np.ndarray) and x.dtype in checks.FLOATS else _originals["relu"](x)


_REPLACEMENTS: dict[str, Callable[..., Any]] = {
    "conv": _conv,
    "depthwise_conv": _depthwise,
    "max_pool": _max_pool,
    "relu": _rectify,
}  # separable_conv calls two of them


# --- On images of rank 4; sequences are images of one row ----------------------------------------------------------------------------


def _convolve(x: np.ndarray, kernel: np.ndarray, strides: Any, padding: str, data_format: Any, dilation: Any) -> np.ndarray:
    """Convolve with a kernel (R, S, C / groups, K), or (S, C / groups, K) for sequences."""
    layout = _layout(data_format)
    flat, images = x.ndim == 3, _as_images(x, layout)
    weight = (kernel[None] if flat else kernel).transpose(3, 2, 0, 1)
    channels = images.shape[layout.index("C")]
    if weight.shape[1] == 0 or channels % weight.shape[1]:
        raise ValueError(
            "The number of input channels must be evenly divisible by kernel's in_channels. "
            f"Received input channels {channels} and kernel in_channels {weight.shape[1]}."
        )
    groups = channels // weight.shape[1]
    y = _conv2d.conv2d(images, weight, None, _pair(strides, flat), padding, _pair(dilation, flat), groups, layout=layout)
    return _as_sequences(y, layout) if flat else y


def _convolve_depthwise(x: np.ndarray, kernel: np.ndarray, strides: Any, padding: str, data_format: Any, dilation: Any) -> np.ndarray:
    """Convolve each channel with kernels of its own, (R, S, C, M) or (S, C, M): M outputs of a channel beside one another."""
    return _convolve(x, kernel.reshape(*kernel.shape[:-2], 1, -1), strides, padding, data_format, dilation)


def _pool(x: np.ndarray, size: Any, strides: Any, padding: str, data_format: Any) -> np.ndarray:
    layout = _layout(data_format)
    flat, images = x.ndim == 3, _as_images(x, layout)
    kernel = _pair(size, flat)
    stride = kernel if strides is None else _pair(strides, flat)
    rows = layout.index("H")
    axes = window.axes("max_pool", (images.shape[rows], images.shape[rows + 1]), kernel, stride, padding, 1)
    if any(axis.before or axis.after for axis in axes):  # with more behind than before, which the operation does not take
        widths = [(0, 0)] * 4
        widths[rows : rows + 2] = [(axis.before, axis.after) for axis in axes]
        images = np.pad(images, widths, constant_values=-np.inf)
    y = _max_pool2d.max_pool2d(images, kernel, stride, layout=layout)
    return _as_sequences(y, layout) if flat else y


_KERNELS: dict[str, Callable[..., np.ndarray]] = {"conv": _convolve, "depthwise_conv": _convolve_depthwise, "max_pool": _pool}


def _layout(data_format: Any) -> str:
    return "NCHW" if keras.src.backend.standardize_data_format(data_format) == "channels_first" else "NHWC"


def _as_images(x: np.ndarray, layout: str) -> np.ndarray:
    """Return sequences as images of one row, and images as they are."""
    return np.expand_dims(x, layout.index("H")) if x.ndim == 3 else x


def _as_sequences(y: np.ndarray, layout: str) -> np.ndarray:
    return y.squeeze(layout.index("H"))


def _pair(value: Any, flat: bool) -> tuple[int, int]:
    """Return (vertical, horizontal) of an argument, which for sequences has one number."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return (1, numbers[0]) if flat else (numbers[0], numbers[-1])
