"""Learning rates over a run, at steps whose value is known."""

from __future__ import annotations

import math

import numpy as np

from fastcnn.schedules import Cosine, Exponential, OneCycle, StepDecay

from .rows import row


@row(
    "schedules",
    "one cycle up and down; a factor every so many steps, or at every step; half a cosine",
    module="fastcnn.schedules",
    example="fastcnn.schedules.OneCycle",
)
def test_schedules() -> None:
    cycle = OneCycle(1.0, 101, warmup=0.5, anneal="linear", div=10, final_div=100)
    peak = 0.5 * 101 - 1
    expected = [0.1 + 0.9 * t / peak if t <= peak else 1 + (0.001 - 1) * (t - peak) / (100 - peak) for t in range(101)]
    np.testing.assert_allclose([cycle(t) for t in range(101)], expected, rtol=1e-12)
    decay = StepDecay(0.8, 3, 0.5)
    np.testing.assert_allclose([decay(t) for t in range(7)], [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2])
    np.testing.assert_allclose([Exponential(0.5, 0.9)(t) for t in (0, 1, 10)], [0.5, 0.45, 0.5 * 0.9**10])
    cosine = Cosine(2.0, 8)
    np.testing.assert_allclose([cosine(t) for t in (0, 2, 4, 6)], [2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5)])
