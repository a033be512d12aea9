"""Batch normalisation as a layer: modes, names, state and its round trips, fusion with ReLU, and folding in prepared networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastcnn import batch_norm
from fastcnn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, prepare
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.optim import SGD

F32 = np.float32


def _images(N: int = 8, C: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, C, 12, 12)).astype(F32)


def _net(fuse: bool = True) -> Sequential:
    return Sequential(
        Conv2d(3, 16, 3, bias=False, rng=0), BatchNorm2d(16), ReLU(), MaxPool2d(2),
        Sequential(Conv2d(16, 8, 3, groups=2, rng=1), BatchNorm2d(8, affine=False), fuse=fuse), ReLU(), BatchNorm2d(8), ReLU(),
        Flatten(), Linear(72, 12, rng=2), BatchNorm1d(12), ReLU(), Dropout(0.1, rng=3), Linear(12, 10, rng=4), fuse=fuse,
    )  # fmt: skip


def _train(net: Layer, steps: int = 3) -> None:
    """Leave nothing where it started: also weights of normalisations below 0."""
    loss, optimizer = SoftmaxCrossEntropy(), SGD(net.params, lr=0.1)
    rng = np.random.default_rng(5)
    for name, param in net.params.items():
        if param.ndim == 1:
            param += rng.uniform(-1.5, 1.5, param.shape).astype(F32)
            assert name.endswith(("weight", "bias"))
    for step in range(steps):
        loss(net(2 * _images(seed=step) + 1), np.arange(8))
        net.backward(loss.backward(), input_gradient=False)
        optimizer.step(net.grads)


def test_names_and_values_are_torchs() -> None:
    layer = BatchNorm2d(3)
    assert list(layer.params) == ["weight", "bias"]
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert layer.buffers["num_batches_tracked"].shape == ()
    assert layer.buffers["num_batches_tracked"].dtype == np.int64
    assert set(_net().buffers) >= {"1.running_mean", "4.1.running_var", "6.num_batches_tracked", "10.running_mean"}
    assert not set(_net().buffers) & set(_net().params)
    assert BatchNorm2d(3, affine=False).params == {}
    assert BatchNorm2d(3, track_running_stats=False).buffers == {}
    assert _net().parameter_count == 16 * 27 + 32 + 8 * 72 + 8 + 16 + 72 * 12 + 12 + 24 + 130


def test_training_normalises_by_the_batch_and_evaluation_by_what_was_seen() -> None:
    layer, x = BatchNorm2d(3, momentum=0.25), 3 * _images() + 2
    y = layer(x)
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, rtol=1e-5)
    mean, variance = x.mean((0, 2, 3), np.float64), x.astype(np.float64).var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.buffers["running_mean"], 0.25 * mean, rtol=1e-6)
    np.testing.assert_allclose(layer.buffers["running_var"], 0.75 + 0.25 * variance, rtol=1e-6)
    assert layer.buffers["num_batches_tracked"] == 1
    before = layer.state_dict()
    got = layer.eval()(x)
    want = batch_norm(x, before["running_mean"], before["running_var"])
    np.testing.assert_array_equal(got, want)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert layer.train()(x).mean() == pytest.approx(0, abs=1e-6)
    assert layer.buffers["num_batches_tracked"] == 2


def test_evaluation_before_any_training_only_adds_eps() -> None:
    x = _images()
    np.testing.assert_allclose(BatchNorm2d(3).eval()(x), x / np.sqrt(F32(1 + 1e-5)), rtol=1e-6)


def test_no_momentum_is_the_mean_of_all_batches() -> None:
    layer = BatchNorm1d(2, momentum=None)
    batches = np.random.default_rng(1).standard_normal((5, 20, 2)).astype(F32)
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(layer.buffers["running_mean"], batches.mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(layer.buffers["running_var"], batches.var(1, ddof=1).mean(0), rtol=1e-5)


def test_untracked_uses_the_batch_always() -> None:
    layer, x = BatchNorm2d(3, track_running_stats=False), _images() + 4
    np.testing.assert_array_equal(layer.train()(x), layer.eval()(x))


def test_state_round_trip_and_deepcopy() -> None:
    net, other = _net(), _net()
    _train(net)
    twin = copy.deepcopy(net)
    other.load_state_dict(net.state_dict())
    x = _images(4, seed=9)
    want = net.eval()(x)
    for same in (twin, other):
        np.testing.assert_array_equal(same.eval()(x), want)
        assert same.buffers["1.running_mean"] is same.layers[1].buffers["running_mean"]
    twin.train()(x)
    np.testing.assert_array_equal(net.eval()(x), want)
    assert twin.buffers["1.num_batches_tracked"] == net.buffers["1.num_batches_tracked"] + 1 == 4
    state = net.state_dict()
    state["1.running_var"] += 1
    np.testing.assert_array_equal(net(x), want)


@pytest.mark.parametrize(
    "change",
    [{"running_mean": None}, {"running_mean": np.zeros(4)}, {"num_batches_tracked": np.zeros(1)}, {"running_std": np.ones(3)}],
)
def test_wrong_state_changes_nothing(change: dict) -> None:
    layer = BatchNorm2d(3)
    before = layer.state_dict()
    state = {name: value + 1 for name, value in before.items()} | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=r"BatchNorm2d: (state misses|\w+ must have shape)"):
        layer.load_state_dict(state)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_apply_and_pull_back_are_pure_but_for_the_running_statistics() -> None:
    net, x = _net(), _images()
    y, saved = net.apply(x)
    params = {name: param.copy() for name, param in net.params.items()}
    net.apply(-2 * x)
    _, grads = net.pull_back(saved, np.ones_like(y))
    assert set(grads) == set(net.params)
    for name, param in net.params.items():
        np.testing.assert_array_equal(param, params[name])
    layer = BatchNorm2d(3)
    y, saved = layer.apply(x)
    want = layer.pull_back(saved, y)[0]
    layer.apply(x + 7)
    layer.eval()
    np.testing.assert_array_equal(layer.pull_back(saved, y)[0], want)
    assert layer.pull_back(saved, y, input_gradient=False)[0] is None


def test_relu_is_fused_with_the_same_results() -> None:
    fused, apart = _net(), _net(fuse=False)
    assert len(fused._runs[1]) == 2
    for mode in (True, False):
        for net in (fused, apart):
            for i, layer in enumerate(net.layers):
                if isinstance(layer, Dropout):
                    layer.rng = np.random.default_rng(i)
            net.train(mode)
        x, dy = _images(seed=3), np.random.default_rng(4).standard_normal((8, 10)).astype(F32)
        np.testing.assert_allclose(fused(x), apart(x), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(fused.backward(dy), apart.backward(dy), rtol=1e-3, atol=1e-4)
        for name, grad in fused.grads.items():
            np.testing.assert_allclose(grad, apart.grads[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_images_stay_channels_last() -> None:
    layer = BatchNorm2d(3)
    y = layer(np.ascontiguousarray(_images().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert layer.backward(y).transpose(0, 2, 3, 1).flags.c_contiguous


def test_summary_and_repr() -> None:
    text = _net().summary((3, 12, 12))
    assert "1 BatchNorm2d(16)" in text
    assert "(16, 10, 10)" in text
    assert (
        repr(BatchNorm1d(5, 0.1, None, False, False)) == "BatchNorm1d(5, eps=0.1, momentum=None, affine=False, track_running_stats=False)"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm2d(0), "BatchNorm2d: num_features must be between 1"),
        (lambda: BatchNorm2d(3, eps=0), "BatchNorm2d: eps must be positive; got 0"),
        (lambda: BatchNorm1d(3, momentum=2), "BatchNorm1d: momentum must be None or between 0 and 1; got 2"),
        (lambda: BatchNorm1d(3, affine=1), "BatchNorm1d: affine must be a bool; got int"),
        (lambda: BatchNorm2d(4)(_images()), r"BatchNorm2d: input must be \(N, 4, H, W\); got shape \(8, 3, 12, 12\)"),
        (lambda: BatchNorm2d(3)(_images()[0]), r"BatchNorm2d: input must be \(N, 3, H, W\); got shape \(3, 12, 12\)"),
        (lambda: BatchNorm1d(3)(_images()), r"BatchNorm1d: input must be \(N, 3\) or \(N, 3, L\); got shape \(8, 3, 12, 12\)"),
        (lambda: BatchNorm1d(3)(np.ones((1, 3), F32)), "more than one value per channel in training"),
        (lambda: BatchNorm2d(3)(_images().astype(float)), "expected arrays of one dtype"),
        (lambda: Sequential(Flatten(), BatchNorm1d(7)).summary((3, 4)), r"BatchNorm1d: input must be \(N, 7\).*got shape \(1, 12\)"),
    ],
)
def test_mistakes(make, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_refused_batch_is_not_counted() -> None:
    layer = BatchNorm1d(3)
    with pytest.raises(ValueError, match="more than one value"):
        layer(np.ones((1, 3), F32))
    assert layer.buffers["num_batches_tracked"] == 0


# --- Prepared networks -------------------------------------------------------------------------------------------------


def _kinds(model: Layer) -> list[str]:
    from fastcnn.layers.folding import folded

    def walk(layer: Layer) -> list[str]:
        return [kind for inner in layer.layers for kind in walk(inner)] if isinstance(layer, Sequential) else [type(layer).__name__]

    return walk(folded(model))


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_prepared_networks_give_the_networks_own_results(precision: str, fuse: bool) -> None:
    net = _net(fuse)
    _train(net)
    predict, x = prepare(net, precision), _images(5, seed=7)
    want = net.eval()(x)
    got = predict(x)
    assert np.linalg.norm(got - want) <= (1e-2 if precision == "medium" else 1e-5) * np.linalg.norm(want)
    before = net.state_dict()
    net.params["1.weight"][...] = 3
    net.buffers["6.running_mean"][...] = 5
    np.testing.assert_array_equal(predict(x), got)
    assert predict._model.buffers["1.running_mean"] is predict._model.layers[1].buffers["running_mean"]
    assert before["1.num_batches_tracked"] == 3


def test_normalisations_behind_weights_are_folded_and_others_run() -> None:
    assert _kinds(_net()) == [
        "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "BatchNorm2d", "ReLU", "Flatten", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    assert _kinds(_net(fuse=False)).count("BatchNorm2d") == 3
    assert _kinds(Sequential(Conv2d(3, 4, 3), BatchNorm2d(4, track_running_stats=False))) == ["Conv2d", "BatchNorm2d"]
    assert _kinds(Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), BatchNorm2d(4))) == ["Conv2d"]


def test_a_subclass_is_not_folded() -> None:
    class Shifted(BatchNorm2d):
        def apply(self, x):
            y, saved = super().apply(x)
            return y + 1, saved

    net = Sequential(Conv2d(3, 4, 3, rng=0), Shifted(4), ReLU())
    net(_images())
    np.testing.assert_allclose(prepare(net)(_images()), net.eval()(_images()), rtol=1e-5, atol=1e-6)


def test_one_convolution_before_two_normalisations() -> None:
    """The same layer twice in a network: each place folds into weights of its own."""
    conv = Conv2d(3, 3, 3, padding=1, rng=0)
    net = Sequential(conv, BatchNorm2d(3), ReLU(), conv, BatchNorm2d(3))
    net(_images())
    net.layers[4].params["weight"][...] = 3
    want = net.eval()(_images())
    np.testing.assert_allclose(prepare(net)(_images()), want, rtol=1e-4, atol=1e-4)


def test_weights_that_would_overflow_are_not_folded() -> None:
    net = Sequential(Linear(2, 2, rng=0), BatchNorm1d(2, eps=1e-30)).eval()
    net.buffers["1.running_var"][...] = 0
    net.params["1.weight"][...] = 1e30
    assert _kinds(net) == ["Linear", "BatchNorm1d"]
