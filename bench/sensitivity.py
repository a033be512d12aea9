"""Whether ``fastcnn bench-report`` tells a kernel that is 10 % slower, and leaves alone one that is not: ``python -m bench.sensitivity``.

Each try draws kernels from the quick suite, measures them twice as ``pytest bench`` does, and compares the runs. In the second run one of
them is slowed: after each call its thread spins for a tenth of the time that the call has just taken. Exit code 1 where more than one try
in twenty misses it, or alarms falsely.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastcnn.bench_report.record import BenchRun, Row
from fastcnn.bench_report.tables import percent
from fastcnn.bench_report.verdict import Comparison, compare

from .grid import SUITES, Entry, grid
from .processes import sample
from .sampling import Samples

SUITE = "quick"


class Try(NamedTuple):
    """A comparison, and which kernel was slowed in its second run."""

    slowed: str | None
    found: Comparison

    @property
    def told(self) -> bool:
        """Whether the slowed kernel is reported as a regression."""
        return self.slowed in {change.before.name for change in self.found.regressions}

    @property
    def alarmed(self) -> bool:
        """Whether an unchanged kernel is."""
        return bool({change.before.name for change in self.found.regressions} - {self.slowed})


def kernels() -> dict[str, Entry]:
    """Return the library's own entries of the suite by id."""
    return {entry.id: entry for entry in grid(SUITES[SUITE]) if not entry.baseline and not entry.left_out}


def run(ids: Sequence[str], slowed: Mapping[str, float] | None = None) -> BenchRun:
    """Return a run of some entries, some of them slowed by a share of their time."""
    known = kernels()
    groups: dict[str, list[str]] = {}
    for name in ids:
        groups.setdefault(known[name].group, []).append(name)
    found = sample(list(groups.values()), SUITE, slowed=slowed)
    return BenchRun(Path("memory"), "", {}, {name: _row(known[name], found[name]) for name in ids})


def _row(entry: Entry, found: Samples | Exception) -> Row:
    if isinstance(found, Exception):
        raise found
    low, median, high = (float(value) for value in np.quantile(found.flat, (0.25, 0.5, 0.75)))
    yardsticks = {name: tuple(values) for name, values in found.yardsticks.items()}
    return Row(entry.id, entry.group, median, low, high, blocks=tuple(map(tuple, found.blocks)), yardsticks=yardsticks)


def tries(count: int, rows: int, share: float, rng: np.random.Generator) -> list[Try]:
    """Return so many tries of so many rows drawn at random, each with one kernel slowed by that share; none where it is 0."""
    found = []
    for _ in range(count):
        ids = [str(name) for name in rng.choice(list(kernels()), rows, replace=False)]
        slowed = {ids[0]: share} if share else {}
        before = run(ids)
        found.append(Try(ids[0] if share else None, compare(before, run(ids, slowed))))
    return found


def main() -> int:
    """Print every try and the sums."""
    parser = argparse.ArgumentParser(prog="python -m bench.sensitivity", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=20, metavar="N")
    parser.add_argument("--rows", type=int, default=8, metavar="N", help="kernels of a try (default: 8)")
    parser.add_argument("--slower", type=float, default=0.1, metavar="SHARE", help="default: 0.1; 0 for none")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    missed = alarms = 0
    for i in range(options.tries):
        (one,) = tries(1, options.rows, options.slower, rng)
        missed, alarms = missed + (bool(one.slowed) and not one.told), alarms + one.alarmed
        words = [f"{change.before.name} {change.verdict} {percent(change.ratio)} {change.note}" for change in one.found.changes]
        print(f"{i + 1}: slowed {one.slowed}; {'told' if one.told else 'not told'}{', FALSE ALARM' if one.alarmed else ''}")
        print("".join(f"    {line}\n" for line in words), end="", flush=True)
    print(f"{options.tries} tries: {missed} missed, {alarms} with a false alarm")
    return int(20 * max(missed, alarms) > options.tries)


if __name__ == "__main__":
    raise SystemExit(main())
