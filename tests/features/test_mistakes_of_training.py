"""Mistakes of the originals in training: each would change a number that is asserted here."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn import layers, losses, models, optim
from fastcnn.data.batches import Batches
from fastcnn.train import evaluate, fit

from .rows import mistake


@mistake("001: accuracy as printed", "the share of images whose largest output is their label's")
def test_accuracy() -> None:
    net = layers.Sequential(layers.Flatten(), layers.Linear(3, 3))
    net.params["1.weight"][...], net.params["1.bias"][...] = np.eye(3), 0
    x = np.array([[9, 1, 2], [0, 3, 1], [5, 6, 7], [1, 0, 0]], np.float32).reshape(4, 1, 1, 3)
    assert evaluate(net, x, np.array([0, 1, 1, 0])) == 0.75


@mistake("bk: accuracy drops the last batch", "images that do not fill a batch count as well")
def test_the_last_batch_counts() -> None:
    net = layers.Sequential(layers.Flatten(), layers.Linear(2, 2))
    net.params["1.weight"][...], net.params["1.bias"][...] = np.eye(2), 0
    x = np.array([[1, 0]] * 5 + [[0, 1]] * 2, np.float32).reshape(7, 1, 1, 2)
    assert evaluate(net, x, np.zeros(7, int), batch_size=5) == 5 / 7


@mistake("dn: velocity is lost at every epoch", "it belongs to the optimiser, and lasts")
def test_velocity_outlasts_epochs() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 3, 3)).astype(np.uint8), rng.integers(0, 2, 20)
    net, other = (layers.Sequential(layers.Flatten(), layers.Linear(9, 2, bias=False, rng=0)) for _ in range(2))
    fit(net, images, labels, epochs=3, batch_size=20, optimizer=optim.SGD(net.params, 0.1, 0.9))
    loss, batches, velocity = losses.SoftmaxCrossEntropy(), Batches(images, labels, 20, seed=0), np.zeros((2, 9))
    for epoch in range(3):
        x, target = batches.batch(epoch, 0)
        loss(other(x), target)
        other.backward(loss.backward())
        velocity = 0.9 * velocity + other.grads["1.weight"]
        other.params["1.weight"] -= (0.1 * velocity).astype(np.float32)
    np.testing.assert_allclose(net.params["1.weight"], other.params["1.weight"], rtol=1e-4, atol=1e-6)


@mistake("bk: dropout of the logits", "nothing is dropped behind the last dense layer, in any model")
@pytest.mark.parametrize("name", models.MODELS)
def test_logits_are_not_dropped(name: str) -> None:
    flat = list(_inner(models.MODELS[name](28, 0)))
    last = max(position for position, layer in enumerate(flat) if isinstance(layer, layers.Linear))
    assert not [layer for layer in flat[last:] if isinstance(layer, (layers.Dropout, layers.Dropout2d))]
    assert last == len(flat) - 1, "logits are what the last dense layer gives"


def _inner(layer: layers.Layer) -> list[layers.Layer]:
    parts = getattr(layer, "layers", None)
    return [layer] if parts is None else [one for part in parts for one in _inner(part)]
