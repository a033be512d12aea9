"""`search`: candidates tried by workers, on the disk as they come, and tried again where a worker died."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import checks, machine, window
from . import engines, journal
from .attempt import Attempt
from .engines import Lost, Workers
from .trial import Trial, of_record

_OP = "search"
ATTEMPTS = 3


class Plan(NamedTuple):
    """What `search` is about to do, for whoever shows it.

    Attributes
    ----------
    candidates : list of dict
    done : list of Trial
        From the journal.
    workers : Workers
    threads : int
        Of every trial.
    dropped : bool
        Whether the journal's last line had been cut short.
    """

    candidates: list[dict[str, Any]]
    done: list[Trial]
    workers: Workers
    threads: int
    dropped: bool


class Display(Protocol):
    """What `search` tells whoever shows it."""

    def begin(self, plan: Plan) -> None:
        """Tell that trials are about to run."""

    def add(self, trial: Trial) -> None:
        """Tell that one more trial is over."""

    def lost(self, number: int, cause: str) -> None:
        """Tell that a worker died, perhaps of this trial, which is tried again, alone."""


class _Silence:
    def begin(self, plan: Plan) -> None:
        """Show nothing."""

    def add(self, trial: Trial) -> None:
        """Show nothing."""

    def lost(self, number: int, cause: str) -> None:
        """Show nothing."""


def search(
    objective: Callable[..., Mapping[str, Any]],
    candidates: Sequence[Mapping[str, Any]],
    data: Sequence[np.ndarray] = (),
    *,
    seed: int = 0,
    jobs: int | None = None,
    threads: int | None = None,
    backend: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
    attempts: int = ATTEMPTS,
    display: Display | None = None,
) -> list[Trial]:
    """Try candidates on several workers, and return the trials in the order of the candidates; `best` picks one.

    Every trial has the same seed and as many threads, so that results depend neither on the number of jobs nor on the backend. One that
    raises is a failed trial. Where a worker dies - out of memory, killed - the trials that may have been its own are tried again, one by
    one, and after `attempts` deaths in all are failed ones; with one job, and with threads, there is no worker but this process.

    Parameters
    ----------
    objective : callable (parameters, seed, *data) -> mapping
        With a "score", the larger the better, and whatever else of JSON is to be kept. Workers import or unpickle it.
    candidates : sequence of mappings
        Of JSON values: numbers, texts, lists; of equal ones the first counts.
    data : sequence of arrays
        Handed to the objective; processes of this machine share one copy.
    seed : int
    jobs : int, optional
        Trials at a time; by default as many as there are cores, or threads of Dask's workers.
    threads : int, optional
        Of every trial; by default cores / jobs, and in a search that goes on what it began with. NumPy's BLAS has one.
    backend : "loky", "threading", "dask", optional
        joblib's processes or threads, or the cluster of the Dask client that is active; by default what `joblib.parallel_config` says.
    folder : path, optional
        Keep every trial there, as a line of trials.jsonl, as soon as it is over.
    resume : bool
        Go on with the search in `folder`: what is done there, failures included, is not done again.
    about : mapping, optional
        Of JSON: what else decides the results, such as settings of the objective. A folder with another is refused.
    attempts : int
    display : object, optional
        With methods begin(plan), add(trial) and lost(number, cause).

    Returns
    -------
    list of Trial

    Raises
    ------
    TypeError, ValueError
        An argument is none of these.
    JournalError
        The folder holds a search and `resume` is False, or it holds another search, a damaged one, or none.
    OSError
        The folder cannot be written.

    Examples
    --------
    >>> from fastcnn.search import best, grid, search
    >>> def parabola(parameters, seed):
    ...     return {"score": -((parameters["x"] - 2) ** 2)}
    >>> best(search(parabola, grid({"x": [0, 1, 2, 3]}), jobs=1)).parameters
    {'x': 2}
    """
    if not callable(objective):
        raise TypeError(f"{_OP}: objective must be callable; got {type(objective).__name__}")
    if backend is not None:
        checks.choice(_OP, "backend", backend, engines.BACKENDS)
    seed, attempts = window.integer(_OP, "seed", seed, 0), window.integer(_OP, "attempts", attempts, 1)
    jobs, threads = (None if n is None else window.integer(_OP, name, n, 1) for name, n in (("jobs", jobs), ("threads", threads)))
    if checks.flag(_OP, "resume", resume) and folder is None:
        raise ValueError(f"{_OP}: resume needs the folder of the search to go on with")
    parameters = _checked(candidates)
    place = engines.workers(backend, jobs)
    if threads is None and resume and folder is not None:
        threads = journal.about(folder).get("threads")
    threads = threads or place.cores
    if place.here and threads > machine.max_threads():
        raise ValueError(f"{_OP}: threads must be at most {machine.max_threads()} in this process; got {threads}")
    header = {**_json("about", about or {}), "data": journal.digest(data), "seed": seed, "threads": threads}
    keys = [journal.key_of(header, candidate) for candidate in parameters]
    with contextlib.ExitStack() as stack:
        book = stack.enter_context(journal.opened(folder, header, resume)) if folder is not None else None
        records = book.records if book else {}
        found = {number: of_record(number, records[key]) for number, key in enumerate(keys, 1) if key in records}
        display = display or _Silence()
        display.begin(Plan(parameters, list(found.values()), place, threads, bool(book and book.dropped)))
        left = [Trial(number, candidate, None, {}, 0.0) for number, candidate in enumerate(parameters, 1) if number not in found]
        for trial in _run(place, objective, left, seed, threads, data, attempts, display):
            if book:
                fields = trial._asdict()
                book.write({"key": keys[trial.number - 1], **{name: fields[name] for name in Trial._fields[1:]}})
            found[trial.number] = trial
            display.add(trial)
    return [found[number] for number in sorted(found)]


def _run(
    place: Workers, objective: Callable[..., Any], trials: Sequence[Trial], seed: int, threads: int, data: Sequence[np.ndarray],
    attempts: int, display: Display,
) -> Iterator[Trial]:  # fmt: skip
    """Yield every trial when it is over: first all in company, then those that workers died with, alone, as often as they may."""

    def run(some: Sequence[Trial]) -> Iterator[tuple[Trial, Any]]:
        parent = os.getpid() if place.backend == "loky" and not place.here else None
        calls = [Attempt(objective, trial.parameters, seed, parent) for trial in some]
        return ((some[which], outcome) for which, outcome in engines.run(place, calls, threads, data))

    suspects: list[tuple[Trial, str]] = []
    for trial, outcome in run(trials) if trials else ():
        if isinstance(outcome, Lost):
            suspects.append((trial, outcome.cause))
            display.lost(trial.number, outcome.cause)
        else:
            yield _over(trial, outcome)
    for trial, cause in suspects:
        while trial.attempts < attempts:
            trial = trial._replace(attempts=trial.attempts + 1)
            [(_, outcome)] = run([trial])
            if not isinstance(outcome, Lost):
                yield _over(trial, outcome)
                break
            cause = outcome.cause
        else:
            yield trial._replace(error=f"its worker died {trial.attempts} times: {cause}")


def _over(trial: Trial, outcome: Mapping[str, Any]) -> Trial:
    """Return a trial with what came of it, which is a failure where it is no JSON."""
    try:
        outcome = {**outcome, "result": _json("the objective's result", outcome["result"])}
    except (TypeError, ValueError) as error:
        outcome = {**outcome, "score": None, "result": {}, "error": f"{type(error).__name__}: {error}"}
    return trial._replace(**outcome)


def _checked(candidates: Any) -> list[dict[str, Any]]:
    """Return the candidates as dicts of JSON, each once."""
    if isinstance(candidates, (str, bytes, Mapping)) or not isinstance(candidates, Sequence):
        raise TypeError(f"{_OP}: candidates must be a sequence of mappings; got {type(candidates).__name__}")
    found = [_json(f"candidates[{place}]", candidate) for place, candidate in enumerate(candidates)]
    if not found:
        raise ValueError(f"{_OP}: candidates must not be empty")
    return list({json.dumps(candidate, sort_keys=True): candidate for candidate in found}.values())


def _json(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping as it will be when it was read from JSON, NumPy's scalars as Python's."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{_OP}: {name} must be a mapping; got {type(value).__name__}")

    def plain(item: Any) -> Any:
        if isinstance(item, (np.generic, np.ndarray)):
            return item.tolist()
        raise TypeError(f"{_OP}: {name} must hold JSON values; got {type(item).__name__}")

    try:
        found = json.loads(json.dumps(dict(value), default=plain, allow_nan=False))
    except ValueError as error:
        raise ValueError(f"{_OP}: {name} must hold finite numbers and no cycles ({error})") from None
    if any(not isinstance(key, str) for key in value):
        raise TypeError(f"{_OP}: the names in {name} must be str")
    return dict(found)
