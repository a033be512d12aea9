"""How far a ratio of two times can be trusted: bands in which another run will find it, from blocks of rounds far apart in time.

Functions take samples in turns. Within a round they share the machine's mood, so the ratio of their times is what is averaged, and the
median over the rounds of a block drops spikes. What drifts - clocks, neighbours, where memory happens to lie - differs between blocks,
which are seconds or minutes apart and have new arrays. So a block gives one number, the logarithm of a ratio, and the scatter of blocks is
the noise.

The model: blocks scatter around the truth, now and then one is far out. Of B blocks the first and the last in size are left out (from
five on); the mean of the other h is the ratio, and its scatter comes from the squares of all after the two are drawn in to their
neighbours (Yuen): s^2 = SSD / (h - 1). A few blocks say little of one ratio, so all ratios of the run together are listened to (Smyth):
s^2 = (d0 s0^2 + SSD) / (d0 + h - 1). Another run has blocks of its own, so its mean differs from ours by sqrt(2 / h) s. The band is so
many of these that Student's t leaves out `MISSED` / M of both sides, for M ratios: *all* of them lie in their bands, in nine of ten
tries.

References
----------
G. Smyth, "Linear Models and Empirical Bayes Methods for Assessing Differential Expression", Stat. Appl. Genet. Mol. Biol. 3 (2004), 4.
K. Yuen, "The Two-Sample Trimmed t for Unequal Population Variances", Biometrika 61 (1974), 2.
D. Wallace, "Bounds on Normal Approximations to Student's and the Chi-Square Distributions", Ann. Math. Statist. 30 (1959).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, mean, median
from typing import TypeVar

from .row import Ratio

MISSED = 0.05  # share of runs in which any ratio may leave its band: half of what is promised, as noise is no bell
_PRIOR = 4.0  # d0: blocks that the scatter of all ratios counts for
_FLOOR = 0.01  # between runs there is more than blocks can see: where code and its constants are loaded
_TRIMMED = 5  # blocks, from which on the outermost do not count
_FEW = 3  # rounds: fewer that two functions share say less than all that each had

Key = TypeVar("Key")
Rounds = Sequence[Mapping[str, float]]  # the seconds of one call of those that took part, in every round of a block


def block_ratio(rounds: Rounds, name: str, other: str) -> float | None:
    """Return log(time of `other` / time of `name`) in a block, the median over rounds; None where one of them has no sample."""
    both = [math.log(taken[other] / taken[name]) for taken in rounds if name in taken and other in taken]
    if len(both) >= _FEW:
        return median(both)
    mine, theirs = ([taken[key] for taken in rounds if key in taken] for key in (name, other))
    return math.log(median(theirs) / median(mine)) if mine and theirs else None


def bands(blocks: Mapping[Key, Sequence[float]]) -> dict[Key, Ratio]:
    """Return a `Ratio` for each list of block ratios (logarithms), its band wide enough for all of them together."""
    given = {key: sorted(values) for key, values in blocks.items() if values}
    freedom = sum(_kept(values) - 1 for values in given.values())
    pooled = sum(_squares(values) for values in given.values()) / freedom if freedom else 0.0
    return {key: _ratio(values, pooled, freedom, len(given)) for key, values in given.items()}


def _ratio(values: Sequence[float], pooled: float, freedom: int, count: int) -> Ratio:
    kept = _kept(values)
    own = kept - 1
    prior = min(_PRIOR, freedom - own)  # a ratio does not count twice where there are hardly any others
    trim = (len(values) - kept) // 2
    value = math.exp(mean(values[trim : len(values) - trim]))
    if prior + own == 0:
        return Ratio(value, None, None, len(values))
    spread = math.sqrt((prior * pooled + _squares(values)) / (prior + own) * 2 / kept)
    half = math.hypot(student(1 - MISSED / (2 * count), prior + own) * spread, _FLOOR)
    return Ratio(value, value * math.exp(-half), value * math.exp(half), len(values))


def _kept(values: Sequence[float]) -> int:
    """Return how many blocks count: all but the two outermost, where there are enough."""
    return len(values) - 2 if len(values) >= _TRIMMED else len(values)


def _squares(values: Sequence[float]) -> float:
    """Return the sum of squared differences from the mean, the outermost of sorted values drawn in where they do not count."""
    drawn = [values[1], *values[1:-1], values[-2]] if len(values) >= _TRIMMED else values
    middle = mean(drawn)
    return sum((value - middle) ** 2 for value in drawn)


def student(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, for a probability of at least 1/2, by the inverse of Wallace's approximation."""
    normal = NormalDist().inv_cdf(probability) * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(min(normal * normal / freedom, 700.0)))
