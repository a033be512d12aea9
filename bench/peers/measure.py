"""Measures one row: every library prepares and checks the problem, then they take samples in turn, each alone on the machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcnn.machine import threads as thread_limit
from fastcnn.peers.team import Failed, Team, Worker
from fastcnn.peers.truth import rejected
from fastcnn.registry import Case

from .oracle import CONV2D
from .row import Row, Speed

_FEWEST, _MOST = 3, 50  # rounds
_PATIENCE = 2  # times a contender's share of the seconds may go by while the machine is busy
_SLOW = 0.5  # seconds of a call that is not worth a second round


class Sample(NamedTuple):
    """Seconds of one call, and how often the system interrupted the sample to run something else."""

    seconds: float
    interruptions: int


def measure_row(team: Team, suite: str, case: Case, direction: str, threads: int, folder: str, seconds: float) -> Row:
    """Return the row of a case whose truth lies in `folder`.

    Parameters
    ----------
    seconds : float
        Of samples in all; a contender that has used up its equal share sits out the later rounds.
    """
    checked, failed, workers = _checked(team, case.problem, direction, threads, folder)
    samples = _sampled(workers, failed, seconds)
    gflop = CONV2D.problem.work(case.problem, direction) / 1e9
    speeds = {name: Speed(*_band(gflop, taken), *checked[name]) for name, taken in samples.items()}
    variant = _variant(case.problem, direction, threads)
    return Row(suite, case.name, case.problem._asdict(), direction, threads, variant, gflop, speeds, failed)


def _checked(
    team: Team, problem: Any, direction: str, threads: int, folder: str
) -> tuple[dict[str, tuple[float, float]], dict[str, str], dict[str, Worker]]:
    """Return the errors of all results, why contenders (or whole libraries) failed, and the worker of each that passed."""
    checked: dict[str, tuple[float, float]] = {}
    failed: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    for library in team.modules:
        worker = team.worker(library, threads)
        try:
            answers = worker.ask("prepare", problem, direction, folder)
        except Failed as reason:
            failed[library] = str(reason)
            continue
        for name, answer in answers.items():
            objection = answer if isinstance(answer, str) else rejected(name, *answer)
            if objection is None:
                checked[name], workers[name] = answer, worker
            else:
                failed[name] = objection
    return checked, failed, workers


def _sampled(workers: dict[str, Worker], failed: dict[str, str], seconds: float) -> dict[str, list[Sample]]:
    """Return the samples of each; contenders that fail meanwhile move to `failed`."""
    samples: dict[str, list[Sample]] = {name: [] for name in workers}
    loops: dict[str, int] = {}
    share = seconds / max(len(workers), 1)

    def attempt(name: str, command: str, *arguments: Any) -> Any:
        try:
            return workers[name].ask(command, name, *arguments)
        except Failed as reason:
            for other in [other for other, worker in workers.items() if other == name or not worker.alive]:
                failed.setdefault(other, str(reason))
                samples.pop(other, None)
            return None

    for name in workers:
        if name in samples:
            loops[name] = attempt(name, "calibrate")
    for number in range(_MOST):
        order = list(samples)
        random.Random(number).shuffle(order)  # nobody always follows the same neighbour
        for name in order:
            taken = samples.get(name)
            if taken is not None and _wants_more(taken, loops[name], share):
                value = attempt(name, "sample", loops[name])
                if value is not None:
                    taken.append(Sample(*value))
    return samples


def _wants_more(samples: Sequence[Sample], loops: int, share: float) -> bool:
    """Whether there is time left, or reason to overdraw it: too few samples, or too few quiet ones on a busy machine."""
    spent = sum(sample.seconds for sample in samples) * (loops + 1)
    if not samples or spent < share:
        return True
    return samples[0].seconds < _SLOW and (len(samples) < _FEWEST or (len(_quiet(samples)) < _FEWEST and spent < _PATIENCE * share))


def _quiet(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if not sample.interruptions]


def _band(gflop: float, samples: Sequence[Sample]) -> tuple[float, float, float, int, int]:
    """Return the median, the quartiles, how many samples were taken, and how many were quiet: only these count, where there are any."""
    quiet = _quiet(samples)
    slow, median, fast = (gflop / float(value) for value in np.percentile([sample.seconds for sample in quiet or samples], (75, 50, 25)))
    return median, slow, fast, len(samples), len(quiet)


def _variant(problem: Any, direction: str, threads: int) -> str:
    with thread_limit(threads):
        return next(name for name, state in CONV2D.explain(problem, direction) if state.startswith("chosen"))
