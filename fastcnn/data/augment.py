"""Random changes of images for training: small shifts, turns, scales and shears, and erased rectangles."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Augment:
    """How far images may be changed; each image draws its own amounts, evenly from [-limit, limit].

    Attributes
    ----------
    shift : float
        Pixels, down and to the right.
    rotate : float
        Degrees.
    scale, shear : float
        Sizes change by a factor of 1 +- scale; rows move by +- shear of their distance from the middle.
    erase : float
        Probability, 0 to 1, that a square is set to 0.
    erase_size : float
        Its side, as a share of the image's.

    Raises
    ------
    ValueError
        A limit is negative, or erase or erase_size above 1.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    erase: float = 0.0
    erase_size: float = 0.25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf or (field.name.startswith("erase") and value > 1):
                raise ValueError(f"Augment: {field.name} must be at least 0 (and shares at most 1); got {value}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a changed copy of an image (C, H, W), float32, interpolated linearly, with 0 from outside."""
        height, width = image.shape[1:]
        amount = rng.uniform(-1, 1, 5)
        turn, grow, shear = math.radians(self.rotate * amount[0]), 1 + self.scale * amount[1], self.shear * amount[2]
        rows, columns = np.mgrid[:height, :width].astype(np.float64)
        y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
        x = x - shear * y
        sine, cosine = math.sin(turn) / grow, math.cos(turn) / grow
        y, x = cosine * y - sine * x, sine * y + cosine * x
        y += (height - 1) / 2 - self.shift * amount[3]
        x += (width - 1) / 2 - self.shift * amount[4]
        changed = _sampled(image.astype(np.float32), y, x)
        if rng.random() < self.erase:
            side = max(1, round(self.erase_size * min(height, width)))
            top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
            changed[:, top : top + side, left : left + side] = 0
        return changed


def _sampled(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the values of an image between its pixels; 0 outside."""
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (1, 2), (1, 2)))
    y, x = np.clip(y, -1, height) + 1, np.clip(x, -1, width) + 1
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = (y - top).astype(np.float32), (x - left).astype(np.float32)
    upper = padded[:, top, left] * (1 - right) + padded[:, top, left + 1] * right
    lower = padded[:, top + 1, left] * (1 - right) + padded[:, top + 1, left + 1] * right
    sampled: np.ndarray = upper * (1 - down) + lower * down
    return sampled
