"""A frozen layer stays as it is, to the bit, while the others learn."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn import layers, optim
from fastcnn.train import evaluate, fit

from .rows import mistake, row

RNG = np.random.default_rng(0)


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Return two kinds of images in noise: a bright line lying, and one standing, anywhere."""
    images = RNG.integers(0, 120, (600, 8, 8)).astype(np.uint8)
    labels = RNG.integers(0, 2, 600)
    for image, label, place in zip(images, labels, RNG.integers(0, 8, 600), strict=True):
        (image if label else image.T)[place] += 90
    return images, labels


def network() -> layers.Sequential:
    return layers.Sequential(
        layers.Conv2d(1, 8, 3, rng=0), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(), layers.Linear(72, 2, rng=0)
    )


@row(
    "freezing a layer",
    "train with the convolution frozen, with the dense layer frozen, with none: what is frozen keeps its bits, and the rest learns",
    module="fastcnn.layers.base",
    example="scripts/experiments/freezing.py",
)
def test_freezing_a_layer() -> None:
    images, labels = problem()
    found = {}
    for name, frozen in (("none", ()), ("conv", (0,)), ("dense", (4,))):
        net = network()
        for position in frozen:
            net.layers[position].freeze()
        before = net.state_dict()
        history = fit(net, images[:500], labels[:500], epochs=12, batch_size=20, seed=1)
        found[name] = evaluate(net, images[500:], labels[500:], history.mean, history.deviation)
        for key, value in net.state_dict().items():
            assert np.array_equal(value, before[key]) == (int(key[0]) in frozen), key
    assert found["none"] > 0.9
    assert min(found.values()) > 0.6, "what is left can learn"


@mistake("bd: a layer that is not trainable changes", "weight decay, momentum and averages leave it alone as well")
@pytest.mark.parametrize("average", [None, 0.9])
def test_what_is_frozen_stays(average: float | None) -> None:
    images, labels = problem()
    net = network()
    fit(net, images, labels, batch_size=50, optimizer=optim.AdamW(net.params, 0.01, weight_decay=0.1))
    net.layers[0].freeze()
    before = net.state_dict()
    fit(net, images, labels, batch_size=50, optimizer=optim.SGD(net.params, 0.1, 0.9, weight_decay=0.1), average=average)
    for key, value in net.state_dict().items():
        assert np.array_equal(value, before[key]) == key.startswith("0."), key
