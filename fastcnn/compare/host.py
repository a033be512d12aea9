"""Processes in which variants and baselines take their samples, a new one for every block: what a process does to speed is noise, too.

Where the system puts code, workspaces and large pages is decided once in a process, and makes a kernel up to a third faster or slower for
as long as it lives. Two blocks in one process agree where two runs do not; blocks in processes of their own differ as runs do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .. import machine
from ..peers.team import Failed, Worker
from .contest import Contest, Entrant, Local, Pace, stage
from .problems import operation


class Host:
    """The child's side: what the commands of `fastcnn.peers.worker.serve` work on."""

    def __init__(self, module: str, cores: list[int], threads: int) -> None:
        machine.set_threads(threads)
        self._entrants: dict[str, Local] = {}

    def open(self, op: str, direction: str, problem: Any, dtype: str, scale: float, labels: list[str]) -> None:
        """Prepare functions, by their labels, to take samples of a problem."""
        self._entrants = {}  # the last problem's memory goes before the next one's comes
        self._entrants = stage(operation(op), direction, problem, dtype, scale, labels)

    def warm_up(self, label: str) -> None:
        """See `contest.Local`."""
        self._entrants[label].warm_up()

    def calibrate(self, label: str) -> Pace:
        """See `contest.Entrant`."""
        return self._entrants[label].calibrate()

    def sample(self, label: str, pace: Pace) -> float:
        """See `contest.Entrant`."""
        return self._entrants[label].sample(pace)


class Hosted:
    """A function in a host."""

    def __init__(self, worker: Worker, label: str) -> None:
        self._worker, self._label = worker, label

    def calibrate(self) -> Pace:
        """See `contest.Entrant`."""
        return Pace(*self._worker.ask("calibrate", self._label))

    def sample(self, pace: Pace) -> float:
        """See `contest.Entrant`."""
        return float(self._worker.ask("sample", self._label, pace))


@contextlib.contextmanager
def host() -> Iterator[Worker]:
    """Start a process with as many cores as the caller has threads, and end it after the `with` block."""
    worker = Worker(__name__, machine.get_threads())
    try:
        yield worker
    finally:
        if worker.alive:
            worker.end()


def hosted(worker: Worker, contest: Contest) -> dict[str, Entrant]:
    """Return a contest's own functions in a host; where that fails they leave, and their rows tell why."""
    labels = [label for label in contest.local if not contest.has_left(label)]
    try:
        worker.ask("open", contest.op.name, contest.direction, contest.case.problem, str(contest.dtype), contest.scale, labels)
    except Failed as reason:
        for label in labels:
            contest.leave(label, f"failed: {reason}")
        return {}
    for label in labels:
        try:
            worker.ask("warm_up", label)
        except Failed as reason:
            contest.leave(label, f"failed: {reason}")
    return {label: Hosted(worker, label) for label in labels if not contest.has_left(label)}
