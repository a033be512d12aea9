"""Verdicts on two runs: exact ranks, and in simulated moods of a machine 10 % slower is a regression while unchanged code is none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from _bench_runs import Mood, simulated_run

from fastcnn.bench_report import ranks
from fastcnn.bench_report.verdict import compare

TRIES = 20
QUIET = Mood()
MOODS = {
    "quiet": (QUIET, QUIET),
    "slower": (QUIET, Mood(drift=1.15, memory_drift=1.12)),
    "faster": (Mood(drift=1.15, memory_drift=1.12), QUIET),
    "spikes": (Mood(spikes=0.05), Mood(spikes=0.4)),
    "two clocks": (Mood(slow_clock=0.2), Mood(slow_clock=0.8)),
    "a neighbour": (Mood(crowded=0.1), Mood(crowded=0.6)),
    "all of it": (Mood(0.015, spikes=0.3, slow_clock=0.5), Mood(0.015, 1.08, 1.1, 0.1, 0.2)),
}


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (4, 4), (5, 2)])
def test_ranks_are_counted_exactly(n: int, m: int) -> None:
    values = np.arange(n + m)
    pairs = []
    for chosen in itertools.combinations(values, m):
        rest = [v for v in values if v not in chosen]
        pairs.append(sum(a > b for a in chosen for b in rest))
    assert list(ranks._counts(n, m)) == [pairs.count(k) for k in range(n * m + 1)]
    differences = np.subtract.outer(values[n:], values[:n])
    assert ranks.exceeds(differences, 0.5) == pytest.approx(ranks.least_probability(n, m)) == 1 / math.comb(n + m, n)
    assert ranks.exceeds(differences, n + m) == 1


def test_ranks_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for n, m in ((3, 8), (10, 10), (12, 7)):
        a, b = rng.normal(size=n), rng.normal(0.7, 1, m)
        for margin in (0.0, 0.3):
            want = stats.mannwhitneyu(b - margin, a, alternative="greater", method="exact").pvalue
            assert ranks.exceeds(np.subtract.outer(b, a), margin) == pytest.approx(want, rel=1e-9)


def test_the_interval_covers_the_shift_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [ranks.shift(np.subtract.outer(rng.normal(0.5, 1, 8), rng.normal(size=8))) for _ in range(1000)]
    covered = sum(s.low <= 0.5 <= s.high for s in found)
    assert 940 <= covered <= 980  # 95 % at least, and no more than a discrete statistic must
    assert np.mean([s.estimate for s in found]) == pytest.approx(0.5, abs=0.05)
    few = np.subtract.outer([3.0, 4.0], [1.0, 2.0])
    assert ranks.shift(few) == (2.0, -math.inf, math.inf)  # of 4 values nothing is 95 % sure
    assert ranks.shift(few, 0.5, confidence=0.6) == (2.0, 0.5, 3.5)  # 2 of 6 orders lie outside


def test_holm_by_hand() -> None:
    assert ranks.holm([0.04, 0.01, 0.02], 0.05) == [True, True, True]
    assert ranks.holm([0.04, 0.01, 0.03], 0.05) == [False, True, False]  # 0.03 > 0.05 / 2
    assert ranks.holm([], 0.05) == []


@pytest.mark.parametrize("mood", MOODS)
def test_unchanged_code_is_no_regression(mood: str) -> None:
    first, second = MOODS[mood]
    alarms = 0
    for seed in range(TRIES):
        found = compare(simulated_run(2 * seed, first), simulated_run(2 * seed + 1, second))
        alarms += bool(found.count("worse") or found.count("better"))
    assert alarms <= 1


@pytest.mark.parametrize("mood", MOODS)
def test_ten_percent_is_a_regression(mood: str) -> None:
    first, second = MOODS[mood]
    told = 0
    for seed in range(TRIES):
        found = compare(simulated_run(2 * seed, first), simulated_run(2 * seed + 1, second, {7: 1.1}))
        told += [change.before.name for change in found.regressions] == ["op-forward-variant-7"]
    assert told >= 19


def test_ten_percent_faster_is_better() -> None:
    found = compare(simulated_run(0, QUIET), simulated_run(1, QUIET, {3: 1 / 1.1}))
    assert [change.before.name for change in found.changes if change.verdict == "better"] == ["op-forward-variant-3"]
    assert found.regressions == []
    assert found.count("same") == 59


def test_a_change_below_the_threshold_is_no_regression() -> None:
    first, second = simulated_run(0, QUIET), simulated_run(1, QUIET, {3: 1.04})
    assert compare(first, second).regressions == []
    found = compare(first, second, threshold=0.01)
    assert [change.before.name for change in found.regressions] == ["op-forward-variant-3"]
    assert found.regressions[0].ratio == pytest.approx(1.04, abs=0.01)
    assert found.regressions[0].low < 1.04 < found.regressions[0].high


def test_rows_that_move_memory_are_measured_by_memory() -> None:
    first = simulated_run(0, QUIET, traffic=2.0**26)
    second = simulated_run(1, Mood(memory_drift=1.1), traffic=2.0**26)
    found = compare(first, second)
    assert found.drifts["memory"] == pytest.approx(1.1, abs=0.01)
    assert found.drifts["multiply_add"] == pytest.approx(1.0, abs=0.01)
    assert found.regressions == []
    assert np.median([change.ratio for change in found.changes]) < 1.08


def test_a_machine_of_another_speed_is_doubted() -> None:
    found = compare(simulated_run(0, QUIET), simulated_run(1, Mood(drift=2.5), {7: 1.08}))
    assert found.regressions == []
    assert {change.note for change in found.changes} == {"the machine's own speed has changed too much to tell"}


def test_few_blocks_are_too_few() -> None:
    found = compare(simulated_run(0, QUIET, rows=3, blocks=3), simulated_run(1, QUIET, {0: 2.0}, rows=3, blocks=3))
    assert [change.verdict for change in found.changes] == ["unclear"] * 3
    assert found.changes[0].note == "3 blocks are too few to tell"
    assert found.changes[0].ratio == pytest.approx(2, rel=0.05)


def test_noise_beyond_the_threshold_is_unclear() -> None:
    loud = Mood(noise=0.2)
    found = compare(simulated_run(0, loud), simulated_run(1, loud))
    assert found.count("unclear") > 50
    assert found.regressions == []


def test_others_code_fails_no_run() -> None:
    first, second = simulated_run(0, QUIET), simulated_run(1, QUIET, {3: 1.3})
    for run in (first, second):
        row = run.rows["op-forward-variant-3"]
        run.rows[row.name] = row._replace(baseline=True)
    found = compare(first, second)
    assert found.count("worse") == 1
    assert found.regressions == []
