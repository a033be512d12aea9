"""What a fork takes away: a child has no thread but the one that forked, and of what the others were doing it gets the half-done state.

So a process forks when no thread compiles, is inside LLVM, imports Numba or launches on Numba's workqueue: it waits for them, a launch or a
kernel's compilation long. And a child whose threading layer does not live without its threads computes on the one thread that it has: GNU's
OpenMP would end it, and TBB comes through only when it was asleep and the thread that forked is the one that had started it. What forks
past Python's `os.fork` is on its own.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from contextlib import AbstractContextManager
from typing import Any

importing = threading.RLock()  # held while Numba is imported
launching = threading.RLock()  # held while Numba's workqueue, which ends the process when two threads launch at once, is at work
beginning = threading.RLock()  # held while the compiler's thread begins
_THREAD_ENDS = 0.002  # seconds


class _Held(threading.local):
    """The locks of a thread that forks."""

    def __init__(self) -> None:
        self.locks: list[AbstractContextManager[Any]] = []


class _Threads:
    """Those of Numba's threading layer."""

    starter: int | None = None  # the Python thread that started them
    asleep = True  # as the last fork began
    lost = False


_held = _Held()


def started_threads() -> None:
    """Note that the calling thread has started Numba's threading layer."""
    _Threads.starter = threading.get_ident()


def lost_threads() -> bool:
    """Whether this process was forked from one that computed on threads, which cannot be started again here."""
    return _Threads.lost


def _before() -> None:
    """Wait for what must not be cut in two; the order is that in which others take the locks."""
    _hold(importing)
    numba = sys.modules.get("numba.core.compiler_lock")
    if numba is not None:
        _hold(numba.global_compiler_lock)
    llvm = sys.modules.get("llvmlite.binding.ffi")
    if llvm is not None:
        _hold(llvm.lib._lock)  # also held by whoever lets go of what was compiled
        time.sleep(_THREAD_ENDS)  # threads that were joined may still unwind their stack, with a lock that LLVM takes when it loads code
    _hold(launching)
    _hold(beginning)
    _Threads.asleep = threading.active_count() == 1 and threading.get_ident() == _Threads.starter


def _hold(lock: AbstractContextManager[Any]) -> None:
    lock.__enter__()
    _held.locks.append(lock)


def _release() -> None:
    while _held.locks:
        _held.locks.pop().__exit__(None, None, None)


def _in_child() -> None:
    numba = sys.modules.get("numba.np.ufunc.parallel")
    layer = getattr(numba, "_threading_layer", None) if getattr(numba, "_is_initialized", False) else None
    if layer == "omp" or (layer == "tbb" and not _Threads.asleep):
        _Threads.lost = True
    _release()


@functools.cache
def watch() -> None:
    """Do so from now on; whoever is about to import Numba calls this, under `importing`.

    Of several modules the last to ask for it is the first to be told of a fork. `logging` then takes a lock of its own, which Numba's
    import and compiler take as well; so it has to come after us. `concurrent.futures` comes with NumPy 2.5's part of Numba's import: asking
    while a fork waits for that, it would release a lock after the fork that it did not take before.
    """
    import concurrent.futures.thread  # noqa: F401
    import logging  # noqa: F401 - both have asked by now

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_release, after_in_child=_in_child)
