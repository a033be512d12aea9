"""Watches workers: begins another one behind the call that ended the last, and counts."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass
class Result:
    """What came of the calls of one instruction set and place.

    Attributes
    ----------
    refused : str or None
        Why nothing was run.
    findings : list of (kind, words)
        Kinds are "died", "touched" and "wrong".
    """

    isa: str
    place: str
    calls: int = 0
    arrays: int = 0
    in_kernels: int = 0  # of the arrays: those that kernels allocated
    refused: str | None = None
    findings: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def count(self, kind: str) -> int:
        """Return the number of findings of a kind."""
        return sum(found == kind for found, _ in self.findings)


def watch(
    isa: str | None,
    place: str,
    operations: Sequence[str] = (),
    cases: Sequence[str] = (),
    pattern: str = "",
    progress: Callable[[Result, str], None] = lambda result, call: None,
    path: Path = ROOT,
    deaths: int = 50,
) -> Result:
    """Run calls on one instruction set (the widest where it is None) and one place, in as many processes as that takes.

    The names of calls match `pattern`, see `grid.calls`; `path` is where fastcnn is imported from. After so many `deaths` of processes it
    gives up: what ends them is known by then.
    """
    result, number, call = Result(isa or "widest", place), 0, "before the first call"
    choice = [*_each("--op", operations), *_each("--case", cases), "--pattern", pattern]
    while result.count("died") < deaths:
        ended, first_number = False, number
        with tempfile.TemporaryFile("w+") as errors, _start(isa, place, number, choice, errors, path) as worker:
            for word, rest in _lines(worker):
                if word == "call":
                    place_in_grid, call = rest.split("\t")
                    number = int(place_in_grid) + 1
                    result.calls += 1
                    progress(result, call)
                elif word in ("touched", "wrong"):
                    result.findings.append((word, rest))
                elif word == "without":
                    result.calls -= 1
                elif word == "refused":
                    result.refused = rest
                else:
                    arrays, in_kernels = map(int, rest.split("\t")[1:])
                    result.arrays += arrays
                    result.in_kernels += in_kernels
                    ended = word == "done"
            status = worker.wait()
            if ended or result.refused:
                return result
            if status:
                errors.seek(0)
                result.findings.append(("died", f"{call}: {_named(status)}\n{errors.read()[-3000:]}"))
                if number == first_number:  # it never came to a call
                    return result
    return result


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _start(isa: str | None, place: str, first: int, choice: Sequence[str], errors: IO[str], path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.canaries.worker", "--place", place, "--first", str(first), *choice]
    paths = dict.fromkeys([str(path), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "NUMBA_NUM_THREADS": "2"}
    if isa is not None:
        environment["FASTCNN_ISA"] = isa
    return subprocess.Popen(command, cwd=path, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)


def _lines(worker: subprocess.Popen[str]) -> Iterator[tuple[str, str]]:
    assert worker.stdout is not None
    for line in worker.stdout:
        word, _, rest = line.rstrip("\n").partition("\t")
        yield word, rest


def _named(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
