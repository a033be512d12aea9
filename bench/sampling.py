"""Samples of the competitors of a group, taken in turns, with the yardsticks between them.

A block is up to five rounds (A B C, A B C, ...) in a process of its own. What a process decides once - where its machine code, its arrays
and workspaces lie - makes a kernel some percent faster or slower for as long as it lives, so it takes several to know a kernel. Reports
take the best sample of a block, and look at how blocks differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fastcnn.timing import calibrate, lingers, settle

from .fresh import filler
from .yardsticks import yardsticks

BLOCKS, ROUNDS = 12, 5  # so many blocks make ranks clear, one or two of them disturbed; a few rounds find one that nothing disturbs


class Plan(NamedTuple):
    """How a competitor is sampled: `blocks` of `rounds` samples, each the mean of `loops` calls; and whether its threads go on after it."""

    loops: int
    rounds: int
    blocks: int
    lingers: bool = False

    def due(self, process: int) -> bool:
        """Whether the process of that number, of `BLOCKS` from 0, takes a block: the fewer of a slow one are spread evenly."""
        return self.blocks * (process + 1) // BLOCKS > self.blocks * process // BLOCKS


class Samples(NamedTuple):
    """Seconds of a call (samples are means of `loops` calls), by block; and for each block the best seconds of each yardstick."""

    loops: int
    blocks: list[list[float]]
    yardsticks: dict[str, list[float]]

    @property
    def flat(self) -> list[float]:
        """All samples in the order in which they were taken."""
        return [seconds for block in self.blocks for seconds in block]

    def add(self, more: Samples) -> None:
        """Append the blocks of another process."""
        self.blocks.extend(more.blocks)
        for name, values in more.yardsticks.items():
            self.yardsticks[name].extend(values)


def plan(call: Callable[[], Any], seconds: float) -> Plan:
    """Return as many blocks and rounds as fit into `seconds`, at least one: rounds are saved first, then blocks."""
    settle()  # after whoever was planned before
    if _sample(call, 1, warm=True) > seconds:
        return Plan(1, 1, 1, lingers())
    loops, one = calibrate(call)
    one = min(one, *(_sample(call, loops, warm=True) for _ in range(2)))  # a core that is taken away for a while is no reason for fewer
    goes_on = lingers()
    fit = int(seconds / (one * (loops + 1)))
    rounds = next((rounds for rounds in range(ROUNDS, 0, -1) if rounds * BLOCKS <= fit), 1)
    return Plan(loops, rounds, min(max(fit // rounds, 1), BLOCKS), goes_on)


def block(calls: Mapping[str, Callable[[], Any]], plans: Mapping[str, Plan], memory: bool) -> dict[str, Samples]:
    """Return a block of every call by name.

    Parameters
    ----------
    calls : mapping of str to callable
        Not called before.
    plans : mapping of str to Plan
    memory : bool
        Whether the copy in memory is sampled as well, which takes longest and matters only to those who move much.
    """
    known = [name for name in yardsticks() if memory or name != "memory"]
    if any(plan.lingers for plan in plans.values()):
        settle()  # inputs may have been made with BLAS
    samples: dict[str, list[float]] = {name: [] for name in calls}
    machine: dict[str, list[float]] = {key: [] for key in known}
    for turn in range(max(plans[name].rounds for name in calls)):
        held = filler()  # noqa: F841 - scratch lies elsewhere in every round, and well in one of them
        _look(machine, known)
        for name, call in calls.items():
            if turn < plans[name].rounds:
                samples[name].append(_sample(call, plans[name].loops, warm=plans[name].blocks == 1))
        _look(machine, [key for key in known if key != "memory"])
    best = {key: min(values) for key, values in machine.items()}
    return {name: Samples(plans[name].loops, [found], {key: [value] for key, value in best.items()}) for name, found in samples.items()}


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
