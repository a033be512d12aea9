"""`fastcnn info`: what a bug report needs, and nothing that is nobody's business."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fastcnn import info, machine
from fastcnn.cli import main

PROJECT = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")


def test_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FASTCNN_TUNED", "1")
    monkeypatch.setenv("FASTCNN_TOKEN", "hunter2")
    monkeypatch.setenv("SECRET", "hunter2")
    assert main(["info", "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert found["isa"] == machine.isa().name
    assert found["isa_reason"] == machine.isa_reason()
    assert found["features"] == sorted(machine.cpu_features())
    assert found["cores"] >= 1
    assert found["settings"]["FASTCNN_TUNED"] == "1"
    assert found["settings"]["FASTCNN_TOKEN"] == "(set; not shown)"
    assert "hunter2" not in out
    assert "SECRET" not in out
    assert found["extras"].keys() == info.EXTRAS.keys()
    assert re.match(r"pytest \d", found["extras"]["bench"])
    assert "measured" not in found


def test_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("cpu", "isa", "features", "tiles", "threads", "threading layer", "blas", "kernel cache", "extras", "settings"):
        assert sum(line.startswith(f"{name:16} ") for line in lines) == 1, name
    assert lines[-1] == info.BUG_REPORT


def test_home_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("FASTCNN_DATA", str(tmp_path / "data"))
    assert machine.settings()["FASTCNN_DATA"] == str(Path("~") / "data")


def test_a_cache_is_counted(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.nbc").write_bytes(bytes(1_500_000))
    (tmp_path / "deep" / "b.nbc").write_bytes(bytes(600_000))
    found = info._folder(tmp_path)
    assert (found["files"], found["megabytes"]) == (2, 2.1)
    assert info._folder(tmp_path / "missing")["files"] == 0


def test_extras_are_the_projects() -> None:
    for name, modules in info.EXTRAS.items():
        listed = re.search(rf"^{name} = \[(.*)\]$", PROJECT, re.M)[1]
        assert tuple(re.findall(r'"([A-Za-z0-9-]+)', listed)) == modules


def test_a_missing_extra_is_named() -> None:
    assert info._extra(("numpy", "no-such-distribution")).endswith("; missing: no-such-distribution")


def test_isa_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.isa_reason() == "the widest that this CPU has" or machine.setting("FASTCNN_ISA")
    monkeypatch.setenv("FASTCNN_ISA", "sse")
    assert machine.isa_reason() == "asked for by FASTCNN_ISA=sse"


def test_measured() -> None:
    found = info._measured()
    assert found["gflops_1_threads"] > 1
    assert 0.1 < found["copy_gbytes_1_thread"] < 1e4
