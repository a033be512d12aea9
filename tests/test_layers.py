"""Layers: gradients by central differences, names and state, modes, summary; and that a small network learns."""

from __future__ import annotations

import numpy as np
import pytest

import fastcnn
from fastcnn.init import he_normal
from fastcnn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Dropout2d,
    Flatten,
    GroupNorm,
    Identity,
    Layer,
    LayerNorm,
    Linear,
    LogSoftmax,
    MaxPool2d,
    PReLU,
    ReLU,
    Residual,
    Sequential,
    Softmax,
    Step,
    activation,
    prepare,
)
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.models import digit_net
from fastcnn.ops.activation import ACTIVATIONS
from fastcnn.optim import SGD


def _conv(*args, **kwargs) -> Conv2d:
    return Conv2d(*args, dtype=np.float64, rng=1, **kwargs)


LAYERS = {
    "conv": (_conv(2, 3, 3), (2, 2, 5, 6)),
    "conv-strided-padded": (_conv(3, 2, (3, 2), stride=(2, 1), padding=((1, 0), (2, 1))), (2, 3, 5, 4)),
    "conv-same": (_conv(1, 2, 4, stride=2, padding="same"), (1, 1, 7, 5)),
    "conv-dilated-grouped": (_conv(4, 6, 2, dilation=2, groups=2, bias=False), (2, 4, 5, 4)),
    "max-pool": (MaxPool2d(2), (2, 3, 5, 6)),
    "max-pool-overlapping": (MaxPool2d(3, 1, 1), (1, 2, 4, 5)),
    "max-pool-eval": (MaxPool2d(3, 2, 1).eval(), (2, 3, 5, 6)),
    "avg-pool": (AvgPool2d(2), (2, 3, 5, 6)),
    "avg-pool-overlapping": (AvgPool2d((3, 2), 1, 1, count_include_pad=False), (1, 9, 4, 5)),
    "avg-pool-ceil": (AvgPool2d(3, 2, ceil_mode=True, divisor_override=4), (1, 2, 6, 4)),
    "adaptive-avg-pool": (AdaptiveAvgPool2d((2, None)), (2, 9, 5, 3)),
    "global-avg-pool": (AdaptiveAvgPool2d(1), (2, 3, 5, 4)),
    "relu": (ReLU(), (3, 7)),
    "relu-images": (ReLU(), (2, 3, 4, 2)),
    "identity": (Identity(), (3, 7)),
    "step": (Step(), (2, 3, 4, 2)),
    "linear": (Linear(5, 4, dtype=np.float64, rng=2), (3, 5)),
    "linear-no-bias": (Linear(5, 1, bias=False, dtype=np.float64, rng=2), (1, 5)),
    "flatten": (Flatten(), (2, 3, 2, 2)),
    **{
        kind.name: (kind(0.3, -0.5) if kind.name == "threshold" else kind(), (2, 3, 4, 3))
        for kind in activation.Activation.__subclasses__()
    },
    "gelu-tanh": (activation.GELU("tanh"), (3, 7)),
    "prelu": (PReLU(3, dtype=np.float64), (2, 3, 4)),
    "softmax": (Softmax(1), (2, 3, 4)),
    "log-softmax": (LogSoftmax(), (3, 7)),
    "layer-norm": (LayerNorm((4, 3), eps=0.1, dtype=np.float64), (2, 2, 4, 3)),
    "layer-norm-plain": (LayerNorm(5, elementwise_affine=False), (3, 5)),
    "group-norm": (GroupNorm(2, 4, eps=0.1, dtype=np.float64), (2, 4, 3, 2)),
    "dropout-eval": (Dropout(0.5).eval(), (4, 6)),
    "batch-norm-vectors": (BatchNorm1d(4, dtype=np.float64), (5, 4)),
    "batch-norm-signals": (BatchNorm1d(3, affine=False, dtype=np.float64), (3, 3, 5)),
    "batch-norm-images": (BatchNorm2d(3, eps=0.1, dtype=np.float64), (2, 3, 4, 3)),
    "batch-norm-eval": (BatchNorm2d(3, dtype=np.float64).eval(), (2, 3, 4, 3)),
    "batch-norm-untracked-eval": (BatchNorm2d(2, track_running_stats=False, dtype=np.float64).eval(), (2, 2, 4, 3)),
    "sequential-normalised": (
        Sequential(
            _conv(1, 3, 3),
            BatchNorm2d(3, dtype=np.float64),
            ReLU(),
            Flatten(),
            Linear(12, 4, dtype=np.float64, rng=3),
            BatchNorm1d(4, dtype=np.float64),
            ReLU(),
        ),
        (3, 1, 4, 4),
    ),
    "residual": (Residual(_conv(2, 2, 3, padding=1), BatchNorm2d(2, dtype=np.float64), ReLU(), _conv(2, 2, 1)), (2, 2, 4, 3)),
    "residual-projected": (
        Sequential(
            Residual(_conv(1, 3, 3, stride=2, padding=1), ReLU(), shortcut=Sequential(_conv(1, 3, 1, stride=2), PReLU(dtype=np.float64))),
            ReLU(),
            Residual(Linear(2, 2, dtype=np.float64, rng=4), Residual(Dropout(0.5).eval())),
        ),
        (2, 1, 5, 4),
    ),
    "sequential": (
        Sequential(_conv(1, 3, 3, padding=1), ReLU(), MaxPool2d(2), _conv(3, 2, 2), Flatten(), Linear(8, 3, dtype=np.float64, rng=3)),
        (2, 1, 6, 6),
    ),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_gradients_by_central_differences(layer: Layer, shape: tuple[int, ...], channels_last: bool) -> None:
    rng = np.random.default_rng(0)
    # distinct values 0.1 apart and none of them 0: no step of 1e-5 crosses a corner of ReLU or of a maximum
    x = 0.1 * (rng.permutation(np.prod(shape)).reshape(shape) + 0.25 - np.prod(shape) / 2)
    if channels_last and x.ndim == 4:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    dy = rng.standard_normal(layer.forward(x).shape)
    layer.forward(x)
    dx = layer.backward(dy)
    assert dx is not None
    assert dx.shape == x.shape
    assert set(layer.grads) == set(layer.params)
    grads = {name: grad.copy() for name, grad in layer.grads.items()}

    def difference(array: np.ndarray, index: tuple[int, ...]) -> float:
        kept, eps = array[index], 1e-5
        array[index] = kept + eps
        above = (layer.forward(x) * dy).sum()
        array[index] = kept - eps
        below = (layer.forward(x) * dy).sum()
        array[index] = kept
        return (above - below) / (2 * eps)

    for array, gradient in [(x, dx), *((layer.params[name], grads[name]) for name in grads)]:
        numeric = np.array([difference(array, index) for index in np.ndindex(*array.shape)]).reshape(array.shape)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_output_shape_tells_the_truth(layer: Layer, shape: tuple[int, ...]) -> None:
    assert layer.output_shape(shape[1:]) == layer.forward(np.zeros(shape)).shape[1:]


def test_apply_and_pull_back_leave_the_layer_alone() -> None:
    net = digit_net(8, rng=0)
    x = np.random.default_rng(1).standard_normal((3, 1, 8, 8)).astype(np.float32)
    y, saved = net.apply(x)
    net.apply(-x)  # another shard in between
    _, grads = net.pull_back(saved, np.ones_like(y))
    net.forward(x)
    net.backward(np.ones_like(y))
    assert all(np.array_equal(grads[name], net.grads[name]) for name in net.params)


def test_no_input_gradient_where_nobody_asks() -> None:
    net = digit_net(8, rng=0)
    y = net.forward(np.ones((2, 1, 8, 8), np.float32))
    full = net.backward(np.ones_like(y))
    grads = dict(net.grads)
    assert full is not None
    assert net.backward(np.ones_like(y), input_gradient=False) is None
    assert all(np.array_equal(grads[name], net.grads[name]) for name in net.params)


def test_images_stay_channels_last_between_layers() -> None:
    layers = [
        *(Conv2d(3, 8, 3, rng=0), ReLU(), MaxPool2d(2), Conv2d(8, 8, 3, rng=0), Dropout(0.5, rng=0)),
        *(AvgPool2d(2, 1), AdaptiveAvgPool2d(2)),
    ]
    x = np.ones((2, 3, 12, 12), np.float32)
    for layer in layers:
        x = layer.forward(x)
        assert x.transpose(0, 2, 3, 1).flags.c_contiguous, f"{layer} converted its output"
    for layer in reversed(layers):
        x = layer.backward(x)
        assert x.transpose(0, 2, 3, 1).flags.c_contiguous, f"{layer} converted its gradient"


def test_names_are_torch_names_and_state_round_trips() -> None:
    net, other = digit_net(28, rng=0), digit_net(28, rng=1)
    assert list(net.params) == [f"{i}.{name}" for i in (0, 3, 7, 9) for name in ("weight", "bias")]
    assert net.params["7.weight"].shape == (256, 800)
    state = net.state_dict()
    other.load_state_dict(state)
    x = np.random.default_rng(2).standard_normal((2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(net(x), other(x))
    state["0.bias"] += 1
    assert (state["0.bias"] - net.params["0.bias"] > 0.5).all(), "state_dict must be a copy"


@pytest.mark.parametrize("change", [{"0.weight": np.zeros((24, 1, 3, 3))}, {"extra": np.zeros(1)}, {"0.bias": None}])
def test_wrong_state_changes_nothing(change: dict) -> None:
    net = digit_net(28, rng=0)
    before = net.state_dict()
    state = {name: value + 1 for name, value in before.items()} | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=r"0\.weight must have shape|state misses|unknown"):
        net.load_state_dict(state)
    assert all(np.array_equal(before[name], net.params[name]) for name in before)


def test_backward_before_forward() -> None:
    with pytest.raises(RuntimeError, match="Conv2d: backward needs a forward"):
        Conv2d(1, 1, 1).backward(np.zeros((1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2d(0, 1, 3), "Conv2d: in_channels must be between 1"),
        (lambda: Conv2d(3, 4, 3, groups=2), "groups must divide"),
        (lambda: Conv2d(1, 1, 3)(np.zeros((3, 3))), r"Conv2d: input must be \(N, C, H, W\)"),
        (lambda: Conv2d(1, 1, 3)(np.zeros((1, 2, 5, 5), np.float32)), "to have 1 channels, but got 2"),
        (lambda: Linear(2, 0), "Linear: out_features"),
        (lambda: Flatten()(np.zeros((2, 3), object)), "Flatten: input must be numbers; got dtype object"),
        (lambda: Flatten()(np.zeros((1, 2, 3, 4), "S4")), r"Flatten: input must be numbers; got dtype \|S4"),
        (lambda: Dropout(1.5), "Dropout: p must be between 0 and 1"),
        (lambda: Dropout2d(-0.5), "Dropout2d: p must be between 0 and 1"),
        (lambda: activation.ELU("1"), "ELU: alpha must be a float"),
        (lambda: activation.GELU("exact"), "GELU: approximate argument must be either none or tanh"),
        (lambda: activation.Tanh(1.0), "Tanh: expected at most 0 parameters"),
        (lambda: Softmax(0.5), "Softmax: dim must be an int"),
        (lambda: LayerNorm(0), "LayerNorm: normalized_shape must be between 1"),
        (lambda: GroupNorm(3, 4), "GroupNorm: num_channels must be divisible by num_groups"),
        (lambda: GroupNorm(2, 4)(np.zeros((1, 3, 2))), r"GroupNorm: input must be \(N, 4, \.\.\.\)"),
        (lambda: Sequential(np.tanh), "Sequential: argument 0 must be a Layer; got ufunc"),
        (lambda: digit_net(28).summary((1, 20, 20)), r"Linear: input must be \(N, 800\)"),
    ],
)
def test_errors_tell_what_is_wrong(make, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_dropout_keeps_the_mean_and_only_in_training() -> None:
    layer = Dropout(0.25, rng=0)
    x = np.ones((200, 500), np.float32)
    y = layer.forward(x)
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(layer.backward(x), y)
    assert layer.eval().forward(x) is x
    assert not Dropout(1.0, rng=0).forward(x).any()


def test_dropout2d_drops_whole_channels() -> None:
    layer = Dropout2d(0.5, rng=0)
    y = layer.forward(np.ones((20, 30, 4, 5), np.float32))
    assert set(np.unique(y)) == {np.float32(0), np.float32(2)}
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :, :1, :1], y.shape))
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)), y)


