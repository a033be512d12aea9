"""The file of a search: what is on the disk is not done again, what was cut short is, and what is another search's is refused."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import machine
from fastcnn.search import JournalError, grid, search
from fastcnn.search import journal as journals
from fastcnn.search.table import Lines
from tests.search.objectives import parabola

GRID = grid({"x": [0, 1, 2, 3]})
DATA = (np.arange(5),)


def searched(folder: Path, candidates: Any = GRID, **options: Any) -> Any:
    return search(parabola, candidates, **{"data": DATA, "jobs": 1, "threads": 1, "folder": folder, **options})


def lines(folder: Path) -> list[str]:
    return (folder / "trials.jsonl").read_text().splitlines()


def test_every_trial_is_a_line(tmp_path: Path) -> None:
    trials = searched(tmp_path / "new" / "folder")
    header, *records = map(json.loads, lines(tmp_path / "new" / "folder"))
    assert header == {"format": 1, "search": {"data": journals.digest(DATA), "seed": 0, "threads": 1}}
    assert [record["score"] for record in records] == [trial.score for trial in trials] == [1, 6, 9, 10]
    assert len({record["key"] for record in records}) == 4


def test_a_search_goes_on_where_it_was(tmp_path: Path) -> None:
    """With more candidates, too; and with the threads that it had."""
    first = searched(tmp_path, GRID[:2])
    before = lines(tmp_path)
    second = searched(tmp_path, [*GRID, {"x": 9}], resume=True, threads=None, jobs=2, backend="threading")
    assert second[:2] == first, "with their times: they were not done again"
    assert lines(tmp_path)[: len(before)] == before
    assert sorted(json.loads(line)["parameters"]["x"] for line in lines(tmp_path)[1:]) == [0, 1, 2, 3, 9]


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_line_that_was_cut_short_is_dropped_and_its_trial_done_again(left: int, tmp_path: Path) -> None:
    want = searched(tmp_path)
    file = tmp_path / "trials.jsonl"
    *whole, last = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(whole) + last[:left])
    shown = io.StringIO()
    got = searched(tmp_path, resume=True, display=Lines(shown))
    assert shown.getvalue().startswith("4 trials, 3 of them done before (and one that was cut short while it was written down, ")
    assert [trial[:3] for trial in got] == [trial[:3] for trial in want]
    assert file.read_bytes().splitlines(keepends=True)[:-1] == whole
    assert json.loads(lines(tmp_path)[-1])["parameters"] == json.loads(last)["parameters"]


@pytest.mark.parametrize(
    "damage", [b"{}\n", b"[1]\n", b"\xff\n", b'{"key": 1}\n', b"[" * 100_000 + b"\n", b"\0" * 20 + b"\n"],
    ids=["empty", "list", "no text", "other", "deep", "zeros"],
)  # fmt: skip
def test_a_damaged_line_is_told(damage: bytes, tmp_path: Path) -> None:
    searched(tmp_path)
    file = tmp_path / "trials.jsonl"
    content = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*content[:2], damage, *content[2:]]))
    with pytest.raises(JournalError, match=r"trials\.jsonl: line 3 is damaged; remove it \(its trial is then done again\)"):
        searched(tmp_path, resume=True)
    file.write_bytes(damage)
    with pytest.raises(JournalError, match=r"trials\.jsonl(: line 1 is damaged; name| is no search of this version; name) another folder"):
        searched(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed was 0, and is 1 now"),
        pytest.param(
            {"threads": 2},
            "threads was 1, and is 2 now",
            marks=pytest.mark.skipif(machine.usable_cores() < 2 or machine.setting("NUMBA_NUM_THREADS") == "1", reason="one thread only"),
        ),
        ({"data": (np.arange(6),)}, f"data was {journals.digest(DATA)}, and is {journals.digest((np.arange(6),))} now"),
        ({"about": {"recipe": "fast"}}, "recipe was None, and is fast now"),
    ],
)
def test_the_folder_of_another_search_is_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    searched(tmp_path)
    before = lines(tmp_path)
    with pytest.raises(JournalError, match=f"holds another search: {told}. Search as before, or name another folder"):
        searched(tmp_path, resume=True, **change)
    with pytest.raises(JournalError, match="holds a search already; go on with it by --resume"):
        searched(tmp_path)
    assert lines(tmp_path) == before


def test_there_must_be_something_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="holds no search to go on with; leave --resume"):
        searched(tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_go_on_with_one_search(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no flock")
    searched(tmp_path)
    with (
        journals.opened(tmp_path, journals.about(tmp_path), resume=True),
        pytest.raises(JournalError, match="another process goes on with this search"),
    ):
        searched(tmp_path, resume=True)
    assert len(searched(tmp_path, resume=True)) == 4


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched(tmp_path, GRID[:1])
    before, write = (tmp_path / "trials.jsonl").read_bytes(), os.write

    def full(handle: int, content: bytes) -> int:
        if len(content) == 142:  # the whole line
            return write(handle, content[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journals.os, "write", full)
    header = journals.about(tmp_path)
    with journals.opened(tmp_path, header, resume=True) as book, pytest.raises(OSError, match="No space left"):
        book.write({"key": "x" * 130})
    monkeypatch.undo()
    assert (tmp_path / "trials.jsonl").read_bytes() == before
