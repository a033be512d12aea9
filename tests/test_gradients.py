"""The gradient check: right gradients pass, wrong ones fail where they are wrong, and corners are told from mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastcnn import gradient_check, numerical_gradient
from fastcnn.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    PReLU,
    ReLU,
    Sequential,
    Softmax,
    Step,
    Tanh,
)
from fastcnn.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, SoftmaxCrossEntropy

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 1, 8, 8))


def network(dtype: Any = np.float32) -> Sequential:
    return Sequential(
        Conv2d(1, 4, 3, padding=1, rng=0, dtype=dtype), ReLU(), MaxPool2d(2), BatchNorm2d(4, dtype=dtype),
        Sequential(Conv2d(4, 3, 3, rng=1, dtype=dtype), ReLU(), Flatten()), Dropout(0.3, rng=2), Linear(12, 5, rng=3, dtype=dtype),
    )  # fmt: skip


def test_numerical_gradient() -> None:
    x = RNG.standard_normal((3, 4))[:, ::2]
    before = x.copy()
    np.testing.assert_allclose(numerical_gradient(lambda a: float((a**3).sum()), x), 3 * x**2, atol=1e-8)
    np.testing.assert_array_equal(x, before)
    weight = np.array([2.0, -1.0])
    layer_like = numerical_gradient(lambda _: float(np.exp(weight).sum()), weight)  # reads what is changed, not its argument
    np.testing.assert_allclose(layer_like, np.exp(weight), rtol=1e-8)
    single = np.array(2.0)
    np.testing.assert_allclose(numerical_gradient(lambda a: float(a * a), single), 4.0)

    def fail(a: np.ndarray) -> float:
        raise KeyError("at the first")

    with pytest.raises(KeyError):
        numerical_gradient(fail, single)
    assert single == 2.0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_with_everything_passes_and_stays_as_it_is(dtype: Any, training: bool) -> None:
    net = network(dtype).train(training)
    before, rng = net.state_dict(), net.generators()["5.rng"].bit_generator.state
    found = gradient_check(net, X.astype(dtype), np.array([0, 4, 2]), SoftmaxCrossEntropy(0.1), samples=60)
    assert found.passed, found.report()
    assert found.error < 1e-5
    assert [row.name for row in found.rows] == ["input", *net.params]
    assert [row.shape for row in found.rows] == [X.shape, *(param.shape for param in net.params.values())]
    assert [row.checked + row.kinks for row in found.rows] == [min(60, size) for size in (192, *(p.size for p in net.params.values()))]
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name], strict=True)
    assert net.generators()["5.rng"].bit_generator.state == rng


def test_losses() -> None:
    logits, labels = RNG.standard_normal((4, 3)), np.array([0, 2, 1, 1])
    for loss, target in (
        (SoftmaxCrossEntropy(), labels),
        (CrossEntropyLoss(label_smoothing=0.1), labels),
        (MSELoss(), RNG.standard_normal((4, 3))),
        (BCEWithLogitsLoss(), RNG.random((4, 3))),
    ):
        found = gradient_check(loss, logits, target)
        assert found.passed, found.report()
        assert [(row.name, row.checked) for row in found.rows] == [("input", 12)]
        assert 0 < found.error < 1e-6


class MeanBias(Linear):
    """The gradients of the rows averaged, which must be summed (the mistake of 003)."""

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        dx, grads = super().pull_back(saved, dy, input_gradient)
        return dx, {**grads, "bias": grads["bias"] / len(dy)}


class OneWrong(Linear):
    """A single element of the weight's gradient a thousandth off."""

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        dx, grads = super().pull_back(saved, dy, input_gradient)
        grads["weight"][1, 2] *= 1.001
        return dx, grads


class Unmasked(ReLU):
    """A ReLU that lets every gradient pass."""

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return dy, {}


class NotANumber(Tanh):
    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return np.full_like(dy, np.nan), {}


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [(MeanBias(4, 3, rng=0), "bias"), (OneWrong(4, 3, rng=0), "weight"), (Unmasked(), "input"), (NotANumber(), "input")],
    ids=["averaged", "one-element", "unmasked", "nan"],
)
def test_mistakes_are_found_where_they_are(layer: Layer, wrong: str) -> None:
    found = gradient_check(layer, RNG.standard_normal((6, 4)))
    assert not found.passed
    verdicts = {row.name: row.verdict for row in found.rows}
    assert verdicts == {name: "wrong" if name == wrong else "ok" for name in verdicts}
    assert "FAILED" in found.report()
    (row,) = (row for row in found.rows if row.name == wrong)
    if wrong == "weight":
        assert row.where == (1, 2)
        assert row.error == pytest.approx(0.001 / 2.001, rel=1e-3)
        assert row.computed == pytest.approx(row.numerical * 1.001, rel=1e-6)
    assert row.kinks == 0


def test_corners_are_no_mistakes() -> None:
    x = np.array([[0.0, 1.0, -1.0, 3e-6, -3e-6, 1e-7]])  # at the corner, far from it, within one step, and within the closer one too
    (row,) = gradient_check(ReLU(), x).rows
    assert (row.verdict, row.checked, row.kinks) == ("ok", 4, 2)
    assert not gradient_check(Unmasked(), x).passed
    ties = np.ones((1, 1, 4, 4))
    (row,) = gradient_check(MaxPool2d(2), ties).rows
    assert (row.verdict, row.checked, row.kinks) == ("kinks only", 0, 16)
    assert not gradient_check(MaxPool2d(2), ties).passed  # nothing was judged
    ties += np.arange(16).reshape(1, 1, 4, 4) * 3e-6  # winners that a step of 1e-5 changes
    assert gradient_check(MaxPool2d(2), ties).passed
    (row,) = gradient_check(Step(), x).rows
    assert (row.verdict, row.checked, row.kinks) == ("ok", 4, 2)


