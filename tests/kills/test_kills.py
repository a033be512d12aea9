"""The short form of ``python -m tests.kills``."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastcnn import files

from .loop import Killing, broken, differences, moments


def test_killed_trainings_leave_whole_files_and_end_bit_for_bit(tmp_path: Path) -> None:
    killing = Killing(tmp_path, [], 1, 1.2)
    kills = list(killing.kills(3))
    print("\n".join(map(str, kills)))
    assert [kill.mistake for kill in kills] == [""] * 3
    assert (killing.mistakes, killing.ends >= 1) == ([], True)
    assert set(moments(kills)) <= {"training", "opening", "writing", "syncing", "renaming", "renamed"}


def test_the_judge_sees_what_is_broken_and_what_differs(tmp_path: Path) -> None:
    """A loop that finds nothing has to be able to find something."""
    for folder, value in (("a", 1.0), ("b", 2.0)):
        files.save_arrays(tmp_path / folder / "weights.npz", {"w": files.np.array([value])})
        files.save_json(tmp_path / folder / "history.json", {"epochs": [], "step_losses": [value], "mean": 0, "deviation": 1})
    assert differences(tmp_path / "a", tmp_path / "a") == []
    assert differences(tmp_path / "a", tmp_path / "b") == ["weights.npz is another", "history.json is another"]
    for name in ("weights.npz", "history.json"):
        path = tmp_path / "a" / name
        assert broken(path) == ""
        path.write_bytes(path.read_bytes()[:-20])
        assert broken(path) != ""


@pytest.mark.parametrize("content", ["", "<html>"])
def test_a_page_without_its_end_is_broken(content: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(content)
    assert broken(tmp_path / "report.html") == "a page without an end"
