"""What an earlier comparison, kept as JSON, found of the same ratios: which of them are outside its bands now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
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
        rows = files.load_json(path)["rows"]
        for row in rows:
            _check(row)
    except OSError as error:
        raise ValueError(f"cannot read --against {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"--against {path} is no file that fastcnn compare --json has written") from error
    return list(rows)


def _check(row: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError where a row is none, or its ratios are no numbers."""
    if not all(isinstance(row[name], str | bool) for name in _KEY):
        raise TypeError("a row's names must be text")
    for values in row["ratios"].values():
        ratio = Ratio(**values)
        if not all(isinstance(value, int | float) for value in (ratio.value, *(end for end in ratio[1:3] if end is not None))):
            raise TypeError("a ratio must be of numbers")


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
