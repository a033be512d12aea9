"""The training command, end to end in fresh processes, and its loop."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastcnn import files
from fastcnn.train.loop import Pixels, evaluate, predict, train
from fastcnn.train.progress import LineProgress, progress_for

ROOT = Path(__file__).parents[1]
SCRIPT = [sys.executable, str(ROOT / "scripts/train_mnist.py")]
KEYS = {
    "dataset", "test_accuracy", "train_images", "test_images", "epochs", "train_seconds", "total_seconds",
    "images_per_second", "parameters", "threads", "seed",
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
    assert values["total_seconds"] > values["train_seconds"] > 0
    assert len(re.findall(r"^epoch \d/8  loss \d\.\d{4}  accuracy \d+\.\d\d %", done.stdout, re.M)) == 8, "plain lines in a pipe"
    assert "\x1b" not in done.stdout
    assert f"test accuracy {100 * values['test_accuracy']:.2f} %" in done.stdout
    assert {path.name for path in out.iterdir()} == {"weights.npz", "result.json", "training.png"}
    weights = files.load_arrays(out / "weights.npz")
    assert sum(w.size for w in weights.values()) == values["parameters"]
    history = json.loads((out / "result.json").read_text())["history"]
    assert [epoch["number"] for epoch in history] == list(range(1, 9))
    assert history[-1]["loss"] < history[0]["loss"]
    _assert_picture(out / "training.png")


def _assert_picture(path: Path) -> None:
    from matplotlib.image import imread

    pixels = imread(path)
    assert pixels.shape[0] > 500
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100, "a blank picture"


def test_same_seed_same_weights(tmp_path: Path) -> None:
    weights = []
    for run, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        _script("--dataset", "digits", "--epochs", "2", "--seed", seed, "--out", str(tmp_path / run))
        weights.append(files.load_arrays(tmp_path / run / "weights.npz"))
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not np.array_equal(weights[0]["0.weight"], weights[2]["0.weight"])


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
        ["--batch-size", "-3"],
        ["--seed", "x"],
        ["--dataset", "cifar"],
        ["--threads", "100000"],
        ["--data-dir", "/nowhere", "--dataset", "mnist"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_exit_with_2(arguments: list[str]) -> None:
    assert _script(*arguments, expect=2).stderr.strip()


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


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_ends_with_a_message() -> None:
    command = [*SCRIPT, "--dataset", "digits", "--epochs", "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": _environment()}

    def listen() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job inherits it ignored

    with subprocess.Popen(command, preexec_fn=listen, **pipes) as process:
        for line in process.stdout:
            if line.startswith("epoch 2"):
                break
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(not os.environ.get("FASTCNN_DATA"), reason="FASTCNN_DATA does not name a folder with mnist/*-ubyte.gz")
def test_full_mnist_one_epoch(tmp_path: Path) -> None:
    """The main job on the real data; three epochs, the default, reach 99.3 to 99.5 %."""
    result = tmp_path / "result.json"
    _script("--dataset", "mnist", "--epochs", "1", "--json", str(result))
    values = json.loads(result.read_text())
    assert (values["train_images"], values["test_images"]) == (60_000, 10_000)
    assert values["test_accuracy"] >= 0.985


def test_pixels_are_standardised() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 7), np.uint8)
    x = Pixels(images)(images)
    assert x.shape == (50, 1, 6, 7)
    assert x.dtype == np.float32
    assert x.mean() == pytest.approx(0, abs=1e-5)
    assert x.std() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(Pixels(np.zeros((2, 3, 3), np.uint8))(images)).all()


def test_loop_counts_the_last_partial_batch_and_stops_at_nan() -> None:
    from fastcnn.losses import SoftmaxCrossEntropy
    from fastcnn.models import digit_net
    from fastcnn.optim import SGD

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (50, 8, 8), np.uint8), rng.integers(0, 10, 50).astype(np.uint8)
    net = digit_net(8, rng=0)
    seen: list[int] = []

    class Recorder(LineProgress):
        def advance(self, count: int, loss: float, accuracy: float) -> None:
            seen.append(count)
            super().advance(count, loss, accuracy)

    def run(lr: float) -> list:
        return train(
            net, images, labels, pixels=Pixels(images), loss=SoftmaxCrossEntropy(), optimizer=SGD(net.params, lr),
            schedule=lambda step: lr, epochs=2, batch_size=16, rng=rng, progress=Recorder(),
        )  # fmt: skip

    history = run(0.01)
    assert seen == [16, 16, 16, 2] * 2
    assert [epoch.number for epoch in history] == [1, 2]
    logits = predict(net, images, Pixels(images), batch_size=7)
    assert evaluate(net, images, labels, Pixels(images)) == np.mean(logits.argmax(axis=1) == labels)
    assert net.training, "prediction must put the mode back"
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"step .* of epoch .*: the loss became"):
        run(1e30)


def test_progress_is_plain_in_a_pipe_and_a_bar_on_a_terminal() -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    assert isinstance(progress_for(io.StringIO()), LineProgress)
    bar = progress_for(Terminal())
    bar.begin_epoch(1, 1, 2)
    bar.advance(3, 0.5, 0.25)
    bar.end_epoch(0.5, 0.25, 1.0)
    bar.close()
    assert type(bar).__name__ == "BarProgress"


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.npz"
    files.save_arrays(path, {"a": np.arange(3)})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), files.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["weights.npz"]
    with pytest.raises(TypeError, match="holds Python objects"):
        files.save_arrays(path, {"a": np.array([object()])})
    np.savez(path, a=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        files.load_arrays(path)
