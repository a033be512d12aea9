"""The sizes of the data caches: as the system tells them, else from where the bandwidth falls."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_LINUX = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
_MOST = 3  # levels of caches
_STEP = 0.05  # of squared log-bandwidth that one more plateau must explain: the noise of a shared machine explains less
_FALL = 1.15  # bandwidths that differ by less are one level's


class Cache(NamedTuple):
    """A data cache: its name, its size, and how many cores share it."""

    name: str
    bytes: int
    sharers: int

    def share(self, threads: int) -> float:
        """Return the bytes for each of so many threads, which run on neighbouring cores."""
        return self.bytes / max(1, min(threads, self.sharers))


def system_caches(cores: int) -> tuple[Cache, ...]:
    """Return the data caches of the first core, the nearest first; none where the system does not tell them."""
    found = _linux(_LINUX) if sys.platform == "linux" else _darwin(cores) if sys.platform == "darwin" else []
    return tuple(sorted(found, key=lambda cache: cache.name))


def _linux(folder: Path) -> list[Cache]:
    found = []
    for index in sorted(folder.glob("index*")):
        try:
            kind, level, size, shared = ((index / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_list"))
            if kind in ("Data", "Unified"):
                found.append(Cache(f"L{int(level)}", int(size.rstrip("KMG")) * _UNITS.get(size[-1:], 1), _count(shared)))
        except (OSError, ValueError):  # some virtual machines leave files out
            continue
    return found


def _count(cores: str) -> int:
    """Return how many cores a list such as 0-3,8-11 names."""
    total = 0
    for part in cores.split(","):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def _darwin(cores: int) -> list[Cache]:
    found = []
    for name, key in (("L1", "hw.perflevel0.l1dcachesize"), ("L2", "hw.perflevel0.l2cachesize")):
        told = subprocess.run(["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True)
        if told.returncode == 0 and told.stdout.strip().isdigit():
            found.append(Cache(name, int(told.stdout), 1 if name == "L1" else cores))
    return found


def caches_from_curve(sizes: Sequence[int], bandwidths: Sequence[float], cores: int) -> tuple[Cache, ...]:
    """Return the caches that a curve of bandwidth over working sets shows: the ends of its plateaus but the last.

    The plateaus are the piecewise constant fit of the logarithm of the bandwidth with the least squared error, with as many pieces as pay.

    Parameters
    ----------
    sizes : sequence of int
        Bytes, rising.
    bandwidths : sequence of float
        Of one thread.
    cores : int
        Who shares the last cache; the others are taken for a core's own.

    Raises
    ------
    ValueError
        The sequences differ in length, or hold fewer than four points.
    """
    if len(sizes) != len(bandwidths) or len(sizes) < 4:
        counts = f"{len(sizes)} sizes and {len(bandwidths)} bandwidths"
        raise ValueError(f"caches_from_curve: expected four points or more, a bandwidth for each size; got {counts}")
    logs = [math.log(b) for b in bandwidths]
    best: list[int] = []
    error = _error(logs, 0, len(logs))
    for pieces in range(2, _MOST + 2):
        cuts, lower = _fit(logs, pieces)
        if error - lower < _STEP:
            break
        best, error = cuts, lower
    edges = [0, *best, len(logs)]
    means = [sum(logs[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    ends = [cut for cut, (above, below) in zip(best, itertools.pairwise(means), strict=True) if above - below > math.log(_FALL)]
    return tuple(Cache(f"L{i + 1}", sizes[cut - 1], cores if i and i == len(ends) - 1 else 1) for i, cut in enumerate(ends))


def _error(values: Sequence[float], first: int, last: int) -> float:
    part = values[first:last]
    mean = sum(part) / len(part)
    return sum((v - mean) ** 2 for v in part)


def _fit(values: Sequence[float], pieces: int) -> tuple[list[int], float]:
    """Return where the best fit of so many constants changes, and its squared error (dynamic programming over the last change)."""
    count = len(values)
    errors = [_error(values, 0, last) for last in range(1, count + 1)]
    origins: list[list[int]] = []
    for piece in range(1, pieces):
        options = [
            min(((errors[cut - 1] + _error(values, cut, last), cut) for cut in range(piece, last)), default=(math.inf, 0))
            for last in range(1, count + 1)
        ]
        errors = [error for error, _ in options]
        origins.append([cut for _, cut in options])
    cuts, last = [], count
    for origin in reversed(origins):
        last = origin[last - 1]
        cuts.append(last)
    return cuts[::-1], errors[-1]
