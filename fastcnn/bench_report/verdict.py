"""Two runs against one another: per row how much its time has changed, and whether that is more than noise; see the package for the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import ranks
from .record import YARDSTICKS, BenchRun, Row

VERDICTS = ("worse", "better", "unclear", "same")
LEVEL = 0.05  # the probability of any false "worse", and of any false "better", in a report on unchanged code
_DISTRUST = 1 / 8  # of what the yardsticks differ by: no kernel slows down exactly as they do
_IN_CACHES = 2**22  # bytes that a core's own caches and its share of a common one hold: memory's speed does not matter to smaller rows


class Change(NamedTuple):
    """What became of a row.

    Attributes
    ----------
    before, after : Row
    verdict : str
        One of `VERDICTS`.
    ratio, low, high : float
        Seconds after over seconds before, the machine's speed divided out: estimate and 95 % interval, doubts of that included.
    probability : float
        Of ranks as clear as these without a change beyond the threshold; of this row alone.
    note : str
        Why the verdict is unclear.
    """

    before: Row
    after: Row
    verdict: str
    ratio: float
    low: float
    high: float
    probability: float = 1.0
    note: str = ""


class Comparison(NamedTuple):
    """All rows of two runs: those in both with their verdicts, and the names of those in one alone."""

    before: BenchRun
    after: BenchRun
    threshold: float
    changes: list[Change]
    only_before: list[str]
    only_after: list[str]
    multiply_add: float  # seconds after over seconds before of the fixed loops, over all rows
    memory: float

    def count(self, verdict: str) -> int:
        """Return how many rows have a verdict."""
        return sum(change.verdict == verdict for change in self.changes)

    @property
    def regressions(self) -> list[Change]:
        """The rows of the library itself that are worse."""
        return [change for change in self.changes if change.verdict == "worse" and not change.before.baseline]

    @property
    def mean_ratio(self) -> float:
        """The geometric mean of the library's ratios; NaN where there are none."""
        ratios = [math.log(change.ratio) for change in self.changes if not change.before.baseline]
        return math.exp(sum(ratios) / len(ratios)) if ratios else math.nan


class _Evidence(NamedTuple):
    shift: ranks.Shift  # of the logarithm of the time, doubts included in the interval
    doubt: float  # the median over the pairs of blocks
    worse: float  # probabilities
    better: float


def compare(before: BenchRun, after: BenchRun, threshold: float = 0.05) -> Comparison:
    """Judge every row that two runs have in common.

    Parameters
    ----------
    before, after : BenchRun
    threshold : float
        The smallest change of the time that matters, as a share of it.

    Raises
    ------
    ValueError
        `threshold` is not between 0 and 1, or the runs have no row in common.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"bench-report: threshold must be between 0 % and 100 %; got {threshold:.3g}")
    common = [name for name in before.rows if name in after.rows]
    if not common:
        raise ValueError(f"bench-report: {before.path} and {after.path} have no row in common")
    pairs = [(before.rows[name], after.rows[name]) for name in common]
    judged = [_evidence(first, second, before, after, math.log1p(threshold)) for first, second in pairs]
    worse = ranks.holm([1.0 if e is None else e.worse for e in judged], LEVEL)
    better = ranks.holm([1.0 if e is None else e.better for e in judged], LEVEL)
    changes = [
        _change(first, second, evidence, w, b, math.log1p(threshold), len(common))
        for (first, second), evidence, w, b in zip(pairs, judged, worse, better, strict=True)
    ]
    missing = [name for name in before.rows if name not in after.rows], [name for name in after.rows if name not in before.rows]
    return Comparison(before, after, threshold, changes, *missing, *(_drift(pairs, name) for name in YARDSTICKS))


def _evidence(before: Row, after: Row, run_before: BenchRun, run_after: BenchRun, margin: float) -> _Evidence | None:
    """Return what the blocks of a row tell; None where a run kept none."""
    if not before.blocks or not after.blocks:
        return None
    share = (_memory_share(before, run_before) + _memory_share(after, run_after)) / 2
    rounds = min(len(block) for block in (*before.blocks, *after.blocks))  # the best of many is lower than that of few
    times = _differences(*([min(block[:rounds]) for block in row.blocks] for row in (before, after)))
    computing, moving = (_differences(before.yardsticks[name], after.yardsticks[name]) for name in YARDSTICKS)
    machine = (1 - share) * computing + share * moving
    doubt = _DISTRUST * (np.abs(machine) + 2 * min(share, 1 - share) * np.abs(computing - moving))
    own = times - machine
    worse, better = ranks.exceeds(own - doubt, margin), ranks.exceeds(-own - doubt, margin)
    return _Evidence(ranks.shift(own, doubt), float(np.median(doubt)), worse, better)


def _differences(before: Sequence[float], after: Sequence[float]) -> np.ndarray:
    """Return the logarithm of after over before for all pairs, (after, before)."""
    return np.subtract.outer(np.log(np.asarray(after)), np.log(np.asarray(before)))


def _memory_share(row: Row, run: BenchRun) -> float:
    """Return how much of a row's time the memory explains, between 0 and 1: its bytes per second over those of the copy."""
    if row.traffic < _IN_CACHES or not run.yardstick_bytes:
        return 0.0
    copy = run.yardstick_bytes / float(np.median(row.yardsticks["memory"]))
    return min(row.traffic / row.median / copy, 1.0)


def _drift(pairs: Sequence[tuple[Row, Row]], yardstick: str) -> float:
    found = [
        np.median(after.yardsticks[yardstick]) / np.median(before.yardsticks[yardstick])
        for before, after in pairs
        if before.blocks and after.blocks
    ]
    return float(np.median(found)) if found else math.nan


def _change(before: Row, after: Row, found: _Evidence | None, worse: bool, better: bool, margin: float, rows: int) -> Change:
    if found is None:
        ratio = after.median / before.median
        return Change(before, after, "unclear", ratio, 0.0, math.inf, note="a run kept no samples")
    ratio, low, high = (math.exp(value) for value in found.shift)
    probability = min(found.worse, found.better)
    if worse or better:
        return Change(before, after, "worse" if worse else "better", ratio, low, high, probability)
    if -margin <= found.shift.low and found.shift.high <= margin:
        return Change(before, after, "same", ratio, low, high, probability)
    return Change(before, after, "unclear", ratio, low, high, probability, _reason(before, after, found, margin, rows))


def _reason(before: Row, after: Row, found: _Evidence, margin: float, rows: int) -> str:
    least = ranks.least_probability(len(before.blocks), len(after.blocks))
    if not math.isfinite(found.shift.high) or least > LEVEL / rows:
        return f"{min(len(before.blocks), len(after.blocks))} blocks are too few to tell"
    if found.doubt > margin / 2:
        return "the machine's own speed has changed too much to tell"
    return "within the noise" if found.shift.low <= 0 <= found.shift.high else "changed, but perhaps by less than the threshold"
