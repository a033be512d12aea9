"""From a drawing of any size to the image that a network was trained on: cropped, scaled, and centred by its mass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import checks, window


class Frame(NamedTuple):
    """How the digits of a data set stand in their images, in pixels.

    Attributes
    ----------
    box : int
        Their longer side.
    centre : float
        Where their centre of mass lies, to half a pixel; the first pixel reaches from 0 to 1.
    """

    box: int
    centre: float


# By the side of the image. MNIST's digits have a margin, and the middle of a pixel for their centre: the next one behind the image's.
# scikit-learn's fill the height of their image.
FRAMES = {28: Frame(20, 14.5), 8: Frame(8, 4.0)}


def prepare_drawing(drawing: Any, size: int = 28) -> npt.NDArray[np.uint8]:
    """Return a drawing as MNIST prepares its digits.

    The rectangle of all pixels above 0 is scaled, its proportions kept, until its longer side is 20 of 28 pixels (`FRAMES` has other
    sizes). Every new pixel is the mean of the area that it covers (anti-aliasing). Then whole pixels shift it until its centre of mass is
    within half a pixel of the frame's. So do MNIST's own images: this function leaves them as they are, but for three in 10,000, which
    were cut off at the border. Here a digit that would leave the image stops there. A blank drawing becomes a blank image.

    Parameters
    ----------
    drawing : (H, W) uint8
        Ink: 0 is none, 255 full.
    size : int
        Height and width of the image in pixels: 28 or 8.

    Returns
    -------
    (size, size) uint8

    Raises
    ------
    TypeError
        `drawing` is no array of bytes.
    ValueError
        It has another rank or no pixels, or `size` is no frame's.

    References
    ----------
    Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", on the page of that name.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.draw.preparation import prepare_drawing
    >>> drawing = np.zeros((280, 280), np.uint8)
    >>> drawing[30:130, 200:220] = 255  # a stroke of 100 x 20, far from the middle
    >>> image = prepare_drawing(drawing)
    >>> rows, columns = np.nonzero(image)
    >>> image.shape, rows.tolist()[::79], columns.tolist()[:4]
    ((28, 28), [4, 23], [12, 13, 14, 15])
    """
    ink = checks.array("prepare_drawing", "drawing", drawing, "HW", (np.dtype(np.uint8),))
    frame = FRAMES.get(window.integer("prepare_drawing", "size", size, 1))
    if frame is None:
        raise ValueError(f"prepare_drawing: size must be one of {', '.join(map(str, FRAMES))}; got {size}")
    if ink.size == 0:
        raise ValueError(f"prepare_drawing: drawing must have pixels; got shape {ink.shape}")
    image = np.zeros((size, size), np.uint8)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return image
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = frame.box / max(cropped.shape)
    height, width = (max(1, round(length * scale)) for length in cropped.shape)
    tall, wide = cropped.shape
    # Whole numbers throughout, which float64 adds exactly: a drawing comes out the same wherever it stands, ties included
    sums = (_shares(height, tall) @ cropped @ _shares(width, wide).T).astype(np.int64)
    scaled = (2 * sums + tall * wide) // (2 * tall * wide)
    top, left = (_offset(scaled.sum(axis=axis), frame.centre, size) for axis in (1, 0))
    image[top : top + height, left : left + width] = scaled
    return image


def _shares(new: int, old: int) -> np.ndarray:
    """Return (new, old) float64: how much of each new pixel every old one covers, when `old` in a row become `new`, in parts of `old`."""
    i, j = np.arange(new)[:, None], np.arange(old)
    overlap = np.minimum((i + 1) * old, (j + 1) * new) - np.maximum(i * old, j * new)
    return np.maximum(overlap, 0).astype(np.float64)


def _offset(masses: np.ndarray, middle: float, size: int) -> int:
    """Return where in `size` pixels to begin, so that the centre of these masses comes to the middle, and all of them stay inside.

    That is  ceil(middle - 1/2 - centre),  in whole numbers.
    """
    total = int(masses.sum())
    if total == 0:  # too pale to be seen
        return (size - len(masses)) // 2
    twice = int(masses @ (2 * np.arange(len(masses)) + 1)) - int(2 * middle - 1) * total  # 2 total (centre - middle + 1/2)
    return min(max(-(twice // (2 * total)), 0), size - len(masses))
