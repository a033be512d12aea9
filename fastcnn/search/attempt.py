"""What a worker does with a candidate: it runs the objective on the threads that every trial has, and reports what came of it."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from .. import checks, machine


@dataclass(frozen=True)  # and no tuple, which Dask would take for a task of its own
class Attempt:
    """What a worker is to do: called with a number of threads and the data, it runs the objective once."""

    objective: Callable[..., Any]
    parameters: Mapping[str, Any]
    seed: int
    parent: int | None = None  # the process without which its worker is to end

    def __call__(self, threads: int, *data: Any) -> dict[str, Any]:
        """Return score, result, error and seconds; what the objective raises is reported, and not raised."""
        begin = time.perf_counter()
        if self.parent is not None and self.parent == os.getppid():
            _end_with(self.parent)
        score, result, error = None, {}, None
        try:
            with machine.threads(threads), _one_blas_thread():
                result = dict(self.objective(dict(self.parameters), self.seed, *data))
            score = checks.number("search", "the objective's score", result.pop("score"))
        except Exception as raised:
            score, result, error = None, {}, _told(raised)
        return {"score": score, "result": result, "error": error, "seconds": time.perf_counter() - begin}


def _told(error: Exception) -> str:
    """Return an exception's type, its words on one line, and where it was raised."""
    words = " ".join(str(error).split())
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {words[:500]} ({Path(place.filename).name}, line {place.lineno})"


@functools.cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent has: one that was killed by ``kill -9`` leaves joblib's workers waiting for five minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="fastcnn-search-watch", daemon=True).start()


class _Inside:
    """How many trials of this process are under way, and what NumPy's BLAS is to have again when none is."""

    lock = threading.Lock()
    count = 0
    limits = contextlib.ExitStack()


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Limit NumPy's BLAS to one thread while trials run: in this process several may, and its sums are to be the same in all."""
    with _Inside.lock:
        if not _Inside.count:
            _Inside.limits.enter_context(threadpool_limits(1, user_api="blas"))
        _Inside.count += 1
    try:
        yield
    finally:
        with _Inside.lock:
            _Inside.count -= 1
            if not _Inside.count:
                _Inside.limits.close()