def test_every_activation_has_a_layer() -> None:
    kinds = activation.Activation.__subclasses__()
    assert {kind.name for kind in kinds} == set(ACTIVATIONS)
    assert all(kind.__name__ in fastcnn.layers.__all__ for kind in kinds)
    assert repr(activation.ELU(0.5)) == "ELU(alpha=0.5)"
    assert repr(activation.ELU(1)) == "ELU()"


def test_identity_and_step() -> None:
    x = np.array([[-2.0, -0.0, 0.0, 1e-30, np.nan]], np.float32)
    step, same = Step(), Identity("ignored", also=1)
    np.testing.assert_array_equal(step(x), np.array([[0, 0, 0, 1, np.nan]], np.float32), strict=True)
    np.testing.assert_array_equal(step.backward(np.ones_like(x)), np.zeros_like(x), strict=True)
    assert step.backward(x, input_gradient=False) is None
    assert same(x) is x
    assert same.backward(x) is x
    assert same.backward(x, input_gradient=False) is None
    images = np.ones((1, 4, 4, 3), np.float32).transpose(0, 3, 1, 2)
    assert step(images).transpose(0, 2, 3, 1).flags.c_contiguous
    odd = np.ones((2, 3, 3, 3), np.float32).T
    assert step(odd).flags.c_contiguous
    assert step.backward(odd).flags.c_contiguous
    step(images)
    with pytest.raises(ValueError, match=r"Step: gradient must have shape \(1, 3, 4, 4\) \(the output's\); got \(1, 5\)"):
        step.backward(x)


