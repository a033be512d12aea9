"""Two runs compared: per row how much its time has changed, and whether that is more than noise; see the package for the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import ranks
from .record import YARDSTICKS, BenchRun, Row

VERDICTS = ("worse", "better", "unclear", "same")
LEVEL = 0.05  # the probability of any false "worse", and of any false "better", among the library's rows in a report on unchanged code
_SURELY = 1 / 2  # of the threshold: by so much a row must surely have changed, and by the threshold itself at a fair guess
_DISTRUST = 1 / 16  # of what the yardsticks differ by: no kernel slows down exactly as they do


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
        Of ranks as clear as these without a change beyond half the threshold; of this row alone.
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
    drifts: dict[str, float]  # seconds after over seconds before of each yardstick, over all rows; empty where there are none
    pairs: int = 1  # of runs that had to agree

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


def confirmed(comparisons: Sequence[Comparison]) -> Comparison:
    """Return the first of several comparisons of the same two versions, where only those rows are worse, or better, that are so in all.

    Each run is a process, and what a process decides once looks to its blocks like a property of the code. With two runs of either version
    it takes an unlucky choice in all four.
    """
    first = comparisons[0]
    verdicts: dict[str, set[str]] = {}
    for comparison in comparisons:
        for change in comparison.changes:
            verdicts.setdefault(change.before.name, set()).add(change.verdict)

    def agreed(change: Change) -> Change:
        found = verdicts[change.before.name]
        if len(found) == 1 or not found & {"worse", "better"}:
            return change
        return change._replace(verdict="unclear", note=f"{' or '.join(sorted(found))}, by the pair of runs")

    return first._replace(changes=[agreed(change) for change in first.changes], pairs=len(comparisons))


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
    own = [not first.baseline for first, _ in pairs]
    worse = _clear([1.0 if e is None else e.worse for e in judged], own)
    better = _clear([1.0 if e is None else e.better for e in judged], own)
    changes = [
        _change(first, second, evidence, w, b, math.log1p(threshold), own.count(not first.baseline))
        for (first, second), evidence, w, b in zip(pairs, judged, worse, better, strict=True)
    ]
    missing = [name for name in before.rows if name not in after.rows], [name for name in after.rows if name not in before.rows]
    return Comparison(before, after, threshold, changes, *missing, _drifts(pairs))


def _clear(probabilities: Sequence[float], own: Sequence[bool]) -> list[bool]:
    """Return which probabilities are too small for chance: of the library's own rows, and apart from them, of the others."""
    found = {
        which: iter(ranks.holm([p for p, mine in zip(probabilities, own, strict=True) if mine == which], LEVEL)) for which in (True, False)
    }
    return [next(found[mine]) for mine in own]


def _evidence(before: Row, after: Row, run_before: BenchRun, run_after: BenchRun, margin: float) -> _Evidence | None:
    """Return what the blocks of a row tell; None where a run kept none."""
    if not before.blocks or not after.blocks:
        return None
    memory = min(_memory_share(before, run_before), _memory_share(after, run_after))
    first, second = _logarithms(before, after), _logarithms(after, before)
    between = {name: np.subtract.outer(second[name], first[name]) for name in first}
    crowding = between["multiply_add"] - between["clock"]
    share, unsure = _share_of_crowding(first, second)
    computing = between["clock"] + share * crowding
    moving = between["memory"] if memory else computing
    machine = (1 - memory) * computing + memory * moving
    doubt = _DISTRUST * (np.abs(machine) + 2 * min(memory, 1 - memory) * np.abs(computing - moving))
    doubt += (1 - memory) * unsure * np.abs(crowding)
    own = between["row"] - machine
    worse, better = (_surely(sign * own - doubt, margin) for sign in (1, -1))
    return _Evidence(ranks.shift(own, doubt), float(np.median(doubt)), worse, better)


def _surely(change: np.ndarray, margin: float) -> float:
    """Return the probability of ranks as these without a change; 1 for a change that is within the margin at a fair guess."""
    return ranks.exceeds(change, _SURELY * margin) if np.median(change) > margin else 1.0


def _logarithms(row: Row, other: Row) -> dict[str, np.ndarray]:
    """Return the logarithm of the best time of each block: of the row, as ``row``, and of the yardsticks."""
    rounds = min(len(block) for block in (*row.blocks, *other.blocks))  # the best of many is lower than that of few
    best = [min(block[:rounds]) for block in row.blocks]
    found = {"row": np.log(best), **{name: np.log(row.yardsticks[name]) for name in row.yardsticks if name in other.yardsticks}}
    if "memory" in found:  # it changes from block to block more than rows do, by pages of its own: only its level tells of the machine
        found["memory"][:] = np.median(found["memory"])
    return found


def _share_of_crowding(*runs: dict[str, np.ndarray]) -> tuple[float, float]:
    """Return how much of what slows the multiply-adds beyond the clock slows a row, between 0 and 1, and how unsure that is.

    A neighbour on the same core, or a thread that lost its core, takes from a kernel what it takes from the multiply-adds, or little of it:
    the slope of a line through the blocks, each run's around their own mean, tells. Where the blocks do not differ, it is anything: half,
    give or take half.
    """
    crowding = np.concatenate([(x := run["multiply_add"] - run["clock"]) - x.mean() for run in runs])
    row = np.concatenate([(y := run["row"] - run["clock"]) - y.mean() for run in runs])
    power = float(crowding @ crowding)
    if len(row) < 6 or power == 0:
        return 0.5, 0.5
    slope = min(max(float(row @ crowding) / power, 0.0), 1.0)
    rest = row - slope * crowding
    unsure = math.sqrt(float(rest @ rest) / (len(row) - 3) / power)
    return (slope, unsure) if unsure < 0.5 else (0.5, 0.5)


def _memory_share(row: Row, run: BenchRun) -> float:
    """Return how much of a row's time the memory explains, between 0 and 1: its bytes per second over those of the copy."""
    if "memory" not in row.yardsticks or not run.yardstick_bytes:
        return 0.0  # what it moves stays in the caches
    copy = run.yardstick_bytes / float(np.median(row.yardsticks["memory"]))
    return min(row.traffic / row.median / copy, 1.0)


def _drifts(pairs: Sequence[tuple[Row, Row]]) -> dict[str, float]:
    sampled = [(before.yardsticks, after.yardsticks) for before, after in pairs if before.blocks and after.blocks]
    if not sampled:
        return {}
    ratios = {name: [np.median(b[name]) / np.median(a[name]) for a, b in sampled if name in a and name in b] for name in YARDSTICKS}
    return {name: float(np.median(found)) for name, found in ratios.items() if found}


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
