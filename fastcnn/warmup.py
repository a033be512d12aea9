"""Compiling before it is needed: ``fastcnn warmup``, and the line that a command shows while a first run compiles.

Kernels are compiled at their first call and kept on the disk. A warm-up therefore runs what will be run: a few steps of training on
noise, and the benchmark cases of operations.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from . import builds, machine
from .builds import Build
from .registry import PRECISIONS, Case, Operation, operations


class Task(NamedTuple):
    """A piece of work that compiles what it needs."""

    name: str
    run: Callable[[], None]


class Tally:
    """Counts what was built; a watcher for `builds.watching`."""

    def __init__(self) -> None:
        self.compiled: list[Build] = []
        self.loaded: list[Build] = []
        self.begin = time.perf_counter()

    def __call__(self, found: Build) -> None:
        """Count a build that is done."""
        if found.state != "compiling":
            (self.compiled if found.state == "compiled" else self.loaded).append(found)

    @property
    def seconds(self) -> float:
        """Since the tally began."""
        return time.perf_counter() - self.begin

    @property
    def folders(self) -> list[str]:
        """Where the cache keeps what was built."""
        return sorted({found.folder for found in (*self.compiled, *self.loaded) if found.folder})

    def __str__(self) -> str:
        return f"{len(self.compiled)} compiled, {len(self.loaded)} from the cache, {self.seconds:.1f} s"


# --- The line of a first run --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def compiling_line(stream: TextIO | None = None) -> Iterator[Tally]:
    """Show one line while the `with` block compiles; none where all comes from the cache.

    On a terminal the line counts on with every kernel; in a pipe it begins at the first kernel and ends with the block.

    Parameters
    ----------
    stream : text file, optional
        Standard output unless given.
    """
    line = _Line(sys.stdout if stream is None else stream)
    try:
        with builds.watching(line):
            yield line.tally
    finally:
        line.close()


class _Line:
    """A watcher that keeps one line up to date."""

    HEAD = "compiling kernels, first run only"

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.tally, self.live = stream, Tally(), stream.isatty()
        self.begin: float | None = None  # of the first compilation

    def __call__(self, found: Build) -> None:
        self.tally(found)
        if self.begin is None:
            if found.state == "loaded":
                return
            self.begin = time.perf_counter() - found.seconds
            self._write(f"{self.HEAD} ... ")
        if self.live:
            self._write(f"\r{self}")

    def __str__(self) -> str:
        seconds = time.perf_counter() - (self.begin or time.perf_counter())
        return f"{self.HEAD}: {len(self.tally.compiled)} done, {seconds:.0f} s"

    def close(self) -> None:
        """End the line, where there is one."""
        if self.begin is not None:
            text = f"\r{self}\n" if self.live else f"{len(self.tally.compiled)} done, {time.perf_counter() - self.begin:.1f} s\n"
            self._write(text)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


# --- What is compiled ---------------------------------------------------------------------------------------------------


def recipe_tasks(names: Sequence[str] | None = None) -> list[Task]:
    """Return a short training on noise for every recipe of every data set (or those named), once with all threads and once with one.

    Parameters
    ----------
    names : sequence of str, optional
        Of recipes (``fast``) or data sets (``mnist``); several of a kind add up.

    Raises
    ------
    ValueError
        There is no recipe or data set of such a name.
    """
    from .train.recipes import RECIPES

    known = {*RECIPES, *(recipe for recipes in RECIPES.values() for recipe in recipes)}
    unknown = sorted(set(names or ()) - known)
    if unknown:
        raise ValueError(f"unknown recipe {unknown[0]!r}; expected one of {', '.join(sorted(known))}")
    sets = [dataset for dataset in RECIPES if dataset in (names or ())] or list(RECIPES)
    return [
        Task(f"train {dataset} by {name}, {count} thread(s)", _training(dataset, name, count))
        for dataset in sets
        for name in [recipe for recipe in RECIPES[dataset] if recipe in (names or ())] or RECIPES[dataset]
        for count in sorted({machine.get_threads(), 1}, reverse=True)
    ]


def _training(dataset: str, name: str, threads: int) -> Callable[[], None]:
    def run() -> None:
        from .data import SIZES
        from .train.recipes import RECIPES, prepare_kernels

        size = SIZES[dataset]
        with machine.threads(threads):
            prepare_kernels(RECIPES[dataset][name], (size.pixels, size.pixels), size.train_images)

    return run


def operation_tasks(found: Sequence[Operation] | None = None) -> list[Task]:
    """Return every benchmark case of the operations (all of them unless given) in every direction, as `precision=` may choose it.

    Arrays are float32, in NCHW and channels-last; with all threads and with one.
    """
    return [
        Task(f"{op.name} {direction} {case.name}", _Call(op, direction, case).run)
        for op in (operations().values() if found is None else found)
        for direction in op.directions
        for case in op.problem.BENCH
    ]


class _Call(NamedTuple):
    """Runs the variants that may be chosen for a case."""

    op: Operation
    direction: str
    case: Case

    def run(self) -> None:
        """Run them on arrays in both memory formats."""
        problem, dtype = self.case.problem, np.dtype(np.float32)
        chosen = {self.op.candidates(problem, self.direction, precision)[0][0] for precision in PRECISIONS} - {"reference"}
        if not chosen:
            return  # plain Python: nothing to compile, and minutes to wait
        arguments = self.op.problem.arguments(problem, self.direction, dtype, np.random.default_rng(0))
        outputs = self.op.problem.outputs(problem, self.direction, dtype)
        images = {getattr(problem, name, None) for name in ("input_shape", "output_shape")}
        orders = [lambda a: a, lambda a: _channels_last(a) if a.shape in images else a]
        for variant in sorted(chosen):
            for order in orders:
                for threads in {machine.get_threads(), 1}:
                    with machine.threads(threads):
                        self.op.run(variant, self.direction, problem, [*map(order, arguments)], [*map(order, outputs)])


def _channels_last(images: np.ndarray) -> np.ndarray:
    if images.ndim != 4:
        return images
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


# --- The command --------------------------------------------------------------------------------------------------------

_LISTED = 10  # of the kernels that took longest


def warm_up(tasks: Sequence[Task], stream: TextIO | None = None) -> Tally:
    """Run tasks with live progress (a bar on a terminal with rich, else a line each); then print the sum, and where the cache is."""
    stream = sys.stdout if stream is None else stream
    tally, show = Tally(), _display(stream)
    with show, builds.watching(tally):
        for number, task in enumerate(tasks):
            own = Tally()
            show.begin(number, len(tasks), task.name)
            with builds.watching(own), builds.watching(show.watch):
                task.run()
            show.end(number + 1, f"{task.name}: {own}")
    for line in _summary(tally):
        print(line, file=stream)
    return tally


def _summary(tally: Tally) -> Iterator[str]:
    if tally.compiled:
        yield "longest to compile:"
        longest = sorted(tally.compiled, key=lambda found: -found.seconds)[:_LISTED]
        yield from (f"  {found.seconds:5.2f} s  {found.name}" for found in longest)
        again = Counter(found.name for found in tally.compiled).most_common(1)[0]
        if again[1] > 1:
            yield f"  {again[0]} was compiled for {again[1]} kinds of arguments, the most of all"
    yield f"{tally}"
    yield cache_line(tally.folders)


def cache_line(folders: Sequence[str]) -> str:
    """Return where the cache is, and how much it holds, in a line."""
    if not folders:
        return "cache: none; kernels are compiled in memory, anew in every process"
    files = [file for folder in folders for file in Path(folder).glob("*.nbc")]
    size = sum(file.stat().st_size for file in files)
    return f"cache: {os.path.commonpath(folders)}: {len(files)} files, {size / 1e6:.1f} MB"


class _Plain(contextlib.nullcontext[None]):
    """A line for every task."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def begin(self, number: int, of: int, name: str) -> None:
        """Begin a task."""

    def watch(self, found: Build) -> None:
        """Something was built."""

    def end(self, done: int, text: str) -> None:
        """Finish a task."""
        print(text, file=self.stream, flush=True)


class _Bar:
    """A bar over the tasks, with the kernel that is being compiled, drawn by rich; lines above it tell what is done."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns: list[Any] = [BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)]
        self.bars = Progress(*columns, console=Console(file=stream), auto_refresh=False, transient=True)
        self.bar, self.name = self.bars.add_task(""), ""

    def __enter__(self) -> None:
        self.bars.start()

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def begin(self, number: int, of: int, name: str) -> None:
        """Begin a task."""
        self.name = name
        self.bars.update(self.bar, total=of, completed=number, description=name, refresh=True)

    def watch(self, found: Build) -> None:
        """Something was built."""
        if found.state == "compiling":
            self.bars.update(self.bar, description=f"{self.name}: {found.name}", refresh=True)

    def end(self, done: int, text: str) -> None:
        """Finish a task."""
        self.bars.console.print(text, markup=False, highlight=False)
        self.bars.update(self.bar, completed=done, refresh=True)


def _display(stream: TextIO) -> Any:
    if stream.isatty():
        try:
            return _Bar(stream)
        except ImportError:
            pass  # rich comes with the extra "train"; the lines tell the same
    return _Plain(stream)
