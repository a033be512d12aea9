"""The table is whole, current, and points at what is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from .rows import MISTAKES, PENDING, ROWS, Row
from .table import between_marks, collect, table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
HEADINGS = {re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", README, re.M)}


def test_every_row_and_every_mistake_has_its_test() -> None:
    assert set(ROWS) | set(MISTAKES) == set(collect()) | PENDING
    assert not set(collect()) & PENDING
    assert len({row.test for row in collect().values()}) == len(collect()), "one test for each"


def test_the_readme_has_the_table_of_now() -> None:
    assert between_marks(README) == table(), "python -m tests.features.table --write README.md"


@pytest.mark.parametrize("name", [name for name in ROWS if name not in PENDING])
def test_what_a_row_points_at_is_there(name: str) -> None:
    row: Row = collect()[name]
    assert importlib.import_module(row.module).__doc__
    file, _, heading = row.example.partition("#")
    if "/" in file or file == "README.md":
        assert (ROOT / file).is_file()
        assert not heading or (file == "README.md" and heading in HEADINGS)
        return
    module, _, attribute = row.example.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    assert len(found.__doc__) > 100, "something to read"
