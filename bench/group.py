"""The competitors of one table: each checked against the reference, and the calls that are timed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcnn.agreement import Trial
from fastcnn.registry import Operation

from .fresh import fresh, fresh_copy
from .grid import Entry

DTYPE = np.float32


class Group:
    """What is known of the entries of a group that this session runs.

    Parameters
    ----------
    entries : sequence of Entry
        Of one operation, direction and case.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = list(entries)
        self._found: dict[str, float | Exception] = {}

    def error(self, entry: Entry) -> float:
        """Return an entry's error as a share of the tolerance, above 1 where it is wrong; raises what the entry raised."""
        found = self._found.get(entry.id)
        if found is None:
            try:
                found = _trial(entry.op, entry.direction, entry.case.problem).error(entry.run)
            except Exception as error:  # the test of this entry reports it, and the others go on
                found = error
            self._found[entry.id] = found
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def right(self) -> list[str]:
        """The ids of the entries that agree with the reference: only they are timed."""
        return [entry.id for entry in self._entries if self._is_right(entry)]

    def _is_right(self, entry: Entry) -> bool:
        try:
            return self.error(entry) <= 1
        except Exception:  # told by the entry's own test
            return False


def call_of(entry: Entry) -> Callable[[], Any]:
    """Return the entry's function bound to inputs and outputs that nothing else uses."""
    trial = _trial(entry.op, entry.direction, entry.case.problem)
    outputs = entry.op.problem.outputs(entry.case.problem, entry.direction, DTYPE)
    arrays = [*map(fresh_copy, trial.arguments), *(fresh(output.shape, output.dtype) for output in outputs)]
    return functools.partial(entry.run, entry.case.problem, *arrays)


def traffic(entry: Entry) -> float:
    """Return the bytes that a call of any of the entry's competitors moves at least."""
    return float(entry.op.problem.traffic(entry.case.problem, entry.direction, DTYPE))


@functools.lru_cache(maxsize=1)  # the entries of a group follow one another and share their inputs and the reference's result
def _trial(op: Operation, direction: str, problem: Any) -> Trial:
    return Trial(op, direction, problem, DTYPE, np.random.default_rng(0))
