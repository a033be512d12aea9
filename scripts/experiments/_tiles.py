"""Many small pictures as one."""

from __future__ import annotations

from typing import Any

import numpy as np


def tiles(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Return pictures (K, H, W) side by side, so many in a row, with NaN, which is drawn white, between them."""
    count, height, width = pictures.shape
    whole = np.full((-(-count // columns) * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, one in enumerate(pictures):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        whole[y : y + height, x : x + width] = one
    return whole


def bare(axes: Any, title: str) -> None:
    """Leave a picture its title alone."""
    axes.set_title(title)
    axes.axis("off")
