"""Checks of numbers, dtypes, generators, shapes and mappings, and that layers, optimisers, schedules and the rest use them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastcnn
import fastcnn.functional as F
from fastcnn import data, gradients, init, layers, losses, models, optim, scalars, schedules, train
from fastcnn.adapters import columns
from fastcnn.data.augment import Augment
from fastcnn.data.batches import Batches
from fastcnn.draw.preparation import prepare_drawing
from fastcnn.train.recipes import Recipe

NET = layers.Sequential(layers.Flatten(), layers.Linear(16, 3, rng=0))
BYTES, LABELS = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 3
X = np.zeros((2, 3))
ONE = {"w": np.ones(2)}


class Broken:
    def __index__(self) -> int:
        raise RuntimeError("no number")


REFUSED: list[tuple[Any, type[Exception], str]] = [
    # scalars themselves
    (lambda: scalars.between("op", "p", 2, 0, 1), ValueError, "op: p must be at least 0 and at most 1; got 2"),
    (lambda: scalars.between("op", "p", 1, 0, 1, below=True), ValueError, "op: p must be at least 0 and below 1; got 1"),
    (lambda: scalars.between("op", "p", math.nan, 0, 1), ValueError, "op: p must be at least 0"),
    (lambda: scalars.between("op", "p", "1", 0, 1), TypeError, "op: p must be a float; got str"),
    (lambda: scalars.pair("op", "betas", (0.5,)), TypeError, r"op: betas must be two numbers; got \(0\.5,\)"),
    (lambda: scalars.pair("op", "betas", (0.5, None)), TypeError, r"op: betas\[1\] must be a float; got NoneType"),
    *[(lambda v=v: scalars.dtype("op", v), TypeError, "op: dtype must be float32 or float64; got")
      for v in ("f2", "int8", None, np, [1], 3, ">f2")],
    (lambda: scalars.generator("op", 1.0), TypeError, "op: rng must be a Generator, a seed or None; got float"),
    (lambda: scalars.generator("op", True), TypeError, "op: rng must be a Generator, a seed or None; got bool"),
    (lambda: scalars.generator("op", -1), ValueError, "op: rng must be a Generator, a seed of at least 0, or None; got -1"),
    (lambda: scalars.shape("op", 3), TypeError, "op: shape must be a tuple of int; got 3"),
    (lambda: scalars.shape("op", (1, -1)), ValueError, r"op: shape\[1\] must be between 0 and"),
    (lambda: scalars.shape("op", (1,) * 33), ValueError, "op: shape must have at most 32 axes; got 33"),
    (lambda: scalars.mapping("op", "params", [1]), TypeError, "op: params must be a mapping of name to array; got list"),
    (lambda: scalars.mapping("op", "params", {1: 2}), TypeError, "op: names of params must be str; got 1"),
    (lambda: scalars.positive("op", "eps", 0), ValueError, "op: eps must be above 0; got 0"),
    (lambda: scalars.positive("op", "eps", math.inf), ValueError, "op: eps must be finite; got inf"),
    (lambda: scalars.not_negative("op", "lr", -1), ValueError, "op: lr must not be negative; got -1"),
    (lambda: scalars.not_negative("op", "lr", math.nan), ValueError, "op: lr must be finite; got nan"),
    # what hostile calls got past the boundary
    (lambda: F.relu6(np.zeros(2), algorithm=Broken()), ValueError, "relu6: algorithm must be"),
    (lambda: F.conv2d(np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 1, 1)), stride=Broken()), TypeError,
     "conv2d: stride must be an int; got Broken"),
    (lambda: F.pad(np.zeros((2, 2), np.int32), (1, 1), value=math.nan), ValueError, "pad: value must fit the input's dtype int32; got nan"),
    (lambda: F.pad(np.zeros((2, 2), np.uint8), (1, 1), value=-1.0), ValueError, "pad: value must fit the input's dtype uint8; got -1"),
    (lambda: F.softmax(np.zeros((2, 2)), 0, dtype=[1] * 1000), TypeError, "softmax: dtype must be float32 or float64"),
    (lambda: F.dropout(np.zeros(2), rng=-1), ValueError, "dropout: rng must be a Generator, a seed of at least 0"),
    (lambda: F.threshold(np.zeros(2, np.float32), 1.0, -1e300), ValueError, "threshold: value cannot be converted to type float32"),
    (lambda: F.hardshrink(np.zeros(2, np.float32), -1e300), ValueError, "hardshrink: value cannot be converted to type float32"),
    (lambda: F.celu(np.zeros(2, np.float32), alpha=-1e300), ValueError, "celu: value cannot be converted to type float32"),
    (lambda: F.elu_backward(*[np.zeros(2, np.float32)] * 2, 1e39), ValueError, "elu_backward: value cannot be converted to type float32"),
    (lambda: F.leaky_relu(np.zeros(0, np.float32), 1e300), ValueError, "leaky_relu: value cannot be converted to type float32"),
    (lambda: F.im2col(X[None, None], (1,)), ValueError, "im2col: It is expected kernel_size equals to 2, but got size 1"),
    (lambda: F.im2col(X[None, None], 1, stride=[1]), ValueError, "im2col: It is expected stride equals to 2, but got size 1"),
    (lambda: F.col2im(X, (3,), 1), ValueError, "col2im: It is expected output_size equals to 2, but got size 1"),
    (lambda: F.col2im(X, 3, (1,)), ValueError, "col2im: It is expected kernel_size equals to 2, but got size 1"),
    (lambda: Batches(BYTES, LABELS, 1, seed=0, part=1000), TypeError, r"Batches: part must be \(number, parts\); got 1000"),
    (lambda: Batches(BYTES, LABELS, 1, seed=0, part=(0, 1, 2)), TypeError, r"Batches: part must be \(number, parts\)"),
    (lambda: gradients.gradient_check(layers.Linear(2, 1, rng=0), np.ones((1, 2)), eps=5e-324), ValueError,
     "gradient_check: eps must be at least 1e-150"),
    (lambda: train.running_average((3, (1, 1))), TypeError, r"running_average: values\[1\] must be a float; got tuple"),
    (lambda: train.fit(NET, BYTES, LABELS, checkpoint=1.5), TypeError, "fit: checkpoint must be a path or a Checkpoint; got float"),
    (lambda: layers.Linear(5, 1, rng=0).output_shape(np.datetime64("2020")), TypeError, "Linear: shape must be a tuple of int"),
    (lambda: layers.ReLU().output_shape(np.array(None)), TypeError, "ReLU: shape must be a tuple of int"),
    (lambda: F.max_unpool2d(X[None, None], np.arange(6).reshape(1, 1, 2, 3), 1, ()), ValueError,
     "max_unpool2d: stride must be an int or a pair"),
    (lambda: fastcnn.softmax_cross_entropy(X, X, label_smoothing=10**400), ValueError, "softmax_cross_entropy: label_smoothing must be"),
    *[(lambda call=call: call([1] * 1000), ValueError, r"\w+: .*; got \[1, 1, 1.* \.\.\.$")
      for call in (lambda v: train.EarlyStopping(patience=v), lambda v: train.fit(NET, BYTES, LABELS, epochs=v),
                   lambda v: train.fit(NET, BYTES, LABELS, seed=v), lambda v: train.fit(NET, BYTES, LABELS, standardise=v),
                   lambda v: train.predict(NET, BYTES, 0.0, 1.0, shifts=v))],
    (lambda: train.fit(NET, BYTES, LABELS, schedule=lambda step: "0.1"), ValueError, "fit: the schedule must give learning rates"),
    (lambda: Recipe(schedule=[1] * 1000), ValueError, r"Recipe: schedule must be one of .*; got \[1, 1"),
    (lambda: prepare_drawing(BYTES[0], [28]), TypeError, r"prepare_drawing: size must be an int; got list"),
    (lambda: optim.WeightAverage({"w": np.broadcast_to(1.0, (2**31, 2**20))}, 0.5), ValueError,
     "WeightAverage: 'w' of shape .* would take"),
    (lambda: F.cross_entropy(X, X, ignore_index=1), ValueError, "cross_entropy: ignore_index is not supported for floating point target"),
    (lambda: F.cross_entropy_backward(1.0, X, X, ignore_index=0), ValueError, "cross_entropy_backward: ignore_index is not supported"),
    (lambda: fastcnn.tuned("yes").__enter__(), TypeError, "tuned: enabled must be a bool; got str"),
    (lambda: data.standardise(BYTES, 1e300, 1.0), ValueError, "standardise: mean and deviation must be finite in float32"),
    (lambda: data.standardise(BYTES, 0.0, 1e-300), ValueError, "standardise: mean and deviation must be finite in float32"),
    (lambda: data.standardise(BYTES, np.full((1, 1, 4), 1e300), np.ones(1)), ValueError, "standardise: mean and deviation must be finite"),
    (lambda: init.he_normal((2, 2), rng="0"), TypeError, "normal: rng must be a Generator"),
    (lambda: init.he_uniform((2, 2), np.random.default_rng(0), "f2"), TypeError, "uniform: dtype must be float32 or float64"),
    (lambda: init.fan_in(3), TypeError, "fan_in: shape must be a tuple of int; got 3"),
    (lambda: init.zeros((2**31 - 1, 2**31 - 1)), ValueError, "zeros: a weight of shape .* would take"),
    (lambda: init.truncated_normal(1.0)((2**31 - 1, 2**31 - 1), np.random.default_rng(0)), ValueError,
     "truncated_normal: a weight of shape"),
    (lambda: init.orthogonal()(np.int8(2), np.random.default_rng(0)), TypeError, "orthogonal: shape must be a tuple"),
    (lambda: layers.Linear(2, 2, dtype="f2"), TypeError, "Linear: dtype must be float32 or float64"),
    (lambda: layers.Linear(2, 2, bias=1), TypeError, "Linear: bias must be a bool"),
    (lambda: layers.Linear(2**31 - 1, 2**31 - 1), ValueError, "Linear: the weight of shape .* would take"),
    (lambda: layers.Conv2d(1, 1, 1, rng=1.5), TypeError, "Conv2d: rng must be a Generator"),
    (lambda: layers.Dropout("0.5"), TypeError, "Dropout: p must be a float; got str"),
    (lambda: layers.Dropout(rng=object()), TypeError, "Dropout: rng must be a Generator"),
    (lambda: layers.BatchNorm2d(2, eps=[1]), TypeError, "BatchNorm2d: eps must be a float; got list"),
    (lambda: layers.BatchNorm2d(2, momentum="1"), TypeError, "BatchNorm2d: momentum must be a float; got str"),
    (lambda: layers.BatchNorm1d(2**31 - 1, dtype=object), TypeError, "BatchNorm1d: dtype must be"),
    (lambda: layers.GroupNorm(1, 2)(2.0), TypeError, "GroupNorm: input must be a NumPy array; got float"),
    (lambda: layers.LayerNorm((2**31 - 1,) * 2), ValueError, "LayerNorm: a parameter of shape"),
    (lambda: layers.PReLU(init=None), TypeError, "PReLU: init must be a float"),
    (lambda: layers.ReLU().train("yes"), TypeError, "ReLU: mode must be a bool; got str"),
    (lambda: layers.Linear(2, 2).load_state_dict([1]), TypeError, "Linear: state must be a mapping"),
    (lambda: models.digit_net([28]), TypeError, "digit_net: size must be an int; got list"),
    (lambda: models.resnet(8, blocks=2**31 - 1), ValueError, "resnet: the first stage of shape"),
    (lambda: models.vgg(8, filters=3), TypeError, "vgg: filters must be a sequence of int; got int"),
    (lambda: models.lenet5(28, classic=1), TypeError, "lenet5: classic must be a bool"),
    (lambda: models.alexnet(28, rng=2.0), TypeError, "alexnet: rng must be a Generator"),
    (lambda: optim.SGD([1], 0.1), TypeError, "SGD: params must be a mapping"),
    (lambda: optim.SGD(ONE, "0.1"), TypeError, "SGD: lr must be a float; got str"),
    (lambda: optim.SGD(ONE, 0.1, nesterov="yes"), TypeError, "SGD: nesterov must be a bool"),
    (lambda: optim.SGD(ONE, 0.1, dampening=np.array([0.5])), TypeError, "SGD: dampening must be a float"),
    (lambda: optim.SGD(ONE, 10**400), ValueError, "SGD: lr and weight_decay must not be negative, and must be finite"),
    (lambda: optim.Adam(ONE, betas=0.9), TypeError, "Adam: betas must be two numbers"),
    (lambda: optim.Adam(ONE, eps=(0.1,)), TypeError, "Adam: eps must be a float"),
    (lambda: optim.RMSprop(ONE, alpha=None), TypeError, "RMSprop: alpha must be a float"),
    (lambda: train.Checkpoint(3), TypeError, "Checkpoint: path must be a path; got int"),
    (lambda: train.Checkpoint(""), ValueError, "Checkpoint: path must be that of a file; got ''"),
    (lambda: train.fit(NET, BYTES, LABELS, checkpoint=""), ValueError, "Checkpoint: path must be that of a file; got ''"),
    (lambda: train.Checkpoint("a", seconds="1"), TypeError, "Checkpoint: seconds must be a float; got str"),
    (lambda: train.Checkpoint("a", seconds=-1), ValueError, "Checkpoint: seconds must not be negative; got -1"),
    (lambda: train.Checkpoint("a", steps=0), ValueError, "Checkpoint: steps must be between 1 and"),
    (lambda: train.fit(NET, BYTES, LABELS, validation=10**400), ValueError, "split: a validation share must be between 0 and 1"),
    (lambda: train.fit(NET, BYTES, LABELS, schedule=np.ones(2)), ValueError, "fit: the schedule must know steps 0 to 0; step 0"),
    (lambda: layers.Linear(2, 3, init=lambda: 0), TypeError, r"Linear: init must be a callable of \(shape, rng, dtype\): "),
    (lambda: layers.Conv2d(2, 3, 1, init=np.float32), TypeError, r"Conv2d: init must be a callable of \(shape, rng, dtype\)"),
    (lambda: layers.Linear(2, 3, init=lambda *a: 0.0), ValueError, r"Linear: init must draw a float32 weight of shape \(3, 2\); got float"),
    (lambda: layers.Linear(2, 3, init=lambda shape, *a: np.zeros(shape)), ValueError, r"Linear: init must draw a float32 .*; got float64"),
    (lambda: models.multi_layer_net(4, init=lambda shape, rng, dtype: np.zeros(2, dtype)), ValueError,
     r"Linear: init must draw .*; got float32 \(2,\)"),
    (lambda: F.pad_backward(X, [1] * 1000, (2, -1), "circular"), ValueError, "pad_backward: input_shape must have at most 32 axes"),
    (lambda: gradients.gradient_check(layers.Linear(2, 1, rng=0), np.ones((1, 2)), tolerance=1e-320), ValueError,
     "gradient_check: tolerance must be at least 1e-100"),
    *[(lambda state=state: layers.Linear(1, 1, rng=0).load_state_dict({"bias": np.zeros(1), **state}), error, f"Linear: {words}")
      for state, error, words in (
          ({"weight": np.ones((1, 1), complex)}, TypeError, "weight must be numbers; got dtype complex128"),
          ({"weight": np.array([["1"]])}, TypeError, "weight must be numbers; got dtype <U1"),
          ({"weight": [[1.0]]}, TypeError, "weight must be a NumPy array; got list"),
          ({"weight": np.full((1, 1), -1e300)}, ValueError, r"weight has numbers beyond float32; got up to 1e\+300"),
          ({"weight": np.ones((1, 2))}, ValueError, r"weight must have shape \(1, 1\); got \(1, 2\)"),
      )],
    (lambda: optim.SGD(ONE, 0.1).load_state_dict({**optim.SGD(ONE, 0.1).state_dict(), "w.step": np.array(0.5)}), ValueError,
     r"SGD: w\.step must be a count; got 0\.5"),
    (lambda: layers.BatchNorm1d(2).output_shape([1] * 1000), ValueError, "BatchNorm1d: shape must have at most 32 axes; got 1000"),
    (lambda: Augment(elastic=1.0, elastic_sigma=1e-320), ValueError, "Augment: elastic_sigma must be at least 0.01 and at most 100"),
    (lambda: F.pad(X.astype(np.float32), (0, -1, 1, 0), value=-1e300), ValueError, "pad: value must fit the input"),
    (lambda: F.pad(X, (-4, 6)), ValueError, r"pad: The input size 3, plus negative padding -4 and 6 resulted in a negative output size"),
    (lambda: optim.Adagrad({"w": np.ones(2, np.float32)}, initial_accumulator_value=1e300), ValueError,
     r"Adagrad: initial_accumulator_value must fit float32; got 1e\+300"),
    *[(lambda call=call: call(10**5000), ValueError, r"\w+: .*; got an integer of 16610 bits$")
      for call in (layers.Dropout, layers.Dropout2d, lambda v: layers.BatchNorm2d(2, momentum=v), lambda v: optim.WeightAverage(ONE, v))],
    (lambda: layers.BatchNorm2d(2, eps=-(10**5000)), ValueError, "BatchNorm2d: eps must be positive; got an integer of 16610 bits"),
    (lambda: optim.Adadelta(ONE, eps="1"), TypeError, "Adadelta: eps must be a float"),
    (lambda: optim.SGD(ONE, 0.1).step([np.ones(2)]), TypeError, "SGD: grads must be a mapping"),
    (lambda: optim.SGD(ONE, 0.1).load_state_dict(3), TypeError, "SGD: state must be a mapping"),
    (lambda: optim.WeightAverage(ONE, "0.5"), TypeError, "WeightAverage: decay must be a float"),
    (lambda: optim.clip_grad_norm([1], 1.0), TypeError, "clip_grad_norm: grads must be a mapping"),
    (lambda: optim.clip_grad_norm(ONE, None), TypeError, "clip_grad_norm: max_norm must be a float"),
    (lambda: optim.l2_penalty({"w": [1.0]}, 1.0), TypeError, "l2_penalty: 'w' must be a NumPy array; got list"),
    (lambda: schedules.OneCycle(0.1, 2.5), TypeError, "OneCycle: steps must be an int"),
    (lambda: schedules.OneCycle("1", 2), TypeError, "OneCycle: max_lr must be a float"),
    (lambda: schedules.Constant(0.1)(1.5), TypeError, "Constant: step must be an int"),
    (lambda: schedules.MultiStep(0.1, 3), TypeError, "MultiStep: milestones must be a sequence of int; got int"),
    (lambda: schedules.Cosine(0.1, 5, restarts=2**31 - 1, factor=2), ValueError, "Cosine: all cosines together must have at most"),
    (lambda: schedules.Cosine(0.1, 5, restarts=2**31 - 1), ValueError, "Cosine: all cosines together must have at most"),
    (lambda: schedules.OneCycle(0.1, 10**5000), ValueError, "OneCycle: expected steps from 1 to .*; got an integer of 16610 bits"),
    (lambda: F.layer_norm(X, [1] * 1000), ValueError, "layer_norm: normalized_shape must have at most 32 axes; got 1000"),
    (lambda: layers.LayerNorm([1] * 1000), ValueError, "LayerNorm: normalized_shape must have at most 32 axes; got 1000"),
    (lambda: layers.AdaptiveAvgPool2d(1).output_shape(np.float32(1)), TypeError, "AdaptiveAvgPool2d: shape must be a tuple of int"),
    (lambda: train.EarlyStopping(monitor="a" * 10**5), ValueError, "EarlyStopping: monitor must be one of"),
    (lambda: train.fit(NET, BYTES, LABELS, progress="yes"), TypeError, "fit: progress must be a Progress, a bool or None; got str"),
    (lambda: F.softmax(X, 0, dtype=np.float32(1)), TypeError, "softmax: dtype must be float32 or float64; got"),
    (lambda: init.constant(1e300)((2, 2)), ValueError, "constant: value must fit float32; got 1e"),
    (lambda: layers.AvgPool2d(2).output_shape("2"), TypeError, "AvgPool2d: shape must be a tuple of int; got str"),
    (lambda: fastcnn.set_threads(10**5000), ValueError, "threads: count must be between 1 and .* got an integer of 16610 bits"),
    (lambda: Augment(scale="0.1"), TypeError, "Augment: scale must be a float"),
    (lambda: Augment(rotate=10**400), ValueError, "Augment: rotate must be at least 0 and finite"),
    (lambda: Augment(erase_size=0.5), TypeError, "Augment: erase_size must be two numbers"),
    (lambda: data.split([0, 1], 0.5, 0), TypeError, "split: labels must be a NumPy array"),
    (lambda: data.split(LABELS, "0.5", 0), TypeError, "split: share must be a float"),
    (lambda: data.class_names("mnist", "abc"), TypeError, "class_names: classes must be an int"),
    (lambda: data.class_names("mnist", 2**31 - 1), ValueError, "class_names: classes must be at most"),
    (lambda: data.flatten(np.zeros((2, 2), object)), TypeError, "flatten: images must be numbers; got dtype object"),
    (lambda: data.standardise(BYTES, "0", 1.0), TypeError, "standardise: mean must be a NumPy array; got str"),
    (lambda: data.Dataset("d", BYTES, LABELS, BYTES, LABELS).only(3), TypeError, "Dataset.only: classes must be a sequence of int"),
    (lambda: gradients.gradient_check(NET, np.zeros((1, 16), complex)), TypeError, "gradient_check: input must hold real numbers"),
    (lambda: train.count_steps(6, math.inf, 2), ValueError, "count_steps: epochs must be finite"),
    (lambda: train.running_average(3), TypeError, "running_average: values must be a sequence of numbers; got int"),
    (lambda: train.EarlyStopping(min_delta=(1,)), TypeError, "EarlyStopping: min_delta must be a float"),
    (lambda: train.evaluate(NET, BYTES, None), TypeError, "evaluate: labels must be an array of integers; got NoneType"),
    (lambda: train.predict(NET, BYTES, 0.0, 1.0, batch_size=(1,)), TypeError, "predict: batch_size must be an int"),
    (lambda: train.fit(NET, BYTES, np.ma.masked_array(LABELS)), TypeError, "fit: labels must be an array of integers; got MaskedArray"),
    (lambda: losses.MSELoss()(np.zeros(2), [0.0, 1.0]), TypeError, "mse_loss: target must be a NumPy array"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[f"{i}-{row[2][:30]}" for i, row in enumerate(REFUSED)])
def test_a_wrong_scalar_is_refused_by_name(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^{message}") as caught:
        call()
    assert caught.type is error
    assert len(str(caught.value)) < 400


@pytest.mark.filterwarnings("ignore:.*Using a target size")
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_a_weight_has_the_size_of_the_input_before_it_is_broadcast(name: str) -> None:
    x, message = X[:1], r"Weights and input must have the same size; got \(2, 3\) and \(1, 3\)"
    with pytest.raises(ValueError, match=rf"^{name}: {message}"):
        getattr(F, name)(x, X, weight=X)
    with pytest.raises(ValueError, match=rf"^{name}_backward: {message}"):
        getattr(F, f"{name}_backward")(1.0, x, X, weight=X)
    assert getattr(F, name)(X, x, weight=X + 1) == 0


def test_infinities_give_no_warning() -> None:
    images = np.full((2, 1, 2, 2), np.inf, np.float32)
    assert np.isnan(data.moments(images)[1])
    np.testing.assert_array_equal(F.nll_loss_backward(-1.0, X, np.array([0, 0]), ignore_index=0), 0)
    assert np.isinf(init.normal(1e300)((2, 2), np.random.default_rng(0))).all()


def test_changed_images_are_contiguous_whatever_they_were() -> None:
    images = np.ones((2, 3, 4, 5), np.uint8).T
    assert data.normalise(images).flags.c_contiguous
    assert data.standardise(images, 0.0, 1.0).flags.c_contiguous


def test_columns_of_one_image_are_contiguous() -> None:
    for rows in (columns.im2col(np.ones((1, 3, 3, 3), np.float32), 2, 2), columns.im2col_indices(np.ones((1, 3, 3, 3)), 2, 2, 0)):
        assert rows.flags.c_contiguous


def test_every_kind_of_number_serves_as_a_setting() -> None:
    for rate in (1, np.float32(1), np.float64(1), np.int64(1), Fraction(1)):
        optimizer = optim.SGD({"w": np.ones(2)}, rate)
        optimizer.step({"w": np.ones(2)})
        assert optimizer.lr == 1.0
        np.testing.assert_array_equal(optimizer.params["w"], 0)
        assert schedules.Constant(rate)(0) == 1.0


def test_a_gradient_of_a_loss_may_be_an_integer_of_any_size() -> None:
    x = np.ones((2, 1))
    for value in (10**400, math.inf):
        dx, _ = F.l1_loss_backward(value, x * 2, x)
        np.testing.assert_array_equal(dx, math.inf)


def test_padding_of_integers_takes_a_whole_number_or_what_is_left_of_it() -> None:
    x = np.zeros((1, 2), np.int32)
    np.testing.assert_array_equal(F.pad(x, (1, 0), value=2.9), [[2, 0, 0]])
    np.testing.assert_array_equal(F.pad(x, (1, 0), value=-2.9), [[-2, 0, 0]])
    np.testing.assert_array_equal(F.pad(x.astype(bool), (1, 0), value=0.5), [[True, False, False]])
    assert F.pad(x.astype(np.float32), (1, 0), value=math.inf)[0, 0] == math.inf


def test_a_generator_is_itself_and_a_seed_draws_as_numpy_does() -> None:
    own = np.random.default_rng(3)
    assert scalars.generator("op", own) is own
    for seed in (5, np.int64(5)):
        assert scalars.generator("op", seed).random() == np.random.default_rng(5).random()
    assert scalars.generator("op", None) is not scalars.generator("op", None)


def test_a_learning_rate_beyond_all_floats_is_infinite() -> None:
    assert schedules.Exponential(0.5, 1e300)(9) == math.inf
    assert schedules.StepDecay(0.0, 1, 1e300)(9) == 0
    assert schedules.Cosine(0.1, 4, restarts=3)(9) == schedules.Cosine(0.1, 4)(1)


# --- Sizes and indices beyond all measure --------------------------------------------------------------------------------


def test_what_no_machine_holds_is_refused_before_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"^zeros: a weight of shape .* would take .* GiB; this machine has"):
        init.zeros((2**31 - 1, 2**31 - 1))


def test_a_view_of_more_than_the_memory_is_refused_before_it_is_copied() -> None:
    with pytest.raises(ValueError, match=r"^relu: input of shape .* would take .* GiB; this machine has"):
        F.relu(np.broadcast_to(np.zeros((), np.float32), (2**20, 2**20)))


def test_a_size_of_thousands_of_digits_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^conv2d: stride must be between 1 and 2147483647; got an integer of 16610 bits"):
        F.conv2d(np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 1, 1)), stride=10**5000)


def test_a_number_of_thousands_of_digits_is_infinite_where_floats_are() -> None:
    """As every one beyond them is; Python does not print it."""
    for _ in range(2):  # the second call would take the plan of the first
        np.testing.assert_array_equal(F.softplus(X + 30, threshold=10**5000), F.softplus(X + 30, threshold=math.inf))
        np.testing.assert_array_equal(F.leaky_relu(X - 1, -(10**5000)), np.full((2, 3), np.inf))


def test_a_dilation_that_torch_takes_wrongly_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^conv2d: dilation must be between 1 and 2147483647; got 4611686018427387904"):
        F.conv2d(np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 1, 1)), dilation=2**62)


def test_an_index_just_beyond_the_image_is_refused() -> None:
    places = np.array([[[[4]]]])
    with pytest.raises(ValueError, match=r"^max_pool2d_backward: indices must be between -1 and H\*W - 1 = 3; got 4 to 4"):
        F.max_pool2d_backward(np.ones((1, 1, 1, 1)), places, (1, 1, 2, 2), 2)
