"""Every network of `MODELS`: what it says of itself, its gradients, its state, and that it learns; the options of some."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import init, models, weights
from fastcnn.layers import (
    SELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
)
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.models import MODELS
from fastcnn.optim import Adam
from fastcnn.train.step import Step

SAYS = {  # name: channels and size, parameters, MFLOP, as their docstrings have it
    "digit-net": (1, 28, "215,194", "2.49"),
    "digit-net-norm": (1, 28, "215,258", "2.49"),
    "deep-digit-net": (1, 28, "391,370", "12.1"),
    "lenet5": (1, 28, "61,706", "0.83"),
    "lenet5-classic": (1, 28, "61,706", "0.8"),
    "two-layer-net": (1, 28, "39,760", "0.08"),
    "multi-layer-net": (1, 28, "109,810", "0.22"),
    "conv8-net": (1, 28, "13,602", "0.12"),
    "deepnet-mnist": (1, 28, "233,610", "0.92"),
    "deepnet-cifar": (3, 32, "22,046", "6.58"),
    "simple-conv-net": (1, 28, "433,890", "1.73"),
    "deep-conv-net": (1, 28, "123,552", "17.5"),
    "alexnet": (1, 28, "632,250", "28.7"),
    "vgg": (1, 28, "584,170", "58.8"),
    "resnet8": (1, 28, "77,754", "18.8"),
    "resnet20": (3, 32, "272,474", "82.1"),
}


def _images(size: int, N: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((N, channels, size, size)).astype(np.float32)


def test_all_are_here() -> None:
    assert set(SAYS) == set(MODELS)
    functions = {make.func if isinstance(make, functools.partial) else make for make in MODELS.values()}
    assert {function.__name__ for function in functions} == set(models.__all__) - {"MODELS"}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_docstring_says(name: str) -> None:
    channels, size, count, cost = SAYS[name]
    make = MODELS[name]
    model = make(size, 0, channels=channels)
    text = " ".join(str((make.func if isinstance(make, functools.partial) else make).__doc__).split())
    assert f"{model.parameter_count:,}" == count
    assert count in text
    flops = model.flops((channels, size, size))
    assert f"{flops / 1e6:.{len(cost.partition('.')[2])}f}" == cost
    assert cost in text
    total = model.summary((channels, size, size)).splitlines()[-1].split()
    assert total == ["total", count, f"{flops:,}"]


@pytest.mark.parametrize("name", MODELS)
def test_channels_and_classes(name: str) -> None:
    model = MODELS[name](9, 0, channels=3, classes=4)
    y = model(_images(9, 2, channels=3))
    assert y.shape == (2, 4)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    assert model.output_shape((3, 9, 9)) == (4,)


def _double(layer: Layer) -> Layer:
    """Make the parameters of a layer and of all inside it float64."""
    for inner in layer.children().values():
        _double(inner)
    for arrays in (layer.params, layer.buffers):
        arrays.update({name: array.astype(np.float64) for name, array in arrays.items() if array.dtype == np.float32})
    for child, inner in layer.children().items():
        layer.params.update({f"{child}.{name}": param for name, param in inner.params.items()})
        layer.buffers.update({f"{child}.{name}": buffer for name, buffer in inner.buffers.items()})
    return layer


@pytest.mark.parametrize("name", MODELS)
def test_gradients_by_central_differences(name: str) -> None:
    """In training mode, dropout with the same draws every time: every parameter has a gradient, and some of their values are right."""
    model, loss, rng = _double(MODELS[name](8, 0)), SoftmaxCrossEntropy(), np.random.default_rng(1)
    x, labels = rng.standard_normal((4, 1, 8, 8)), np.arange(4)
    states = {key: generator.bit_generator.state for key, generator in model.generators().items()}

    def value() -> float:
        for key, generator in model.generators().items():
            generator.bit_generator.state = states[key]
        return float(loss(model(x), labels))

    value()
    model.backward(loss.backward(), input_gradient=False)
    grads = dict(model.grads)
    assert list(model.params) == [key for key in model.params if grads[key].any()]
    for key in rng.permutation(list(model.params))[:6]:
        param, gradient = model.params[key], grads[key]
        index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        kept, eps = param[index], 1e-6
        param[index] = kept + eps
        above = value()
        param[index] = kept - eps
        numeric = (above - value()) / (2 * eps)
        param[index] = kept
        assert gradient[index] == pytest.approx(numeric, rel=1e-4, abs=1e-8), key


@pytest.mark.parametrize("name", MODELS)
def test_state_to_a_file_and_back(name: str, tmp_path: Path) -> None:
    model, other, x = MODELS[name](8, 0), MODELS[name](8, 1), _images(8, 3)
    model.train()(x)
    weights.save(tmp_path / "net.npz", model)
    assert not np.array_equal(other.eval()(x), model.eval()(x))
    assert weights.load_into(other, tmp_path / "net.npz") == ([], [])
    np.testing.assert_array_equal(other(x), model(x))
    again = MODELS[name](8, 1).state_dict()
    assert all(np.array_equal(array, again[key]) for key, array in MODELS[name](8, 1).state_dict().items()), "a seed repeats it"


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_32_images_by_heart(name: str) -> None:
    size = 12 if name == "alexnet" else 8
    model, x, labels = MODELS[name](size, 0), _images(size, 32), np.random.default_rng(8).integers(0, 10, 32)
    step = Step(model, SoftmaxCrossEntropy(), Adam(model.params, 0.003))
    for _ in range(30):
        model.train()
        for _ in range(10):
            step(x, labels, 0.003)
        if (model.eval()(x).argmax(axis=1) == labels).all():
            return
    pytest.fail(f"{name}: {(model(x).argmax(axis=1) == labels).mean():.0%} after 300 steps")


# --- One by one --------------------------------------------------------------------------------------------------------


def _kinds(model: Sequential, kind: type[Layer]) -> list[Any]:
    return [layer for layer in model if isinstance(layer, kind)]


def test_deep_conv_net_drops_units_and_no_logits() -> None:
    net = models.deep_conv_net(28, 0)
    assert [layer.window["padding"] for layer in _kinds(net, Conv2d)] == [1, 1, 1, 2, 1, 1]
    assert [type(layer) for layer in net][-4:] == [Linear, ReLU, Dropout, Linear]
    assert len(_kinds(net, Dropout)) == 1
    assert net.output_shape((1, 28, 28)) == (10,)
    assert net.params["16.weight"].shape == (50, 64 * 4 * 4)
    for layer in [*_kinds(net, Conv2d)[1:], *_kinds(net, Linear)]:
        weight = layer.params["weight"]
        assert weight.std() == pytest.approx(math.sqrt(2 / math.prod(weight.shape[1:])), rel=0.12)
        assert not layer.params["bias"].any()
    logits = net.train()(_images(28, 64))
    assert (logits != 0).all()


def test_initial_weights_are_the_originals() -> None:
    simple, first = models.simple_conv_net(28, 0), models.conv8_net(28, 0)
    assert simple.params["4.weight"].std() == pytest.approx(0.01, rel=0.01)
    assert simple.params["0.weight"].std() == pytest.approx(0.01, rel=0.1)
    assert not simple.params["4.bias"].any()
    assert list(first.params) == ["0.weight", "3.weight", "3.bias"]
    assert first.params["3.weight"].std() == pytest.approx(1 / 1352, rel=0.02)
    assert first.params["0.weight"].std() == pytest.approx(1 / 9, rel=0.25)


def test_deepnet_pools_with_stride_1() -> None:
    net = models.deepnet_mnist(28, 0)
    assert net[2].output_shape((32, 28, 28)) == (32, 27, 27)
    assert net.params["4.weight"].shape == (10, 32 * 27 * 27)


def test_lenet5_classic_has_no_relu() -> None:
    net = MODELS["lenet5-classic"](28, 0)
    assert (len(_kinds(net, Tanh)), len(_kinds(net, AvgPool2d)), len(_kinds(net, ReLU)), len(_kinds(net, MaxPool2d))) == (4, 2, 0, 0)
    for key, array in MODELS["lenet5"](28, 0).params.items():
        np.testing.assert_array_equal(net.params[key], array)


def test_multi_layer_net_has_the_options_of_the_experiments() -> None:
    net = models.multi_layer_net(4, 0, hidden=(7, 5), activation="sigmoid", norm=True, dropout=0.2, init="lecun_normal", classes=3)
    assert [type(layer).__name__ for layer in net] == [
        "Flatten", *["Linear", "BatchNorm1d", "Sigmoid", "Dropout"] * 2, "Linear",
    ]  # fmt: skip
    assert [param.shape for key, param in net.params.items() if key.endswith("weight") and param.ndim == 2] == [(7, 16), (5, 7), (3, 5)]
    assert len(_kinds(models.multi_layer_net(4, 0, activation="selu"), SELU)) == 4
    assert not _kinds(models.multi_layer_net(4, 0), BatchNorm1d)
    deviation = {name: models.multi_layer_net(28, 0, init=name).params["1.weight"].std() * 28 for name in ("he_normal", "lecun_normal")}
    assert deviation == {"he_normal": pytest.approx(math.sqrt(2), rel=0.01), "lecun_normal": pytest.approx(1, rel=0.01)}
    assert models.multi_layer_net(28, 0, init=init.normal(0.5)).params["1.weight"].std() == pytest.approx(0.5, rel=0.01)
    hidden = models.two_layer_net(28, 0, hidden=20)
    assert hidden.params["1.weight"].shape == (20, 784)
    assert hidden.params["1.weight"].std() == pytest.approx(0.01, rel=0.02)
    assert len(_kinds(models.multi_layer_net(4, 0, hidden=()), Sigmoid)) == 0


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: models.multi_layer_net(4, activation="step"), ValueError, "multi_layer_net: activation must be one of .*; got 'step'"),
        (lambda: models.multi_layer_net(4, norm=1), TypeError, "multi_layer_net: norm must be"),
        (lambda: models.multi_layer_net(4, hidden=(3, 0)), ValueError, r"multi_layer_net: hidden\[1\] must be between 1"),
        (lambda: models.multi_layer_net(4, dropout=2), ValueError, "Dropout: p must be between 0 and 1"),
        (lambda: models.multi_layer_net(4, init="he"), ValueError, "Linear: init must be one of"),
        (lambda: models.resnet(8, blocks=0), ValueError, "resnet: blocks must be between 1"),
        (lambda: models.resnet(8, width=2.5), TypeError, "resnet: width must be an int"),
    ],
)
def test_mistakes(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_resnet_is_as_deep_as_it_is_called() -> None:
    net = models.resnet(32, 0, channels=3)
    weighted = [key for key in net.params if net.params[key].ndim > 1 and "shortcut" not in key]
    assert len(weighted) == 20
    blocks = _kinds(net, Residual)
    assert [block.shortcut is not None for block in blocks] == [False, False, False, True, False, False, True, False, False]
    shapes = [(3, 32, 32)]
    for layer in net:
        shapes.append(layer.output_shape(shapes[-1]))
    assert [shape for shape in dict.fromkeys(shapes) if len(shape) == 3][1:4] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert models.resnet(8, 0, blocks=2, width=4).params["0.weight"].shape == (4, 1, 3, 3)


def test_vgg_normalises_where_it_is_told_to() -> None:
    plain, normalised = models.vgg(16, 0, filters=(4, 6)), models.vgg(16, 0, filters=(4, 6), norm=True)
    assert (len(_kinds(plain, BatchNorm2d)), len(_kinds(normalised, BatchNorm2d))) == (0, 4)
    assert [conv.params["weight"].shape[0] for conv in _kinds(plain, Conv2d)] == [4, 4, 6, 6]
    assert all("bias" not in conv.params for conv in _kinds(normalised, Conv2d))
    assert plain.params["11.weight"].shape == (256, 6 * 4 * 4)
    many = models.vgg(8, 0, filters=[1] * 300)  # in seconds, as blocks add up; images of 1 pixel are pooled no more
    assert (len(_kinds(many, Conv2d)), len(_kinds(many, MaxPool2d))) == (600, 3)
