"""Optimisers and schedules against their formulas, worked out by hand or step by step in float64."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from fastcnn import machine, optim
from fastcnn.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RMSprop,
    WeightAverage,
    clip_grad_norm,
    l1_penalty,
    l2_penalty,
)
from fastcnn.optim._segments import CHUNK
from fastcnn.schedules import OneCycle

GRADS = [np.array([1.0, -2.0]), np.array([0.5, 0.0]), np.array([-1.0, 3.0])]


def _run(make, **kwargs) -> np.ndarray:
    w = np.array([1.0, 1.0])
    optimizer = make({"w": w}, **kwargs)
    for grad in GRADS:
        optimizer.step({"w": grad.copy()})
    return w


def test_sgd() -> None:
    np.testing.assert_allclose(_run(SGD, lr=0.1), [1 - 0.1 * 0.5, 1 - 0.1 * 1])


def test_momentum() -> None:
    # v: 1, 1.4, 0.26 and -2, -1.8, 1.38
    np.testing.assert_allclose(_run(SGD, lr=0.1, momentum=0.9), [1 - 0.1 * (1 + 1.4 + 0.26), 1 - 0.1 * (-2 - 1.8 + 1.38)])


def test_nesterov_looks_ahead() -> None:
    first = [1 + 0.9 * 1, 0.5 + 0.9 * 1.4, -1 + 0.9 * 0.26]
    assert _run(SGD, lr=0.1, momentum=0.9, nesterov=True)[0] == pytest.approx(1 - 0.1 * sum(first))


def test_weight_decay_is_an_l2_penalty() -> None:
    w = np.array([2.0])
    SGD({"w": w}, lr=0.1, weight_decay=0.5).step({"w": np.array([1.0])})
    assert w[0] == pytest.approx(2 - 0.1 * (1 + 0.5 * 2))


def test_l1_pulls_towards_0_and_leaves_it_alone() -> None:
    w = np.array([2.0, -3.0, 0.0, -0.0])
    SGD({"w": w}, lr=0.1, l1=0.5).step({"w": np.array([0.0, 1.0, 0.0, 0.0])})
    np.testing.assert_allclose(w, [2 - 0.1 * 0.5, -3 - 0.1 * (1 - 0.5), 0, 0])


def test_penalties_have_the_gradient_that_is_added() -> None:
    """A step without a gradient is one along the penalty's, by central differences of its value."""
    rng = np.random.default_rng(0)
    params = {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)}
    before = {name: w.copy() for name, w in params.items()}
    optimizer = SGD(params, lr=1.0, weight_decay=0.3, l1=0.2)
    squares, sizes = (sum(float(f(w).sum()) for w in params.values()) for f in (np.square, np.abs))
    assert l2_penalty(params, 0.3) == pytest.approx(0.15 * squares)
    assert l1_penalty(params, 0.2) == pytest.approx(0.2 * sizes)
    assert optimizer.penalty() == pytest.approx(0.15 * squares + 0.2 * sizes)
    slopes = {}
    for name, w in params.items():
        slopes[name] = np.empty(w.shape)
        for index in np.ndindex(w.shape):
            values = []
            for eps in (1e-5, -1e-5):
                w[index] = before[name][index] + eps
                values.append(optimizer.penalty())
            w[index] = before[name][index]
            slopes[name][index] = (values[0] - values[1]) / 2e-5
    optimizer.step({name: np.zeros(w.shape) for name, w in params.items()})
    for name, w in params.items():
        np.testing.assert_allclose(w, before[name] - slopes[name], rtol=1e-6)
    assert AdamW(params, weight_decay=0.3).penalty() == 0
    assert AdamW(params, weight_decay=0.3, l1=0.2).penalty() == NAdam(params, weight_decay=1, l1=0.2, decoupled_weight_decay=True).penalty()
    assert l2_penalty({}, 1.0) == 0
    with pytest.raises(TypeError, match="l1_penalty: l1 must be a float; got str"):
        l1_penalty(params, "1")


