"""What an installed fastcnn must do by itself; check_packages.py runs it with ``python -I`` in an environment that has nothing else."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastcnn
import fastcnn.functional as F
from fastcnn import layers, losses, models, optim, weights
from fastcnn.train import evaluate, fit

OPTIONAL = {
    "rich": "train",
    "requests": "train",
    "sklearn": "train",
    "onnx": "onnx",
    "safetensors": "safetensors",
    "matplotlib": "experiments",
}


def main() -> None:
    """Use the package; an AssertionError, or another exception, where something is wrong."""
    scripts, extra = Path(sys.argv[1]), sys.argv[2]
    begin = time.perf_counter()
    _is_installed(extra)
    _computes()
    _trains()
    _saves(Path.cwd())
    _commands(scripts / ("fastcnn.exe" if os.name == "nt" else "fastcnn"))
    if extra == "train":
        _training_command(scripts)
    else:
        _what_is_missing_is_named(scripts)
    print(f"fastcnn {fastcnn.__version__}, numpy {np.__version__}: works, {time.perf_counter() - begin:.0f} s")


def _is_installed(extra: str) -> None:
    inside = Path(fastcnn.__file__).resolve()
    assert Path(sys.prefix).resolve() in inside.parents, f"imported from {inside}, which is not the environment"
    for module, brings in OPTIONAL.items():
        there = importlib.util.find_spec(module) is not None
        assert there == (brings == extra), f"{module}: {'there' if there else 'missing'} with [{extra}]"


def _computes() -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((2, 3, 9, 8), (5, 3, 3, 2), (5,)))
    want = np.empty((2, 5, 7, 7))
    for n, k, p, q in np.ndindex(want.shape):
        want[n, k, p, q] = (x[n, :, p : p + 3, q : q + 2] * w[k]).sum() + b[k]
    np.testing.assert_array_equal(fastcnn.conv2d(x, w, b), want)
    np.testing.assert_array_equal(fastcnn.conv2d(x.transpose(0, 2, 3, 1), w, b, layout="NHWC").transpose(0, 3, 1, 2), want)
    dy = np.ones(want.shape, np.float32)
    dx, dw, db = fastcnn.conv2d_backward(dy, x, w)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)
    np.testing.assert_array_equal(db, 2 * 7 * 7)
    np.testing.assert_array_equal(fastcnn.max_pool2d(x, 2), x[:, :, :8].reshape(2, 3, 4, 2, 4, 2).max((3, 5)))
    assert F.gelu(F.conv3d(rng.standard_normal((1, 2, 4, 6, 6)), rng.standard_normal((3, 2, 3, 3, 3)))).shape == (1, 3, 2, 4, 4)


def _trains() -> None:
    labels = np.arange(256) % 2
    images = np.random.default_rng(0).integers(0, 100, (256, 8, 8), np.uint8)
    images[labels == 1, :4] += 100
    net = models.digit_net(8, rng=0)
    history = fit(net, images, labels, epochs=8, batch_size=32)
    assert evaluate(net, images, labels, history.mean, history.deviation) > 0.95
    plain = layers.Sequential(layers.Flatten(), layers.Linear(64, 2))
    loss, optimizer, x = losses.SoftmaxCrossEntropy(), optim.SGD(plain.params, lr=0.5), images[:, None].astype(np.float32) / 255
    first = loss(plain(x), labels)
    for _ in range(50):
        loss(plain(x), labels)
        plain.backward(loss.backward(), input_gradient=False)
        optimizer.step(plain.grads)
    assert loss(plain(x), labels) < first / 2


def _saves(folder: Path) -> None:
    net, other = models.digit_net(8, rng=0), models.digit_net(8, rng=1)
    weights.save(folder / "net.npz", net)
    weights.load_into(other, folder / "net.npz")
    assert all(np.array_equal(a, b) for a, b in zip(net.params.values(), other.params.values(), strict=True))


def _commands(fastcnn_: Path) -> None:
    assert _says(fastcnn_, "--version") == f"fastcnn {fastcnn.__version__}\n"
    for words in (["--help"], ["info"], ["explain", "conv2d", "--shape", "1,8,14,14", "--kernel", "16,3,3"], ["train", "--help"]):
        assert "numpy" in (said := _says(fastcnn_, *words)) or len(said) > 100, words
    assert _says(Path(sys.executable), "-m", "fastcnn", "--version") == f"fastcnn {fastcnn.__version__}\n"


def _training_command(scripts: Path) -> None:
    options = ["train", "--dataset", "digits", "--epochs", "3", "--threads", "1", "--out", "run", "--checkpoint", "run/checkpoint.npz"]
    said = _says(scripts / "fastcnn", *options)
    assert "accuracy" in said, said
    assert {"report.html", "checkpoint.npz"} <= {path.name for path in Path("run").iterdir()}
    assert "report.html" in _says(scripts / "fastcnn", "report", "run")
    estimator = importlib.import_module("fastcnn.estimator")
    rng = np.random.default_rng(0)
    classifier = estimator.CNNClassifier(random_state=0).fit(rng.random((40, 8, 8)), np.arange(40) % 2)
    assert classifier.predict(rng.random((3, 8, 8))).shape == (3,)


def _what_is_missing_is_named(scripts: Path) -> None:
    """Each thing that needs an extra ends in one line that names it."""
    assert 'pip install "fastcnn[onnx]"' in _says(scripts / "fastcnn", "onnx", "summary", "net.onnx", code=2)
    assert 'pip install "fastcnn[train]"' in _says(scripts / "fastcnn", "train", "--dataset", "digits", code=None)
    for module, name in (("fastcnn.onnx", "onnx"), ("fastcnn.estimator", "sklearn"), ("fastcnn.adapters.torch", "partners")):
        assert f'pip install "fastcnn[{name}]"' in _missing(functools.partial(importlib.import_module, module)), module
    assert 'pip install "fastcnn[safetensors]"' in _missing(lambda: weights.save("net.safetensors", models.digit_net(8, rng=0)))


def _missing(call: Callable[[], object]) -> str:
    """Return what a call says is missing."""
    try:
        call()
    except ImportError as error:
        return str(error)
    return "nothing"


def _says(*command: str | Path, code: int | None = 0) -> str:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wanted = code if code is not None else done.returncode or 1
    assert done.returncode == wanted, f"{command} ended with {done.returncode}: {done.stdout[-2000:]}"
    assert "Traceback" not in done.stdout, done.stdout[-2000:]
    return done.stdout


if __name__ == "__main__":
    main()
