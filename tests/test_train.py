"""The training command, end to end in fresh processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fastcnn import builds, files
from fastcnn.data import digits
from fastcnn.train import command
from fastcnn.train.interrupt import Interrupted
from fastcnn.train.recipes import RECIPES

ROOT = Path(__file__).parents[1]
SCRIPT = [sys.executable, str(ROOT / "scripts/train_mnist.py")]
KEYS = {
    "dataset", "model", "mean", "deviation", "test_accuracy", "validation_accuracy", "train_images", "test_images", "epochs",
    "train_seconds", "ready_seconds",
    "total_seconds", "images_per_second", "parameters", "threads", "seed", "recipe", "settings", "environment",
}  # fmt: skip


def _environment(**changes: str | None) -> dict[str, str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    return {name: value for name, value in env.items() if value is not None}


def _script(*arguments: str, expect: int = 0, **env: str | None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*SCRIPT, *arguments], capture_output=True, text=True, env=_environment(**env), timeout=600)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_digits_end_to_end(tmp_path: Path) -> None:
    out, result = tmp_path / "run", tmp_path / "result.json"
    done = _script("--dataset", "digits", "--epochs", "8", "--seed", "3", "--threads", "1", "--out", str(out), "--json", str(result))
    values = json.loads(result.read_text())
    assert set(values) == KEYS
    assert values["dataset"] == "digits"
    assert values["test_accuracy"] > 0.95
    assert (values["train_images"], values["test_images"], values["epochs"]) == (1438, 359, 8)
    assert (values["threads"], values["seed"]) == (1, 3)
    assert values["images_per_second"] == pytest.approx(8 * 1438 / values["train_seconds"])
    assert values["total_seconds"] > values["ready_seconds"] + values["train_seconds"] > values["train_seconds"] > 0
    assert values["recipe"] == "fast"
    assert values["settings"]["epochs"] == 8
    assert values["settings"]["learning_rate"] == RECIPES["digits"]["fast"].learning_rate
    assert len(re.findall(r"^epoch \d/8  loss \d\.\d{4}  accuracy \d+\.\d\d %", done.stdout, re.M)) == 8, "plain lines in a pipe"
    assert "\x1b" not in done.stdout
    assert f"test accuracy {100 * values['test_accuracy']:.2f} %" in done.stdout
    assert {path.name for path in out.iterdir()} == {
        "weights.npz", "initial.npz", "history.json", "result.json", "evaluation.npz", "report.html", "checkpoint.npz",
    }  # fmt: skip
    weights = files.load_arrays(out / "weights.npz")
    assert sum(w.size for w in weights.values()) == values["parameters"]
    history = json.loads((out / "history.json").read_text())["epochs"]
    assert [epoch["number"] for epoch in history] == list(range(1, 9))
    assert history[-1]["loss"] < history[0]["loss"]
    page = (out / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64") >= 8, "filters, feature maps, mistakes"
    assert "Left out" not in page
    assert not re.search("https?:", re.sub(r"http://www\.w3\.org/\S+", "", page)), "nothing is fetched"


def test_same_seed_same_weights(tmp_path: Path) -> None:
    weights = []
    for run, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        _script("--dataset", "digits", "--epochs", "2", "--seed", seed, "--checkpoint", str(tmp_path / run))
        saved = files.load_arrays(tmp_path / run)
        weights.append({name: saved[name] for name in saved if name.startswith("model/")})
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not np.array_equal(weights[0]["model/0.weight"], weights[2]["model/0.weight"])


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str | None]:
    """Return an environment with no MNIST and no network: the proxy's port is closed."""
    proxy = "http://127.0.0.1:9"
    home = str(tmp_path / "home")
    return {
        "FASTCNN_DATA": None, "HOME": home, "XDG_CACHE_HOME": None, "LOCALAPPDATA": home,
        "http_proxy": proxy, "https_proxy": proxy, "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": None, "no_proxy": None,
    }  # fmt: skip


def test_auto_falls_back_loudly(nowhere: dict[str, str | None], tmp_path: Path) -> None:
    done = _script("--epochs", "1", "--json", str(tmp_path / "r.json"), **nowhere)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "training on scikit-learn's 8 x 8 digits instead" in done.stderr
    assert json.loads((tmp_path / "r.json").read_text())["dataset"] == "digits"


