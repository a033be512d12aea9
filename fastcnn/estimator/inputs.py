"""What a scikit-learn user brings becomes network inputs: rows of features are given the shape of images, and one scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import checks, window

Shape = tuple[int, int, int]

SMALLEST = 8  # pixels a side, as of scikit-learn's digits; smaller squares of features (the four of iris) are more often tables
_DTYPES = np.float64, np.float32, np.uint8  # others become the first
_ROWS = 4096  # scaled at a time, so that no second array of float64 is as large as the data


class Scaling(NamedTuple):
    """Inputs are (x - mean) / deviation: of all pixels, where features are an image's, else of each feature alone.

    Attributes
    ----------
    mean, deviation : (1,) or (features,) float64
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, shape: Shape) -> Scaling:
        """Return the scaling of rows (N, features) to mean 0 and deviation 1; what is constant only loses its mean.

        Raises
        ------
        ValueError
            Squares of the numbers are beyond float64.
        """
        axis = 0 if is_table(shape) else None
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            mean = np.atleast_1d(rows.mean(axis=axis, dtype=np.float64))
            squares = sum(np.square(part - mean).sum(axis=axis) for part in _parts(rows))
        deviation = np.sqrt(np.atleast_1d(squares) / (len(rows) if axis == 0 else rows.size))
        if not np.isfinite(deviation).all():
            raise ValueError(f"CNNClassifier: X must have numbers whose squares float64 can hold; got up to {np.abs(rows).max():g}")
        rounding = 10 * np.finfo(rows.dtype if rows.dtype.kind == "f" else np.float64).eps * np.abs(mean)
        return cls(mean, np.where(deviation <= rounding, 1.0, deviation))

    def inputs(self, rows: np.ndarray, shape: Shape) -> np.ndarray:
        """Return network inputs (N, C, H, W) float32 of rows (N, features)."""
        inputs = np.empty(rows.shape, np.float32)
        begin = 0
        for part in _parts(rows):
            inputs[begin : begin + len(part)] = (part - self.mean) / self.deviation
            begin += len(part)
        return inputs.reshape(len(rows), *shape)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[begin : begin + _ROWS] for begin in range(0, len(rows), _ROWS))


def validated(estimator: Any, *arrays: Any, reset: bool) -> Any:
    """Return rows (N, features), or rows and labels (N,), checked by scikit-learn; `reset` learns the features' names and number."""
    from sklearn.utils import validation

    if hasattr(validation, "validate_data"):
        return validation.validate_data(estimator, *arrays, reset=reset, dtype=_DTYPES)
    return estimator._validate_data(*arrays, reset=reset, dtype=_DTYPES)  # before scikit-learn 1.6


def flattened(X: Any) -> tuple[Any, Shape | None]:
    """Return images (N, H, W) or (N, C, H, W) as rows (N, features), with their shape (C, H, W); anything else as it is, with None."""
    if getattr(getattr(X, "dtype", None), "kind", "") == "c":  # scikit-learn would print the array
        raise ValueError(f"CNNClassifier: Complex data not supported; X has dtype {X.dtype}")
    if isinstance(X, np.ndarray) and not X.flags.c_contiguous:  # a broadcast view may stand for more than fits
        checks.require_memory("CNNClassifier", "X", X.shape, max(X.itemsize, 4))
    if getattr(X, "ndim", None) not in (3, 4):
        return X, None
    images = np.asarray(X)
    shape = images.shape[1:] if images.ndim == 4 else (1, *images.shape[1:])
    return images.reshape(len(images), math.prod(shape)), shape


def shape_of(features: int, arrived: Shape | None, wanted: Any) -> Shape:
    """Return the shape (C, H, W) of every sample.

    Parameters
    ----------
    features : int
        Of a row.
    arrived : (C, H, W), optional
        Where the data came as images.
    wanted : None, or (C, H, W)
        The user's `image_shape`, not yet checked. With None, and rows, a square number of features from 8 x 8 on is a grey image, and
        any other a table, 1 x 1 x features.

    Raises
    ------
    TypeError, ValueError
        `wanted` is no shape, or not that of the data.
    """
    if wanted is not None:
        sizes = tuple(wanted) if isinstance(wanted, (tuple, list)) else ()
        if len(sizes) != 3:
            raise ValueError(f"CNNClassifier: image_shape must be (C, H, W); got {window.shown(wanted)}")
        C, H, W = (window.integer("CNNClassifier", f"image_shape[{i}]", size, 1) for i, size in enumerate(sizes))
        if arrived not in (None, (C, H, W)) or features != C * H * W:
            got = ", ".join(map(str, arrived or (features,)))
            raise ValueError(f"CNNClassifier: image_shape must be that of X; got {(C, H, W)} for X of shape (N, {got})")
        return C, H, W
    side = math.isqrt(features)
    return arrived or ((1, side, side) if side >= SMALLEST and side * side == features else (1, 1, features))


def is_table(shape: Shape) -> bool:
    """Whether samples are rows of unlike features, and no images."""
    return shape[:2] == (1, 1)


def require_shape(arrived: Shape | None, shape: Shape) -> None:
    """Raise ValueError for images of another shape than those of the training."""
    if arrived not in (None, shape):
        raise ValueError(f"CNNClassifier: images of X must be {shape} as in fit; got {arrived}")
