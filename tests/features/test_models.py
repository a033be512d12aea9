"""The networks of the texts: how they are built, and how many parameters that makes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastcnn.layers import Conv2d, Dropout, Layer, Linear, MaxPool2d, ReLU
from fastcnn.models import MODELS

from .rows import row


def chain(layer: Layer) -> list[Layer]:
    parts = getattr(layer, "layers", None)
    return [layer] if parts is None else [one for part in parts for one in chain(part)]


def convolutions(channels: list[int], kernel: int) -> int:
    """Return the parameters of convolutions that follow one another, biases included."""
    return sum(o * (i * kernel**2 + 1) for i, o in itertools.pairwise(channels))


def dense(*features: int) -> int:
    return sum(o * (i + 1) for i, o in itertools.pairwise(features))


PARAMETERS = {
    "conv8-net": convolutions([1, 8], 3) - 8 + dense(8 * 13 * 13, 10),  # vz has no biases in its convolution
    "two-layer-net": dense(784, 50, 10),
    "multi-layer-net": dense(784, 100, 100, 100, 100, 10),
    "deepnet-mnist": convolutions([1, 32], 3) + dense(32 * 27 * 27, 10),
    "simple-conv-net": convolutions([1, 30], 5) + dense(30 * 12 * 12, 100, 10),
    "deep-conv-net": convolutions([1, 16, 16, 32, 32, 64, 64], 3) + dense(64 * 4 * 4, 50, 10),
    "lenet5": convolutions([1, 6], 5) + convolutions([6, 16], 5) + dense(16 * 5 * 5, 120, 84, 10),
    "digit-net": convolutions([1, 24], 5) + convolutions([24, 32], 3) + dense(32 * 5 * 5, 256, 10),
}


@row(
    "models",
    "vz's, two-layer, multi-layer, deepnet's two, SimpleConvNet, DeepConvNet, LeNet-5, the record's, and small AlexNet, VGG and ResNet",
    module="fastcnn.models",
    example="fastcnn.models.simple_conv_net",
)
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    net = MODELS[name](28, 0).eval()
    if name in PARAMETERS:
        assert net.parameter_count == PARAMETERS[name]
    x = np.random.default_rng(0).standard_normal((3, 1, 28, 28)).astype(np.float32)
    logits = net(x)
    assert logits.shape == (3, 10)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(net(x[1:2]), logits[1:2], rtol=1e-3, atol=1e-4, err_msg="images do not see one another")
    assert np.abs(logits[0] - logits[1]).max() > 1e-4, "they see the image"


def test_deep_conv_net_is_built_as_the_book_has_it() -> None:
    found = chain(MODELS["deep-conv-net"](28, 0))
    filters = [layer.params["weight"].shape[0] for layer in found if isinstance(layer, Conv2d)]
    assert filters == [16, 16, 32, 32, 64, 64]
    assert [layer.output_shape((1, 28, 28))[1:] for layer in found if isinstance(layer, MaxPool2d)] == [(14, 14)] * 3
    tail = [type(layer) for layer in found[-4:]]
    assert tail == [Linear, ReLU, Dropout, Linear], "dropout before the last dense layer, none behind it"
    first = next(layer for layer in found if isinstance(layer, Conv2d)).params["weight"]
    assert first.std() == pytest.approx(np.sqrt(2 / 9), rel=0.25), "He's initial weights, of 144 draws"
