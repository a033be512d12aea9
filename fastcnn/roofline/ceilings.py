"""What was measured of a machine: peak and bandwidths, as values that go to JSON and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .caches import Cache

FORMAT = 1  # of the JSON


class Level(NamedTuple):
    """A level of memory: its name ("L1", ..., "memory") and what it delivers at most, in GB/s.

    `copy` counts the bytes read and those written.
    """

    name: str
    read: float
    copy: float


class Ceilings(NamedTuple):
    """What so many threads reach: float32 GFLOP/s, and the levels of memory, the nearest first."""

    threads: int
    gflops: float
    levels: tuple[Level, ...]

    def peak(self, dtype: str = "float32") -> float:
        """Return GFLOP/s in a dtype; vectors of float64 hold half as many numbers."""
        return self.gflops / 2 if dtype == "float64" else self.gflops

    def attainable(self, intensity: float, level: Level, dtype: str = "float32") -> float:
        """Return min(peak, intensity bandwidth) in GFLOP/s, for an intensity in FLOP/byte."""
        return min(self.peak(dtype), intensity * level.read)


class Point(NamedTuple):
    """Bandwidths in GB/s where each of `threads` threads works on `bytes` bytes of its own."""

    threads: int
    bytes: int
    read: float
    copy: float


class Roofline(NamedTuple):
    """The roofline of a machine.

    Attributes
    ----------
    machine : dict
        What the figures depend on, see `fastcnn.info.describe`, and the load meanwhile.
    caches : tuple of Cache
        The nearest first.
    source : str
        Who told the caches' sizes: "system" or "curve".
    ceilings : tuple of Ceilings
        Of one thread and, where there are more, of all.
    curve : tuple of Point
        Bandwidths over working sets, of one thread and of all.
    """

    machine: dict[str, Any]
    caches: tuple[Cache, ...]
    source: str
    ceilings: tuple[Ceilings, ...]
    curve: tuple[Point, ...]

    def of(self, threads: int) -> Ceilings:
        """Return the ceilings of one thread, or those of all for any other count."""
        return self.ceilings[0] if threads == 1 else self.ceilings[-1]

    def level(self, count: float, threads: int) -> Level:
        """Return the nearest level that `count` bytes fit into, shared evenly among so many threads."""
        ceilings = self.of(threads)
        for cache, level in zip(self.caches, ceilings.levels, strict=False):
            if count / threads <= cache.share(threads):
                return level
        return ceilings.levels[-1]

    def record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": FORMAT,
            "machine": self.machine,
            "caches": [cache._asdict() for cache in self.caches],
            "source": self.source,
            "ceilings": [{**c._asdict(), "levels": [level._asdict() for level in c.levels]} for c in self.ceilings],
            "curve": [point._asdict() for point in self.curve],
        }


def restored(record: Any) -> Roofline:
    """Return what `Roofline.record` told; ValueError where it is no such record, or its figures cannot be."""
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"roofline: the record's format must be {FORMAT}; got {record['format']!r}")
        found = Roofline(
            dict(record["machine"]),
            tuple(Cache(str(c["name"]), int(c["bytes"]), int(c["sharers"])) for c in record["caches"]),
            str(record["source"]),
            tuple(Ceilings(int(c["threads"]), _rate(c["gflops"]), _levels(c["levels"])) for c in record["ceilings"]),
            tuple(Point(int(p["threads"]), int(p["bytes"]), _rate(p["read"]), _rate(p["copy"])) for p in record["curve"]),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"roofline: the record does not hold what it should: {type(error).__name__} {error}") from error
    if not found.ceilings or any(len(c.levels) != len(found.caches) + 1 for c in found.ceilings):
        raise ValueError(f"roofline: expected ceilings of {len(found.caches)} caches and of memory; got {len(found.ceilings)} ceilings")
    return found


def _levels(records: Sequence[Mapping[str, Any]]) -> tuple[Level, ...]:
    return tuple(Level(str(r["name"]), _rate(r["read"]), _rate(r["copy"])) for r in records)


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"roofline: a rate must be a positive number; got {value!r}")
    return float(value)
