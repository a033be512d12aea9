"""Breaks tried in a copy of the tree: what pytest says of a test there, before the break and after it."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .mutation import Mutation

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
FOUND, NOT_FOUND, NOT_HERE = "found", "NOT FOUND", "not here"


class Verdict(NamedTuple):
    """What came of a mutation."""

    mutation: Mutation
    result: str  # FOUND, NOT_FOUND, or NOT_HERE where the unbroken test is skipped on this machine
    seconds: float
    words: str  # how it was found, or why it was not


class Ran(NamedTuple):
    """What pytest says of one test."""

    result: str  # PASSED, FAILED, SKIPPED; anything else is no verdict about what the test tests
    seconds: float
    words: str


class Workplace:
    """A copy of a tree, with a cache of compiled kernels beside it.

    A break goes into the copy and out of it again; the tree itself is only read. Machine code that the tree's own runs left behind
    serves here too, as its key is what the sources hold; what a broken tree compiles goes to a folder that is thrown away, because
    the next test of the unbroken one would have to compile it once more.

    Parameters
    ----------
    root : Path
        Of the repository.
    place : Path
        An empty folder.
    limit : float
        Seconds that a test may take.
    """

    def __init__(self, root: Path, place: Path, limit: float) -> None:
        self.tree, self._cache, self._place, self._limit = place / "tree", place / "cache", place, limit
        self._running: subprocess.Popen[str] | None = None
        for name in _files(root):
            target = self.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
        self._cache.mkdir()
        for folder in sorted({path.parent for path in self.tree.rglob("*.py")}):
            for source in _compiled(root / folder.relative_to(self.tree)):
                _linked(source, self._cache / _subfolder(folder) / source.name)

    def judge(self, test: str, mutations: Sequence[Mutation]) -> Iterator[Verdict]:
        """Yield a verdict for each mutation that this test is to find: it passes unbroken, and fails with the break."""
        before = self._pytest(test, self._cache)
        for mutation in mutations:
            if before.result == SKIPPED:
                yield Verdict(mutation, NOT_HERE, before.seconds, before.words)
            elif before.result != PASSED:
                yield Verdict(mutation, NOT_FOUND, before.seconds, f"unbroken, the test does not pass: {before.words}")
            else:
                yield self._break(mutation)

    def stop(self) -> None:
        """End what runs now."""
        if self._running is not None:
            _end(self._running)

    def _break(self, mutation: Mutation) -> Verdict:
        path, aside = self.tree / mutation.file, self._place / "broken-cache"
        whole = path.read_text("utf-8")
        broken = mutation.applied(whole)
        if path.suffix == ".py":
            try:
                ast.parse(broken)
            except SyntaxError as error:
                return Verdict(mutation, NOT_FOUND, 0, f"the break is no Python: {error}")
        shutil.copytree(self._cache, aside, copy_function=_linked)
        try:
            path.write_text(broken, "utf-8")
            ran = self._pytest(mutation.test, aside)
        finally:
            path.write_text(whole, "utf-8")
            shutil.rmtree(aside)
        return Verdict(mutation, FOUND if ran.result == FAILED else NOT_FOUND, ran.seconds, ran.words)

    def _pytest(self, test: str, cache: Path) -> Ran:
        report = self._place / "report.xml"
        report.unlink(missing_ok=True)
        environment = {
            **os.environ, "PYTHONPATH": str(self.tree), "NUMBA_CACHE_DIR": str(cache),
            "PYTHONDONTWRITEBYTECODE": "1",  # Python takes a file of the same length, edited within the second, for the old one
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--junitxml={report}", test]
        begin = time.perf_counter()
        with subprocess.Popen(
            command, cwd=self.tree, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        ) as process:
            self._running = process
            try:
                output, _ = process.communicate(timeout=self._limit)
            except subprocess.TimeoutExpired:
                _end(process)
                return Ran(FAILED, time.perf_counter() - begin, f"did not end within {self._limit:g} s")
            finally:
                self._running = None
        return _reading(process.returncode, report, output, time.perf_counter() - begin)


def _reading(code: int, report: Path, output: str, seconds: float) -> Ran:
    """Return what an exit code and a report say; a signal fails the test, and what stops pytest before the test is no verdict."""
    if code < 0 or code > 128:  # the latter where a shell stands between
        return Ran(FAILED, seconds, f"the process ended by signal {signal.Signals(-code if code < 0 else code - 128).name}")
    last = (output.strip().splitlines() or ["no output"])[-1]
    if code not in (0, 1) or not report.exists():
        return Ran("", seconds, f"pytest ended with {code}: {last}")
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None, "pytest writes one suite"
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    if code == 1:
        failure = suite.find("testcase/failure")
        if failure is None:
            return Ran("", seconds, f"an error beside the test: {last}")
        return Ran(FAILED, seconds, (failure.get("message") or last).splitlines()[0])
    if counts["tests"] == counts["skipped"]:
        reason = suite.find("testcase/skipped")
        return Ran(SKIPPED, seconds, "nothing collected" if reason is None else reason.get("message", ""))
    return Ran(PASSED, seconds, last)


def _files(root: Path) -> list[str]:
    """Return what git tracks, or would track, below the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in listed if name and (root / name).is_file()})


def _compiled(folder: Path) -> list[Path]:
    """Return the machine code that is kept for the files of a folder."""
    kept = os.environ.get("NUMBA_CACHE_DIR")
    return sorted((Path(kept) / _subfolder(folder) if kept else folder / "__pycache__").glob("*.nbc"))


def _subfolder(folder: Path) -> str:
    """Return the folder below NUMBA_CACHE_DIR in which Numba keeps code of this folder's files.

    Where Numba does it otherwise, the first run of every test compiles.
    """
    parent = str(folder.resolve())
    return f"{os.path.basename(parent)}_{hashlib.sha1(parent.encode()).hexdigest()}"


def _linked(source: str | Path, target: str | Path) -> None:
    """Let one more name stand for a file: caches write a new file and rename it, so what is shared is never changed."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process and its children."""
    kill: Callable[[int, int], None] | None = getattr(os, "killpg", None)
    try:
        if kill is None:
            process.kill()
        else:
            kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended by itself
