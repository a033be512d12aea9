"""Training: what is recorded, how parameters move, and what is kept on the disk."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastcnn import layers, optim, weights
from fastcnn.data.batches import Batches
from fastcnn.train import evaluate, fit, running_average

from .rows import row

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 4, 4)).astype(np.uint8)
LABELS = (IMAGES[:, 0, 0] > 127).astype(int)


def network() -> layers.Sequential:
    return layers.Sequential(layers.Flatten(), layers.Linear(16, 2, rng=0))


@row(
    "trainer",
    "loss and accuracy of every step and epoch, evaluation on a sample, running averages",
    module="fastcnn.train.history",
    example="fastcnn.train.History",
)
def test_trainer() -> None:
    net, other = network(), network()
    history = fit(net, IMAGES, LABELS, epochs=2, batch_size=16, optimizer=optim.SGD(net.params, 0.05), seed=3, validation=(IMAGES, LABELS))
    batches = Batches(IMAGES, LABELS, 16, seed=3)
    values, shares = [], []
    for step in range(8):  # plainly: softmax regression in float64
        x, t = batches.batch(*divmod(step, 4))
        rows = x.reshape(len(x), 16).astype(float)
        weight, bias = other.params["1.weight"], other.params["1.bias"]
        logits = rows @ weight.T.astype(float) + bias
        share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        values.append(-np.log(share[np.arange(len(t)), t]).mean())
        shares.append((logits.argmax(axis=1) == t).mean())
        d = (share - np.eye(2)[t]) / len(t)
        weight -= (0.05 * d.T @ rows).astype(np.float32)
        bias -= (0.05 * d.sum(axis=0)).astype(np.float32)
    np.testing.assert_allclose(history.step_losses, values, rtol=1e-4)
    np.testing.assert_allclose(history.step_accuracies, shares)
    sizes = [16, 16, 16, 2]
    assert history.epochs[1].loss == pytest.approx(np.average(values[4:], weights=sizes), rel=1e-4)
    assert history.epochs[1].accuracy == pytest.approx(np.average(shares[4:], weights=sizes))
    assert history.epochs[1].validation_accuracy == evaluate(net, IMAGES, LABELS, history.mean, history.deviation)
    sampled = evaluate(net, IMAGES, LABELS, history.mean, history.deviation, samples=10)
    assert sampled * 10 == pytest.approx(round(sampled * 10))
    expected = values[0]
    for t, value in enumerate(values[1:], 2):  # bias-corrected, as Adam corrects its means
        expected = (0.9 * expected * (1 - 0.9 ** (t - 1)) + 0.1 * value) / (1 - 0.9**t)
    assert running_average(history.step_losses, 0.9)[-1] == pytest.approx(expected, rel=1e-4)


@row(
    "save and load",
    "parameters to the disk and back, to the bit, under torch's names and never as pickles; a trained network goes on elsewhere",
    module="fastcnn.weights",
    example="README.md#in-other-frameworks",
)
def test_save_and_load(tmp_path: Path) -> None:
    net = layers.Sequential(layers.Conv2d(1, 3, 3, rng=1), layers.BatchNorm2d(3), layers.Flatten(), layers.Linear(12, 2, rng=1))
    net(RNG.standard_normal((5, 1, 4, 4)).astype(np.float32))  # so that the running statistics are no longer 0 and 1
    weights.save(tmp_path / "net.npz", net)
    with zipfile.ZipFile(tmp_path / "net.npz") as archive:
        for name in archive.namelist():
            assert archive.read(name)[:6] == b"\x93NUMPY", "plain arrays"
    other = layers.Sequential(layers.Conv2d(1, 3, 3, rng=2), layers.BatchNorm2d(3), layers.Flatten(), layers.Linear(12, 2, rng=2))
    weights.load_into(other, tmp_path / "net.npz")
    assert set(other.state_dict()) >= {"0.weight", "0.bias", "1.weight", "1.running_mean", "3.weight"}
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    x = RNG.standard_normal((2, 1, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(other.eval()(x), net.eval()(x))
