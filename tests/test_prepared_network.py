"""`layers.prepare`: the network's own results, fused or not, and a snapshot that no later write reaches - nor misses the network."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastcnn
from fastcnn import amx, bf16
from fastcnn.layers import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential, prepare
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.ops.conv2d import _winograd
from fastcnn.optim import SGD


def _net(fuse: bool = True) -> Sequential:
    return Sequential(
        Conv2d(3, 24, 5, rng=0), ReLU(), MaxPool2d(2), Conv2d(24, 32, 3, padding=1, rng=1), MaxPool2d(2), ReLU(),
        Sequential(Conv2d(32, 64, 3, rng=2), ReLU(), fuse=fuse), Conv2d(64, 40, 3, padding=1, bias=False, rng=3), MaxPool2d(3, 2, 1),
        Dropout(0.5, rng=4), Flatten(), Linear(160, 10, rng=5), fuse=fuse,
    )  # fmt: skip


def _images(N: int = 4) -> np.ndarray:
    return np.random.default_rng(6).standard_normal((N, 3, 28, 28)).astype(np.float32)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_the_networks_own_results(precision: str, fuse: bool) -> None:
    net = _net(fuse).eval()
    predict = prepare(net, precision)
    for N in (1, 4, 1):
        got, want = predict(_images(N)), net(_images(N))
        assert np.linalg.norm(got - want) <= (1e-2 if precision == "medium" else 1e-5) * np.linalg.norm(want)
    assert f"precision '{precision}'" in repr(predict)


def test_a_single_layer_and_evaluation_mode() -> None:
    conv, x = Conv2d(3, 8, 3, rng=0), _images()
    np.testing.assert_allclose(prepare(conv)(x), conv(x), rtol=1e-4, atol=1e-5)
    dropout = Dropout(0.5, rng=0)
    np.testing.assert_array_equal(prepare(dropout)(x), x)
    assert dropout.training


def _write_in_place(net: Sequential) -> None:
    net.params["0.weight"][...] = 0.1


def _write_through_a_view(net: Sequential) -> None:
    net.layers[3].params["weight"].reshape(-1)[::2] = 0


def _replace(net: Sequential) -> None:
    net.layers[0].params["bias"] = np.ones(24, np.float32)


def _load(net: Sequential) -> None:
    net.load_state_dict({name: value * 0.5 for name, value in net.state_dict().items()})


def _step(net: Sequential) -> None:
    loss, x = SoftmaxCrossEntropy(), _images()
    net.train()
    loss(net(x), np.arange(4))
    net.backward(loss.backward(), input_gradient=False)
    SGD(net.params, lr=0.1).step(net.grads)
    net.eval()


@pytest.mark.parametrize("change", [_write_in_place, _write_through_a_view, _replace, _load, _step])
def test_a_change_reaches_the_network_and_not_the_snapshot(change) -> None:
    net, x = _net().eval(), _images()
    predict = prepare(net)
    before = predict(x)
    change(net)
    np.testing.assert_array_equal(predict(x), before)
    after = net(x)
    assert np.linalg.norm(after - before) > 1e-3 * np.linalg.norm(before)
    again = prepare(net)(x)
    assert np.linalg.norm(again - after) < 1e-5 * np.linalg.norm(after)


def test_it_keeps_nothing_of_the_last_step() -> None:
    net = _net()
    _step(net)
    predict = prepare(net)
    assert net.grads
    for layer in (predict._model, *predict._model.layers):
        assert layer._saved is None
        assert layer.grads == {}
    assert predict._model.params["0.weight"] is predict._model.layers[0].params["weight"]


def test_a_layer_that_saved_a_number() -> None:
    """Dropout in evaluation saves a 1, and there is one 1 only: the strides are the same object."""
    net = Sequential(Conv2d(1, 4, 3, rng=0), Dropout()).eval()
    x = np.ones((1, 1, 5, 5), np.float32)
    want = x
    for layer in net.layers:
        want = layer(want)
    np.testing.assert_allclose(prepare(net)(x), want, rtol=1e-5)


@pytest.mark.parametrize("channels", [(64, 64), (32, 64)])
def test_highest_never_takes_winograd(channels: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where pooling is fused, whose own default is "high"."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Winograd")

    net = Sequential(Conv2d(*channels, 3, padding=1, rng=0), ReLU(), MaxPool2d(2))
    predict = prepare(net, "highest")
    for name in ("correlation", "filter_packer"):
        monkeypatch.setattr(_winograd, name, refuse)
    assert predict(np.ones((2, channels[0], 29, 31), np.float32)).shape == (2, channels[1], 14, 15)


def test_a_subclass_computes_as_it_says() -> None:
    class Doubled(Conv2d):
        def apply(self, x):
            y, saved = super().apply(x)
            return 2 * y, saved

    net = Sequential(Doubled(3, 4, 3, rng=0), ReLU())
    np.testing.assert_allclose(prepare(net)(_images()), net.eval()(_images()), rtol=1e-6)


def test_calls_from_threads() -> None:
    predict, x = prepare(_net()), _images()
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(predict(x))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.skipif(bf16.unavailable() is not None, reason=str(bf16.unavailable()))
def test_medium_packs_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = []
    variant = fastcnn.ops.conv2d.OPERATION.variants["bfloat16" if amx.unavailable() else "amx"]
    packing = variant.packing
    monkeypatch.setattr(variant, "packing", lambda *arguments: packed.append(arguments) or packing(*arguments))
    predict = prepare(Conv2d(64, 64, 1, rng=0), "medium")
    for _ in range(3):
        predict(np.ones((1, 64, 14, 14), np.float32))
    assert len(packed) == 1


def test_mistakes() -> None:
    with pytest.raises(TypeError, match="prepare: model must be a Layer; got int"):
        prepare(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prepare: precision must be one of"):
        prepare(ReLU(), "low")
    with pytest.raises(ValueError, match="to have 3 channels, but got 2"):
        prepare(_net())(np.zeros((1, 2, 28, 28), np.float32))
