"""Measuring a machine's roofline: peaks, and bandwidths over working sets, on one thread and on all; takes some 5 s."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from .. import info, machine
from ..peak import peak_gflops
from .caches import Cache, caches_from_curve, system_caches
from .ceilings import Ceilings, Level, Point, Roofline
from .streams import STEP, Streams

_FIRST = 2**13  # bytes of the smallest working set
_RATIO = 2**0.5  # of one to the next
_BEYOND = 4  # a working set that is so many times as large as the last cache comes from memory
_UNKNOWN = 2**28  # the largest working set where the system tells no caches
_LEAST, _MOST = 2**27, 2**31  # bytes of the largest one, on all threads
_SHARE_OF_MEMORY = 8  # of what the machine has, at most one part in so many


def measure(threads: int | None = None) -> Roofline:
    """Return the roofline of this machine.

    Parameters
    ----------
    threads : int, optional
        The larger number of threads; all usable cores if not given.

    Raises
    ------
    ValueError
        More threads than there are.
    RuntimeError
        NUMBA_DISABLE_JIT is set.
    """
    count = machine.max_threads() if threads is None else threads
    with machine.threads(count):
        described = info.describe()
    load = [_load()]
    caches, source = system_caches(count), "system"
    largest = _largest(caches, count)
    streams = Streams(largest)
    curve = _curve(streams, 1, _largest(caches, 1) if caches else largest)
    if not caches:
        caches, source = caches_from_curve([p.bytes for p in curve], [p.read for p in curve], count), "curve"
    ceilings = [Ceilings(1, peak_gflops(1), levels(curve, caches, 1))]
    if count > 1:
        more = _curve(streams, count, largest)
        curve += more
        ceilings.append(Ceilings(count, peak_gflops(count), levels(more, caches, count)))
    load.append(_load())
    return Roofline({**described, "load": load}, caches, source, tuple(ceilings), tuple(curve))


def _load() -> float | None:
    """Return the system's average of running processes in the last minute, None where it keeps none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _largest(caches: Sequence[Cache], threads: int) -> int:
    """Return the bytes of the largest working set, of all threads together."""
    last = max((cache.share(threads) * threads for cache in caches), default=_UNKNOWN / _BEYOND)
    return int(min(max(_LEAST, _BEYOND * last), _MOST, machine.memory_bytes() // _SHARE_OF_MEMORY)) // STEP * STEP


def ladder(largest: int) -> list[int]:
    """Return working sets in bytes, each some 1.4 times the last, up to `largest`; multiples of `STEP`."""
    sizes, size = [], float(_FIRST)
    while size < largest:
        sizes.append(round(size / STEP) * STEP)
        size *= _RATIO
    return [*sizes, largest // STEP * STEP]


def _curve(streams: Streams, threads: int, largest: int) -> list[Point]:
    return [
        Point(threads, size, streams.bandwidth(size, threads), streams.bandwidth(size, threads, copy=True))
        for size in ladder(largest // threads)
    ]


def levels(curve: Sequence[Point], caches: Sequence[Cache], threads: int) -> tuple[Level, ...]:
    """Return what each cache, and memory behind them, delivers: the best of the working sets that lie in it and not in a nearer one.

    Sets that nearly fill a cache share it with what else the core touches, and those that just exceed one are still partly in it: neither
    counts, unless there is no other.
    """
    edges = [0.0, *(cache.share(threads) for cache in caches)]
    found = [
        _level(cache.name, curve, 1.5 * low, 0.75 * high, (low + high) / 2)
        for cache, low, high in zip(caches, edges[:-1], edges[1:], strict=True)
    ]
    return (*found, _level("memory", curve, 3 * edges[-1], math.inf, max(point.bytes for point in curve)))


def _level(name: str, curve: Sequence[Point], low: float, high: float, middle: float) -> Level:
    points = [point for point in curve if low <= point.bytes <= high] or [min(curve, key=lambda point: abs(point.bytes - middle))]
    return Level(name, max(point.read for point in points), max(point.copy for point in points))
