"""What keeps weights small, and what they begin with."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastcnn import init, optim
from fastcnn.layers import Linear

from .rows import row


@row(
    "L2 and L1 regularisation",
    "half lambda times the sum of W^2, with gradient lambda W; lambda times the sum of absolute values, with gradient lambda sign W",
    module="fastcnn.optim.penalties",
    example="fastcnn.optim.l2_penalty",
)
def test_l2_and_l1_regularisation() -> None:
    w = {"w": np.array([3.0, -4.0, 0.0])}
    assert optim.l2_penalty(w, 0.1) == pytest.approx(0.05 * 25)
    assert optim.l1_penalty(w, 0.1) == pytest.approx(0.7)
    for settings, gradient in (({"weight_decay": 0.1}, [0.3, -0.4, 0]), ({"l1": 0.1}, [0.1, -0.1, 0])):
        params = {"w": w["w"].copy()}
        optim.SGD(params, 0.5, **settings).step({"w": np.array([1.0, 1.0, 1.0])})
        np.testing.assert_allclose(params["w"], w["w"] - 0.5 * (1 + np.array(gradient)), rtol=1e-12)


@row(
    "initialisers",
    "normal(std); He, variance 2 / fan_in; Xavier or Glorot, 2 / (fan_in + fan_out); LeCun, 1 / fan_in",
    module="fastcnn.init",
    example="fastcnn.init.xavier_normal",
)
def test_initialisers() -> None:
    shape, rng = (80, 20, 5, 5), np.random.default_rng(0)  # 20 * 25 inputs, 80 * 25 outputs, 40,000 draws
    fan_in, fan_out = 500, 2000
    expected = {
        "normal": 0.01,
        "he_normal": math.sqrt(2 / fan_in),
        "he_uniform": math.sqrt(2 / fan_in),
        "xavier_normal": math.sqrt(2 / (fan_in + fan_out)),
        "xavier_uniform": math.sqrt(2 / (fan_in + fan_out)),
        "lecun_normal": math.sqrt(1 / fan_in),
        "lecun_uniform": math.sqrt(1 / fan_in),
    }
    for name, deviation in expected.items():
        w = init.INITIALIZERS[name](shape, rng)
        assert w.std() == pytest.approx(deviation, rel=0.02), name  # a deviation of 40,000 normal draws is right to 0.35 %
        assert abs(w.mean()) < 5 * deviation / 200, name
        if name.endswith("uniform"):
            assert 0.99 < np.abs(w).max() / (math.sqrt(3) * deviation) <= 1
        else:
            assert (np.abs(w) > 2 * deviation).mean() == pytest.approx(0.0455, abs=0.006)
    layer = Linear(400, 300, init="xavier_uniform", rng=0)
    assert np.abs(layer.params["weight"]).max() <= math.sqrt(6 / 700)
    assert layer.params["weight"].std() == pytest.approx(math.sqrt(2 / 700), rel=0.02)