def test_curves_are_no_corners() -> None:
    """A softmax that saturates and a normalisation of nearly equal values bend sharply, yet the check is not fooled by it."""
    steep = np.array([[30.0, 30.001, -20.0]])
    assert gradient_check(Softmax(), steep).passed
    close = 1e-2 * RNG.standard_normal((4, 5))
    found = gradient_check(LayerNorm(5), close)
    assert found.passed, found.report()
    assert not sum(row.kinks for row in found.rows)


def test_gradients_that_are_0_are_not_judged_by_their_rounding() -> None:
    """A bias in front of a batch normalisation has none: both sides are noise, whose relative error is as large as can be."""
    net = Sequential(Conv2d(1, 4, 3, rng=0), BatchNorm2d(4), ReLU(), Flatten(), Linear(144, 2, rng=1))
    found = gradient_check(net, 100 * X, np.array([0, 1, 1]), SoftmaxCrossEntropy())
    assert found.passed, found.report()


def test_dropout_draws_the_same_at_every_evaluation() -> None:
    (row,) = gradient_check(Dropout(0.5, rng=0), RNG.standard_normal((5, 8))).rows
    assert (row.verdict, row.checked) == ("ok", 40)


def test_samples_and_seeds() -> None:
    layer, x = Linear(40, 30, rng=0), RNG.standard_normal((2, 40))
    found = gradient_check(layer, x, samples=7, seed=3)
    assert [row.checked for row in found.rows] == [7, 7, 7]
    assert found == gradient_check(layer, x, samples=7, seed=3)
    assert found.rows != gradient_check(layer, x, samples=7, seed=4).rows
    assert [row.checked for row in gradient_check(layer, x, samples=None).rows] == [80, 1200, 30]
    assert [row.name for row in gradient_check(layer, x, samples=2, input_gradient=False).rows] == ["weight", "bias"]


def test_frozen_and_empty() -> None:
    net = network()
    net[0].freeze()
    found = gradient_check(net, X, samples=5)
    assert found.passed
    assert [row.verdict for row in found.rows] == ["ok", "frozen", "frozen", *["ok"] * 6]
    found = gradient_check(PReLU(2), np.zeros((0, 2)))
    assert [row.verdict for row in found.rows] == ["empty", "ok"]


def test_the_report_is_a_table() -> None:
    found = gradient_check(MeanBias(4, 3, rng=0), RNG.standard_normal((6, 4)))
    head, rule, *rows, rule_too, last = str(found).splitlines()
    assert head.split() == ["name", "shape", "checked", "kinks", "worst", "error", "at", "computed", "numerical", "verdict"]
    assert set(rule) == set(rule_too) == {"-"}
    assert [row.split()[0] for row in rows] == ["input", "weight", "bias"]
    assert [row.split()[-1] for row in rows] == ["ok", "ok", "wrong"]
    assert "(3, 4)" in rows[1]
    assert f"{found.rows[2].error:.1e}" in rows[2]
    assert len({len(line) for line in (head, rule, *rows)}) == 1
    assert last == "gradient check FAILED: central differences at 1e-05, relative error up to 1e-05 allowed"


class Rounding(Tanh):
    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        y, saved = super().apply(x)
        return y.astype(np.float32), saved


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: numerical_gradient(np.sum, np.ones(2, np.float32)), "numerical_gradient: x must be a float64 array.*; got float32"),
        (lambda: numerical_gradient(np.sum, [1.0]), "x must be a float64 array.*; got list"),
        (lambda: numerical_gradient(np.sum, np.broadcast_to(1.0, 2)), "numerical_gradient: x must be writeable"),
        (lambda: numerical_gradient(np.sum, np.ones(2), eps=0.0), "numerical_gradient: eps must be above 0; got 0.0"),
        (lambda: numerical_gradient(1.0, np.ones(2)), "f must be a callable of an array; got float"),
        (lambda: gradient_check(np.tanh, X), "gradient_check: model must be a Layer, or a loss with forward and backward; got ufunc"),
        (lambda: gradient_check(MSELoss, X), "model must be a Layer, or a loss with forward and backward; got type"),
        (lambda: gradient_check(ReLU(), X, X), "gradient_check: target and loss belong together; got a target alone"),
        (lambda: gradient_check(MSELoss(), X), "gradient_check: target and loss belong together; got a loss alone"),
        (lambda: gradient_check(ReLU(), X, X, np.sum), "gradient_check: loss must have forward"),
        (lambda: gradient_check(ReLU(), X, tolerance=-1), "gradient_check: tolerance must be above 0"),
        (lambda: gradient_check(ReLU(), X, samples=0), "gradient_check: samples must be between 1"),
        (lambda: gradient_check(ReLU(), [1.0]), "gradient_check: input must be a NumPy array"),
        (lambda: gradient_check(Rounding(), X), "gradient_check: the model must compute in float64, .*; its output is float32"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()
