"""What the experiments share: arguments, data, the table, pictures, and what a user is told."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import _common
from fastcnn import data

from ._pictures import assert_drawn, pixels

FOLDER = Path(__file__).parents[2] / "scripts/experiments"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def options(*arguments: str) -> argparse.Namespace:
    return _common.parser("An experiment.").parse_args(arguments)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_tells_what_it_is(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert text.startswith('"""')
    assert text.endswith('if __name__ == "__main__":\n    sys.exit(run(main))\n')
    assert len(text.splitlines()) < 300


def test_an_experiment_runs_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, FOLDER / "gradient_check.py", "--quick"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert_drawn(tmp_path / "runs/experiments/gradient_check.png")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--seed", "-1"], "--seed: must be a whole number from 0; got -1"), (["--seed", "x"], "got x"), (["--sed", "1"], "unrecognized")],
)
def test_mistakes_in_arguments(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        options(*[argument.replace("--seed=", "") for argument in arguments])
    assert raised.value.code == 2
    assert told in capsys.readouterr().err


def test_data_of_quick_runs_and_where_mnist_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _common.load(options("--quick")).name == "digits"
    assert "digits: 1,438 training and 359 test images of 8 x 8" in capsys.readouterr().out

    def missing(folder: Any) -> data.Dataset:
        raise data.DatasetNotFound(f"mnist: not in {folder}")

    monkeypatch.setattr(data, "mnist", missing)
    assert _common.load(options()).name == "digits"
    assert "MNIST is not here" in capsys.readouterr().err
    with pytest.raises(data.DatasetNotFound):
        _common.load(options("--data-dir", str(tmp_path)))  # a folder that was named is meant


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["experiment.py", "--quick"])
    seen = []
    assert _common.run(seen.append) == 0
    assert seen == [["--quick"]]

    def fails(argv: Any) -> None:
        raise data.DatasetNotFound("mnist: nowhere")

    assert _common.run(fails) == 2
    assert capsys.readouterr().err == "error: mnist: nowhere\n"

    def interrupted(argv: Any) -> None:
        raise KeyboardInterrupt

    assert _common.run(interrupted) == 130


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'needs matplotlib: pip install "fastcnn\[experiments\]"'):
        _common.figure()


def test_table() -> None:
    assert _common.table(("name", "share"), [("a", 0.12345), ("longer", 7)]) == (
        "name     share\n"
        "--------------\n"
        "a       0.1235\n"
        "longer       7"
    )  # fmt: skip


def test_a_picture_has_what_is_drawn(tmp_path: Path) -> None:
    drawn, ((axes,),) = _common.figure()
    axes.plot([0, 1], [0.25, 0.75], color=_common.GREEN)
    _common.percent(axes)
    axes.set_yticks([0.25, 0.75])
    path = _common.save(drawn, options("--out", str(tmp_path / "new")), "line")
    assert path == tmp_path / "new/line.png"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["25 %", "75 %"]
    assert_drawn(path, [_common.GREEN])
    rows = np.nonzero((pixels(path) == [0x00, 0x9E, 0x73]).all(axis=2))
    assert rows[0][rows[1].argmin()] > rows[0][rows[1].argmax()], "it rises"
    with pytest.raises(AssertionError, match="0 pixels of"):
        assert_drawn(path, [_common.RED])
