"""`fastcnn search` from end to end: what it prints, keeps and refuses, and that it goes on after kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastcnn.cli import main
from fastcnn.search import Trial
from fastcnn.search.engines import Workers
from fastcnn.search.searching import Plan
from fastcnn.search.table import Lines, Live, display_for
from fastcnn.train.command import main as train

ROOT = Path(__file__).parents[2]
SMALL = ["--dataset", "digits", "--images", "300", "--threads", "1"]
GRID = ["--grid", "learning_rate=0.0001,0.003", "batch_size=16,32", "epochs=3"]


def records(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a search, without the first."""
    return [json.loads(line) for line in (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)[1:] if line.endswith(b"\n")]


def test_a_grid_is_searched_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert main(["search", *SMALL, *GRID, "--jobs", "2", "--out", str(tmp_path / "run"), "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "digits: 300 training images of 8 x 8, 0.2 held out; recipe fast, seed 0\n4 trials; on 2 processes, 1 thread each"
    )
    found = json.loads(file.read_text())
    trials = found["trials"]
    assert [trial["score"] for trial in trials] == sorted((trial["score"] for trial in trials), reverse=True)
    assert {trial["number"] for trial in trials} == {1, 2, 3, 4}
    assert trials[0]["parameters"]["learning_rate"] == 0.003
    assert trials[0]["score"] > 0.6 > trials[-1]["score"]
    assert found["environment"]["versions"]["fastcnn"]
    by_key = {record["key"]: record["score"] for record in records(tmp_path / "run")}
    assert sorted(by_key.values(), reverse=True) == [trial["score"] for trial in trials]
    streamed, _, last = out.partition("the best first:")
    assert len(re.findall(r"^\| [1-4] ", streamed, re.M)) == 4
    assert [int(n) for n in re.findall(r"^\| +([1-4]) ", last, re.M)] == [trial["number"] for trial in trials]
    best = trials[0]["parameters"]
    assert f"best: learning_rate=0.003, batch_size={best['batch_size']}, epochs=3.0   accuracy {100 * trials[0]['score']:.2f} %" in out
    command = f"train with it: fastcnn train --dataset digits --recipe fast --lr 0.003 --batch-size {best['batch_size']} --epochs 3.0"
    assert out.splitlines()[-1] == command


def test_a_trial_is_the_training_that_the_train_command_does(tmp_path: Path) -> None:
    options = ["--dataset", "digits", "--recipe", "sprint", "--seed", "5", "--threads", "1", "--validation", "0.25"]
    assert (
        main(["search", *options, "--grid", "lr=0.001", "epochs=2", "model=lenet5", "--jobs", "1", "--out", str(tmp_path / "search")]) == 0
    )
    assert train([*options, "--lr", "0.001", "--epochs", "2", "--model", "lenet5", "--json", str(tmp_path / "train.json")]) == 0
    (record,) = records(tmp_path / "search")
    assert record["score"] == json.loads((tmp_path / "train.json").read_text())["validation_accuracy"]


def test_a_random_search_over_folds_in_dask_is_that_of_one_process(
    dask_client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["search", *SMALL, "--folds", "2", "--seed", "3", "--random", "4", "lr=1e-4..1e-2:log", "augment.shift=0..1", "epochs=2"]
    assert main([*options, "--jobs", "1", "--out", str(tmp_path / "one")]) == 0
    address = dask_client.scheduler.address
    assert main([*options, "--backend", "dask", "--scheduler", address, "--out", str(tmp_path / "dask")]) == 0
    out = capsys.readouterr().out
    assert "4 trials; on this process, 1 thread each" in out
    assert "4 trials; on 2 slots of Dask workers, 1 thread each" in out
    assert re.search(r"\d\.\d{4} ±\d\.\d{4}", out), "accuracies vary over folds"
    assert "train with it" not in out, "no option of train sets augment.shift"
    one, dask = ({r["key"]: (r["parameters"], r["score"], r["result"]) for r in records(tmp_path / name)} for name in ("one", "dask"))
    assert len(one) == 4
    assert one == dask


def test_a_search_that_was_killed_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil comes with Dask (extra 'dask')")
    options = [*SMALL, "--grid", "lr=0.001,0.002,0.003,0.004,0.005,0.006,0.007,0.008", "epochs=12", "--jobs", "2", "--seed", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    run = tmp_path / "run"
    command = [sys.executable, "-m", "fastcnn", "search", *options, "--out", str(run)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not ((run / "trials.jsonl").exists() and len(records(run)) >= 2):
            time.sleep(0.005)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len([worker for worker in workers if "LokyProcess" in " ".join(worker.cmdline())]) == 2
        process.send_signal(signal.SIGKILL)
    before = records(run)
    assert not psutil.wait_procs(workers, timeout=10)[1], "its workers end with it"
    assert 2 <= len(before) < 8
    assert main(["search", *options, "--out", str(run), "--resume"]) == 0
    out, err = capsys.readouterr()
    assert f"8 trials, {len(before)} of them done before" in out
    assert err == ""
    after = records(run)
    assert after[: len(before)] == before
    assert len({record["key"] for record in after}) == len(after) == 8
    assert main(["search", *options[:-4], "--jobs", "1", "--seed", "1", "--out", str(tmp_path / "whole")]) == 0
    whole = {record["key"]: (record["score"], record["result"]) for record in records(tmp_path / "whole")}
    assert {record["key"]: (record["score"], record["result"]) for record in after} == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of the arguments --grid --random is required (see fastcnn search --help)"),
        (["--grid", "lerning_rate=1"], "there is no setting 'lerning_rate' to search over; did you mean learning_rate? There are "),
        (["--grid", "lr=1e-4..1e-2:log"], "learning_rate must have values, as a grid has no ranges; draw candidates with --random N"),
        (["--random", "lr=1e-4..1e-2"], "--random needs how many candidates to draw first: --random 20 lr=1e-4..1e-2:log; got 'lr="),
        (["--random", "5"], "--random 5 needs settings to draw, such as "),
        (["--random", "0", "lr=1,2"], "search: count must be between 1 and "),
        (["--grid", "lr=1", "--folds", "1"], "argument --folds: must be at least 2; got 1"),
        (["--grid", "lr=1", "--folds", "2", "--validation", "0.5"], "argument --validation: not allowed with argument --folds"),
        (["--grid", "lr=1", "--validation", "2"], "RecipeTrial: validation must be between 0 and 1; got 2.0"),
        (["--grid", "lr=1", "--images", "3", "--validation", "0.1"], "split: a validation share must be between 0 and 1, and leave images"),
        (["--grid", "lr=1", "--images", "6", "--folds", "5"], "n_splits=5 cannot be greater than the number of members in each class."),
        (["--grid", "lr=1", "--jobs", "many"], "argument --jobs: invalid whole number value: 'many'"),
        (["--grid", "lr=1", "--resume"], "--resume needs --out DIR"),
        (["--grid", "lr=1", "--scheduler", "tcp://127.0.0.1:1"], "--scheduler is of a Dask cluster, and needs --backend dask"),
        (["--grid", "model=resnet9000"], "Recipe: model must be one of "),
        (["--grid", "model=digit-net", "batch_size=0"], "batch_size must be"),
        (["--grid", "lr=1", "--data-dir", "/nowhere", "--dataset", "mnist"], "/nowhere"),
        (["--grid", "lr=1", "--out", "/dev/null/run"], "Not a directory"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--dataset", "digits", "--jobs", "1", *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("fastcnn: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_search_without_a_score_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *SMALL, "--grid", "lr=1e30", "epochs=1", "--jobs", "1"]) == 1
    out, err = capsys.readouterr()
    assert "failed: FloatingPointError" in out
    assert err.startswith("every trial failed; trial 1: FloatingPointError: ")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("fastcnn.search")]:
        monkeypatch.delitem(sys.modules, name)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "distributed", None)
        assert main(["search", *SMALL, *GRID, "--backend", "dask"]) == 2
        assert "search(backend='dask') needs Dask: pip install \"fastcnn[dask]\"" in capsys.readouterr().err
    for name in [name for name in sys.modules if name.startswith("fastcnn.search")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert main(["search", *SMALL, *GRID]) == 2
    assert 'fastcnn.search needs joblib: pip install "fastcnn[search]"' in capsys.readouterr().err


# --- On a terminal -----------------------------------------------------------------------------------------------------


class Terminal:
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich", reason="rich is not installed (extra 'train')")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    display = display_for(terminal)  # type: ignore[arg-type]
    assert isinstance(display, Live)
    done = Trial(1, {"x": 10}, 0.5, {"loss": 1.5}, 0.25)
    display.begin(Plan([{"x": 10}, {"x": 20}, {"x": 30}], [done], Workers("loky", 2, 1), 2, False))
    display.add(Trial(2, {"x": 20}, 0.75, {}, 2.0, attempts=2))
    display.lost(3, "SIGKILL")
    display.add(Trial(3, {"x": 30}, None, {}, 0.0, 3, "its worker died 3 times: SIGKILL"))
    display.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.text)  # without colours
    assert "3 trials, 1 of them done before; on 2 processes, 2 threads each (more threads than cores" in text
    assert "a worker died with trial 3, which will be tried again, alone (SIGKILL)" in text
    last = text[text.rindex("3 of 3 trials, the best first") :]
    assert [cells.split()[0] for cells in re.findall(r"^│ +(\d.*?) │", last, re.M)] == ["2", "1", "3"]
    assert "failed: its worker died 3 times: SIGKILL" in last


def test_a_terminal_without_rich_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(display_for(Terminal()), Lines)  # type: ignore[arg-type]
