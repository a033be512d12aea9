"""Every row has its tests, and every guard the break that shows that its test would notice."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from .mutation import Mutation, collect
from .rows import ROWS

ROOT = Path(__file__).parents[2]
MUTATIONS = collect()


def _tests(path: Path) -> set[str]:
    """Return the test functions that a file defines."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def _exists(node: str) -> bool:
    file, _, name = node.partition("[")[0].partition("::")
    return (ROOT / file).is_file() and name in _tests(ROOT / file)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_tests_that_exist(row: str) -> None:
    assert ROWS[row].tests
    assert [node for node in ROWS[row].tests if not _exists(node)] == []


def test_every_guard_has_a_mutation() -> None:
    assert {mutation.row for mutation in MUTATIONS} == set(ROWS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.row}: {mutation.guard}")
def test_a_mutation_stands_where_it_says(mutation: Mutation) -> None:
    """In a line of one file, exactly once, with a test that exists; and what comes out of it is Python."""
    assert mutation.row in ROWS
    assert _exists(mutation.test), mutation.test
    text = (ROOT / mutation.file).read_text("utf-8")
    broken = mutation.applied(text)
    assert broken != text
    if mutation.file.endswith(".py"):
        ast.parse(broken)


def test_mutations_are_different() -> None:
    assert [one for one, count in Counter((m.file, m.old, m.new, m.test) for m in MUTATIONS).items() if count > 1] == []
