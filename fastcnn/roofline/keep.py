"""The roofline of this machine, measured once and kept in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import platform
from pathlib import Path

from .. import files, info, machine
from ..jit import kernel_version
from .ceilings import FORMAT, Roofline, restored
from .measure import measure


def roofline(threads: int | None = None, again: bool = False) -> Roofline:
    """Return this machine's roofline: as an earlier call has kept it, else measured now (some 5 s) and kept.

    It is kept for one CPU, number of threads and version of everything that it depends on. A file that is damaged counts as missing, and a
    folder that cannot be written means measuring again next time.

    Parameters
    ----------
    threads : int, optional
        The larger number of threads; all usable cores if not given.
    again : bool
        Measure in any case.

    Raises
    ------
    ValueError
        More threads than there are.
    RuntimeError
        NUMBA_DISABLE_JIT is set.
    """
    path = location(machine.max_threads() if threads is None else threads)
    if not again:
        with contextlib.suppress(OSError, ValueError):  # missing, unreadable or damaged: measure
            return restored(files.load_json(path))
    found = measure(threads)
    with contextlib.suppress(OSError):  # a file system that cannot be written has no memory
        files.save_json(path, found.record())
    return found


def location(threads: int) -> Path:
    """Return the file of the roofline of so many threads on this machine, with these versions."""
    told = info.describe()
    cpu = told["cpu"], told["llvm_cpu"], told["isa"], platform.machine(), machine.memory_bytes()
    versions = FORMAT, told["versions"], kernel_version(Path(__file__).parent)
    key = hashlib.sha256(repr((cpu, threads, sorted(machine.cpu_features()), versions)).encode()).hexdigest()[:20]
    return files.cache_folder() / "roofline" / f"{key}.json"
