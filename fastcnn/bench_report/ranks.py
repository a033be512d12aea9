"""Rank statistics of two samples, exact and without a model of the noise: is one larger by more than a margin, and by how much."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Shift(NamedTuple):
    """How much larger the second sample is than the first: the median of all differences, and an interval around it."""

    estimate: float
    low: float
    high: float


@functools.cache
def _counts(n: int, m: int) -> tuple[int, ...]:
    """Return in how many of the orders of n + m values exactly 0, 1, ... nm pairs are the other way round."""
    counts = [1] + [0] * (n * m)
    for i in range(1, m + 1):  # the Gaussian binomial: product of (1 - q^(n + i)) / (1 - q^i)
        for k in range(n * m, n + i - 1, -1):
            counts[k] -= counts[k - n - i]
        for k in range(i, n * m + 1):
            counts[k] += counts[k - i]
    return tuple(counts)


def least_probability(n: int, m: int) -> float:
    """Return the smallest probability that `exceeds` can find for samples of n and m values."""
    return 1 / math.comb(n + m, n)


def exceeds(differences: np.ndarray, margin: float) -> float:
    """Return the probability of ranks as these or clearer, if the second sample does not exceed the first by more than `margin`.

    The one-sided Mann-Whitney test, exact: U counts the pairs that differ by more than `margin`; p = P(U' >= U) over all orders of the
    values. A tie counts against it.

    Parameters
    ----------
    differences : (m, n)
        Of m values of the second sample, independent, and n of the first: second less first.
    margin : float

    Returns
    -------
    float
        Between 1 / (n + m over n) and 1.
    """
    m, n = differences.shape
    return sum(_counts(n, m)[int((differences > margin).sum()) :]) / math.comb(n + m, n)


def shift(differences: np.ndarray, doubt: np.ndarray | float = 0.0, confidence: float = 0.95) -> Shift:
    """Return the Hodges-Lehmann estimate of how much larger the second sample is, and its exact interval.

    Parameters
    ----------
    differences : (m, n)
        As for `exceeds`.
    doubt : (m, n) or float
        By how much each of them may be wrong in either direction: this widens the interval.
    confidence : float
        Of the interval, which is unbounded where there are too few values for it.
    """
    m, n = differences.shape
    counts, orders = _counts(n, m), math.comb(n + m, n)
    outside, left_out = 0, 0  # differences left out at either end, while both ends are as unlikely as wanted
    while (outside + counts[left_out]) / orders <= (1 - confidence) / 2:
        outside += counts[left_out]
        left_out += 1
    estimate = float(np.median(differences))
    if left_out == 0:
        return Shift(estimate, -math.inf, math.inf)
    lowest, highest = np.sort(differences - doubt, axis=None), np.sort(differences + doubt, axis=None)
    return Shift(estimate, float(lowest[left_out - 1]), float(highest[-left_out]))


def holm(probabilities: Sequence[float], level: float) -> list[bool]:
    """Return which hypotheses to reject, so that any true one is among them with a probability of at most `level`, however they depend."""
    order = np.argsort(probabilities, kind="stable")
    rejected = [False] * len(probabilities)
    for step, i in enumerate(order):
        if probabilities[i] > level / (len(probabilities) - step):
            break
        rejected[i] = True
    return rejected
