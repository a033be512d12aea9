"""A break of one line that takes a guard out, and the test that has to notice."""

from __future__ import annotations

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