def test_nadams_momentum_follows_what_is_assigned() -> None:
    """The product of momenta of a parameter that joins late, and after betas have changed, is that of its own steps."""
    w, late = np.ones(1), np.ones(1)
    optimizer = NAdam({"w": w, "late": late}, lr=0.1)
    for _ in range(3):
        optimizer.step({"w": np.ones(1)})
    optimizer.step({"w": np.ones(1), "late": np.ones(1)})
    assert late[0] == pytest.approx(_after_one(0.9))
    optimizer.betas = (0.5, 0.999)
    fresh = np.ones(1)
    NAdam({"w": fresh}, lr=0.1, betas=(0.5, 0.999)).step({"w": np.ones(1)})
    assert fresh[0] == pytest.approx(_after_one(0.5))
    assert optimizer._product(4) == pytest.approx(np.prod([0.5 * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in (1, 2, 3, 4)]))


def _after_one(beta: float) -> float:
    now, following = (beta * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in (1, 2))
    return 1 - 0.1 * ((1 - now) / (1 - now) + following / (1 - now * following) * (1 - beta))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.7, 0.9)])
def test_adam(betas: tuple[float, float]) -> None:
    m = v = np.zeros(2)
    w = np.array([1.0, 1.0])
    for t, g in enumerate(GRADS, 1):
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        w = w - 0.01 * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + 1e-8)
    np.testing.assert_allclose(_run(Adam, lr=0.01, betas=betas), w, rtol=1e-12)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_float32_stays_float32_and_gradients_are_left_alone(make) -> None:
    w, grad = np.ones(3, np.float32), np.full(3, 0.5, np.float32)
    optimizer = make({"w": w}, lr=0.1, weight_decay=0.1)
    optimizer.step({"w": grad})
    assert w.dtype == np.float32
    assert (w < 1).all()
    np.testing.assert_array_equal(grad, 0.5)


class Reference:
    """The formulas of torch's documentation, for one parameter, in float64."""

    def __init__(self, make: Any, w: np.ndarray, **settings: Any) -> None:
        self.make, self.w, self.t, self.s = make, w.astype(np.float64), 0, settings
        self.m = self.v = self.top = self.buffer = np.zeros(w.shape)
        self.product = 1.0
        self.sum = np.full(w.shape, settings.get("initial_accumulator_value", 0.0))

    def step(self, g: np.ndarray, lr: float) -> None:
        get, g = self.s.get, g.astype(np.float64)
        self.t += 1
        decay = get("weight_decay", 0.01 if self.make is AdamW else 0)
        g = g + get("l1", 0) * np.sign(self.w)
        if self.make is AdamW or get("decoupled_weight_decay"):
            self.w = self.w * (1 - lr * decay)
        else:
            g = g + decay * self.w
        if self.make is SGD:
            mu = get("momentum", 0)
            self.buffer = g if self.t == 1 else mu * self.buffer + (1 - get("dampening", 0)) * g
            self.w = self.w - lr * (g if not mu else g + mu * self.buffer if get("nesterov") else self.buffer)
        elif self.make in (Adam, AdamW):
            one, two = get("betas", (0.9, 0.999))
            self.m, self.v = one * self.m + (1 - one) * g, two * self.v + (1 - two) * g**2
            self.top = np.maximum(self.top, self.v)
            root = np.sqrt((self.top if get("amsgrad") else self.v) / (1 - two**self.t))
            self.w = self.w - lr * self.m / (1 - one**self.t) / (root + get("eps", 1e-8))
        elif self.make is RMSprop:
            alpha = get("alpha", 0.99)
            self.v, self.m = alpha * self.v + (1 - alpha) * g**2, alpha * self.m + (1 - alpha) * g
            u = g / (np.sqrt(self.v - self.m**2 if get("centered") else self.v) + get("eps", 1e-8))
            self.buffer = get("momentum", 0) * self.buffer + u
            self.w = self.w - lr * self.buffer
        elif self.make is Adadelta:
            rho, eps = get("rho", 0.9), get("eps", 1e-6)
            self.v = rho * self.v + (1 - rho) * g**2
            delta = np.sqrt(self.buffer + eps) / np.sqrt(self.v + eps) * g
            self.buffer = rho * self.buffer + (1 - rho) * delta**2
            self.w = self.w - lr * delta
        elif self.make is Adamax:
            one, two = get("betas", (0.9, 0.999))
            self.m, self.top = one * self.m + (1 - one) * g, np.maximum(two * self.top, abs(g) + get("eps", 1e-8))
            self.w = self.w - lr / (1 - one**self.t) * self.m / self.top
        elif self.make is NAdam:
            (one, two), psi = get("betas", (0.9, 0.999)), get("momentum_decay", 4e-3)
            now, following = (one * (1 - 0.5 * 0.96 ** (t * psi)) for t in (self.t, self.t + 1))
            self.product *= now
            self.m, self.v = one * self.m + (1 - one) * g, two * self.v + (1 - two) * g**2
            root = np.sqrt(self.v / (1 - two**self.t)) + get("eps", 1e-8)
            self.w = self.w - lr * (1 - now) / (1 - self.product) * g / root
            self.w = self.w - lr * following / (1 - self.product * following) * self.m / root
        else:
            self.sum = self.sum + g**2
            self.w = self.w - lr / (1 + (self.t - 1) * get("lr_decay", 0)) * g / (np.sqrt(self.sum) + get("eps", 1e-10))


SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (SGD, {}),
    (SGD, {"weight_decay": 0.1}),
    (SGD, {"momentum": 0.9, "dampening": 0.3}),
    (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (Adam, {}),
    (Adam, {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (Adam, {"amsgrad": True}),
    (AdamW, {}),
    (AdamW, {"weight_decay": 0.3, "amsgrad": True}),
    (RMSprop, {}),
    (RMSprop, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.9}),
    (RMSprop, {"centered": True}),
    (Adagrad, {}),
    (Adagrad, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    (Adadelta, {}),
    (Adadelta, {"rho": 0.7, "eps": 1e-3, "weight_decay": 0.1}),
    (Adamax, {}),
    (Adamax, {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (NAdam, {}),
    (NAdam, {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    (NAdam, {"weight_decay": 0.3, "decoupled_weight_decay": True}),
    *((make, {"l1": 0.2, "weight_decay": 0.05}) for make in (SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, NAdam)),
]
IDS = [f"{make.__name__}-{'-'.join(settings) or 'defaults'}" for make, settings in SETTINGS]
SHAPES = {"a": (3, 2, 3, 3), "b": (1,), "c": (), "d": (0, 4), "e": (17, 5), "f": (2 * CHUNK + 77,)}  # parts of vectors, lines and jobs


def _params(dtype: Any, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.standard_normal(shape)).astype(dtype) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("make", "settings"), SETTINGS, ids=IDS)
def test_every_optimiser_against_its_formula(make: Any, settings: dict[str, Any], dtype: Any) -> None:
    """Five steps with a learning rate that changes, gradients in Fortran order and one parameter that sits out every other step."""
    params = _params(dtype)
    references = {name: Reference(make, w, **settings) for name, w in params.items()}
    arrays, optimizer = dict(params), make(params, **settings)
    for t in range(5):
        grads = {name: np.array(g, order="F") for name, g in _params(dtype, t + 1).items() if name != "e" or t % 2}
        optimizer.lr = 0.1 / (t + 1)
        before = {name: g.copy() for name, g in grads.items()}
        optimizer.step(grads)
        for name, grad in grads.items():
            references[name].step(grad, optimizer.lr)
            np.testing.assert_array_equal(grad, before[name])
    tolerance = 3e-5 if dtype == np.float32 else 1e-12
    if settings.get("centered"):
        tolerance *= 100  # a variance is a small difference
    for name, w in params.items():
        assert w is arrays[name]
        assert w.dtype == dtype
        np.testing.assert_allclose(w, references[name].w, rtol=tolerance, atol=tolerance, err_msg=name)
    assert optimizer.steps == 5


@pytest.mark.parametrize(("make", "settings"), SETTINGS, ids=IDS)
def test_a_loaded_state_goes_on_bit_for_bit(make: Any, settings: dict[str, Any]) -> None:
    params = _params(np.float32)
    optimizer = make(params, **settings)
    for t in range(3):
        optimizer.step({name: g for name, g in _params(np.float32, t).items() if name != "a" or t})
    twin = {name: w.copy() for name, w in params.items()}
    resumed = make(twin, lr=5.0, **settings)
    resumed.load_state_dict(optimizer.state_dict())
    for follower in (resumed, pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        assert follower.lr == optimizer.lr
        follower.step(_params(np.float32, 9))
    optimizer.step(_params(np.float32, 9))
    for name, w in params.items():
        np.testing.assert_array_equal(w, twin[name])
        np.testing.assert_array_equal(w, follower.params[name])


def test_a_deep_copy_follows_the_copied_parameters() -> None:
    params = {"w": np.ones(3)}
    optimizer = SGD(params, lr=1.0)
    twin, copied = copy.deepcopy((params, optimizer))
    copied.step({"w": np.ones(3)})
    np.testing.assert_array_equal(twin["w"], 0)
    np.testing.assert_array_equal(params["w"], 1)


def test_load_state_dict_takes_all_or_nothing() -> None:
    optimizer = Adam({"w": np.ones(2)})
    optimizer.step({"w": np.ones(2)})
    good = optimizer.state_dict()
    assert sorted(good) == ["lr", "w.exp_avg", "w.exp_avg_sq", "w.step"]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({k: v for k, v in good.items() if k != "lr"}, r"misses \['lr'\]"),
        ({**good, "x": np.ones(1)}, r"unknown \['x'\]"),
        ({**good, "w.exp_avg": np.zeros(3), "lr": np.array(9.0)}, r"shape \(2,\)"),
        ({**good, "w.exp_avg": np.zeros(2), "w.exp_avg_sq": np.array(["a", "b"])}, "must be numbers"),
        ({**good, "w.exp_avg": np.zeros(2), "w.step": np.array(-1)}, "count"),
        ({**good, "w.exp_avg": np.zeros(2), "lr": np.array(np.nan)}, "lr"),
    ]
    for state, message in wrong:
        with pytest.raises(TypeError if "numbers" in message else ValueError, match=message):
            optimizer.load_state_dict(state)
        for name, value in optimizer.state_dict().items():
            np.testing.assert_array_equal(value, good[name])


@pytest.mark.skipif(machine.max_threads() < 2, reason="needs two threads")
@pytest.mark.parametrize(("make", "settings"), SETTINGS, ids=IDS)
def test_threads_change_nothing(make: Any, settings: dict[str, Any]) -> None:
    results = []
    for threads in (1, machine.max_threads()):
        w = np.random.default_rng(0).standard_normal(400_003).astype(np.float32)  # above jit.SERIAL_BELOW
        with machine.threads(threads):
            optimizer = make({"w": w}, **settings)
            for t in range(2):
                optimizer.step({"w": np.random.default_rng(t + 1).standard_normal(w.size).astype(np.float32)})
        results.append(w)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_parameters_of_any_memory(make: Any) -> None:
    """Fortran order, a strided view, foreign byte order, not aligned, two dtypes, and gradients of other dtypes and memory."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((6, 10))
    odd = np.frombuffer(bytearray(8 * 4 + 1), np.uint8)[1:].view(np.float64)
    odd[:] = rng.standard_normal(4)
    params = {
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "view": wide[::2, 1::3],
        "reversed": rng.standard_normal(5).astype(np.float32)[::-1],
        "foreign": rng.standard_normal(3).astype(">f4"),
        "odd": odd,
    }
    around = wide.copy()
    references = {name: Reference(make, w) for name, w in params.items()}
    optimizer = make(params, lr=1e-2)
    for _ in range(2):
        grads = {name: rng.integers(-3, 4, w.shape) for name, w in params.items()}
        grads["view"] = np.repeat(grads["view"], 2, axis=0)[::2].astype(np.float32)
        grads["odd"].flags.writeable = False
        optimizer.step(grads)
        for name, grad in grads.items():
            references[name].step(grad, 1e-2)
    for name, w in params.items():
        np.testing.assert_allclose(w, references[name].w, rtol=1e-5, atol=1e-6)
    around[::2, 1::3] = wide[::2, 1::3]
    np.testing.assert_array_equal(wide, around)


def test_read_only_gradients() -> None:
    w, grad = np.ones(5), np.ones(5)
    grad.flags.writeable = False
    SGD({"w": w}, lr=0.5).step({"w": grad})
    np.testing.assert_array_equal(w, 0.5)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_parameter_under_two_names_moves_twice(order: Any) -> None:
    w = np.zeros((300, 700), order=order)
    optimizer = SGD({"a": w, "b": w}, lr=1.0)
    optimizer.step({"a": np.ones(w.shape), "b": np.full(w.shape, 2.0)})
    np.testing.assert_array_equal(w, -3)


def test_nan_and_infinity_reach_the_parameter_and_no_other() -> None:
    for make, settings in SETTINGS:
        w = np.ones(40, np.float32)
        grad = np.zeros(40, np.float32)
        grad[7], grad[21] = np.nan, np.inf
        with np.errstate(invalid="ignore"):  # under NUMBA_DISABLE_JIT
            make({"w": w}, **{**settings, "lr": 0.1}).step({"w": grad})
        assert np.isnan(w[7]), make
        assert not np.isfinite(w[21]), make
        assert np.isfinite(np.delete(w, (7, 21))).all()


def test_settings_may_be_assigned_between_steps() -> None:
    w = np.zeros(1)
    optimizer = SGD({"w": w}, lr=1.0)
    optimizer.step({"w": np.ones(1)})
    optimizer.momentum = 0.5
    optimizer.step({"w": np.ones(1)})
    np.testing.assert_array_equal(w, -1 - 1)  # nothing was gathered without momentum
    optimizer.step({"w": np.ones(1)})
    np.testing.assert_array_equal(w, -2 - 1.5)
    optimizer.lr = np.nan
    with pytest.raises(ValueError, match="lr"):
        optimizer.step({"w": np.ones(1)})


def test_errors() -> None:
    with pytest.raises(ValueError, match="SGD: lr and weight_decay"):
        SGD({}, -1)
    for rate in (np.nan, np.inf):
        with pytest.raises(ValueError, match="Adam: lr"):
            Adam({}, rate)
    with pytest.raises(ValueError, match="momentum"):
        SGD({}, 1, nesterov=True)
    with pytest.raises(ValueError, match="dampening"):
        SGD({}, 1, momentum=0.9, dampening=0.1, nesterov=True)
    with pytest.raises(ValueError, match="betas"):
        Adam({}, betas=(1.0, 0.9))
    with pytest.raises(ValueError, match="RMSprop: alpha"):
        RMSprop({}, alpha=1)
    with pytest.raises(ValueError, match="Adagrad: eps"):
        Adagrad({}, eps=0)
    with pytest.raises(ValueError, match="Adadelta: rho"):
        Adadelta({}, rho=1.0)
    with pytest.raises(ValueError, match="NAdam: momentum_decay"):
        NAdam({}, momentum_decay=-1)
    with pytest.raises(ValueError, match="Adamax: betas"):
        Adamax({}, betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="SGD: l1 must not be negative, and must be finite; got -1"):
        SGD({}, 1, l1=-1)
    with pytest.raises(TypeError, match="'w' must have dtype float32 or float64; got int64"):
        SGD({"w": np.ones(2, np.int64)}, 1)
    with pytest.raises(ValueError, match="read-only"):
        SGD({"w": np.broadcast_to(np.ones(1), 2)}, 1)
    a, b = np.ones(2), np.ones(2)
    optimizer = SGD({"a": a, "w": b}, 1)
    for name, grad, error, message in (
        ("v", np.ones(2), ValueError, "gradient 'v'"),
        ("w", np.ones(3), ValueError, r"gradient 'w' of shape \(3,\)"),
        ("w", np.ones(2, complex), TypeError, "complex128"),
    ):
        with pytest.raises(error, match=message):
            optimizer.step({"a": np.ones(2), name: grad})
        np.testing.assert_array_equal(a, 1)  # nothing moves
    assert optimizer.steps == 0


@pytest.mark.parametrize("warmup", [True, False])
def test_weight_average(warmup: bool) -> None:
    params = {"w": np.asfortranarray(np.ones((3, 4), np.float32)), "b": np.zeros(CHUNK + 3)}
    average = WeightAverage(params, 0.9, warmup)
    expected = {name: w.astype(np.float64) for name, w in params.items()}
    rng = np.random.default_rng(0)
    for t in range(120):
        for w in params.values():
            w += rng.standard_normal(w.shape).astype(w.dtype)
        average.update()
        d = min(0.9, (1 + t) / (10 + t)) if warmup else 0.9
        expected = {name: d * mean + (1 - d) * params[name] for name, mean in expected.items()}
        if t == 60:
            state, later = average.state_dict(), WeightAverage(params, 0.9, warmup)
            later.load_state_dict(state)
            average = copy.copy(later)
    for name, mean in average.params.items():
        assert mean.dtype == params[name].dtype
        np.testing.assert_allclose(mean, expected[name], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="misses"):
        average.load_state_dict({})
    with pytest.raises(ValueError, match="shape"):
        average.load_state_dict({**average.state_dict(), "w": np.ones(1)})
    with pytest.raises(ValueError, match="decay"):
        WeightAverage(params, 1.0)
    still = WeightAverage({"w": np.full(5, 0.3, np.float32)}, 0.99)
    still.update()
    np.testing.assert_array_equal(still.params["w"], np.float32(0.3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_grad_norm(dtype: Any) -> None:
    grads = _params(dtype)
    grads["strided"] = np.ones((4, 6), dtype)[:, ::2]
    before = {name: g.astype(np.float64) for name, g in grads.items()}
    norm = np.sqrt(sum((g**2).sum() for g in before.values()))
    assert clip_grad_norm(grads, 2 * norm) == pytest.approx(norm, rel=1e-12)
    for name, g in grads.items():
        np.testing.assert_array_equal(g, before[name])
    clip_grad_norm(grads, 3.0)
    for name, g in grads.items():
        np.testing.assert_allclose(g, before[name] * 3 / (norm + 1e-6), rtol=1e-6)
    assert clip_grad_norm({}, 1) == 0
    bad = {"w": np.array([np.inf, 1.0])}
    with pytest.raises(ValueError, match="is inf"):
        clip_grad_norm(bad, 1.0, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="max_norm"):
        clip_grad_norm(bad, -1.0)


def test_public_names() -> None:
    assert all(hasattr(optim, name) for name in optim.__all__)
    assert repr(SGD({}, 0.5)) == "SGD(momentum=0.0, dampening=0.0, nesterov=False, lr=0.5, weight_decay=0.0, l1=0.0)"


def test_one_cycle_cosine_has_torchs_values() -> None:
    """The same formula as torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10): peak at step 2."""
    schedule = OneCycle(1.0, 10)
    rates = [schedule(step) for step in range(10)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[1] == pytest.approx((1 + 1 / 25) / 2)
    assert rates[2] == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1 / 25e4)
    assert rates == sorted(rates[:3]) + sorted(rates[3:], reverse=True)


def test_one_cycle_linear_and_edges() -> None:
    schedule = OneCycle(1.0, 11, warmup=0.0, anneal="linear", div=1.0, final_div=1e9)
    np.testing.assert_allclose([schedule(step) for step in range(11)], np.linspace(1, 0, 11)[[0, *range(1, 11)]], atol=0.1)
    assert OneCycle(0.5, 1)(0) > 0
    for steps in (1, 2, 3, 7):
        for warmup in (0.0, 0.3, 1.0):
            rates = [OneCycle(1.0, steps, warmup)(step) for step in range(steps)]
            assert all(0 < rate <= 1 for rate in rates)
    with pytest.raises(ValueError, match="between 0 and 10"):
        schedule(11)
    with pytest.raises(ValueError, match="anneal"):
        OneCycle(1, 1, anneal="step")
    with pytest.raises(ValueError, match="steps from 1"):
        OneCycle(1, 0)