def test_mnist_that_is_not_there_is_an_error(nowhere: dict[str, str | None]) -> None:
    done = _script("--dataset", "mnist", expect=2, **nowhere)
    for part in ("train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "FASTCNN_DATA", "http"):
        assert part in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--epochs", "nan"],
        ["--lr", "-1"],
        ["--recipe", "slow"],
        ["--model", "transformer"],
        ["--label-smoothing", "1"],
        ["--validation", "1"],
        ["--patience", "2"],
        ["--dataset", "digits", "--validation", "0.0001"],
        ["--resume"],
        ["--resume", "nowhere.npz"],
        ["--batch-size", "-3"],
        ["--seed", "x"],
        ["--dataset", "cifar"],
        ["--threads", "100000"],
        ["--data-dir", "/nowhere", "--dataset", "mnist"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = command.main(arguments)
    except SystemExit as end:  # argparse's own
        code = end.code  # type: ignore[assignment]
    assert code == 2
    printed = capsys.readouterr()
    assert "error: " in printed.err
    assert "epoch " not in printed.out


def test_damaged_files_are_an_error_not_a_fallback(tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(b"\0\0\x08\x03 not a digit in sight")
    done = _script("--data-dir", str(tmp_path), expect=2)
    assert "train-images-idx3-ubyte" in done.stderr


@pytest.mark.parametrize("option", ["--json", "--out"])
def test_results_that_cannot_be_written_are_noticed_before_the_training(option: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _script("--dataset", "digits", option, str(tmp_path / "file" / "below"), expect=2)
    assert "epoch" not in done.stdout
    assert str(tmp_path / "file") in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_ctrl_c_saves_and_tells_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    checkpoint = tmp_path / "a file.npz"
    options = ["--dataset", "digits", "--epochs", "400", "--threads", "1", "--no-augment", "--checkpoint", str(checkpoint)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": _environment()}

    def listen() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job inherits it ignored

    with subprocess.Popen([*SCRIPT, *options], preexec_fn=listen, **pipes) as process:
        for line in process.stdout:
            if line.startswith("epoch 2"):
                break
        begin = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert process.returncode == 130
    assert "Traceback" not in errors
    (step,) = re.findall(r"interrupted after step (\d+) of 18000, saved in ", errors)
    assert f"go on with: {shlex.join(['python', *SCRIPT[1:], *options])} --resume" in errors
    with np.load(checkpoint) as saved:
        assert len(saved["step_losses"]) == int(step)
    other = _script(*options, "--seed", "1", "--resume", expect=2)
    assert "seed was 0, now 1" in other.stderr


def test_interrupted_without_a_checkpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise Interrupted("interrupted after step 3 of 45; no checkpoint was asked for")

    monkeypatch.setattr(command, "fit", interrupted)
    assert command.main(["--dataset", "digits", "--epochs", "1"]) == 130
    assert "--checkpoint FILE would keep what --resume needs" in capsys.readouterr().err


def test_out_writes_the_run_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is handed to the report's writer, and that a finished run is only loaded when it is resumed."""
    calls: list[tuple] = []
    module = ModuleType("fastcnn.report.run_folder")
    module.__spec__ = ModuleSpec("fastcnn.report.run_folder", None)
    module.write_run = lambda *arguments: calls.append(arguments)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastcnn.report.run_folder", module)
    options = ["--dataset", "digits", "--recipe", "sprint", "--epochs", "1.5", "--validation", "0.2", "--average", "0.9",
               "--out", str(tmp_path)]  # fmt: skip
    assert command.main(options) == 0
    assert command.main([*options, "--resume"]) == 0
    (folder, model, initial, history, result, logits, dataset), again = calls
    assert folder == tmp_path
    assert model.state_dict().keys() == initial.keys()
    assert not np.array_equal(model.state_dict()["0.weight"], initial["0.weight"])
    assert [epoch.number for epoch in history.epochs] == [1, 2]
    assert len(history.step_losses) == 54
    assert history.epochs[-1].validation_accuracy == result["validation_accuracy"]
    assert result["train_images"] == 1151
    assert logits.shape == (359, 10)
    assert np.mean(logits.argmax(axis=1) == dataset.test_labels) == result["test_accuracy"]
    json.dumps(result)
    assert again[3] == history
    np.testing.assert_array_equal(again[5], logits)


@pytest.mark.parametrize("name", ["sprint", "balanced", "accurate"])
def test_recipes_on_digits(name: str, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    shorter = [] if name == "sprint" else ["--epochs", "8"]
    assert command.main(["--dataset", "digits", "--recipe", name, "--json", str(result), *shorter]) == 0
    values = json.loads(result.read_text())
    assert values["recipe"] == name
    assert bool(values["settings"]["augment"]) == (name in ("balanced", "accurate"))
    assert values["test_accuracy"] > 0.95


def test_the_recipe_says_how_test_images_are_answered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command asks for the shifted copies that the recipe names, writes that down, and judges by these answers."""
    answers: list[tuple[object, np.ndarray]] = []
    original = command.predict

    def predict(*arguments: object, **options: object) -> np.ndarray:
        answers.append((options["shifts"], original(*arguments, **options)))  # type: ignore[arg-type]
        return answers[-1][1]

    monkeypatch.setattr(command, "predict", predict)
    monkeypatch.setitem(RECIPES["digits"], "sprint", replace(RECIPES["digits"]["sprint"], epochs=1, shifts=1))
    assert command.main(["--dataset", "digits", "--recipe", "sprint", "--json", str(tmp_path / "r.json")]) == 0
    ((shifts, logits),) = answers
    assert shifts == 1
    np.testing.assert_allclose(np.exp(logits.astype(float)).sum(axis=1), 1, rtol=1e-5)
    values = json.loads((tmp_path / "r.json").read_text())
    assert values["settings"]["shifts"] == 1
    assert values["test_accuracy"] == np.mean(logits.argmax(axis=1) == digits().test_labels)
    assert "shifts=1" in capsys.readouterr().out


def test_a_warm_start_compiles_nothing(tmp_path: Path) -> None:
    """The second process finds every kernel on the disk, also those of the last batch and of the evaluation, and says nothing about it."""
    options = ["--dataset", "digits", "--epochs", "1.5", "--threads", "1", "--recipe", "balanced"]
    _script(*options)
    done = _script(*options, "--json", str(tmp_path / "r.json"))
    assert "compil" not in done.stdout
    assert "recipe balanced: epochs=1.5, batch_size=32, optimizer=adam" in done.stdout


def test_kernels_are_compiled_before_the_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    trained: list[int] = []
    built: list[builds.Build] = []
    original = command.fit

    def fit(*args: object, **kwargs: object) -> object:
        trained.append(1)
        with builds.watching(built.append):
            return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "fit", fit)
    assert command.main(["--dataset", "digits", "--epochs", "1.5", "--batch-size", "23", "--validation", "0.13"]) == 0
    assert (trained, built) == ([1], [])
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.skipif(not os.environ.get("FASTCNN_DATA"), reason="FASTCNN_DATA does not name a folder with mnist/*-ubyte.gz")
def test_full_mnist_one_epoch(tmp_path: Path) -> None:
    """The main job on the real data; three epochs reach 99.3 to 99.5 %."""
    result = tmp_path / "result.json"
    _script("--dataset", "mnist", "--epochs", "1", "--json", str(result))
    values = json.loads(result.read_text())
    assert (values["train_images"], values["test_images"]) == (60_000, 10_000)
    assert values["test_accuracy"] >= 0.985


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.npz"
    files.save_arrays(path, {"a": np.arange(3)})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), files.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["weights.npz"]
    old, fresh = path.with_name(".weights.npz.aa.part"), path.with_name(".weights.npz.bb.part")
    for part, age in ((old, 7200), (fresh, 60)):
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age,) * 2)
    files.save_arrays(path, {"a": np.arange(3)})
    assert (old.exists(), fresh.exists()) == (False, True), "what a process left that was killed hours ago is removed"
    with pytest.raises(TypeError, match="holds Python objects"):
        files.save_arrays(path, {"a": np.array([object()])})
    np.savez(path, a=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="objects are refused"):
        files.load_arrays(path)
