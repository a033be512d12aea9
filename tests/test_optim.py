"""Optimisers and schedules against their formulas, worked out by hand or step by step."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn.optim import SGD, Adam
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


def test_errors() -> None:
    with pytest.raises(ValueError, match="SGD: lr and weight_decay"):
        SGD({}, -1)
    with pytest.raises(ValueError, match="momentum"):
        SGD({}, 1, nesterov=True)
    with pytest.raises(ValueError, match="betas"):
        Adam({}, betas=(1.0, 0.9))
    with pytest.raises(ValueError, match="gradient 'v'"):
        SGD({"w": np.ones(2)}, 1).step({"v": np.ones(2)})
    with pytest.raises(ValueError, match=r"gradient 'w' of shape \(3,\)"):
        SGD({"w": np.ones(2)}, 1).step({"w": np.ones(3)})


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
    with pytest.raises(ValueError, match="steps >= 1"):
        OneCycle(1, 0)
