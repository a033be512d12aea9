"""Choices by measurement: off by default, kept on disk per machine and kernels, never beyond what is able and precise enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fastcnn
from fastcnn import cli, machine, tuning
from fastcnn.registry import operations
from fastcnn.timing import Timing

OP = operations()["conv2d"]
PROBLEM = OP.problem.checked_problem("", (1, 32, 14, 14), (32, 32, 3, 3), 1, 1, 1, 1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuning, "cache_folder", lambda: tmp_path / "cache")
    yield
    OP.forget_choices()


@pytest.fixture
def slow_winograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every measurement find the last by name, "winograd", slowest, and im2col fastest."""
    order = {"im2col": 1.0, "direct": 2.0, "depthwise": 3.0, "bfloat16": 4.0, "winograd": 5.0}
    monkeypatch.setattr(tuning, "measure", lambda calls, **_: {name: Timing(order[name], 0, 0, 1) for name in calls})


def _chosen(precision: str = "high") -> str:
    run = OP.choose(PROBLEM, "forward", precision=precision)
    return next(name for name, variant in OP.variants.items() if variant.directions.get("forward") is run)


def test_results_count_only_where_they_are_asked_for(slow_winograd: None) -> None:
    before = _chosen()
    found = tuning.tune(OP, PROBLEM, "forward")
    assert found == (before, "im2col", pytest.approx({"winograd": 5.0, "direct": 2.0}[before]))
    assert _chosen() == before
    with fastcnn.tuned():
        assert _chosen() == "im2col"
        assert dict(OP.explain(PROBLEM, "forward"))["im2col"] == "chosen, as measured"
        assert _chosen("highest") != "winograd"  # not measured: by estimate
        with fastcnn.tuned(False):
            assert _chosen() == before
        other = PROBLEM._replace(N=2)
        assert OP.candidates(other, "forward")[0][0] != "im2col"
        assert OP.candidates(PROBLEM, "forward", packed=True)[0][0] != "im2col"
    assert _chosen() == before
    assert "chosen" in dict(OP.explain(PROBLEM, "forward")).values()


def test_results_are_of_a_number_of_threads(slow_winograd: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tuning.tune(OP, PROBLEM, "forward")
    monkeypatch.setattr(machine, "get_threads", lambda: 77)
    with fastcnn.tuned():
        assert _chosen() != "im2col"


def test_they_are_read_from_disk_and_may_only_order_candidates(slow_winograd: None) -> None:
    tuning.tune(OP, PROBLEM, "forward")
    path = tuning._path(OP)
    assert list(path.parent.iterdir()) == [path]
    ((key, name),) = json.loads(path.read_text()).items()
    assert name == "im2col"
    for content in ("{", "[]", "null", json.dumps({key: 3}), json.dumps({key: "no such"}), json.dumps({key: "depthwise"}), "\x00"):
        path.write_text(content)
        tuning._tables.cache_clear()
        OP.forget_choices()
        with fastcnn.tuned():
            assert _chosen() in ("winograd", "direct")
    tuning.tune(OP, PROBLEM, "forward", "highest")
    with fastcnn.tuned():
        assert _chosen("highest") == "im2col"


def test_other_kernels_or_another_machine_have_files_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tuning._path(OP)
    for module, name, value in ((tuning, "kernel_version", lambda folder: "other"), (machine, "isa", lambda: machine.ISAS["sse"])):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            tuning._machine.cache_clear()
            assert tuning._path(OP) != ours
    tuning._machine.cache_clear()
    assert tuning._path(OP) == ours


@pytest.mark.parametrize("name", sorted(operations()))
def test_every_operation_can_be_tuned(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_SECONDS", 0.001)
    op = operations()[name]
    case = op.problem.CASES[1]
    for direction in op.directions:
        found = tuning.tune(op, case.problem, direction)
        assert {found.estimated, found.fastest} <= set(op.variants)
        assert found.ratio >= 1
        with fastcnn.tuned():
            assert op.candidates(case.problem, direction)[0][0] == found.fastest
    op.forget_choices()


def test_the_command(slow_winograd: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ["conv2d", "--direction", "forward", "--shape", "1,32,14,14", "--kernel", "32,3,3", "--padding", "1"]
    assert cli.main(["tune", *problem]) == 0
    assert "conv2d forward 1x32x14x14-32x3x3-padding1: im2col, " in capsys.readouterr().out
    assert cli.main(["explain", *problem, "--tuned"]) == 0
    assert "chosen, as measured" in capsys.readouterr().out
    assert cli.main(["explain", *problem]) == 0
    assert "as measured" not in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tuning, "cache_folder", lambda: tmp_path / "file")
    assert cli.main(["tune", *problem]) == 2
    assert "cannot keep the results" in capsys.readouterr().err
    assert cli.main(["tune", *problem, "--threads", "9999"]) == 2
