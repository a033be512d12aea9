"""Other libraries in a comparison: which are there, how those that are not come in, and their samples, from processes of their own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from .. import machine
from ..peers.team import PEERS, Failed, Team, Worker, installed
from ..peers.truth import Truth, rejected, save_arguments
from .baseline import baseline_names
from .contest import Contest, Entrant, Pace
from .row import Row

DEFAULT = ("naive", "scipy")
_OF = "conv2d"  # what `fastcnn.peers` asks of libraries


class Choice(NamedTuple):
    """Whom to compare with: code of this process by name, libraries, and what is missing, with the reason and the mend."""

    baselines: tuple[str, ...]
    libraries: tuple[str, ...]
    missing: dict[str, str]


def choose(names: Sequence[str]) -> Choice:
    """Return what names stand for; ValueError for an unknown one."""
    known = baseline_names()
    found, libraries, missing = [], [], {}
    for name in names:
        if name in PEERS:
            if installed(name):
                libraries.append(name)
            else:
                missing[name] = f'not installed: pip install "fastcnn[peers]" brings {name}'
        elif name == "scipy" and not installed("scipy"):
            missing[name] = 'not installed: pip install "fastcnn[bench]" brings scipy'
        elif name in known:
            found.append(name)
        elif name in DEFAULT:
            missing[name] = "not here: its code is bench/baselines.py of a checkout: git clone the repository, pip install -e ."
        else:
            raise ValueError(f"--peers: expected names of {', '.join(dict.fromkeys((*DEFAULT, *known, *PEERS)))}; got {name!r}")
    return Choice(tuple(found), tuple(libraries), missing)


class Company:
    """The processes of some libraries; a context that ends them.

    Parameters
    ----------
    libraries : sequence of str
        Installed ones.
    threads : int
        Each gets so many, and as many cores.
    modules : mapping, optional
        The file of each library, as `fastcnn.peers.team.Team` takes it.
    """

    def __init__(self, libraries: Sequence[str], threads: int | None = None, modules: Mapping[str, str] | None = None) -> None:
        self._threads = threads or machine.get_threads()
        self._libraries = tuple(libraries)
        self._team = Team(dict(modules) if modules is not None else {name: f"fastcnn.peers.with_{name}" for name in libraries})
        self._folder: Path | None = None
        self._passed: dict[int, dict[str, list[str]]] = {}  # by contest and library, names of those that were right

    def __enter__(self) -> Company:
        self._folder = Path(tempfile.mkdtemp(prefix="fastcnn-compare-")) if self._libraries else None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._team.__exit__(kind, error, trace)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def enter(self, contest: Contest) -> None:
        """Let every library compute a case, and give the contest a row for each way that it has, with what is wrong where it is."""
        if not self._libraries:
            return
        row = Row(contest.op.name, contest.direction, str(contest.dtype), contest.case.name, "", baseline=True)
        if contest.op.name != _OF or contest.dtype != np.float32:
            self._add(contest, [row._replace(variant=name, note=f"left out: compared on float32 {_OF} only") for name in self._libraries])
            return
        trial = contest.trial()
        ((want, allowed),) = trial.expected
        with self._written(Truth(trial.arguments, want, allowed)) as folder:
            for library in self._libraries:
                self._add(contest, list(self._checked(contest, library, row, folder)))

    def _checked(self, contest: Contest, library: str, row: Row, folder: Path) -> Iterator[Row]:
        try:
            answers = self._worker(library).ask("prepare", contest.case.problem, contest.direction, str(folder))
        except Failed as reason:
            yield row._replace(variant=library, note=f"failed: {reason}")
            return
        if not answers:
            yield row._replace(variant=library, note=f"refuses: has no {contest.direction}")
        for name, answer in answers.items():
            if isinstance(answer, str):
                yield row._replace(variant=name, note=f"failed: {answer}")
                continue
            objection = rejected(name, *answer)
            note = f"WRONG: {objection.removeprefix('wrong: ')}" if objection else ""
            mine = row._replace(variant=name, error=answer[0], note=note)
            if not objection:
                self._passed.setdefault(id(contest), {}).setdefault(library, []).append(name)
                contest.yardsticks.setdefault(library, []).append(mine.label)
            yield mine

    @staticmethod
    def _add(contest: Contest, rows: Sequence[Row]) -> None:
        contest.rows.update({row.label: row for row in rows})

    @contextlib.contextmanager
    def entrants(self, contest: Contest) -> Iterator[dict[str, Entrant]]:
        """Give the libraries a contest's inputs in new memory, and yield those that were right, by label.

        One whose process dies meanwhile leaves the contest, and its row tells why.
        """
        found: dict[str, Entrant] = {}
        for library, names in self._passed.get(id(contest), {}).items():
            worker = self._worker(library)
            try:
                with self._written(contest.trial().arguments) as folder:
                    worker.ask("again", contest.case.problem, contest.direction, str(folder), names)
            except Failed as reason:
                for name in names:
                    contest.leave(f"{name} (baseline)", f"failed: {reason}")
                names.clear()
                continue
            found.update({f"{name} (baseline)": Remote(worker, name) for name in names})
        yield found

    def _worker(self, library: str) -> Worker:
        return self._team.worker(library, self._threads)

    @contextlib.contextmanager
    def _written(self, what: Truth | tuple[np.ndarray, ...]) -> Iterator[Path]:
        assert self._folder is not None
        folder = self._folder / "problem"
        try:
            if isinstance(what, Truth):
                what.save(folder)
            else:
                save_arguments(folder, what)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Remote:
    """One way of a library to compute the problem at hand, in its process; the others wait while it takes a sample."""

    def __init__(self, worker: Worker, name: str) -> None:
        self._worker, self._name = worker, name

    def calibrate(self) -> Pace:
        """See `Entrant`."""
        return Pace(int(self._worker.ask("calibrate", self._name)), True)

    def sample(self, pace: Pace) -> float:
        """See `Entrant`; the process itself makes the call that warms up."""
        seconds: Any = self._worker.ask("sample", self._name, pace.calls)[0]
        return float(seconds)


def nobody() -> Company:
    """Return the company of no library."""
    return Company(())
