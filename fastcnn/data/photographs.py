"""Photographs to look at filters on: the two in scikit-learn's wheel, or the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import checks
from ..extras import require

PHOTOGRAPHS = ("china", "flower")
_LUMA = np.array([0.299, 0.587, 0.114])


def photograph(name: str | os.PathLike[str] = "china") -> np.ndarray:
    """Return a photograph, 427 x 640 pixels if it is one of scikit-learn's.

    Parameters
    ----------
    name : "china" (a temple), "flower" (a dahlia), or the path of an image file

    Returns
    -------
    (H, W, 3) uint8
        Red, green and blue. `grey` makes one channel of them.

    Raises
    ------
    ImportError
        Pillow, which reads JPEG, or scikit-learn, whose wheel holds the photographs, is not installed.
    OSError
        There is no such file, or it is no image.
    """
    image = require("PIL.Image", "Pillow", "photographs", "photograph()")
    path = Path(name)
    if name in PHOTOGRAPHS:
        datasets = require("sklearn.datasets", "scikit-learn", "photographs", "photograph()")
        path = Path(datasets.__file__).parent / "images" / f"{name}.jpg"
    with image.open(path) as opened:
        return np.array(opened.convert("RGB"), np.uint8)


def grey(photo: np.ndarray) -> np.ndarray:
    """Return the luma of a photograph, 0.299 R + 0.587 G + 0.114 B, rounded.

    Parameters
    ----------
    photo : (H, W, 3) uint8

    Returns
    -------
    (H, W) uint8

    Raises
    ------
    TypeError, ValueError
        Another dtype or shape.

    References
    ----------
    ITU-R BT.601-7, 2011, section 2.5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import grey
    >>> grey(np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8))
    array([[255,  76,  29]], dtype=uint8)
    """
    x = checks.array("grey", "photo", photo, "HWC", (np.dtype(np.uint8),))
    if x.shape[2] != 3:
        raise ValueError(f"grey: photo must be (H, W, 3); got shape {x.shape}")
    return np.rint(x @ _LUMA).astype(np.uint8)
