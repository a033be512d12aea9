"""A break of one line that takes a guard out, and the test that has to notice."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    """One line of the library, broken.

    Every ``tests/reliability/mutations_*.py`` has a list ``MUTATIONS`` of these.
    """

    row: str  # a name of rows.py: what must never happen
    guard: str  # what is taken out, in a few words
    file: str  # below the repository, with /
    old: str  # stands in the file exactly once
    new: str
    test: str  # the node of pytest that fails then: tests/test_x.py::test_y, with a parameter in brackets where one is enough

    def applied(self, text: str) -> str:
        """Return the text of the file with the break in it; ValueError unless `old` stands in it exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: expected once, found {text.count(self.old)} times: {self.old!r}")
        return text.replace(self.old, self.new)


def lists() -> list[str]:
    """Return the names of the lists: "files" of mutations_files.py."""
    return sorted(path.stem.removeprefix("mutations_") for path in Path(__file__).parent.glob("mutations_*.py"))


def collect(only: str | None = None) -> list[Mutation]:
    """Return the mutations of one list, or of every list in the order of their names."""
    modules = [importlib.import_module(f"{__package__}.mutations_{name}") for name in lists() if only in (None, name)]
    return [mutation for module in modules for mutation in module.MUTATIONS]
