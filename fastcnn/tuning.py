"""Choices by measurement: which variant was fastest on this machine, kept on disk; off by default.

The automatic choice goes by estimates of cost, the same on every machine with the same registers. Who runs one network for long may have
its problems measured instead (``fastcnn tune``, or `tune`), and asks for the results with ``with fastcnn.tuned():`` or FASTCNN_TUNED=1. A
result counts for one problem, direction, precision and number of threads, on the CPU, instruction set and version of the kernels that it
was measured with. What it names must still be able and precise enough: the file has no say beyond the order of candidates.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import platform
from collections.abc import Hashable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import checks, machine
from .files import cache_folder, load_json, save_json
from .kernel_cache import kernel_version
from .timing import measure

if TYPE_CHECKING:
    from .registry import Operation

_SECONDS = 0.5  # of measuring a problem, in each memory order
_active: ContextVar[bool] = ContextVar("fastcnn_tuned", default=machine.setting("FASTCNN_TUNED") not in (None, "0"))


class Tuned(NamedTuple):
    """What measuring a problem found: the estimates' choice, the fastest, and by how much it is faster."""

    estimated: str
    fastest: str
    ratio: float


@contextlib.contextmanager
def tuned(enabled: bool = True) -> Iterator[None]:
    """Let measured results, where there are any, decide automatic choices inside a `with` block; not, where `enabled` is False.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError
        `enabled` is no bool.
    """
    token = _active.set(checks.flag("tuned", "enabled", enabled))
    try:
        yield
    finally:
        _active.reset(token)


def state() -> Hashable:
    """Return what choices depend on besides their problem: None where results do not count."""
    return (machine.get_threads(), _Results.generation) if _active.get() else None


class _Results:
    generation = 0  # of results that this process has written: what was chosen before is chosen anew


def choice(op: Operation, problem: Any, direction: str, precision: str) -> str | None:
    """Return the variant that was fastest; None where results do not count, or none is known."""
    return _tables(_path(op)).get(_key(problem, direction, precision)) if _active.get() else None


def tune(op: Operation, problem: Any, direction: str, precision: str = "high") -> Tuned:
    """Measure the candidates of an automatic choice on the caller's threads, and keep the fastest on disk.

    Images are measured in both memory orders, and the variant with the least product of times wins.

    Raises
    ------
    OSError
        The cache folder cannot be written.
    """
    with tuned(False):
        costs = op.candidates(problem, direction, precision)
    able = [name for name, cost in costs if cost is not None] or [costs[0][0]]
    seconds = dict.fromkeys(able, 1.0)
    for last in (False, True) if len(able) > 1 else ():
        calls = {name: functools.partial(op.run, name, direction, *_operands(op, problem, direction, last)) for name in able}
        for name, timed in measure(calls, budget_seconds=_SECONDS).items():
            seconds[name] *= timed.median
    fastest = min(able, key=lambda name: seconds[name])
    _keep(_path(op), _key(problem, direction, precision), fastest)
    op.forget_choices()
    return Tuned(able[0], fastest, (seconds[able[0]] / seconds[fastest]) ** 0.5)


def _operands(op: Operation, problem: Any, direction: str, last: bool) -> tuple[Any, tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Return the problem, inputs and outputs of a call, images channels-last in memory where asked for."""
    inputs = op.problem.arguments(problem, direction, np.float32, np.random.default_rng(0))
    arrays = [*inputs, *op.problem.outputs(problem, direction, np.float32)]
    names = list(inspect.signature(op.variants["reference"].directions[direction]).parameters)[1:]
    if last:
        images = [array.ndim == 4 and "weight" not in name for name, array in zip(names, arrays, strict=True)]
        arrays = [_channels_last(array) if image else array for image, array in zip(images, arrays, strict=True)]
    return problem, tuple(arrays[: len(inputs)]), tuple(arrays[len(inputs) :])


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


# --- On disk -----------------------------------------------------------------------------------------------------------


def _path(op: Operation) -> Path:
    """Return the file of an operation's results on this machine, with these kernels."""
    return cache_folder() / "tuned" / f"{op.name}-{_machine(op.folder)}.json"


@functools.cache
def _machine(folder: Path) -> str:
    machine.numba()
    import llvmlite.binding as llvm

    cpu = llvm.get_host_cpu_name(), sorted(machine.cpu_features()), platform.machine(), machine.isa().name
    return hashlib.sha256(repr((cpu, kernel_version(folder))).encode()).hexdigest()[:20]


def _key(problem: Any, direction: str, precision: str) -> str:
    return f"{direction} {precision} {machine.get_threads()} {problem!r}"


@functools.cache
def _tables(path: Path) -> dict[str, str]:
    """Return a file's results; none where it is missing or damaged, which is not worth more than measuring again."""
    try:
        read = load_json(path)
    except (OSError, ValueError):
        return {}
    return {key: name for key, name in read.items() if isinstance(name, str)} if isinstance(read, dict) else {}


def _keep(path: Path, key: str, variant: str) -> None:
    """Add a result to a file; of two processes that do so at once the later one's stays."""
    _tables.cache_clear()
    save_json(path, {**_tables(path), key: variant})
    _tables.cache_clear()
    _Results.generation += 1
