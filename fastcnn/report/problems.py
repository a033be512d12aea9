"""The rows of a comparison by problem, and their figures in few characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .charts import number
from .loglog import COLOURS, three

if TYPE_CHECKING:
    from ..compare import Row


class Problem(NamedTuple):
    """The rows of one case, direction and dtype of an operation."""

    operation: str
    direction: str
    dtype: str
    case: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Operation, direction and dtype, under which problems stand together."""
        return f"{self.operation} {self.direction} {self.dtype}"

    @property
    def anchor(self) -> str:
        """A name for links inside the page."""
        return "-".join(self[:4]).replace(" ", "-")

    @property
    def timed(self) -> list[Row]:
        """The rows that have a timing, fastest first."""
        return sorted((row for row in self.rows if row.timing is not None), key=seconds)

    @property
    def chosen(self) -> Row | None:
        """The row of the automatic choice, where it was timed."""
        return next((row for row in self.timed if row.chosen), None)

    @property
    def yardsticks(self) -> list[str]:
        """What rows are compared with."""
        return list(dict.fromkeys(name for row in self.rows for name in row.ratios))

    @property
    def flops(self) -> float:
        """FLOPs of one call; 0 where nothing was timed."""
        return next((row.gflops * seconds(row) * 1e9 for row in self.timed if row.gflops is not None), 0.0)

    @property
    def bytes(self) -> float:
        """Bytes that one call must move at least; 0 where nothing was timed."""
        return next((row.gbytes * seconds(row) * 1e9 for row in self.timed if row.gbytes is not None), 0.0)

    @property
    def intensity(self) -> float | None:
        """FLOP/byte, None where the one or the other is 0."""
        return self.flops / self.bytes if self.flops and self.bytes else None


def seconds(row: Row) -> float:
    """Return the median time of a row that was timed."""
    assert row.timing is not None
    return row.timing.median


def problems(rows: Sequence[Row]) -> list[Problem]:
    """Return rows by problem, in the order in which they come."""
    found: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.operation, row.direction, row.dtype, row.case), []).append(row)
    return [Problem(*key, tuple(members)) for key, members in found.items()]


def colours(rows: Sequence[Row]) -> dict[str, str]:
    """Return the style's class of every label: a colour for each variant that was timed, the last one, grey, for whatever else there is."""
    grey = f"s{COLOURS - 1}"
    variants = dict.fromkeys(row.label for row in rows if row.timing is not None and not row.baseline and row.variant != "reference")
    return {**{row.label: grey for row in rows}, **{label: f"s{i % (COLOURS - 1)}" for i, label in enumerate(variants)}}


def duration(value: float) -> str:
    """Return seconds in three digits, with their unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def short(value: float | None) -> str:
    """Return a figure in three digits; nothing for None."""
    return "" if value is None else three(value) if math.isfinite(value) else "∞"


def ratio(row: Row, name: str) -> str:
    """Return how many times as fast as `name` a row is, with the band that holds it; nothing where that is unknown."""
    found = row.ratios.get(name)
    if found is None:
        return ""
    if found.band is None:
        return three(found.value)
    return f"{three(found.value)} ±{100 * found.band:.{0 if found.band >= 0.1 else 1}f} %"


def megabytes(count: float) -> str:
    """Return bytes in MB or kB."""
    return f"{three(count / 1e6)} MB" if count >= 1e6 else f"{number(round(count / 1e3, 1))} kB"
