"""Functions are shared out between processes, each of which has a worker that calls."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Iterator
from typing import NamedTuple

from tests.fuzz.crew import Crew
from tests.fuzz.run import Report, drawn, every, run


class Job(NamedTuple):
    """A function and how often it is called; with `every`, how many legal calls are spoilt in every way."""

    name: str
    calls: int
    seed: int
    with_torch: bool
    every: bool = False


_crew: Crew | None = None


def reports(jobs: list[Job], processes: int) -> Iterator[Report]:
    """Yield what came of the jobs, in order. Spawned processes find functions in modules alone, not in ``python -m``'s main one."""
    if processes == 1:
        yield from map(_report, jobs)
        return
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, spawn) as pool:
        yield from pool.map(_report, jobs)


def _report(job: Job) -> Report:
    global _crew
    if _crew is None:
        _crew = Crew(job.with_torch)
    return run(job.name, (every if job.every else drawn)(job.name, job.calls, job.seed), _crew)
