"""`Residual`, and layers inside layers: names, state, modes, generators, prepared networks, summaries, checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import weights
from fastcnn.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    ReLU,
    Residual,
    Sequential,
    prepare,
)
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.optim import SGD
from fastcnn.train import Callback, fit


def _conv(*arguments: int, **named: int) -> Conv2d:
    return Conv2d(*arguments, rng=1, **named)


def _net() -> Sequential:
    """Return a network of a block with its input around it, one with a projection, and chains inside chains."""
    return Sequential(
        Sequential(_conv(1, 4, 3, padding=1), Sequential(BatchNorm2d(4), ReLU())),
        Residual(_conv(4, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Dropout(0.25, rng=2), _conv(4, 4, 3, padding=1)),
        ReLU(),
        Residual(
            _conv(4, 6, 3, stride=2, padding=1), BatchNorm2d(6), shortcut=Sequential(_conv(4, 6, 1, stride=2), BatchNorm2d(6))
        ),
        Flatten(),
        Linear(96, 3, rng=3),
    )  # fmt: skip


def _images(N: int = 6) -> np.ndarray:
    return np.random.default_rng(4).standard_normal((N, 1, 8, 8)).astype(np.float32)


def test_values() -> None:
    body, shortcut = Linear(2, 2, rng=0), Linear(2, 2, rng=1)
    x = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
    np.testing.assert_array_equal(Residual(body)(x), body(x) + x)
    np.testing.assert_array_equal(Residual(body, ReLU(), shortcut=shortcut)(x), np.maximum(body(x), 0) + shortcut(x))
    np.testing.assert_array_equal(Residual(Residual(Dropout().eval()))(x), 3 * x)


def test_what_the_body_keeps_stays_as_it_is() -> None:
    """ReLU keeps its output for the backward, which the sum must not go into; nor into the input."""
    block, x = Residual(ReLU()), np.array([[-1.0, 2.0]], np.float32)
    np.testing.assert_array_equal(block(x), [[-1, 4]])
    np.testing.assert_array_equal(x, [[-1, 2]])
    dy = np.array([[3.0, 5.0]], np.float32)
    np.testing.assert_array_equal(block.backward(dy), [[3, 10]])
    np.testing.assert_array_equal(dy, [[3, 5]])


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_leave_channels_last(channels_last: bool) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    if channels_last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    block = Residual(_conv(3, 3, 3, padding=1))
    y = block(x)
    dx = block.backward(np.ones_like(y))
    np.testing.assert_array_equal(y, block.body(x) + x)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dx is not None
    assert dx.transpose(0, 2, 3, 1).flags.c_contiguous


def test_names_are_torch_names() -> None:
    net = _net()
    pair = ("weight", "bias")
    assert list(net.params) == [
        *(f"0.0.{n}" for n in pair), *(f"0.1.0.{n}" for n in pair),
        *(f"1.body.{i}.{n}" for i in (0, 1, 4) for n in pair),
        *(f"3.body.{i}.{n}" for i in (0, 1) for n in pair), *(f"3.shortcut.{i}.{n}" for i in (0, 1) for n in pair),
        *(f"5.{n}" for n in pair),
    ]  # fmt: skip
    assert {name.rpartition(".")[0] for name in net.buffers} == {"0.1.0", "1.body.1", "3.body.1", "3.shortcut.1"}
    block = net[3]
    assert isinstance(block, Residual)
    assert net.params["3.shortcut.0.weight"] is block.shortcut[0].params["weight"]  # type: ignore[index]
    assert list(net.generators()) == ["1.body.3.rng"]
    inner = net.children()["1"].children()["body"].children()["3"]
    assert net.generators()["1.body.3.rng"] is inner.rng  # type: ignore[attr-defined]


def test_gradients_are_those_of_the_sum() -> None:
    """Of the whole network, against one in which every block is written out."""
    net, x = _net().eval(), _images()
    y, saved = net.apply(x)
    dy = np.random.default_rng(5).standard_normal(y.shape).astype(np.float32)
    dx, grads = net.pull_back(saved, dy)
    assert set(grads) == set(net.params)
    first, block, relu, last, flat, dense = net.layers
    assert isinstance(block, Residual)
    assert isinstance(last, Residual)
    assert last.shortcut is not None
    h = relu(block.body(first(x)) + first(x))
    np.testing.assert_allclose(dense(flat(last.body(h) + last.shortcut(h))), y, rtol=1e-5, atol=1e-6)
    g = flat.backward(dense.backward(dy))
    g = relu.backward(last.body.backward(g) + last.shortcut.backward(g))
    want = first.backward(block.body.backward(g) + g)
    np.testing.assert_allclose(dx, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grads["1.body.0.weight"], block.body.grads["0.weight"], rtol=1e-4, atol=1e-5)
    none, same = net.pull_back(saved, dy, input_gradient=False)
    assert none is None
    assert all(np.array_equal(same[name], grads[name]) for name in grads)


def test_modes_and_precision_reach_every_layer() -> None:
    def inside(layer: Layer) -> list[Layer]:
        return [layer, *(found for child in layer.children().values() for found in inside(child))]

    net = _net()
    everything = inside(net)
    assert len(everything) == 23
    for mode, precision in ((False, "highest"), (True, "medium")):
        net.train(mode).use(precision)
        assert {(layer.training, layer.precision) for layer in everything} == {(mode, precision)}


def test_freezing() -> None:
    net = _net()
    x, dy = _images(), np.ones((6, 3), np.float32)
    net(x)
    net.backward(dy)
    every = set(net.grads)
    block = net[3]
    assert isinstance(block, Residual)
    block.body.freeze()
    assert net.trainable
    net(x)
    assert net.backward(dy) is not None
    assert set(net.grads) == set(net.trainable_params) == {name for name in every if not name.startswith("3.body.")}
    net[0].freeze()
    net[1].freeze()
    net(x)
    assert net.backward(dy, input_gradient=False) is None
    assert {name.rpartition(".")[0] for name in net.grads} == {"3.shortcut.0", "3.shortcut.1", "5"}
    before = net.state_dict()
    net.freeze()(x)
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items()), "running statistics too"
    assert net.backward(dy) is not None
    assert net.grads == {}
    assert not any((net.trainable, block.trainable, block.body[0].trainable))
    net.unfreeze()(x)
    net.backward(dy)
    assert set(net.grads) == every


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_prepared(precision: str) -> None:
    net, x = _net(), _images()
    for _ in range(3):  # statistics of its own
        net.train()(x)
    net.eval()
    predict = prepare(net, precision)
    want = net(x)
    np.testing.assert_allclose(predict(x), want, rtol=1e-4, atol=1e-5)
    net.params["3.shortcut.0.weight"][...] = 0
    np.testing.assert_allclose(predict(x), want, rtol=1e-4, atol=1e-5)
    assert not np.allclose(net(x), want, rtol=1e-2)
    behind = Sequential(Residual(ReLU(), BatchNorm2d(1).eval()), ReLU())  # no convolution to add, and a ReLU
    np.testing.assert_allclose(prepare(behind)(x), behind.eval()(x), rtol=1e-5, atol=1e-6)
    single = Residual(_conv(1, 1, 3, padding=1))
    np.testing.assert_allclose(prepare(single)(x), single(x), rtol=1e-5, atol=1e-6)


def test_weights_to_a_file_and_back(tmp_path: Path) -> None:
    net, other = _net(), _net()
    net.train()(_images())
    for name, param in net.params.items():
        param += len(name) / 100
    weights.save(tmp_path / "net.npz", net)
    assert weights.load_into(other, tmp_path / "net.npz") == ([], [])
    np.testing.assert_array_equal(other.eval()(_images()), net.eval()(_images()))


def test_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    """To the bit: dropout inside a block draws on where it was."""
    images, labels = np.random.default_rng(0).integers(0, 256, (24, 8, 8), np.uint8), np.arange(24) % 3

    class StopAt(Callback):
        def __init__(self, step: int) -> None:
            self.step = step

        def on_step(self, run: Any) -> bool:
            return bool(run.step == self.step)

    def trained(path: Path, stops: list[int]) -> np.ndarray:
        for i, stop in enumerate(stops):
            net = _net()
            fit(net, images, labels, epochs=2, batch_size=8, checkpoint=path, resume=i > 0, callbacks=[StopAt(stop)])
        return net.params["1.body.0.weight"]

    np.testing.assert_array_equal(trained(tmp_path / "a.npz", [2, 5, 6]), trained(tmp_path / "b.npz", [6]))


def test_summary_shows_what_is_inside() -> None:
    text = _net().summary((1, 8, 8))
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert rows["0.1.0 BatchNorm2d(4)"][-2:] == ["8", "512"]
    assert rows["1 Residual"][-1] == "256"  # its own sums
    assert rows["1.body Sequential"][-1] == "8)"
    assert rows["1.body.4 Conv2d(4 -> 4, 3x3, padding=1)"][-2:] == ["148", "18,432"]
    assert rows["3.shortcut.0 Conv2d(4 -> 6, 1x1, stride=2)"][-2:] == ["30", "768"]
    leaves = re.findall(r" ([\d,]+) +([\d,]+)$", "\n".join(text.splitlines()[:-1]), re.M)
    numbers = [[int(count.replace(",", "")) for count in row] for row in leaves]
    assert np.sum(numbers, axis=0).tolist() == [_net().parameter_count, _net().flops((1, 8, 8)) - 256 - 96]
    assert rows["total"][1] == f"{_net().parameter_count:,}"
    assert "\n  1: Residual(\n    body: Sequential(\n      0: Conv2d(4 -> 4, 3x3, padding=1)\n" in repr(_net())


def test_it_learns() -> None:
    net, loss = _net(), SoftmaxCrossEntropy()
    labels = np.arange(6) % 3
    optimizer, losses = SGD(net.params, 0.05, momentum=0.9), []
    for _ in range(30):
        losses.append(loss(net(_images()), labels))
        net.backward(loss.backward(), input_gradient=False)
        optimizer.step(net.grads)
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Residual(), ValueError, "Residual: body must have a layer; got none"),
        (lambda: Residual(ReLU(), np.tanh), TypeError, "Residual: argument 1 must be a Layer; got ufunc"),
        (lambda: Residual(ReLU(), shortcut=3), TypeError, "Residual: shortcut must be a Layer; got int"),
        (lambda: Residual(Linear(3, 2))(np.ones((1, 3), np.float32)), ValueError, r"give one shape; got \(1, 2\) and \(1, 3\)"),
        (lambda: Residual(Linear(3, 2)).output_shape((3,)), ValueError, r"give one shape; got \(2,\) and \(3,\)"),
        (lambda: Residual(Flatten())(np.ones((1, 2), int)), TypeError, "Residual: body's result must have dtype float32 or float64"),
        (lambda: Residual(ReLU()).backward(np.ones((1, 3))), RuntimeError, "Residual: backward needs a forward"),
    ],
)
def test_mistakes(make, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()
