"""Who waits for the compiler may watch it: what is being compiled, and what came from the cache on the disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Build(NamedTuple):
    """What watchers are told of a kernel, or of a loop that runs one.

    Attributes
    ----------
    name : str
    state : str
        "compiling" and later "compiled"; or "loaded" from the cache alone.
    seconds : float
        Without those of the kernels that it calls, which are told of themselves; 0 while it is compiling.
    folder : str or None
        Where the cache keeps it; None where there is no cache.
    """

    name: str
    state: str
    seconds: float = 0.0
    folder: str | None = None


_watchers: list[Callable[[Build], None]] = []
_seconds_within: list[float] = []  # those of the builds inside the open ones, the innermost last; under Numba's compiler lock


@contextlib.contextmanager
def watching(watcher: Callable[[Build], None]) -> Iterator[None]:
    """Call ``watcher(build)`` for every kernel that the process compiles or loads inside a `with` block, whichever thread needs it.

    It is called under the compiler's lock: it must be quick and must run no kernel.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


class Open:
    """A build that goes on; say `compiling` once it is known that the cache does not have it."""

    def __init__(self, name: str, folder: str | None) -> None:
        self.name, self.folder, self.compiled = name, folder, False

    def compiling(self) -> None:
        """Tell watchers that the wait begins."""
        self.compiled = True
        _tell(Build(self.name, "compiling", 0.0, self.folder))


@contextlib.contextmanager
def build(name: str, folder: str | None) -> Iterator[Open]:
    """Tell watchers of what the `with` block compiles or loads; nothing when it raises. The caller holds Numba's compiler lock."""
    opened, begin = Open(name, folder), time.perf_counter()
    _seconds_within.append(0.0)
    try:
        yield opened
    finally:
        whole = time.perf_counter() - begin
        own = whole - _seconds_within.pop()
        if _seconds_within:
            _seconds_within[-1] += whole
    _tell(Build(name, "compiled" if opened.compiled else "loaded", own, folder))


def _tell(found: Build) -> None:
    for watcher in tuple(_watchers):
        watcher(found)