def test_a_prepared_network_has_them() -> None:
    net = Sequential(
        _conv(2, 4, 3), GroupNorm(2, 4, dtype=np.float64), activation.SiLU(), Flatten(), LayerNorm(36, dtype=np.float64), LogSoftmax()
    )
    x = np.random.default_rng(5).standard_normal((2, 2, 5, 5))
    np.testing.assert_allclose(prepare(net)(x), net.eval()(x), rtol=1e-6)


def test_modes_reach_every_layer() -> None:
    net = Sequential(Sequential(Dropout()), ReLU())
    assert not net.eval()[0][0].training
    assert net.train()[0][0].training


def test_summary_counts() -> None:
    text = digit_net(28).summary((1, 28, 28))
    assert "Conv2d(1 -> 24, 5x5)" in text
    assert "(24, 24, 24)" in text
    total = text.splitlines()[-1].split()
    assert total == ["total", "215,194", "2,488,320"]
    assert digit_net(28).flops((1, 28, 28)) == 2 * (24 * 24 * 24 * 25 + 10 * 10 * 32 * 216 + 800 * 256 + 2560)


def test_he_initialisation() -> None:
    layer = Conv2d(64, 128, 3, rng=0, init=he_normal)
    weight = layer.params["weight"]
    assert not layer.params["bias"].any()
    assert weight.std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)
    assert abs(weight.mean()) < 1e-3


