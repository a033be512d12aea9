"""Bands of ratios: that two runs on a noisy machine agree within them, that they are no wider than they need be, and what they rest on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastcnn.compare.measuring import BLOCKS
from fastcnn.compare.noise import NOISY, Noise, NoiseMeter
from fastcnn.compare.statistics import bands, block_ratio, student

_CASES, _VARIANTS = 24, 5  # ratios of a suite


class _Machine:
    """A noisy machine: times of functions whose true ratios are known.

    Every sample has noise of a few percent, one in twenty is a spike; the clock wanders slowly for all alike; where the arrays of a block
    lie changes each function's speed, that of every fourth one between two speeds.
    """

    def __init__(self, seed: int, scatter: float) -> None:
        self.rng, self.scatter, self.clock = np.random.default_rng(seed), scatter, 0.0

    def block(self, count: int, rounds: int = 8) -> list[dict[str, float]]:
        placement = self.rng.normal(0, self.scatter, count)
        placement[::4] += self.rng.choice([0.0, 0.1], len(placement[::4]), p=[0.7, 0.3])
        taken = []
        for _ in range(rounds):
            self.clock += self.rng.normal(0, 0.05)
            spike = self.rng.exponential(1.0, count) * (self.rng.random(count) < 0.05)
            noise = self.clock + placement + self.rng.normal(0, 0.03, count) + spike
            taken.append({str(i): float(math.exp(value)) / (1 + i) for i, value in enumerate(noise)})
        return taken


def _run(seed: int, scatter: float = 0.02) -> dict:
    machine = _Machine(seed, scatter)
    found = {}
    for case in range(_CASES):
        blocks = [machine.block(_VARIANTS + 1) for _ in range(BLOCKS)]
        for i in range(1, _VARIANTS + 1):
            found[case, i] = [value for rounds in blocks if (value := block_ratio(rounds, str(i), "0")) is not None]
    return bands(found)


def _agree(first: dict, second: dict) -> bool:
    return all(first[key].low <= second[key].value <= first[key].high for key in first)


def test_two_runs_agree_on_every_ratio_in_nine_of_ten_tries() -> None:
    agreed = sum(_agree(_run(2 * seed), _run(2 * seed + 1)) for seed in range(20))
    assert agreed >= 18


def test_bands_hold_the_truth_and_follow_the_noise() -> None:
    quiet, noisy = _run(100, 0.002), _run(100, 0.05)
    for found in (quiet, noisy):
        missed = [key for key, ratio in found.items() if key[1] % 4 and not ratio.low <= (1 + key[1]) * math.exp(0.03) <= ratio.high]
        assert not missed  # the yardstick is one of two speeds: slower by a mean of 3 %
    widths = [np.median([ratio.band for key, ratio in found.items() if key[1] % 4]) for found in (quiet, noisy)]
    assert widths[0] < 0.4
    assert widths[1] > 1.2 * widths[0]


def test_without_noise_a_band_is_its_floor() -> None:
    ratio = bands({"a": [math.log(2)] * BLOCKS})["a"]
    assert ratio.value == pytest.approx(2)
    assert ratio.band == pytest.approx(0.01, rel=0.01)
    assert ratio.blocks == BLOCKS


def test_what_has_one_block_borrows_the_noise_of_the_others() -> None:
    rng = np.random.default_rng(0)
    others = {i: list(rng.normal(0, 0.1, BLOCKS)) for i in range(20)}
    one = bands({**others, "one": [0.0]})["one"]
    many = bands({**others, "many": [0.0] * BLOCKS})["many"]
    assert one.band > many.band > 0.01
    alone = bands({"one": [math.log(3)]})["one"]
    assert (alone.value, alone.low, alone.high, alone.band) == (pytest.approx(3), None, None, None)
    assert bands({"none": []}) == {}


def test_a_blocks_ratio_is_of_samples_of_the_same_round() -> None:
    drifting = [{"a": 1.0 * 2**i, "b": 3.0 * 2**i} for i in range(5)]
    assert block_ratio(drifting, "a", "b") == pytest.approx(math.log(3))
    drifting[2]["a"] = 1e9  # a spike
    assert block_ratio(drifting, "a", "b") == pytest.approx(math.log(3))
    slow = [{"a": 2.0, "b": 8.0}, {"a": 2.2}, {"a": 2.1}]  # b sat out
    assert block_ratio(slow, "a", "b") == pytest.approx(math.log(8 / 2.1))
    assert block_ratio(slow, "a", "c") is None


@pytest.mark.parametrize(
    ("freedom", "probability", "quantile"),
    [(3, 0.975, 3.1824), (7, 0.975, 2.3646), (11, 0.9995, 4.437), (11, 0.99995, 5.921), (1000, 0.975, 1.9623)],
)
def test_quantiles_of_students_t(freedom: int, probability: float, quantile: float) -> None:
    assert student(probability, freedom) == pytest.approx(quantile, rel=0.02)


def test_noise_is_the_spread_of_a_fixed_works_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = NoiseMeter()
    for _ in range(5):
        meter.listen()
    assert meter.result().medians == 5
    assert 0 <= meter.result().spread < 2
    meter._medians[:] = [0.9, 1.0, 1.0, 1.0, 1.2]
    assert meter.result().spread == pytest.approx((1.12 - 0.94) / 2)
    assert "±9%" in meter.result().warning
    assert Noise(NOISY, 5).warning is None
