"""`python -m bench.overheads`: figures, limits and the table; one first use in a cache of its own; threads where there is one core."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.overheads import child, denormals, first_use, run, threads
from bench.overheads.figure import FIRST_USE, SPEED_UP, WARM, Figure, table
from bench.suites import SUITES
from fastcnn.registry import operations


def test_the_table_marks_what_misses_its_limit() -> None:
    figures = [
        Figure("first use", "conv2d forward direct", 2.0, "s", FIRST_USE, "empty cache"),
        Figure("first use", "conv2d forward direct", 1.5, "s", WARM, "second process"),
        Figure("two threads", "a", 1.9, "x", SPEED_UP),
        Figure("two threads", "b", 1.2, "x", SPEED_UP, "3.0 ms on one"),
        Figure("two threads", "c", None, "x", SPEED_UP, "one core"),
    ]
    assert [figure.missed for figure in figures] == [False, True, False, True, False]
    lines = table(figures).splitlines()
    assert lines[2] == "| first use | conv2d forward direct | 2.00 s | at most 5.00 s | empty cache |"
    assert lines[3] == "| first use | conv2d forward direct | **1.50 s** | at most 0.60 s | MISSED, second process |"
    assert lines[4] == "| two threads | a | 1.90 x | at least 1.80 x |  |"
    assert lines[6] == "| two threads | c | - | at least 1.80 x | one core |"
    assert lines[-1] == "2 of 4 within their limits."


def test_first_use_is_of_every_variant_but_the_references() -> None:
    grid = first_use._grid()
    assert ("conv2d", "forward", "direct") in grid
    assert {name for name, _, _ in grid} == {name for name, op in operations().items() if set(op.variants) != {"reference"}}
    assert not [variant for _, _, variant in grid if variant == "reference"]
    assert all(child.problem_of(operations()[name], direction, variant) for name, direction, variant in grid)


def test_first_use_starts_from_an_empty_cache() -> None:
    entry = next(entry for entry in first_use._grid() if entry[0] == "relu")
    cold, warm = first_use._cold_and_warm([entry])
    assert 0 < warm["calls"][0] < cold["calls"][0]
    assert 0 < cold["import"] < 30


def test_a_failing_child_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-operation"):
        first_use._child([("no-such-operation", "forward", "direct")], str(tmp_path))


def test_threads_need_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: [0])
    (figure,) = threads.figures(quick=True)
    assert figure.value is None
    assert not figure.missed
    assert figure.note == "this process may use one core only"
    assert set(threads._QUICK) <= {case.name for cases in SUITES.values() for case in cases}


def test_the_command_writes_after_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "overheads.json"

    def two(quick: bool) -> Iterator[Figure]:
        yield Figure("first use", "one", 1.0, "s", FIRST_USE)
        assert len(json.loads(file.read_text())["figures"]) == 1
        yield Figure("first use", "two", 9.0, "s", FIRST_USE)

    monkeypatch.setitem(run.GROUPS, "first-use", two)
    monkeypatch.setattr(denormals, "_PROBLEMS", {})
    assert run.main(["--only", "first-use,denormals", "--json", str(file)]) == 0
    assert [figure["missed"] for figure in json.loads(file.read_text())["figures"]] == [False, True]
    out = capsys.readouterr()
    assert "1 of 2 within their limits." in out.out
    assert "first use: two: 9 s MISSED" in out.err
    with pytest.raises(SystemExit):
        run.main(["--only", "weather"])
