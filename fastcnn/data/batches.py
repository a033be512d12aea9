"""Shuffled, normalised, augmented batches: a batch follows from the seed and its position alone."""

from __future__ import annotations

import numpy as np

from .augment import Augment


class Batches:
    """Batches of a data set, in an order of its own for every epoch.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) uint8, or inputs (N, C, H, W) float32, which are taken as they are
    labels : (N,) integers
    batch_size : int
        The last batch of an epoch may be smaller.
    seed : int
    mean, deviation : float, optional
        Bytes v become (v - mean) / deviation; by default those of the images.
    augment : Augment, optional
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        mean: float | None = None,
        deviation: float | None = None,
        augment: Augment | None = None,
    ) -> None:
        self.images = images[:, None] if images.ndim == 3 else images
        self.targets = np.asarray(labels).astype(np.int64)
        self.batch_size, self.seed, self.augment = batch_size, seed, augment
        found = _moments(images) if images.dtype == np.uint8 else (0.0, 1.0)
        self.mean = found[0] if mean is None else mean
        self.deviation = found[1] if deviation is None else deviation
        self._order: tuple[int, np.ndarray] = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x (n, C, H, W) float32 with channels-last memory, and target (n,) int64."""
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        chosen = self._order[1][number * self.batch_size : (number + 1) * self.batch_size]
        images = self.images[chosen]
        if self.augment is not None:
            images = np.stack([
                self.augment(image, np.random.default_rng([self.seed, epoch, position]))
                for image, position in zip(images, chosen.tolist(), strict=True)
            ])  # fmt: skip
        pixels = images.transpose(0, 2, 3, 1)
        if self.images.dtype == np.uint8:
            pixels = (pixels - np.float32(self.mean)) * np.float32(1 / self.deviation)
        return np.ascontiguousarray(pixels).transpose(0, 3, 1, 2), self.targets[chosen]


def _moments(images: np.ndarray) -> tuple[float, float]:
    """Return mean and deviation of bytes; a deviation of 0 becomes 1."""
    counts = np.zeros(256, np.int64)
    for image in np.array_split(images, max(1, images.size // 2**20)):
        counts += np.bincount(image.ravel(), minlength=256)
    values = np.arange(256.0)
    mean = float(counts @ values) / images.size
    deviation = float(np.sqrt(counts @ (values - mean) ** 2 / images.size))
    return mean, deviation or 1.0
