"""The processes in which groups take their samples, one after another: each goes through all groups and takes a block of every one.

Speed differs from process to process by more than within one: a convolution by Winograd took 440 us a call in three processes and 540 us
in a fourth, in each of them steadily. Two runs of one version, a process each, so differed by 10 % in several rows of two hundred, and
each was sure of itself. Between the blocks of several processes that difference is seen for what it is.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fastcnn import machine
from fastcnn.peers.team import Failed, Worker

from .grid import SUITES, Entry, grid
from .group import call_of, traffic
from .sampling import BLOCKS, Plan, Samples, block, plan
from .yardsticks import MATTERS_FROM

_LESS, _FEWER = 0.4, 8  # of the time, and blocks, go to what the library is only compared with
_ANSWER_SECONDS = 600.0  # a group with slow baselines takes a while; a process that hangs is ended


class Host:
    """The child's side: what the commands of `fastcnn.peers.worker.serve` work on."""

    def __init__(self, module: str, cores: list[int], threads: int) -> None:
        machine.set_threads(threads)
        self._entries: dict[str, Entry] = {}

    def open(self, suite: str) -> None:
        """Find the entries of a suite."""
        self._entries = {entry.id: entry for entry in grid(SUITES[suite])}

    def plans(self, ids: Sequence[str], seconds: float, slowed: Mapping[str, float]) -> dict[str, Plan]:
        """Return how entries are to be sampled, in so many seconds each, baselines in fewer."""
        calls = {name: self._call(name, slowed) for name in ids}
        for call in calls.values():
            call()  # a process loads its code, or compiles it, in the first call
        return {name: self._plan(name, call, seconds) for name, call in calls.items()}

    def block(self, ids: Sequence[str], plans: Mapping[str, Plan], slowed: Mapping[str, float]) -> dict[str, Samples]:
        """Return a block of entries of one group."""
        memory = traffic(self._entries[ids[0]]) >= MATTERS_FROM
        return block({name: self._call(name, slowed) for name in ids}, plans, memory)

    def _plan(self, name: str, call: Callable[[], Any], seconds: float) -> Plan:
        if not self._entries[name].baseline:
            return plan(call, seconds)
        found = plan(call, seconds * _LESS)
        return found._replace(blocks=min(found.blocks, _FEWER))

    def _call(self, name: str, slowed: Mapping[str, float]) -> Callable[[], Any]:
        call = call_of(self._entries[name])
        return slowed_by(call, slowed[name]) if name in slowed else call


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


def sample(
    groups: Sequence[Sequence[str]],
    suite: str,
    progress: Callable[[str], None] = lambda text: None,
    slowed: Mapping[str, float] | None = None,
) -> dict[str, Samples | Exception]:
    """Return the samples of entries by their ids, or why there are none.

    Parameters
    ----------
    groups : sequence of sequences of str
        The ids of entries that take samples in turns.
    suite : str
        A name of `grid.SUITES`, whose entries they are.
    progress : callable
        Told in a few words which process begins.
    slowed : mapping of str to float, optional
        Entries that are to take that share of their time longer, to see whether reports tell.
    """
    seconds, slow = SUITES[suite].seconds, dict(slowed or {})
    found: dict[str, Samples | Exception] = {}
    plans: dict[str, Plan] = {}
    with _Workers(suite, found) as workers:
        progress(f"looking how long {sum(map(len, groups))} benchmarks take")
        for ids in groups:
            plans |= workers.ask("plans", ids, seconds, slow)
    for process in range(BLOCKS):
        with _Workers(suite, found) as workers:
            progress(f"sampling in process {process + 1} of {BLOCKS}")
            for lingers in (False, True):  # whose threads go on for a while has a core of whoever comes next: they come last of all
                for ids in groups:
                    due = [name for name in ids if name in plans and plans[name].lingers == lingers and plans[name].due(process)]
                    for name, samples in workers.ask("block", due, plans, slow).items():
                        if isinstance(known := found.setdefault(name, samples), Samples) and known is not samples:
                            known.add(samples)
    return found


@contextlib.contextmanager
def _blas_sleeps_soon() -> Iterator[None]:
    """Let processes that start inside a `with` block have an OpenBLAS whose threads sleep 2^14 cycles after their work, and not 2^26.

    All the while they have a core of whoever comes next. What else lingers is sampled last.
    """
    name = "OPENBLAS_THREAD_TIMEOUT"
    if name in os.environ:
        yield
        return
    os.environ[name] = "14"
    try:
        yield
    finally:
        del os.environ[name]


class _Workers:
    """A process, or a new one where it died; `found` gets, for all that it was asked about, why there is no answer."""

    def __init__(self, suite: str, found: dict[str, Samples | Exception]) -> None:
        self._suite, self._found = suite, found
        self._worker: Worker | None = None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *details: object) -> None:
        if self._worker is not None and self._worker.alive:
            self._worker.end()

    def ask(self, command: str, names: Sequence[str], *arguments: Any) -> dict[str, Any]:
        """Return the answer for those names that have not failed yet."""
        going = [name for name in names if not isinstance(self._found.get(name), Exception)]
        if not going:
            return {}
        try:
            if self._worker is None or not self._worker.alive:
                with _blas_sleeps_soon():
                    self._worker = Worker(__name__, machine.get_threads())
                self._worker.ask("open", self._suite)
            return dict(self._worker.ask(command, going, *arguments, seconds=_ANSWER_SECONDS))
        except Failed as reason:  # the tests of these entries tell, and the others go on
            self._found |= dict.fromkeys(going, reason)
            return {}
