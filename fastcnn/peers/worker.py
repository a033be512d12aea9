"""The child process of one library: prepares a problem, checks it, and times samples when asked to.

It is born with its cores and with the number of threads in its environment (see `team.Worker`), as NumPy's BLAS looks at them when it is
loaded, before any line of ours runs.
"""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SETTLE_SECONDS = 0.02  # idle OpenMP and Eigen workers spin for milliseconds after their last job, on the next library's core


def serve(connection: Any, module: str, cores: list[int], threads: int) -> None:
    """Answer (command, *arguments) with (True, value) or (False, what went wrong), until the parent is gone.

    Parameters
    ----------
    module : str
        The file of the library, such as "fastcnn.peers.with_torch".
    cores : list of int
        The only ones that this process may use; empty where the system cannot say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    stay_on(cores)
    worker: Any = None
    while True:
        try:
            command, *arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            worker = worker or _host(module, cores, threads)
            answer = True, getattr(worker, command)(*arguments)
        except Exception as error:  # told to the parent, which reports it as this library's failure
            answer = False, f"{type(error).__name__}: {error}"
        try:
            connection.send(answer)
        except OSError:
            return


def _host(module: str, cores: list[int], threads: int) -> Any:
    """Return what the commands work on: the module's own `Host`, or a library with the problem at hand."""
    own = getattr(importlib.import_module(module), "Host", None)
    return (own or _Worker)(module, cores, threads)


class _Worker:
    """What the commands work on: the library and the contenders of the current problem."""

    def __init__(self, module: str, cores: list[int], threads: int) -> None:
        self.library = importlib.import_module(module)
        self.cores, self.threads = cores, threads
        self.calls: dict[str, Callable[[], Any]] = {}

    def prepare(self, problem: Any, direction: str, folder: str) -> dict[str, Any]:
        """Build every contender of a problem and return its `truth.Errors`, or what went wrong, by name."""
        from .truth import Truth, errors

        self.calls = {}  # the last problem's memory goes before the next one's comes
        self._pin()
        arguments, want, allowed = Truth.load(Path(folder))
        answers: dict[str, Any] = {}
        for name, build in self.library.builders(problem, direction, arguments, self.threads).items():
            try:
                call, result = build()
                answers[name] = errors(result(call()), want, allowed)
                self.calls[name] = call
            except Exception as error:
                answers[name] = f"{type(error).__name__}: {error}"
        return answers

    def again(self, problem: Any, direction: str, folder: str, names: list[str]) -> None:
        """Build contenders that were found to be right anew, with arguments in new memory."""
        from .truth import load_arguments

        self.calls = {}
        self._pin()
        builders = self.library.builders(problem, direction, load_arguments(Path(folder)), self.threads)
        self.calls = {name: builders[name]().call for name in names}

    def calibrate(self, name: str) -> int:
        """Return how many calls make a sample of at least a millisecond."""
        from ..timing import calibrate

        self._pin()
        return calibrate(self.calls[name])[0]

    def sample(self, name: str, loops: int) -> tuple[float, int]:
        """Return the seconds of one call, over so many, and how often the system meanwhile took a core from us.

        Of an interrupted sample on one thread the CPU's seconds count: about what the wall clock would have shown.
        """
        self._pin()
        call = self.calls[name]
        call()  # the others have left the caches and threads cold
        interruptions, cpu, start = _interruptions(), time.process_time(), time.perf_counter()
        for _ in range(loops):
            call()
        seconds, cpu, interruptions = time.perf_counter() - start, time.process_time() - cpu, _interruptions() - interruptions
        if self.threads > 1:
            time.sleep(_SETTLE_SECONDS)
        return (cpu if interruptions and self.threads == 1 else seconds) / loops, interruptions

    def peak(self) -> float:
        """Return the multiply-add peak of our cores in GFLOP/s."""
        from ..peak import peak_gflops

        return peak_gflops(self.threads)

    def _pin(self) -> None:
        stay_on(self.cores)
        self.library.pin(self.threads)


def _interruptions() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def stay_on(cores: list[int]) -> None:
    """Let the calling thread, and those that it starts, run on these cores only; on any where there are none given."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
