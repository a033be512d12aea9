"""What a step takes on many ranks: a line for the work, latency and bandwidth for the sums.

A message of m bytes is summed over p ranks on links of latency L and bandwidth B in

- a ring: 2 (p - 1) steps of m / p bytes,  2 (p - 1) (L + m / (p B)) - the least bytes;
- a tree, down and up: 2 ceil(log2 p) (L + m / B) - the fewest steps.

References
----------
R. Thakur, R. Rabenseifner & W. Gropp, "Optimization of Collective Communication Operations in MPICH", 2005, sections 3 and 4.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Link(NamedTuple):
    """Between two ranks: seconds until a message arrives, and bytes per second."""

    latency: float
    bandwidth: float

    def ring(self, ranks: int, size: float) -> float:
        """Seconds of a sum of `size` bytes in a ring."""
        return 2 * (ranks - 1) * (self.latency + size / (ranks * self.bandwidth))

    def tree(self, ranks: int, size: float) -> float:
        """Seconds of a sum of `size` bytes in a tree."""
        return 2 * math.ceil(math.log2(ranks)) * (self.latency + size / self.bandwidth)

    def sums(self, ranks: int, sizes: Sequence[float]) -> float:
        """Seconds of several sums, each in the quicker way."""
        return sum(min(self.ring(ranks, size), self.tree(ranks, size)) for size in sizes) if ranks > 1 else 0.0


class Work(NamedTuple):
    """Seconds of a step without sums: `step` for itself and `image` for every image of a rank."""

    step: float
    image: float

    def seconds(self, images: float) -> float:
        """Of a step on so many images."""
        return self.step + self.image * images

    def images(self, seconds: float) -> float:
        """How many images a step of so many seconds has, at least 1."""
        return max(1.0, (seconds - self.step) / self.image)


def fit_work(images: Sequence[float], seconds: Sequence[float]) -> Work:
    """Return the line with the least relative errors, through neither coordinate below 0."""
    weights = 1 / np.asarray(seconds)
    matrix = np.stack([np.ones(len(images)), np.asarray(images, float)], axis=1) * weights[:, None]
    step, image = np.linalg.lstsq(matrix, np.ones(len(images)), rcond=None)[0]
    if step < 0:
        step, image = 0.0, float(np.exp(np.mean(np.log(np.asarray(seconds) / np.asarray(images)))))
    return Work(float(step), float(image))


def fit_link(sizes: Sequence[float], seconds: Sequence[float]) -> Link:
    """Return the link that explains sums over two ranks, 2 (L + m / (2 B)), with the least relative errors."""
    line = fit_work(sizes, seconds)
    return Link(line.step / 2, 1 / line.image)


def images_for_share(work: Work, sums: float, share: float) -> float:
    """Return how many images a rank needs for sums to take `share` of a step: work = sums (1 - share) / share."""
    return work.images(sums * (1 - share) / share)
