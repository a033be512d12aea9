"""What an earlier comparison, kept as JSON, found of the same ratios: which of them are outside its bands now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .row import Ratio, Row

_KEY = ("operation", "direction", "dtype", "case", "variant", "baseline")


class Departure(NamedTuple):
    """A ratio that is outside the band of an earlier run."""

    row: Row
    name: str
    before: Ratio
    now: Ratio

    def __str__(self) -> str:
        where = f"{self.row.operation} {self.row.direction} {self.row.case}"
        band = f"{self.before.low:.3g} to {self.before.high:.3g}"
        return (
            f"{where}: {self.row.label} is {self.now.value:.3g} times as fast as {self.name}; it was {self.before.value:.3g}, within {band}"
        )


class Meeting(NamedTuple):
    """How many ratios two runs share, and those of the later one that are outside the bands of the earlier."""

    shared: int
    departures: list[Departure]


def load(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file that ``fastcnn compare --json`` has written.

    Raises
    ------
    ValueError
        It cannot be read, or is no such file.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))["rows"]
        if not all({*_KEY, "ratios"} <= row.keys() for row in rows):
            raise KeyError("ratios")
    except OSError as error:
        raise ValueError(f"cannot read --against {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"--against {path} is no file that fastcnn compare --json has written") from error
    return list(rows)


def meet(rows: Sequence[Row], earlier: Sequence[dict[str, Any]]) -> Meeting:
    """Compare the ratios of rows with those of an earlier run's records."""
    pairs = list(_pairs(rows, earlier))
    return Meeting(len(pairs), [pair for pair in pairs if not _within(pair.before, pair.now.value)])


def _within(band: Ratio, value: float) -> bool:
    return band.low is None or band.high is None or band.low <= value <= band.high


def _pairs(rows: Sequence[Row], earlier: Sequence[dict[str, Any]]) -> Iterator[Departure]:
    known = {tuple(record[name] for name in _KEY): record["ratios"] for record in earlier}
    for row in rows:
        ratios = known.get(tuple(getattr(row, name) for name in _KEY), {})
        for name, now in row.ratios.items():
            if name in ratios:
                yield Departure(row, name, Ratio(**ratios[name]), now)
