"""Samples of the competitors of a group, in turns and in blocks, with the yardsticks between them.

A block is up to three rounds (A B C, A B C, ...) on inputs and outputs of its own: where arrays lie decides a few percent, and does so
anew in every block. Reports take the best sample of a block, and look at how blocks differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fastcnn import workspace
from fastcnn.timing import calibrate

from .fresh import filler
from .yardsticks import yardsticks

BLOCKS, ROUNDS = 20, 3  # many blocks make ranks clear, of rounds two or three are enough to find one that nothing disturbs


class Plan(NamedTuple):
    """How a competitor is sampled: `blocks` of `rounds` samples, each the mean of `loops` calls."""

    loops: int
    rounds: int
    blocks: int


class Samples(NamedTuple):
    """Seconds of a call (samples are means of `loops` calls), by block; and for each block the best seconds of each yardstick."""

    loops: int
    blocks: list[list[float]]
    yardsticks: dict[str, list[float]]

    @property
    def flat(self) -> list[float]:
        """All samples in the order in which they were taken."""
        return [seconds for block in self.blocks for seconds in block]


def plan(call: Callable[[], Any], seconds: float) -> Plan:
    """Return as many blocks and rounds as fit into `seconds`, at least one: rounds are saved first, then blocks."""
    if _sample(call, 1, warm=True) > seconds:
        return Plan(1, 1, 1)
    loops, one = calibrate(call)
    fit = int(seconds / (one * (loops + 1)))
    rounds = next((rounds for rounds in range(ROUNDS, 0, -1) if rounds * BLOCKS <= fit), 1)
    return Plan(loops, rounds, min(max(fit // rounds, 1), BLOCKS))


class Sampler:
    """Takes the samples of a group, some blocks at a time.

    Parameters
    ----------
    makers : mapping of name to function
        Each returns the call to be timed, on new arrays.
    seconds : float
        For each competitor, yardsticks apart.
    memory : bool
        Whether the copy in memory is sampled as well, which takes longest and matters only to those who move much.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Callable[[], Any]]], seconds: float, memory: bool) -> None:
        self._makers = dict(makers)
        self._used: list[Any] = []
        self._yardsticks = {name: yardstick for name, yardstick in yardsticks().items() if memory or name != "memory"}
        self.plans = {name: plan(make(), seconds) for name, make in makers.items()}
        self.taken = {name: Samples(found.loops, [], {key: [] for key in self._yardsticks}) for name, found in self.plans.items()}

    def take(self, until: int = BLOCKS) -> None:
        """Take blocks until every competitor has `until` of `BLOCKS`, or that share of the fewer that it has time for."""
        for block in range(1, until + 1):
            due = [name for name, found in self.plans.items() if len(self.taken[name].blocks) < -(-found.blocks * block // BLOCKS)]
            if due:
                self._block(due)
        self._used.clear()

    def _block(self, names: list[str]) -> None:
        self._used.append((workspace.release(), filler()))  # held, so that what the block's kernels allocate lies elsewhere
        calls = {name: self._makers[name]() for name in names}
        rounds = {name: self.plans[name].rounds for name in names}
        samples: dict[str, list[float]] = {name: [] for name in names}
        machine: dict[str, list[float]] = {key: [] for key in self._yardsticks}
        for turn in range(max(rounds.values())):
            _look(machine, self._yardsticks)
            for name, call in calls.items():
                if turn < rounds[name]:
                    samples[name].append(_sample(call, self.plans[name].loops, warm=self.plans[name].blocks == 1))
            _look(machine, [key for key in self._yardsticks if key != "memory"])
        for name, found in samples.items():
            self.taken[name].blocks.append(found)
            for key, values in machine.items():
                self.taken[name].yardsticks[key].append(min(values))


def _look(machine: dict[str, list[float]], names: Iterable[str]) -> None:
    for name in names:
        machine[name].append(_sample(yardsticks()[name], 1, warm=True))


def _sample(call: Callable[[], Any], loops: int, warm: bool = False) -> float:
    if not warm:
        call()  # the others have left the caches and threads cold: without this call the noise trebles
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops
