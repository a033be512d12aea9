"""The comparison with other libraries, without any of them: suites, rows, tables, workers, and that a wrong result is never timed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.peers import oracle, run, table
from bench.peers.measure import measure_row
from bench.peers.record import Record
from bench.peers.row import Row, Speed
from bench.suites import SUITES, WEIGHT_SCALE
from fastcnn.ops.conv2d import Conv2dProblem
from fastcnn.peers import team
from fastcnn.peers import truth as truth_file
from fastcnn.registry import DIRECTIONS, Case

README = Path(__file__).parents[1] / "README.md"
CASES = [case for cases in SUITES.values() for case in cases]
TINY = Case("tiny", Conv2dProblem(2, 3, 6, 5, 4, 3, 3, 1, 2, 1, 1, 1, 1))
FAKE = """
import os, time
from fastcnn.peers.contender import Contender
from fastcnn.peers.with_fastcnn import builders as ours, pin

def _off(build, how):
    call, result = build()
    return Contender(call, lambda value: how(result(value)))

def _raise():
    raise RuntimeError("cannot be built")

def builders(p, direction, arguments, threads):
    right = ours(p, direction, arguments, threads)["fastcnn NCHW"]
    def one_pixel(y):
        y[-1, -1, -1, -1] += 1e-2
        return y
    return {
        "fake right": right,
        "fake one pixel": lambda: _off(right, one_pixel),
        "fake shape": lambda: _off(right, lambda y: y[:, :1]),
        "fake broken": _raise,
    }
"""


def _row(case: str, direction: str = "forward", threads: int = 1, suite: str = "resnet50", failed=None, **gflops: float) -> Row:
    speeds = {name.replace("_", " "): Speed(value, value * 0.9, value * 1.1, 5, 5, 0.1, 1e-7) for name, value in gflops.items()}
    return Row(suite, case, TINY.problem._asdict(), direction, threads, "direct", 0.1, speeds, failed or {})


@pytest.fixture
def record() -> dict:
    bfloat16 = {"fastcnn_medium_NHWC": 150, "fastcnn_prepared_medium_NHWC": 250, "openvino_default": 200}
    rows = [
        _row("won", fastcnn_NHWC=100, fastcnn_NCHW=90, torch_NCHW=40, torch_NHWC=50, onnxruntime=80, **bfloat16),
        _row("lost", fastcnn_NHWC=20, fastcnn_NCHW=30, torch_NCHW=60, torch_NHWC=50, onnxruntime=75, failed={"jax": "its process died"}),
        _row("won", "backward_weight", fastcnn_NHWC=100, fastcnn_NCHW=90, torch_NCHW=90),
        _row("won", threads=2, fastcnn_NHWC=150, torch_NCHW=90),
        _row("ours-failed", threads=2, torch_NCHW=90, failed={"fastcnn NHWC": "wrong"}),
    ]
    return {
        "environment": {"cpu": "Some CPU", "isa": "avx2", "versions": {"fastcnn": "1", "numpy": "2", "numba": "3", "python": "3"}},
        "peers": {"torch": "2.13.0", "onnxruntime": "1.0"},
        "load": {"start": [0.5, 0.5, 0.5], "end": None},
        "peak_gflops": {"1": 125.0},
        "rows": [json.loads(json.dumps(one.record(125.0))) for one in rows],
    }


def test_names_are_unique_and_scales_are_of_known_cases() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert set(WEIGHT_SCALE) <= set(names)
    assert all(case.name.startswith(f"{suite}-n{case.problem.N}-") for suite, cases in SUITES.items() for case in cases)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_suites_hold_valid_problems(case: Case) -> None:
    p = case.problem
    assert min(p.N, p.C, p.K, p.P, p.Q) >= 1
    assert p.C % p.groups == p.K % p.groups == 0
    size = int(case.name.split("-")[2].split("x")[1])
    assert p.H == p.W == size
    if p.stride_h == 1 and 2 * p.top + 1 == p.R:
        assert p.output_shape[2:] == p.input_shape[2:]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("groups", [1, 3])
def test_the_truth_is_the_references(direction: str, groups: int) -> None:
    case = Case("grouped", Conv2dProblem(2, 3, 7, 6, 6, 3, 3, 2, 1, 1, 1, 1, 1, groups=groups))
    truth = oracle.truth(case, direction)
    exact = [argument.astype(np.float64) for argument in truth.arguments]
    (want,) = oracle.CONV2D.problem.outputs(case.problem, direction, np.float64)
    oracle.CONV2D.run("reference", direction, case.problem, exact, [want])
    np.testing.assert_allclose(truth.want, want, rtol=1e-12, atol=1e-12)
    assert truth_file.errors(want.astype(np.float32), truth.want, truth.allowed).share <= 1


def test_a_wrong_truth_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    compute = oracle._compute

    def doubled(variant, *rest):
        return compute(variant, *rest) * (2 if variant == "im2col" else 1)

    monkeypatch.setattr(oracle, "_compute", doubled)
    with pytest.raises(ArithmeticError, match="tiny: forward by im2col"):
        oracle.truth(TINY, "forward")


def test_what_is_rejected() -> None:
    assert truth_file.rejected("torch NCHW", 0.5, 1e-3) is None  # tiny results, all within rounding
    assert truth_file.rejected("torch NCHW", 3.0, 9e-6) is None  # Winograd's rounding
    assert "wrong: error 3 times the tolerance" in truth_file.rejected("torch NCHW", 3.0, 2e-3)
    assert truth_file.rejected("openvino default", 3.0, 2e-3) is None
    assert truth_file.rejected("openvino default", 3.0, np.nan) is not None
    assert truth_file.rejected("torch NCHW", np.inf, np.inf) is not None


def test_ratios_leave_out_what_is_not_float32(record: dict) -> None:
    won, lost = (Row.from_record(one) for one in record["rows"][:2])
    ratios = {name: ratio for name, ratio in won.ratios().items() if ratio is not None}
    medium = {"medium / openvino default": 0.75, "prepared medium / openvino default": 1.25}
    assert ratios == {"best / best peer": 1.25, "best / torch": 2.0, "NHWC / torch": 2.0, "NCHW / torch": 1.8, **medium}
    assert lost.ratios()["best / best peer"] == 0.4
    assert record["rows"][0]["share_of_peak"] == 0.8


def test_the_table_shows_losses(record: dict) -> None:
    lines = table.summary(record).splitlines()
    assert "| resnet50 | forward | 1 | 2 | 44% | 1.00 | **0.50** | **0.71** | 1 of 2 | **0.40** lost | 1.25 | 1.25 won |" in lines
    assert "| resnet50 | forward | 2 | 2 |  | 1.67 | 1.67 | 1.67 | 1 of 2 | 1.67 won |  |  |" in lines
    assert "- jax failed 1 time(s): lost forward (its process died)" in lines
    assert lines[0].startswith("Some CPU, avx2, float32; multiply-add peak 125 GFLOP/s on 1 thread; load 0.5; fastcnn 1,")
    lines = table.details(record).splitlines()
    assert "| won | 100 / 50 / 80 | 100 / 90 / 90 |" in lines
    assert "| lost | **30 / 60 / 75** |  |" in lines
    assert "| won | 150 / 90 / 90 |  |" in lines
    assert "| ours-failed | **- / 90 / 90** |  |" in lines


def test_the_table_goes_between_the_markers(record: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "peers.json", tmp_path / "README.md"
    source.write_text(json.dumps(record))
    target.write_text("no markers\n")
    assert table.main([str(source), "--write", str(target)]) == 2
    assert table.BEGIN in capsys.readouterr().err
    assert target.read_text() == "no markers\n"
    target.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for _ in range(2):  # writing again changes nothing
        assert table.main([str(source), "--write", str(target)]) == 0
        text = target.read_text()
        assert text.startswith(f"before\n{table.BEGIN}\n")
        assert text.endswith(f"{table.END}\nafter\n")
        assert text.count("| lost |") == 1
        assert "old" not in text


def test_markers_of_the_readme() -> None:
    text = README.read_text("utf-8")
    assert text.count(table.BEGIN) == text.count(table.END) <= 1
    assert text.find(table.BEGIN) <= text.find(table.END)


def test_a_run_with_no_peer_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "peers.json"
    options = ["--suite", "mnist", "--cases", "mnist-n1-1x28-6k5", "--directions", "forward", "--peers", "", "--seconds", "0.01"]
    assert run.main([*options, "--summary", "--json", str(file)]) == 0
    assert "| mnist | forward | 1 | 1 |" in capsys.readouterr().out
    record = json.loads(file.read_text())
    assert record["peak_gflops"]["1"] > 0
    (one,) = record["rows"]
    assert one["case"] == "mnist-n1-1x28-6k5"
    assert one["variant"]
    assert one["failed"] == {}
    assert {"fastcnn NHWC", "fastcnn NCHW"} <= set(one["speeds"])
    for speed in one["speeds"].values():
        assert 0 < speed["low"] <= speed["gflops"] <= speed["high"]
        assert 0 <= speed["frobenius"] < 1e-5
    assert 0 < one["share_of_peak"] < 1.5
    assert table.main([str(file)]) == 0


def test_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def begun(peers, options):
        asked.extend(peers)
        environment = {"cpu": "", "isa": "", "versions": dict.fromkeys(("fastcnn", "numpy", "numba"), "")}
        return Record({"environment": environment, "peers": {}, "load": {"start": None}, "peak_gflops": {}, "rows": []}, None)

    monkeypatch.setattr(run, "_record", begun)
    monkeypatch.setattr(run, "measure", lambda team_, record, options: record.save())
    monkeypatch.setattr(run, "installed", lambda peer: peer == "jax")
    assert run.main(["--peers", "torch,jax"]) == 0
    assert asked == ["jax"]
    assert 'torch is not installed and is left out; pip install "fastcnn[peers]" brings it' in capsys.readouterr().err


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_cut_short_keeps_its_rows_and_is_resumed(
    end: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, measured = tmp_path / "peers.json", []

    def one(team_, suite, case, direction, threads, folder, seconds):
        if len(measured) == 1:
            assert len(json.loads(file.read_text())["rows"]) == 1  # on disk before the run goes on: not even SIGKILL takes it
            os.kill(os.getpid(), end)
        measured.append(case.name)
        return _row(case.name, direction, threads, suite, fastcnn_NHWC=100)

    monkeypatch.setattr(run, "measure_row", one)
    monkeypatch.setattr(run, "_peak", lambda *rest: None)
    monkeypatch.setattr(run.oracle, "truth", lambda *rest: SimpleNamespace(save=lambda folder: None))
    options = ["--cases", "mnist-n1-1x28-*k5,n1-6x14", "--directions", "forward", "--peers", "", "--resume", str(file)]
    assert run.main(options) == 130
    assert measured == ["mnist-n1-1x28-24k5"]
    measured[:] = ["", ""]
    assert run.main(options) == 0
    assert measured[2:] == ["mnist-n1-1x28-6k5", "mnist-n1-6x14-16k5", "mnist-n1-1x28-32k5"]
    rows = json.loads(file.read_text())["rows"]
    assert [row["case"] for row in rows] == ["mnist-n1-1x28-24k5", *measured[2:]]
    assert list(tmp_path.iterdir()) == [file]
    file.write_text(file.read_text().replace('"isa": "', '"isa": "other '))
    assert run.main(options) == 2
    assert "peers.json was measured with isa other " in capsys.readouterr().err


def test_an_interrupted_run_ends_quietly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "measure_row", interrupted)
    file = tmp_path / "peers.json"
    assert run.main(["--cases", "mnist-n1-1x28-6k5", "--directions", "forward", "--peers", "", "--json", str(file)]) == 130
    assert "interrupted; " in capsys.readouterr().err
    assert json.loads(file.read_text())["rows"] == []


@pytest.mark.parametrize("options", [["--suite", "alexnet"], ["--peers", "caffe"], ["--threads", "9999"], ["--cases", "no such"]])
def test_options_are_checked(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(options)
    assert "error: " in capsys.readouterr().err


def test_a_wrong_peer_is_rejected_and_a_dead_or_hanging_one_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake_peer.py").write_text(FAKE)
    (tmp_path / "fake_death.py").write_text("import os\npin = builders = lambda *rest: os._exit(3)\n")
    (tmp_path / "fake_sleeper.py").write_text("import time\nbuilders = pin = lambda *rest: time.sleep(60)\n")
    (tmp_path / "fake_absent.py").write_text("import no_such_library_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "truth"
    oracle.truth(TINY, "forward").save(folder)
    names = ("peer", "death", "absent")
    with team.Team({"fastcnn": "fastcnn.peers.with_fastcnn", **{name: f"fake_{name}" for name in names}}) as everyone:
        measured = measure_row(everyone, "none", TINY, "forward", 1, str(folder), 0.01)
        first = everyone.worker("death", 1)
        sleeper = team.Worker("fake_sleeper", 1)
        with pytest.raises(team.Failed, match="no answer to 'prepare' in 0 s"):
            sleeper.ask("prepare", TINY.problem, "forward", str(folder), seconds=0.3)
        assert not sleeper.alive
    assert not first.alive
    assert "fake right" in measured.speeds
    assert "fastcnn NHWC" in measured.speeds
    assert set(measured.failed) == {"fake one pixel", "fake shape", "fake broken", "death", "absent"}
    assert measured.failed["fake one pixel"].startswith("wrong: error ")
    assert measured.failed["fake broken"] == "RuntimeError: cannot be built"
    assert measured.failed["death"] == "its process died in 'prepare' (exit code 3)"
    assert "no_such_library_anywhere" in measured.failed["absent"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not pin processes")
def test_a_worker_stays_on_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os\nfrom fastcnn.peers.contender import Contender\npin = lambda threads: None\n"
    source += "def builders(*rest):\n    raise ValueError(f'{sorted(os.sched_getaffinity(0))} {os.environ[\"OMP_NUM_THREADS\"]}')\n"
    (tmp_path / "fake_affinity.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    oracle.truth(TINY, "forward").save(tmp_path / "truth")
    worker = team.Worker("fake_affinity", 1)
    with pytest.raises(team.Failed) as failed:
        worker.ask("prepare", TINY.problem, "forward", str(tmp_path / "truth"))
    worker.end()
    assert str(failed.value) == f"ValueError: {team.usable_cores()[:1]} 1"
