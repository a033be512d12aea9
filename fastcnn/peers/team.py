"""The parent's side of the worker processes: start them, ask them, and do without those that die or hang."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from ..machine import inherited_threads
from .worker import serve, stay_on

OURS = "fastcnn"
PEERS = ("torch", "onnxruntime", "openvino", "jax")
_NEEDS = {"onnxruntime": ("onnxruntime", "onnx")}  # the model is written with onnx
ANSWER_SECONDS = 120.0


class Failed(Exception):
    """A library did not do what it was asked to; the message says why."""


def installed(peer: str) -> bool:
    """Whether a peer, and what its file imports besides, can be found."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDS.get(peer, (peer,)))


def usable_cores() -> list[int]:
    """Return the cores that this process may use, in order."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def _on(cores: list[int]) -> Iterator[None]:
    """Let a process that is started inside a `with` block be born on these cores: threads of its libraries stay where they start."""
    before = usable_cores()
    stay_on(cores)
    try:
        yield
    finally:
        stay_on(before)


class Worker:
    """A process that serves one library on a number of threads.

    Parameters
    ----------
    module : str
        The library's file, such as "fastcnn.peers.with_torch".
    threads : int
        It gets the first so many cores of this process, and no other.
    """

    def __init__(self, module: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # not fork: a library must find its own environment and no threads of ours
        self._connection, theirs = context.Pipe()
        cores = usable_cores()[:threads] if hasattr(os, "sched_setaffinity") else []
        self._process = context.Process(target=serve, args=(theirs, module, cores, threads), daemon=True)
        with inherited_threads(threads), _on(cores):
            self._process.start()
        theirs.close()  # so that its death is the end of the pipe

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self._process.is_alive()

    def ask(self, command: str, *arguments: Any, seconds: float = ANSWER_SECONDS) -> Any:
        """Return the answer to a command of `worker._Worker`.

        Raises
        ------
        Failed
            The command raised, the process died, or there was no answer in time; after the last two it is no longer alive.
        """
        try:
            self._connection.send((command, *arguments))
            if not self._connection.poll(seconds):
                self.end()
                raise Failed(f"no answer to {command!r} in {seconds:.0f} s")
            done, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            self.end()
            raise Failed(f"its process died in {command!r} (exit code {code})") from None
        if not done:
            raise Failed(value)
        return value

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._connection.close()


class Team:
    """The workers of all libraries and thread counts, started when first asked for; a context that ends them all.

    Parameters
    ----------
    modules : dict
        The file of every library by its name, ours first.
    """

    def __init__(self, modules: dict[str, str]) -> None:
        self.modules = modules
        self._workers: dict[tuple[str, int], Worker] = {}

    @classmethod
    def of(cls, peers: list[str]) -> Team:
        """Return ours and these peers."""
        return cls({name: f"{__package__}.with_{name}" for name in (OURS, *peers)})

    def worker(self, library: str, threads: int) -> Worker:
        """Return the living worker of a library, a new one in the place of a dead one."""
        known = self._workers.get((library, threads))
        if known is None or not known.alive:
            known = self._workers[library, threads] = Worker(self.modules[library], threads)
        return known

    def __enter__(self) -> Team:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._workers.values():
            if worker.alive:
                worker.end()
