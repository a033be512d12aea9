"""The README's tables by one command: what stands between the marks is replaced, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("pytest_benchmark")

from bench import readme

README = Path(__file__).parents[1] / "README.md"


def test_every_table_has_its_place_and_every_place_its_table() -> None:
    text = README.read_text("utf-8")
    assert set(re.findall(r"<!-- (\w+) table begin -->", text)) == set(readme.TABLES)
    for name in readme.TABLES:
        again = readme.replaced(text, name, "new")
        begin, end = readme.marks(name)
        assert f"{begin}\nnew\n{end}" in again
        assert again.replace(f"{begin}\nnew\n{end}", "") == text[: text.index(begin)] + text[text.index(end) + len(end) :]


def test_tables_are_written_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "README.md"
    file.write_text("a\n<!-- recipes table begin -->\nold\n<!-- recipes table end -->\nb\n")
    monkeypatch.setitem(readme.TABLES, "recipes", lambda: "| new |")
    assert readme.main(["--only", "recipes", "--write", str(file)]) == 0
    assert file.read_text() == "a\n<!-- recipes table begin -->\n| new |\n<!-- recipes table end -->\nb\n"
    assert readme.main(["--only", "recipes"]) == 0
    assert capsys.readouterr().out == "| new |\n\n"
    measured: list[str] = []
    monkeypatch.setitem(readme.TABLES, "recipes", lambda: measured.append("recipes") or "| newer |")
    assert readme.main(["--only", "recipes,training", "--write", str(file)]) == 1  # told before anything is measured
    assert "expected <!-- training table begin -->" in capsys.readouterr().err
    assert measured == []
    with pytest.raises(SystemExit):
        readme.main(["--only", "no-such-table"])


def test_tables_of_several_commands_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = {"a": "noise\n| x | y |\n| - | - |\n| 1 | 2 |\n", "b": "| x | y |\n| - | - |\n| 3 | 4 |\nnoise", "c": "nothing"}
    monkeypatch.setattr(readme, "_run", printed.__getitem__)
    assert readme.tables("a", "b").split("\n\n")[1] == "| x | y |\n| - | - |\n| 1 | 2 |\n| 3 | 4 |"
    with pytest.raises(ValueError, match="c: printed no table"):
        readme.tables("a", "c")
    monkeypatch.undo()
    assert readme._run("python -c print(6*7)") == "42\n"
