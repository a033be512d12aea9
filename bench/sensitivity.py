"""Whether ``fastcnn bench-report`` tells a kernel that is 10 % slower, and leaves alone one that is not: ``python -m bench.sensitivity``.

Each try measures a few kernels twice and compares the runs. Of the second run's kernels one, another in every try, is slowed: after each
call its thread spins for a tenth of the time that the call has just taken. Exit code 1 where more than one try in twenty misses it, or
alarms falsely.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastcnn.bench_report.record import BenchRun, Row
from fastcnn.bench_report.tables import percent
from fastcnn.bench_report.verdict import Comparison, compare

from .grid import SUITES, Entry, grid
from .group import call_of
from .sampling import BLOCKS, Sampler, Samples

KERNELS = (
    "relu-forward-direct-resnet-64", "relu-backward_input-direct-resnet-64", "max_pool2d-forward-direct-mnist-32x10x10",
    "conv2d-forward-direct-mnist-24c5", "softmax-forward-direct-imagenet-64x1000",
)  # fmt: skip
_SECONDS = 0.25  # for each kernel


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


def slowed_by(call: Callable[[], Any], share: float) -> Callable[[], None]:
    """Return a function that takes that share longer than `call`, whatever `call` takes each time."""

    def slow() -> None:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        until = end + share * (end - start)
        while time.perf_counter() < until:
            pass

    return slow


def entries(names: Sequence[str] = KERNELS) -> list[Entry]:
    """Return entries of the quick suite by name; KeyError for one that it does not have."""
    known = {entry.id: entry for entry in grid(SUITES["quick"])}
    return [known[name] for name in names]


def run(chosen: Sequence[Entry], slowed: str | None = None, share: float = 0.1) -> BenchRun:
    """Return a run of some entries in turns, two passes as in ``pytest bench``, one of them slowed."""

    def make(entry: Entry) -> Callable[[], Any]:
        call = call_of(entry)
        return slowed_by(call, share) if entry.id == slowed else call

    samplers = {
        group: Sampler({e.id: functools.partial(make, e) for e in chosen if e.group == group}, _SECONDS, memory=False)
        for group in dict.fromkeys(entry.group for entry in chosen)
    }
    for blocks in (BLOCKS // 2, BLOCKS):
        for sampler in samplers.values():
            sampler.take(blocks)
    rows = [_row(entry, samplers[entry.group].taken[entry.id]) for entry in chosen]
    return BenchRun(Path("memory"), "", {}, {row.name: row for row in rows})


def _row(entry: Entry, found: Samples) -> Row:
    low, median, high = (float(value) for value in np.quantile(found.flat, (0.25, 0.5, 0.75)))
    yardsticks = {name: tuple(values) for name, values in found.yardsticks.items()}
    return Row(entry.id, entry.group, median, low, high, blocks=tuple(map(tuple, found.blocks)), yardsticks=yardsticks)


def tries(count: int, share: float = 0.1) -> list[Try]:
    """Return so many tries, each with one kernel slowed by that share; none where it is 0."""
    chosen = entries()
    for entry in chosen:
        call_of(entry)()  # compiled, before anything asks how long a call takes
    found = []
    for i in range(count):
        slowed = chosen[i % len(chosen)].id if share else None
        before = run(chosen)
        found.append(Try(slowed, compare(before, run(chosen, slowed, share))))
    return found


def main() -> int:
    """Print every try and the sums."""
    parser = argparse.ArgumentParser(prog="python -m bench.sensitivity", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=20, metavar="N")
    parser.add_argument("--slower", type=float, default=0.1, metavar="SHARE", help="default: 0.1; 0 for none")
    options = parser.parse_args()
    missed = alarms = 0
    for i, one in enumerate(tries(options.tries, options.slower)):
        missed, alarms = missed + (bool(one.slowed) and not one.told), alarms + one.alarmed
        words = [f"{change.before.name} {change.verdict} {percent(change.ratio)} {change.note}" for change in one.found.changes]
        print(f"{i + 1}: slowed {one.slowed}; {'told' if one.told else 'not told'}{', FALSE ALARM' if one.alarmed else ''}")
        print("".join(f"    {line}\n" for line in words), end="", flush=True)
    print(f"{options.tries} tries: {missed} missed, {alarms} with a false alarm")
    return int(20 * max(missed, alarms) > options.tries)


if __name__ == "__main__":
    raise SystemExit(main())
