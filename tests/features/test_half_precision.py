"""Weights of 16 bits at rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastcnn import layers, weights
from fastcnn.train import evaluate, fit

from .rows import row


@row(
    "half precision",
    "weights kept as float16, half as large, answer as those of float32 do",
    module="fastcnn.weights",
    example="fastcnn.weights.save",
)
def test_half_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    images = rng.integers(0, 100, (300, 6, 6)).astype(np.uint8)
    images[np.arange(300), 2 * labels] += 100
    net, other = (layers.Sequential(layers.Flatten(), layers.Linear(36, 3, rng=seed)) for seed in (0, 1))
    history = fit(net, images, labels, epochs=5, batch_size=20)
    weights.save(tmp_path / "half.npz", net, dtype="float16")
    weights.load_into(other, tmp_path / "half.npz")
    for name, value in net.params.items():
        assert weights.load(tmp_path / "half.npz")[name].dtype == np.float16
        assert other.params[name].dtype == np.float32
        np.testing.assert_array_equal(other.params[name], value.astype(np.float16).astype(np.float32))
    whole, half = (evaluate(n, images, labels, history.mean, history.deviation) for n in (net, other))
    assert whole > 0.9
    assert abs(whole - half) <= 1 / 300, "at most one image of 300 is judged otherwise"
