"""A measured number, the limit that is asked of it, and the table of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Limit(NamedTuple):
    """A bound: at most `value`, or at least."""

    value: float
    at_least: bool = False

    def keeps(self, number: float) -> bool:
        """Whether a number is within it."""
        return number >= self.value if self.at_least else number <= self.value


# What is asked. Seconds are of a small desktop core; a busy machine misses them without a fault of ours.
IMPORT = Limit(0.6)  # seconds of `import fastcnn`, NumPy not counted
FIRST_USE = Limit(5.0)  # seconds of the first call of one variant after the import, nothing cached: import of Numba, compilation, call
ALL_VARIANTS = Limit(30.0)  # the same of every variant and direction of conv2d in one process
WARM = Limit(0.6)  # seconds of the first call after the import in a second process, which finds the cache full
PARALLEL_CALL = Limit(10e-6)  # seconds of an empty parallel launch (TBB)
SPEED_UP = Limit(1.8, at_least=True)  # of two threads over one where one takes more than a millisecond
BUSY = Limit(2.5)  # seconds of two threads beside a program that keeps one core busy, over theirs on a quiet machine
DENORMAL = Limit(1.5)  # seconds with weights of 1e-42 over those with weights of order 1


class Figure(NamedTuple):
    """One measurement; `value` in seconds ("s") or a ratio ("x"), None with the reason in `note` where it could not be made."""

    group: str
    name: str
    value: float | None
    unit: str
    limit: Limit
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether it was made and is beyond its limit."""
        return self.value is not None and not self.limit.keeps(self.value)

    def record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**self._asdict(), "limit": self.limit._asdict(), "missed": self.missed}


def table(figures: Sequence[Figure]) -> str:
    """Return a Markdown table; what misses its limit stands in bold."""
    lines = ["| group | figure | measured | asked | |", "|---|---|---:|---:|---|"]
    for f in figures:
        value = "-" if f.value is None else _shown(f.value, f.unit)
        asked = f"{'at least' if f.limit.at_least else 'at most'} {_shown(f.limit.value, f.unit)}"
        note = ", ".join(part for part in ("MISSED" if f.missed else "", f.note) if part)
        lines.append(f"| {f.group} | {f.name} | {f'**{value}**' if f.missed else value} | {asked} | {note} |")
    missed, made = sum(f.missed for f in figures), sum(f.value is not None for f in figures)
    return "\n".join([*lines, "", f"{made - missed} of {made} within their limits."])


def _shown(value: float, unit: str) -> str:
    if unit == "x":
        return f"{value:.2f} x"
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.2f} ms" if value >= 1e-3 else f"{value * 1e6:.1f} us"
