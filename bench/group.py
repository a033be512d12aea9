"""The competitors of one table: checked against the reference, then sampled in turns, half of the blocks now and half minutes later."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcnn.agreement import Trial
from fastcnn.registry import Operation

from .fresh import fresh, fresh_copy
from .grid import Entry
from .sampling import BLOCKS, Sampler, Samples
from .yardsticks import MATTERS_FROM

DTYPE = np.float32


class Group:
    """What is known of the entries of a group that this session runs.

    Parameters
    ----------
    entries : sequence of Entry
        Of one operation, direction and case.
    seconds : float
        To sample each of them.
    """

    def __init__(self, entries: Sequence[Entry], seconds: float) -> None:
        self._entries, self._seconds = list(entries), seconds
        self._found: dict[str, float | Exception] = {}
        self._sampler: Sampler | None = None

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

    def sample(self, blocks: int) -> None:
        """Sample what is right until it has so many of `BLOCKS`."""
        if self._sampler is None:
            makers = {entry.id: functools.partial(call_of, entry) for entry in self._entries if self._is_right(entry)}
            self._sampler = Sampler(makers, self._seconds, traffic(self._entries[0]) >= MATTERS_FROM)
        self._sampler.take(blocks)

    def samples(self, entry: Entry) -> Samples:
        """Return all samples of a right entry, taking first what is missing."""
        self.sample(BLOCKS)
        assert self._sampler is not None
        return self._sampler.taken[entry.id]

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
