"""What is timed: every variant that accepts a case of the registry, then the baselines that are fast enough for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from fastcnn.registry import Case, Operation, operations

from .baselines import baselines


class Suite(NamedTuple):
    """How much is timed: cases per operation, seconds per benchmark, and the slowest baseline's seconds per call."""

    cases: int | None
    seconds: float
    longest_call: float


SUITES = {"quick": Suite(2, 0.2, 0.2), "full": Suite(None, 1.0, 5.0)}


class Entry(NamedTuple):
    """One benchmark, or, where `left_out` tells why, one that is not run."""

    op: Operation
    direction: str
    name: str
    case: Case
    run: Callable[..., None]
    left_out: str | None = None
    baseline: bool = False

    @property
    def group(self) -> str:
        """The competitors of one table."""
        return f"{self.op.name}-{self.direction}-{self.case.name}"

    @property
    def id(self) -> str:
        """E.g. conv2d-forward-direct-mnist-24c5."""
        return f"{self.op.name}-{self.direction}-{self.name}-{self.case.name}"


def grid(suite: Suite) -> list[Entry]:
    """Return the benchmarks, those of a group one after another."""
    return [entry for op in operations().values() for direction in op.directions for entry in _entries(op, direction, suite)]


def _entries(op: Operation, direction: str, suite: Suite) -> Iterator[Entry]:
    cases = op.problem.BENCH[: suite.cases]
    accepted = list(op.accepted(direction, cases))
    for case in cases:
        for name, accepted_case in accepted:
            if accepted_case is case:
                run = op.variants[name].directions[direction]
                yield Entry(op, direction, name, case, run, baseline=name == "reference")  # plain NumPy: nobody waits for it to be quick
        for baseline in baselines(op.name, direction):
            reason = baseline.leaves_out(op, direction, case.problem, suite.longest_call)
            yield Entry(op, direction, baseline.name, case, baseline.run, reason, baseline=True)
