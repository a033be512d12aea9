"""Freezing: what is frozen keeps its bits whatever trains around it, costs no gradient, and lets gradients through unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastcnn
from fastcnn.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GroupNorm,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    PReLU,
    ReLU,
    Sequential,
    conv2d,
    fused,
    prepare,
)
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from fastcnn.train import Callback, fit
from fastcnn.train.loop import Run

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 48)
IMAGES = RNG.integers(0, 256, (48, 8, 8), np.uint8)
X = RNG.standard_normal((4, 1, 8, 8)).astype(np.float32)


def network(fuse: bool = True) -> Sequential:
    """Return a network with every kind of run that is fused, and one nested in it."""
    return Sequential(
        Conv2d(1, 16, 3, padding=1, rng=0), ReLU(), MaxPool2d(2),
        Conv2d(16, 6, 3, rng=1), ReLU(),
        Sequential(BatchNorm2d(6), ReLU(), Conv2d(6, 5, 2, rng=2), fuse=fuse),
        Flatten(), PReLU(), Linear(5, 8, rng=3), BatchNorm1d(8), ReLU(), Dropout(0.2, rng=4), Linear(8, 3, rng=5),
        fuse=fuse,
    )  # fmt: skip


def bits(state: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


OPTIMIZERS = [
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (Adam, {"lr": 0.01, "weight_decay": 0.1}),
    (AdamW, {"lr": 0.01, "weight_decay": 0.5}),
    (RMSprop, {"lr": 0.01, "momentum": 0.9}),
]


@pytest.mark.parametrize("average", [None, 0.5])
@pytest.mark.parametrize(("make", "settings"), OPTIMIZERS, ids=[make.__name__ for make, _ in OPTIMIZERS])
def test_freeze_a_layer(make: type[Optimizer], settings: dict[str, Any], average: float | None) -> None:
    """Neither fit's steps, nor decay, nor momentum gathered before, nor averaged weights change a bit of what is frozen."""
    net = network()
    optimizer = make(net.params, **settings)
    fit(net, IMAGES, LABELS, batch_size=16, optimizer=optimizer)
    net.params["0.bias"][0] = -0.0  # which adding 0 would make 0.0
    frozen = (0, 5, 9)
    for position in frozen:
        net[position].freeze()
    before = bits(net.state_dict())
    fit(net, IMAGES, LABELS, batch_size=16, epochs=2, optimizer=optimizer, average=average)
    for name, now in bits(net.state_dict()).items():
        kept = int(name.partition(".")[0]) in frozen
        assert (now == before[name]) == kept, name
    for position in frozen:
        net[position].unfreeze()
    fit(net, IMAGES, LABELS, batch_size=16, optimizer=optimizer, average=average)
    after = bits(net.state_dict())
    assert not any(after[name] == before[name] for name in before)


def test_frozen_by_a_callback_the_last_weights_stay() -> None:
    """The mean of weights follows those that were frozen on the way; the model keeps what it froze."""
    net, kept = network(), {}

    class Freeze(Callback):
        def on_step(self, run: Run) -> None:
            if run.step == 3:
                net[3].freeze()
                kept.update(bits(net[3].params))

    fit(net, IMAGES, LABELS, batch_size=16, epochs=2, average=0.9, callbacks=[Freeze()])
    assert kept == bits(net[3].params)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("frozen", [(0,), (3,), (0, 3), (7,), (8, 12), (0, 3, 7, 8), (12,)])
def test_the_others_gradients_are_the_same(frozen: tuple[int, ...], fuse: bool) -> None:
    net, loss = network(fuse), SoftmaxCrossEntropy()
    net[11].eval()  # no dropout, so that two passes are alike
    loss(net(X), LABELS[:4])
    dx, grads = net.backward(loss.backward()), net.grads
    assert dx is not None
    assert set(grads) == set(net.params)
    for position in frozen:
        net[position].freeze()
    loss(net(X), LABELS[:4])
    again = net.backward(loss.backward())
    assert again is not None
    np.testing.assert_array_equal(again, dx)
    expected = {name for name in net.params if int(name.partition(".")[0]) not in frozen}
    for kind in (net.grads, net.trainable_params):
        assert set(kind) == expected
    for name in expected:
        np.testing.assert_array_equal(net.grads[name], grads[name])
    assert net.backward(loss.backward(), input_gradient=False) is None
    for name in expected:
        np.testing.assert_array_equal(net.grads[name], grads[name])


