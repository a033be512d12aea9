"""The functional losses: values by plain loops in float64, gradients by differences, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from _differences import assert_gradients

import fastcnn
import fastcnn.functional as F

REDUCTIONS = ("mean", "sum", "none")


def _log(p: float) -> float:
    return max(math.log(p), -100.0) if p > 0 else -100.0


def _bce(p: float, t: float) -> float:
    return -(t * _log(p) + (1 - t) * _log(1 - p))


def _huber(x: float, t: float, delta: float) -> float:
    d = abs(x - t)
    return d * d / 2 if d <= delta else delta * (d - delta / 2)


# of one prediction and one target: (definition, options, whether both are probabilities)
POINTWISE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "mse_loss": (lambda x, t: (x - t) ** 2, {}, "numbers"),
    "l1_loss": (lambda x, t: abs(x - t), {}, "numbers"),
    "smooth_l1_loss": (lambda x, t: _huber(x, t, 0.4) / 0.4, {"beta": 0.4}, "numbers"),
    "huber_loss": (lambda x, t: _huber(x, t, 0.7), {"delta": 0.7}, "numbers"),
    "kl_div": (lambda x, t: t * (math.log(t) - x), {}, "target"),
    "binary_cross_entropy": (_bce, {}, "both"),
    "binary_cross_entropy_with_logits": (lambda x, t: _bce(1 / (1 + math.exp(-x)), t), {}, "target"),
}
LOG_TARGET = ("kl_div", lambda x, t: math.exp(t) * (t - x), {"log_target": True}, "numbers")
CASES = [pytest.param(name, *rest, id=name) for name, rest in POINTWISE.items()] + [pytest.param(*LOG_TARGET, id="kl_div-log")]


def _operands(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, t = rng.uniform(-2, 2, shape), rng.uniform(-2, 2, shape)
    x = rng.uniform(0.1, 0.9, shape) if kind == "both" else x
    return x, rng.uniform(0.1, 0.9, shape) if kind != "numbers" else t


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 2), (0, 3)])
@pytest.mark.parametrize(("name", "definition", "options", "kind"), CASES)
def test_values_and_gradients(name: str, definition, options: dict, kind: str, shape: tuple[int, ...], reduction: str) -> None:
    rng = np.random.default_rng(0)
    x, t = _operands(kind, shape, rng)
    function, pull = getattr(F, name), getattr(F, f"{name}_backward")
    losses = np.array([definition(a, b) for a, b in zip(x.flat, t.flat, strict=True)]).reshape(shape)
    want = {"mean": losses.sum() / losses.size if losses.size else np.nan, "sum": losses.sum(), "none": losses}[reduction]
    options = {**options, "reduction": reduction}
    np.testing.assert_allclose(function(x, t, **options), want, rtol=1e-12)
    single = function(x.astype(np.float32), t.astype(np.float32), **options)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, want, rtol=2e-6, atol=1e-6)
    dy = rng.standard_normal(shape) if reduction == "none" else 1.5
    dx, dt = pull(dy, x, t, **options)
    assert dx.shape == dt.shape == shape
    single = pull(np.asarray(dy, np.float32) if reduction == "none" else dy, x.astype(np.float32), t.astype(np.float32), **options)
    for gradient, wanted in zip(single, (dx, dt), strict=True):
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, wanted, rtol=2e-5, atol=2e-6)
    if x.size:
        assert_gradients(lambda: function(x, t, **options), [x, t], (dx, dt), dy, 1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights(reduction: str) -> None:
    rng = np.random.default_rng(1)
    x, t, w = rng.uniform(-2, 2, (3, 4)), rng.uniform(0, 1, (3, 4)), rng.uniform(0.5, 2, (3, 4))
    for name, options, divisor in (("mse_loss", {}, w.sum()), ("l1_loss", {}, w.sum()), ("huber_loss", {"delta": 0.5}, w.size)):
        function, pull = getattr(F, name), getattr(F, f"{name}_backward")
        each = function(x, t, reduction="none", **options) * w
        want = {"mean": each.sum() / divisor, "sum": each.sum(), "none": each}[reduction]
        np.testing.assert_allclose(function(x, t, reduction=reduction, weight=w, **options), want, rtol=1e-12)
        dy = rng.standard_normal(w.shape) if reduction == "none" else 2.0
        found = pull(dy, x, t, reduction=reduction, weight=w, **options)
        assert_gradients(lambda f=function, o=options: f(x, t, reduction=reduction, weight=w, **o), [x, t], found, dy, 1e-5)
    for name, options in (("binary_cross_entropy", {}), ("binary_cross_entropy_with_logits", {"pos_weight": np.array([1.0, 2, 3, 0.5])})):
        function, pull = getattr(F, name), getattr(F, f"{name}_backward")
        p = rng.uniform(0.2, 0.8, (3, 4))
        dy = rng.standard_normal(w.shape) if reduction == "none" else 2.0
        for weight in (w, w[0], w[:, :1]):
            found = pull(dy, p, t, weight, reduction=reduction, **options)
            assert_gradients(lambda f=function, o=options, v=weight: f(p, t, v, reduction=reduction, **o), [p, t], found, dy, 1e-5)  # noqa: B023
            each = function(p, t, reduction="none", **options) * weight
            want = {"mean": each.mean(), "sum": each.sum(), "none": each}[reduction]
            np.testing.assert_allclose(function(p, t, weight, reduction=reduction, **options), want, rtol=1e-12)


def test_positive_weights_by_definition() -> None:
    x, t, w = np.array([-1.0, 0.5, 2.0]), np.array([1.0, 0.0, 0.25]), np.array([3.0, 2.0, 0.5])
    p = 1 / (1 + np.exp(-x))
    want = -(w * t * np.log(p) + (1 - t) * np.log(1 - p))
    np.testing.assert_allclose(F.binary_cross_entropy_with_logits(x, t, reduction="none", pos_weight=w), want, rtol=1e-12)


def test_logits_of_any_size_and_probabilities_at_the_ends() -> None:
    x = np.array([-1e4, -100, 0, 100, 1e4], np.float32)
    t = np.array([1, 0, 1, 1, 0], np.float32)
    np.testing.assert_allclose(F.binary_cross_entropy_with_logits(x, t, reduction="none"), [1e4, 0, math.log(2), 0, 1e4], atol=1e-6)
    ends = np.array([0.0, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(F.binary_cross_entropy(ends, np.array([0.0, 1, 1, 0]), reduction="none"), [0, 0, 100, 100])
    assert np.isfinite(F.binary_cross_entropy_backward(1.0, ends, np.array([0.0, 1, 1, 0]))[0]).all()


def test_batchmean_is_the_divergence() -> None:
    x, t = np.log(np.full((4, 3), 1 / 3)), np.array([[0.5, 0.5, 0.0]] * 4)
    want = math.log(1.5)
    assert F.kl_div(x, t, reduction="batchmean") == pytest.approx(want)
    assert F.kl_div(x, t) == pytest.approx(want / 3)
    np.testing.assert_allclose(F.kl_div_backward(1.0, x, t, reduction="batchmean")[0], -t / 4)


def test_unequal_shapes_broadcast_with_a_warning() -> None:
    x, t = np.arange(6.0).reshape(2, 3), np.array([0.5, 1.5, 2.5])
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        function, pull = getattr(F, name), getattr(F, f"{name}_backward")
        with pytest.warns(UserWarning, match=rf"{name}: Using a target size \(3,\) that is different to the input size \(2, 3\)"):
            loss = function(x, t)
        assert loss == pytest.approx(float(function(x, np.tile(t, (2, 1)))))
        with pytest.warns(UserWarning, match="broadcasting"):
            dx, dt = pull(1.0, x, t)
        whole = pull(1.0, x, np.tile(t, (2, 1)))
        np.testing.assert_allclose(dx, whole[0])
        np.testing.assert_allclose(dt, whole[1].sum(0))


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_losses_refuse(name: str) -> None:
    function, pull = getattr(F, name), getattr(F, f"{name}_backward")
    x = np.full((2, 3), 0.5, np.float32)
    for wrong in ([0.5], None, x.astype(int), x.astype(np.float16), np.ma.masked_array(x)):
        with pytest.raises(TypeError, match=rf"^{name}: input must"):
            function(wrong, x)
        with pytest.raises(TypeError, match=rf"^{name}_backward: target must"):
            pull(1.0, x, wrong)
    with pytest.raises(TypeError, match=rf"^{name}: expected arrays of one dtype; got input float32, target float64"):
        function(x, x.astype(np.float64))
    with pytest.raises(ValueError, match=rf"^{name}: .*size"):
        function(x, x[:, :2])
    for wrong in ("avg", None, 3, True, ("mean",)):
        with pytest.raises(ValueError, match=rf"^{name}: .* is not a valid value for reduction"):
            function(x, x, reduction=wrong)
    for wrong in (None, "1", True, [1.0], np.zeros(2), 1j):
        with pytest.raises((TypeError, ValueError), match=rf"^{name}_backward: grad_output must"):
            pull(wrong, x, x)
    with pytest.raises(TypeError, match=rf"^{name}_backward: expected arrays of one dtype"):
        pull(np.zeros((2, 3)), x, x, reduction="none")
    with pytest.raises(ValueError, match=rf"^{name}_backward: grad_output must have shape \(2, 3\)"):
        pull(np.zeros(3, np.float32), x, x, reduction="none")
    if name not in ("smooth_l1_loss", "kl_div"):
        with pytest.raises(ValueError, match=rf"^{name}: "):
            function(x, x, weight=np.zeros((4, 3), np.float32))
        with pytest.raises(TypeError, match=rf"^{name}: expected arrays of one dtype"):
            function(x, x, weight=np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_beta_that_has_no_inverse_is_none(dtype: type) -> None:
    x, target = np.array([-2, 0, 3], dtype), np.zeros(3, dtype)
    for beta in (5e-324, 1e-320, 1e-40):
        np.testing.assert_array_equal(F.smooth_l1_loss(x, target, beta=beta, reduction="none"), [2, 0, 3])
        np.testing.assert_array_equal(F.smooth_l1_loss_backward(np.ones(3, dtype), x, target, beta=beta, reduction="none")[0], [-1, 0, 1])


def test_parameters_out_of_range() -> None:
    x = np.zeros(3)
    for delta in (0, -1.0):
        with pytest.raises(ValueError, match="huber_loss does not support non-positive values for delta"):
            F.huber_loss(x, x, delta=delta)
    with pytest.raises(ValueError, match="smooth_l1_loss does not support negative values for beta"):
        F.smooth_l1_loss(x, x, beta=-1)
    for wrong in (1.01, -0.01, math.nan, math.inf):
        for name, arrays in (("input", (np.array([0.5, wrong]), np.zeros(2))), ("target", (np.zeros(2), np.array([0.5, wrong])))):
            with pytest.raises(ValueError, match=f"^binary_cross_entropy: all elements of {name} should be between 0 and 1"):
                F.binary_cross_entropy(*arrays)
            with pytest.raises(ValueError, match=f"^binary_cross_entropy_backward: all elements of {name} should be between 0 and 1"):
                F.binary_cross_entropy_backward(1.0, *arrays)
    assert np.isnan(F.binary_cross_entropy(np.zeros(0), np.zeros(0)))


# --- Classes -------------------------------------------------------------------------------------------------------------

SHAPES = [(5,), (3, 5), (2, 5, 4), (2, 5, 2, 3), (1, 1), (0, 5)]


def _loop(logs: np.ndarray, mass: np.ndarray, counts: np.ndarray, reduction: str) -> np.ndarray:
    """Return the reduced loss - sum of mass * logs over classes, axis 0 of (C,) and 1 of others; counts are what the mean divides by."""
    losses = -(logs * mass).sum(0 if logs.ndim == 1 else 1)
    with np.errstate(invalid="ignore"):
        return {"mean": losses.sum() / np.float64(counts.sum()), "sum": losses.sum(), "none": losses}[reduction]


def _labels(shape: tuple[int, ...], ignore: int, weight: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return (target, mass, weight of every target)."""
    C = shape[0] if len(shape) == 1 else shape[1]
    places = shape[1:] if len(shape) == 1 else (shape[0], *shape[2:])
    target = rng.integers(0, C, places)
    if target.ndim and target.size > 1:
        target[(0,) * target.ndim] = ignore
    mass, counts = np.zeros(shape), np.zeros(places)
    for place in np.ndindex(*places):
        label = int(target[place])
        if label != ignore:
            counts[place] = 1 if weight is None else weight[label]
            mass[(label,) if len(shape) == 1 else (place[0], label, *place[1:])] = counts[place]
    return target, mass, counts


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [-100, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_nll_loss(shape: tuple[int, ...], ignore: int, weighted: bool, reduction: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal(shape)
    weight = rng.uniform(0.5, 2, shape[0] if len(shape) == 1 else shape[1]) if weighted else None
    target, mass, counts = _labels(shape, ignore, weight, rng)
    options = {"ignore_index": ignore, "reduction": reduction}
    want = _loop(x, mass, counts, reduction)
    np.testing.assert_allclose(F.nll_loss(x, target, weight, **options), want, rtol=1e-12)
    np.testing.assert_allclose(F.nll_loss(x.astype(np.float32), target.astype(np.uint8 if ignore > 0 else np.int32),
                                          None if weight is None else weight.astype(np.float32), **options), want, rtol=1e-5)  # fmt: skip
    dy = np.asarray(rng.standard_normal(counts.shape)) if reduction == "none" else 1.5
    if x.size and counts.any():
        assert_gradients(lambda: F.nll_loss(x, target, weight, **options), [x], F.nll_loss_backward(dy, x, target, weight, **options), dy)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["labels", "some ignored", "probabilities"])
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy(shape: tuple[int, ...], kind: str, weighted: bool, smoothing: float, reduction: str) -> None:
    rng = np.random.default_rng(3)
    x, axis = 2 * rng.standard_normal(shape), 0 if len(shape) == 1 else 1
    C, ignore = shape[axis], 2 if kind == "some ignored" else -1
    weight = rng.uniform(0.5, 2, C) if weighted else None
    each = np.ones(C) if weight is None else weight
    column = each if axis == 0 else each.reshape(-1, *[1] * (len(shape) - 2))
    target, one_hot, counts = _labels(shape, ignore, None, rng)
    target = np.where(target == -1, 0, target) if kind == "labels" else target
    if kind == "labels":
        one_hot = np.moveaxis(np.eye(C)[target], -1, axis)
    if kind == "probabilities":
        target = one_hot = np.moveaxis(rng.dirichlet(np.ones(C), counts.shape), -1, axis)
    known = one_hot.sum(axis, keepdims=True).round()
    mass = (one_hot * (1 - smoothing) + known * smoothing / C) * column
    counts = np.ones(counts.shape) if kind == "probabilities" else (one_hot * column).sum(axis)
    logs = x - np.log(np.exp(x).sum(axis, keepdims=True))
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    options |= {} if kind == "probabilities" else {"ignore_index": ignore}
    np.testing.assert_allclose(F.cross_entropy(x, target, weight, **options), _loop(logs, mass, counts, reduction), rtol=1e-11)
    dy = np.asarray(rng.standard_normal(counts.shape)) if reduction == "none" else 1.5
    dx, dt = F.cross_entropy_backward(dy, x, target, weight, **options)
    assert (dt is None) == (kind != "probabilities")
    if x.size and counts.any():
        arrays, found = ([x], [dx]) if dt is None else ([x, target], [dx, dt])
        assert_gradients(lambda: F.cross_entropy(x, target, weight, **options), arrays, found, dy)


def test_float32_classes_and_steep_logits() -> None:
    x = np.array([[1e4, 0, -1e4], [-1e4, 1e4, 0]], np.float32)
    for options in ({}, {"weight": np.ones(3, np.float32)}, {"weight": np.ones(3, np.float32), "label_smoothing": 0.1}):
        assert F.cross_entropy(x, np.array([0, 0]), **options).dtype == np.float32
    np.testing.assert_allclose(F.cross_entropy(x, np.array([0, 0]), reduction="none"), [0, 2e4])
    np.testing.assert_allclose(F.cross_entropy(x[:, :, None], np.array([[0], [0]]), reduction="none"), [[0], [2e4]])
    np.testing.assert_array_equal(F.cross_entropy_backward(1.0, x[..., None], np.array([[0], [0]]))[0][1, :, 0], [-0.5, 0.5, 0])


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": np.ones(3)}, {"weight": np.ones(3), "label_smoothing": 0.1}])
def test_gradients_of_a_broadcast_view_are_contiguous(options: dict[str, Any]) -> None:
    x, target = np.broadcast_to(np.arange(3.0), (2, 3)), np.array([0, 2])
    pulls = [lambda x: F.cross_entropy_backward(1.0, x, target, **options)[0]]
    if "label_smoothing" not in options:
        pulls += [lambda x: F.nll_loss_backward(1.0, x, target, **options)]
    for pull in pulls:
        dx = pull(x)
        assert dx.flags.c_contiguous
        np.testing.assert_array_equal(dx, pull(x.copy()))


@pytest.mark.parametrize("name", ["kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "huber_loss"])
def test_losses_and_gradients_of_any_memory_order_are_contiguous(name: str) -> None:
    x, target = np.random.default_rng(0).uniform(0.1, 0.9, (2, 3, 4))
    want, gradients = getattr(F, name)(x, target, reduction="none"), getattr(F, f"{name}_backward")(2.0, x, target)
    for order in (np.asfortranarray, lambda a: np.ascontiguousarray(a[::-1])[::-1]):
        one, other = order(x), order(target)
        found = (getattr(F, name)(one, other, reduction="none"), *getattr(F, f"{name}_backward")(2.0, one, other))
        for array, wanted in zip(found, (want, *gradients), strict=True):
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, wanted)


def test_weights_that_add_up_to_infinity_do_so_without_a_warning() -> None:
    x, target, weight = np.zeros((4, 2), np.float32), np.zeros(4, int), np.full(2, 1e38, np.float32)
    for name in ("cross_entropy", "nll_loss"):
        getattr(F, name)(x, target, weight)
        getattr(F, f"{name}_backward")(1.0, x, target, weight)
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        getattr(F, name)(x, x + 1, weight=np.full((4, 2), 1e38, np.float32))
        getattr(F, f"{name}_backward")(1.0, x, x + 1, weight=np.full((4, 2), 1e38, np.float32))


def test_the_gradient_of_a_loss_may_be_any_number() -> None:
    x, labels = np.zeros((2, 3)), np.array([0, 1])
    assert np.isinf(fastcnn.softmax_cross_entropy_backward(10**400, x, np.eye(3)[labels])).any()


def test_classes_are_checked() -> None:
    x, target = np.zeros((2, 3), np.float32), np.array([0, 2])
    for name in ("nll_loss", "cross_entropy"):
        function, pull = getattr(F, name), getattr(F, f"{name}_backward")
        for op, call in ((name, function), (f"{name}_backward", lambda *a, pull=pull, **o: pull(1.0, *a, **o))):
            for label in (3, -1, 2**40):
                with pytest.raises(ValueError, match=rf"^{op}: Target {label} is out of bounds"):
                    call(x, np.array([0, label]))
            with pytest.raises(ValueError, match=rf"^{op}: Expected target size \(2,\), got \(3,\)"):
                call(x, np.zeros(3, int))
            with pytest.raises(TypeError, match=rf"^{op}: target must"):
                call(x, np.zeros(2, bool))
            with pytest.raises(TypeError, match=rf"^{op}: target must be a NumPy array; got list"):
                call(x, [0, 1])
            with pytest.raises(ValueError, match=rf"^{op}: weight tensor should be defined either for all 3 classes or no classes"):
                call(x, target, np.ones(2, np.float32))
            with pytest.raises(TypeError, match=rf"^{op}: expected arrays of one dtype"):
                call(x, target, np.ones(3))
            with pytest.raises(TypeError, match=rf"^{op}: ignore_index must be an int"):
                call(x, target, ignore_index=1.0)
            with pytest.raises(ValueError, match=rf"^{op}: input must have at least one class"):
                call(x[:, :0], target)
            with pytest.raises(ValueError, match=rf"^{op}: input must be \(C,\)"):
                call(np.zeros((), np.float32), target)
            with pytest.raises(ValueError, match=rf"^{op}: max is not a valid value for reduction"):
                call(x, target, reduction="max")
    with pytest.raises(TypeError, match="expected arrays of one dtype"):
        F.cross_entropy(x, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="probabilities for every logit"):
        F.cross_entropy(x, np.zeros(2, np.float32))
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"label_smoothing must be between 0.0 and 1.0. Got:"):
            F.cross_entropy(x, target, label_smoothing=wrong)


def test_nothing_but_ignored_targets() -> None:
    x, target = np.zeros((2, 3)), np.array([1, 1])
    assert np.isnan(F.cross_entropy(x, target, ignore_index=1))
    assert F.cross_entropy(x, target, ignore_index=1, reduction="sum") == 0
    assert not F.cross_entropy_backward(1.0, x, target, ignore_index=1, reduction="sum")[0].any()


def test_one_hot() -> None:
    for kind in (np.int64, np.uint8):
        np.testing.assert_array_equal(F.one_hot(np.array([[0, 2], [1, 0]], kind)), np.eye(3, dtype=int)[[[0, 2], [1, 0]]])
    assert F.one_hot(np.array(1), 4).tolist() == [0, 1, 0, 0]
    assert F.one_hot(np.zeros((0, 2), int), 3).shape == (0, 2, 3)
    for wrong, message in (
        (np.array([-1]), "Class values must be non-negative"),
        (np.zeros(0, int), "Can not infer total number of classes from empty tensor"),
    ):
        with pytest.raises(ValueError, match=message):
            F.one_hot(wrong)
    with pytest.raises(ValueError, match="Class values must be smaller than num_classes, 2; got 2"):
        F.one_hot(np.array([2]), 2)
    with pytest.raises(TypeError, match="only applicable to index tensor"):
        F.one_hot(np.zeros(2))