@pytest.mark.parametrize("layer", [Conv2d(64, 128, 3, rng=0), Linear(576, 128, rng=0)], ids=["conv", "linear"])
def test_layers_begin_as_torch_s_do(layer: Layer) -> None:
    """Uniform in +-1 / sqrt(fan_in), bias likewise: torch.nn.init.kaiming_uniform_(a=sqrt(5))."""
    limit = 1 / np.sqrt(576)
    for values in layer.params.values():
        assert abs(values).max() <= limit
        assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.02 if values.ndim > 1 else 0.2)
        assert abs(values.mean()) < 0.2 * limit


def test_a_network_learns_and_a_seed_repeats_it() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1, 8, 8)).astype(np.float32)
    labels = (x[:, 0, :4].mean(axis=(1, 2)) > x[:, 0, 4:].mean(axis=(1, 2))).astype(int)

    def run() -> tuple[list[float], np.ndarray]:
        net, loss = digit_net(8, rng=3), SoftmaxCrossEntropy()
        optimizer = SGD(net.params, 0.05, momentum=0.9)
        losses = []
        for _ in range(60):
            losses.append(loss(net(x), labels))
            net.backward(loss.backward(), input_gradient=False)
            optimizer.step(net.grads)
        return losses, net.params["0.weight"]

    losses, weight = run()
    assert losses[-1] < 0.05 * losses[0]
    again, same = run()
    assert losses == again
    np.testing.assert_array_equal(weight, same)


def test_public_names_exist() -> None:
    assert all(hasattr(fastcnn, name) for name in fastcnn.__all__)
