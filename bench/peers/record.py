"""What a run has measured so far: on disk after every row, so that whatever ends the run loses the row at work only."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastcnn import files
from fastcnn.info import describe

from .row import Row


class Record:
    """The environment, peaks and rows of a run.

    Attributes
    ----------
    values : dict
        As they are written to `path`.
    path : Path or None
        Where they are kept; None keeps them in memory.
    """

    def __init__(self, values: dict[str, Any], path: Path | None) -> None:
        self.values, self.path = values, path

    @classmethod
    def begin(cls, peers: Sequence[str], seconds: float, path: Path | None) -> Record:
        """Return an empty record of this environment."""
        values = {
            "environment": describe(),
            "peers": {peer: importlib.metadata.version(peer) for peer in peers},
            "seconds": seconds,
            "load": {"start": _load(), "end": None},
            "peak_gflops": {},
            "rows": [],
        }
        return cls(values, path)

    @classmethod
    def resume(cls, peers: Sequence[str], seconds: float, source: Path, path: Path | None) -> Record:
        """Return the record that an earlier run left in `source`, to be kept in `path`; an empty one where there is no such file.

        Raises
        ------
        ValueError
            It is not of this CPU, these versions and these peers: its rows do not belong beside ours.
        """
        now = cls.begin(peers, seconds, path)
        if not source.exists():
            return now
        values = json.loads(source.read_text("utf-8"))
        for name, ours in _identity(now.values).items():
            theirs = _identity(values)[name]
            if theirs != ours:
                raise ValueError(f"{source} was measured with {name} {theirs}; here it is {ours}")
        return cls(values, path)

    def has(self, suite: str, case: str, direction: str, threads: int) -> bool:
        """Whether a row is there already."""
        wanted = suite, case, direction, threads
        return any((row["suite"], row["case"], row["direction"], row["threads"]) == wanted for row in self.values["rows"])

    def add(self, row: Row) -> None:
        """Append a row and save."""
        self.values["rows"].append(row.record(self.values["peak_gflops"].get(str(row.threads))))
        self.save()

    def raise_peak(self, threads: int, peak: float) -> None:
        """Keep the better peak of so many threads, and the shares of it that follow."""
        peaks = self.values["peak_gflops"]
        if peak <= peaks.get(str(threads), 0):
            return
        peaks[str(threads)] = peak
        for number, row in enumerate(self.values["rows"]):
            if row["threads"] == threads:
                self.values["rows"][number] = Row.from_record(row).record(peak)

    def save(self) -> None:
        """Replace the file, if there is one, by what is known now."""
        self.values["load"]["end"] = _load()
        if self.path:
            files.save_json(self.path, self.values)


def _identity(values: dict[str, Any]) -> dict[str, Any]:
    """Return what two runs must share."""
    environment = values["environment"]
    return {"cpu": environment["cpu"], "isa": environment["isa"], "versions": environment["versions"], "peers": values["peers"]}


def _load() -> list[float] | None:
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
