"""A rank that dies ends the job within seconds, with its cause and an exit code."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from . import _worker
from ._launch import ROOT, WORKER, launch

SCRIPT = ROOT / "scripts" / "train_mnist.py"


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ("kill", 9, "Killed (signal 9)"),
        ("raise", 1, "rank 1 of 2 ends the job (exit code 1):"),
        ("exit", 7, "rank 1 of 2 ends the job (exit code 7):"),
    ],
)
def test_the_end_of_one_rank_is_the_end_of_all(how: str, code: int, told: str, tmp_path: Path) -> None:
    (tmp_path / "how").write_text(how)
    done = launch(2, WORKER, tmp_path, "die")
    seconds = time.time() - float((tmp_path / "dead").read_text())
    assert done.returncode == code
    assert told in done.stdout + done.stderr
    assert seconds < 10
    if how == "kill":
        found, expected = _worker.resumed(None, tmp_path), _worker.everything(None, tmp_path)
        for name, array in expected.items():
            assert np.abs(found[name] - array).max() <= 1e-12 * np.abs(array).max(), f"{name}, resumed by one process"
    if how == "raise":
        assert "a callback's mistake" in done.stderr
        assert "_worker.py" in done.stderr, "the traceback"


def test_the_command_trains_on_two_ranks(tmp_path: Path) -> None:
    """One process speaks and writes; the result is that of the images of both."""
    digits = "--dataset", "digits", "--epochs", "3", "--seed", "1"
    done = launch(2, SCRIPT, *digits, "--distributed", "--json", tmp_path / "two.json", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1
    assert "on each of 2 ranks" in done.stdout
    found = json.loads((tmp_path / "two.json").read_text())
    assert found["ranks"] == 2
    assert found["test_accuracy"] > 0.9
    assert (tmp_path / "run" / "report.html").exists()
    alone = launch(1, SCRIPT, *digits, "--json", tmp_path / "one.json", "--checkpoint", tmp_path / "run" / "checkpoint.npz", "--resume")
    assert alone.returncode == 0, alone.stderr
    resumed = json.loads((tmp_path / "one.json").read_text())
    assert resumed["test_accuracy"] == found["test_accuracy"], "a finished run is only loaded, by any number of ranks"


def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    done = launch(2, SCRIPT, "--distributed", "--dataset", "digits", "--patience", "3")
    assert done.returncode == 2
    assert done.stderr.count("error: --patience needs --validation") == 1


def test_info_shows_ranks_and_threads() -> None:
    done = launch(2, "-m", "fastcnn", "info", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["ranks"]
    assert (found["rank"], found["size"], found["on_this_host"]) == (0, 2, 2)
    assert found["ranks_x_threads"] == f"2 x {found['threads_of_each']}"
