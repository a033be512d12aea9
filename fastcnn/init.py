"""Initial weights. Each function returns a new array of `shape`, drawn from `rng`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def fan_in(shape: tuple[int, ...]) -> int:
    """Return how many inputs one output of a weight (O, I) or (K, C, R, S) sums."""
    return math.prod(shape[1:])


def he_normal(shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Draw from a normal distribution of variance 2 / fan_in, which keeps the scale of activations through ReLU.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", 2015, section 2.2.
    """
    return (rng.standard_normal(shape) * math.sqrt(2 / fan_in(shape))).astype(dtype)


def he_uniform(shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Draw uniformly from +-sqrt(6 / fan_in): the variance of `he_normal`."""
    limit = math.sqrt(6 / fan_in(shape))
    return rng.uniform(-limit, limit, shape).astype(dtype)
