"""A rank that dies ends the job within seconds, with its cause and an exit code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from . import _worker
from ._launch import ROOT, WORKER, command, environment, launch

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


@pytest.mark.skipif(sys.platform == "win32", reason="opens a terminal of its own")
def test_ctrl_c_in_the_terminal_of_mpiexec_saves_and_tells_how_to_go_on(tmp_path: Path) -> None:
    """The key is pressed in a terminal, as `mpiexec` decides what its ranks hear of it; one speaks, and its advice can be pasted."""
    checkpoint = tmp_path / "a file.npz"
    options = ["--distributed", "--dataset", "digits", "--epochs", "400", "--no-augment", "--checkpoint", str(checkpoint)]
    code, shown = _pressed(command(2, SCRIPT, *options), when="epoch 2/")
    assert code == 130, shown
    (step,) = re.findall(r"interrupted after step (\d+) of 18000, saved in ", shown)
    advice = shlex.join(["mpiexec", "-n", "2", "python", str(SCRIPT), *options, "--resume"])
    assert shown.count(f"go on with: {advice}") == 1
    with np.load(checkpoint) as saved:
        assert len(saved["step_losses"]) == int(step)


def _pressed(words: list[str], when: str) -> tuple[int, str]:
    """Return the exit code of a command in a terminal of its own, and what it shows; Ctrl-C is pressed when a line has been seen."""
    terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    shown = ""
    with subprocess.Popen([sys.executable, "-c", terminal, *words], cwd=ROOT, env=environment(), bufsize=1, **pipes) as process:
        watch = threading.Timer(100, process.kill)
        watch.start()
        for line in process.stdout:
            shown += line
            if when in line:
                process.stdin.write("\x03")
                process.stdin.flush()
        watch.cancel()
    return process.returncode, shown


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