def test_nobody_computes_what_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gradient of a frozen weight; and behind the last layer that trains, no gradient at all."""
    calls: list[tuple[str, bool, bool]] = []

    def watched(module: Any, name: str) -> None:
        function = getattr(module, name)

        def recorded(*args: Any, **options: Any) -> Any:
            calls.append((name, options.get("input_gradient", True), options.get("weight_gradient", True)))
            return function(*args, **options)

        monkeypatch.setattr(module, name, recorded)

    for name in ("conv2d_relu_max_pool2d_backward", "conv2d_relu_backward"):
        watched(fused, name)
    for name in ("conv2d_weight", "conv2d_input"):
        watched(conv2d, name)
    net = network()
    net[3].freeze()
    net[5].freeze()
    y = net(X)
    net.backward(y, input_gradient=False)
    assert calls == [("conv2d_input", True, True), ("conv2d_relu_backward", True, False), ("conv2d_relu_max_pool2d_backward", False, True)]
    calls.clear()
    net[0].freeze()
    net.backward(y, input_gradient=False)
    assert calls == []
    net.backward(y)
    assert calls[1:] == [("conv2d_relu_backward", True, False), ("conv2d_relu_max_pool2d_backward", True, False)]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(2, 3, 2, rng=0), (2, 2, 4, 5)),
        (Linear(5, 3, bias=False, rng=0), (4, 5)),
        (PReLU(2), (3, 2, 4)),
        (LayerNorm(5), (3, 5)),
        (GroupNorm(2, 4), (2, 4, 3)),
        (BatchNorm2d(3).eval(), (2, 3, 4, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Layer) else "",
)
def test_every_layer_with_parameters(layer: Layer, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    y = layer(x)
    dx = layer.backward(y)
    assert dx is not None
    assert set(layer.grads) == set(layer.params)
    assert layer.freeze() is layer
    assert not layer.trainable
    again = layer.backward(y)
    assert again is not None
    np.testing.assert_array_equal(again, dx)
    assert layer.grads == layer.trainable_params == {}
    assert layer.backward(y, input_gradient=False) is None
    assert layer.grads == {}
    assert layer.unfreeze().backward(y) is not None
    assert set(layer.grads) == set(layer.trainable_params) == set(layer.params)


@pytest.mark.parametrize("fuse", [True, False])
def test_a_frozen_batch_norm_uses_and_keeps_its_running_statistics(fuse: bool) -> None:
    norm = BatchNorm2d(2)
    norm.buffers["running_mean"][:], norm.buffers["running_var"][:] = (1, -2), (4, 0.25)
    norm.params["weight"][:], norm.params["bias"][:] = (3, -1), (0.5, 0)
    net = Sequential(norm, ReLU(), fuse=fuse).freeze()
    x = np.random.default_rng(2).standard_normal((3, 2, 4, 4)).astype(np.float32)
    before = bits(norm.state_dict())
    scale = np.array([3, -1]).reshape(2, 1, 1) / np.sqrt(np.array([4, 0.25]).reshape(2, 1, 1) + 1e-5)
    expected = (x - np.array([1, -2]).reshape(2, 1, 1)) * scale + np.array([0.5, 0]).reshape(2, 1, 1)
    np.testing.assert_allclose(net(x), np.maximum(expected, 0), rtol=1e-5, atol=1e-6)
    dx = net.backward(np.ones_like(x))
    assert dx is not None
    np.testing.assert_allclose(dx, (expected > 0) * scale, rtol=1e-5)
    assert bits(norm.state_dict()) == before
    net.unfreeze()(x)
    assert norm.buffers["num_batches_tracked"] == 1
    assert bits(norm.buffers) != {name: before[name] for name in norm.buffers}


def test_sequential_passes_it_on() -> None:
    net = network()
    assert net.trainable
    assert net.freeze() is net
    assert not net.trainable
    assert not net[5][0].trainable
    assert net.trainable_params == {}
    y = net(X)
    assert net.backward(y, input_gradient=False) is None
    assert net.grads == {}
    net[5][2].unfreeze()
    assert net.trainable
    assert net[5].trainable
    assert list(net.trainable_params) == ["5.2.weight", "5.2.bias"]
    assert all(net.trainable_params[name] is net.params[name] for name in net.trainable_params)
    net.backward(y, input_gradient=False)
    assert sorted(net.grads) == ["5.2.bias", "5.2.weight"]
    assert "0: Conv2d(1 -> 16, 3x3, padding=1, frozen)\n  1: ReLU()" in repr(net)
    assert "2: Conv2d(6 -> 5, 2x2)" in repr(net)
    assert "PReLU(1, frozen)" in net.summary((1, 8, 8))
    assert "frozen" not in repr(net.unfreeze())
    np.testing.assert_allclose(prepare(net.freeze())(X), net.eval()(X), rtol=1e-4, atol=1e-5)


def _train(path: Path, frozen: int, resume: bool = False, callbacks: Any = ()) -> Sequential:
    net = network()
    net[frozen].freeze()
    optimizer = Adam(net.params, 0.01, weight_decay=0.01)
    fit(net, IMAGES, LABELS, batch_size=16, epochs=3, optimizer=optimizer, checkpoint=path, resume=resume, callbacks=callbacks)
    return net


def test_checkpoints_resume_with_the_same_layers_frozen(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step(self, run: Run) -> bool:
            return run.step == 4

    whole = _train(tmp_path / "whole.npz", 3)
    _train(tmp_path / "c.npz", 3, callbacks=[Stop()])
    with pytest.raises(ValueError, match=r"model was .*16 -> 6, 3x3, frozen.*, now .*1 -> 16, 3x3, padding=1, frozen"):
        _train(tmp_path / "c.npz", 0, resume=True)
    assert bits(_train(tmp_path / "c.npz", 3, resume=True).state_dict()) == bits(whole.state_dict())


def test_fit_wants_something_to_train() -> None:
    net = network()
    with pytest.raises(ValueError, match="fit: the model's layers are all frozen; `unfreeze` those to be trained"):
        fit(net.freeze(), IMAGES, LABELS)
    net[12].unfreeze()
    before = bits(net.params)
    fit(net, IMAGES, LABELS, batch_size=16, optimizer=SGD(net.trainable_params, 0.1))
    assert {name for name, now in bits(net.params).items() if now != before[name]} == {"12.weight", "12.bias"}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_fused_gradients_without_the_weights(layout: Any) -> None:
    rng = np.random.default_rng(3)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 8, 8, 8), (16, 8, 3, 3)))
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, return_winners=True, layout=layout)
    z = fastcnn.conv2d_relu(x, w, layout=layout)
    for function, arrays in (
        (fastcnn.conv2d_relu_max_pool2d_backward, (y, winners, y, x, w)),
        (fastcnn.conv2d_relu_backward, (z, z, x, w)),
    ):
        dx, _, _ = function(*arrays, layout=layout)
        for _ in range(2):  # the second time by its plan
            alone, *nothing = function(*arrays, layout=layout, weight_gradient=False)
            np.testing.assert_array_equal(alone, dx)
            assert nothing == [None, None]
        assert function(*arrays, layout=layout, input_gradient=False, weight_gradient=False) == (None, None, None)
        with pytest.raises(TypeError, match="weight_gradient must be a bool; got int"):
            function(*arrays, layout=layout, weight_gradient=1)
