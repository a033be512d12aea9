"""Small pictures inside a page: PNG files as data URIs, written with zlib alone.

Grey pictures are dark ink on white; the page's style turns all pictures over in dark mode, and hues back (`invert`, `hue-rotate`).
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

_RED, _BLUE = np.array([178, 40, 50]), np.array([36, 88, 166])  # of positive and negative values; apart for the colour-blind too


def png(pixels: np.ndarray) -> bytes:
    """Return a PNG file.

    Parameters
    ----------
    pixels : (H, W) or (H, W, 3) uint8
        Grey, or red, green and blue.

    Raises
    ------
    ValueError
        Other shapes or dtypes, or no pixels at all.

    References
    ----------
    ISO/IEC 15948 (PNG), sections 5.3 (chunks) and 9 (filters: each line is filtered by none).
    """
    colours = pixels.ndim == 3 and pixels.shape[2] == 3
    if pixels.dtype != np.uint8 or not (colours or pixels.ndim == 2) or not pixels.size:
        raise ValueError(f"png: pixels must be (H, W) or (H, W, 3) uint8; got shape {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    lines = np.zeros((height, 1 + width * (3 if colours else 1)), np.uint8)  # each begins with its filter's number
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if colours else 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(pixels: np.ndarray) -> str:
    """Return `png` as a URI for ``<img src=...>``."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def ink(values: np.ndarray, most: float | None = None) -> np.ndarray:
    """Return values from 0 (white) to `most` (black; the largest of them unless given) as grey uint8."""
    top = float(values.max(initial=0.0)) if most is None else most
    share = np.clip(values / top, 0, 1) if top > 0 else np.zeros(values.shape)
    return np.rint(255 * (1 - share)).astype(np.uint8)


def diverging(values: np.ndarray, most: float) -> np.ndarray:
    """Return values from -`most` (blue) through 0 (white) to `most` (red) as colours (..., 3) uint8."""
    share = np.clip(values / most, -1, 1) if most > 0 else np.zeros(values.shape)
    colour = np.where(share[..., None] < 0, _BLUE, _RED)
    return np.rint(255 + np.abs(share)[..., None] * (colour - 255)).astype(np.uint8)


def tiles(pictures: Sequence[np.ndarray] | np.ndarray, columns: int, gap: int = 1, shade: int = 255) -> np.ndarray:
    """Return equally large pictures (H, W) or (H, W, 3) uint8 side by side, so many in a row, with gaps of a grey `shade`."""
    first, columns = pictures[0], min(columns, len(pictures))
    height, width = first.shape[0] + gap, first.shape[1] + gap
    rows = -(-len(pictures) // columns)
    whole = np.full((rows * height - gap, columns * width - gap, *first.shape[2:]), shade, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * height, i % columns * width
        whole[y : y + first.shape[0], x : x + first.shape[1]] = picture
    return whole
