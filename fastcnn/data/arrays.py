"""Images and labels as other arrays: one-hot rows, flat rows, values from 0 to 1, and standardised ones.

`fastcnn.train.fit` needs none of these: it takes bytes and labels as they are. They are for code that wants network inputs in its hands.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from .. import checks, window

PER = ("all", "channel", "pixel")
_IMAGES = (np.dtype(np.uint8), np.dtype(np.float32))
_MOST = float(np.finfo(np.float32).max)
_CHUNK = 512  # images at a time, as widened pixels take up to 8 times the memory


def one_hot(labels: np.ndarray, classes: int | None = None) -> np.ndarray:
    """Return rows t[n, k] = 1 where k is label n, else 0: targets for `softmax_cross_entropy` and mean squared error.

    Parameters
    ----------
    labels : (N,) integers, at least 0
    classes : int, optional
        How many columns; by default the largest label + 1.

    Returns
    -------
    (N, classes) float32

    Raises
    ------
    TypeError, ValueError
        Labels are no integers, or not between 0 and classes - 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import one_hot
    >>> one_hot(np.array([2, 0]))
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    op = "one_hot"
    y = checks.array(op, "labels", labels, "N", None)
    if y.dtype.kind not in "iu":
        raise TypeError(f"{op}: labels must be integers; got dtype {y.dtype}")
    count = (int(y.max()) + 1 if y.size else 0) if classes is None else window.integer(op, "classes", classes, 1)
    outside = np.flatnonzero((y < 0) | (y >= count))
    if outside.size:
        raise ValueError(f"{op}: labels must lie between 0 and {count - 1}; got {y[outside[0]]} at position {outside[0]}")
    rows = checks.empty(op, (len(y), count), np.float32)
    rows[...] = 0
    rows[np.arange(len(y)), y.astype(np.int64)] = 1
    return rows


def flatten(images: np.ndarray) -> np.ndarray:
    """Return images (N, ...) as rows (N, pixels), in row-major order; a view where that is possible.

    Raises
    ------
    TypeError, ValueError
        Not an array, or of fewer than two axes.
    """
    x = checks.array("flatten", "images", images, None, None)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"flatten: images must be numbers; got dtype {x.dtype}")
    if x.ndim < 2:
        raise ValueError(f"flatten: images must be (N, ...); got shape {x.shape}")
    return x.reshape(len(x), math.prod(x.shape[1:]))


def normalise(images: np.ndarray) -> np.ndarray:
    """Return bytes as network inputs between 0 and 1: v / 255.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) uint8

    Returns
    -------
    (N, 1, H, W) or (N, C, H, W) float32

    Raises
    ------
    TypeError, ValueError
        Another dtype or rank.
    """
    x = _checked("normalise", images, (np.dtype(np.uint8),))
    return np.ascontiguousarray(x / np.float32(255))


def moments(images: np.ndarray, per: str = "all") -> tuple[Any, Any]:
    """Return mean and deviation of images, for `standardise`, `fastcnn.train.fit` and `predict`.

    The deviation is that of the images at hand, sqrt(mean of (v - mean)^2); where all values are alike it is 1, so that they become 0.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) uint8 or float32
        At least one. Those of the training set: test images are standardised by its moments too.
    per : "all", "channel" or "pixel"
        One mean for all values; one per channel; or one per channel and place. Of a pixel that hardly ever changes (MNIST's margins) the
        deviation is small, and the rare value that is not background becomes a large one: ``np.maximum(deviation, 1)`` bounds that.

    Returns
    -------
    mean, deviation : float, or float64 (C, 1, 1) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import moments
    >>> mean, deviation = moments(np.array([[[0, 7]], [[2, 7]]], np.uint8), per="pixel")
    >>> mean.tolist(), deviation.tolist()
    ([[[1.0, 7.0]]], [[[1.0, 1.0]]])
    """
    op = "moments"
    x = _checked(op, images, _IMAGES)
    checks.choice(op, "per", per, PER)
    if not x.size:
        raise ValueError(f"{op}: images must not be empty; got shape {x.shape}")
    if per == "pixel":
        mean, variance = (_pixel_moments if x.dtype == np.uint8 else _float_moments)(x)
    elif x.dtype == np.uint8:
        mean, variance = _byte_moments(x)
    else:
        mean, variance = _float_moments(x, (0, 2, 3))
    if per == "all":  # the variance of everything: that inside channels, and that of their means
        with np.errstate(all="ignore"):
            mean, variance = mean.mean(), (variance + (mean - mean.mean()) ** 2).mean()
        return float(mean), math.sqrt(float(variance)) or 1.0
    deviation = np.sqrt(variance)
    deviation[deviation == 0] = 1
    return np.ascontiguousarray(mean), np.ascontiguousarray(deviation)  # NumPy's means have the memory order of the images


def standardise(images: np.ndarray, mean: Any, deviation: Any) -> np.ndarray:
    """Return network inputs (v - mean) / deviation.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) uint8 or float32
    mean, deviation : float, or array that broadcasts to (C, H, W)
        Of the training images: see `moments`.

    Returns
    -------
    (N, 1, H, W) or (N, C, H, W) float32

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; a deviation is not positive.
    """
    x = _checked("standardise", images, _IMAGES)
    mean, deviation = checked_moments("standardise", mean, deviation, x.shape[1:])
    result = x.astype(np.float32, order="C")
    with np.errstate(over="ignore", invalid="ignore"):  # infinities are data
        result -= np.float32(mean) if isinstance(mean, float) else mean.astype(np.float32)
        result *= np.float32(1 / deviation) if isinstance(deviation, float) else (1 / deviation).astype(np.float32)
    return result


def checked_moments(op: str, mean: Any, deviation: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return a mean and deviation for images (C, H, W): two floats, or two float64 arrays of three axes; ValueError for others."""
    if isinstance(mean, Real) and isinstance(deviation, Real):
        mean, deviation = (checks.number(op, name, value, finite=False) for name, value in (("mean", mean), ("deviation", deviation)))
        if not abs(mean) <= _MOST or not 1 / _MOST <= deviation <= _MOST:
            raise ValueError(f"{op}: mean and deviation must be finite in float32, the deviation positive; got {mean} and {deviation}")
        return mean, deviation
    found = []
    for name, value in (("mean", mean), ("deviation", deviation)):
        given = np.asarray(value if isinstance(value, Real) else checks.array(op, name, value, None, None))
        if given.dtype.kind not in "fiu":
            raise TypeError(f"{op}: {name} must be a number or an array of numbers; got dtype {given.dtype}")
        padded = (1,) * (len(shape) - given.ndim) + given.shape
        if len(padded) != len(shape) or any(size not in (1, full) for size, full in zip(padded, shape, strict=True)):
            raise ValueError(f"{op}: {name} must broadcast to an image's shape (C, H, W) = {shape}; got shape {given.shape}")
        found.append(given.astype(np.float64).reshape(padded))
    if not all((np.abs(part) <= _MOST).all() for part in found):
        raise ValueError(f"{op}: mean and deviation must be finite in float32")
    if not (found[1] >= 1 / _MOST).all():
        raise ValueError(f"{op}: deviation must be positive everywhere (1 where pixels are constant); got {found[1].min():g}")
    return found[0], found[1]


def _checked(op: str, images: Any, dtypes: tuple[np.dtype, ...]) -> np.ndarray:
    x = checks.array(op, "images", images, ("NHW", "NCHW"), dtypes)
    return x[:, None] if x.ndim == 3 else x


def _chunks(x: np.ndarray) -> list[np.ndarray]:
    return [x[first : first + _CHUNK] for first in range(0, len(x), _CHUNK)]


def _byte_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and variances (C, 1, 1), from how often each value occurs."""
    counts = np.zeros((x.shape[1], 256), np.int64)
    for part in _chunks(x):
        for c, row in enumerate(counts):
            row += np.bincount(part[:, c].reshape(-1), minlength=256)
    values, total = np.arange(256), counts[0].sum()
    mean = counts @ values / total
    variance = np.array([row @ (values - middle) ** 2 / total for row, middle in zip(counts, mean, strict=True)])
    return mean[:, None, None], variance[:, None, None]


def _pixel_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and variances (C, H, W) of bytes: their sums are exact in 64 bits, and so is N sum v^2 - (sum v)^2."""
    total, squares = (np.zeros(x.shape[1:], np.int64) for _ in range(2))
    for part in _chunks(x):
        total += part.sum(axis=0, dtype=np.int64)
        squares += np.square(part, dtype=np.int32).sum(axis=0, dtype=np.int64)
    n = len(x)
    return total / n, (n * squares - total**2) / n**2


def _float_moments(x: np.ndarray, axes: int | tuple[int, ...] = 0) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(all="ignore"):  # infinities are data
        mean = x.mean(axis=axes, dtype=np.float64, keepdims=True)
        squares = np.zeros_like(mean)
        for part in _chunks(x):
            squares += ((part - mean) ** 2).sum(axis=axes, keepdims=True)
    count = x.size // mean.size
    return mean[0], squares[0] / count
