"""Runs of the benchmarks that never ran: rows with known times, on a machine whose moods are simulated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastcnn.bench_report.record import BenchRun, Row

BLOCKS, ROUNDS = 20, 3


class Mood(NamedTuple):
    """What a machine does to every time of a run.

    Attributes
    ----------
    noise : float
        Deviation of the logarithm of a sample.
    drift, memory_drift : float
        Factors on all times of computation, and of memory.
    spikes : float
        The share of samples that something interrupts, for as long again on average.
    slow_clock : float
        The share of blocks that run at a clock lower by a fifth.
    crowded : float
        The share of blocks with a neighbour on the core, which takes a quarter of the multiply-adds' speed, and a third of that from the
        rows.
    """

    noise: float = 0.01
    drift: float = 1.0
    memory_drift: float = 1.0
    spikes: float = 0.0
    slow_clock: float = 0.0
    crowded: float = 0.0


def simulated_run(
    seed: int, mood: Mood, slowed: Mapping[int, float] | None = None, rows: int = 60, blocks: int = BLOCKS, traffic: float = 0.0
) -> BenchRun:
    """Return a run of `rows` rows, of which some take a factor more time than they should."""
    rng = np.random.default_rng(seed)

    def samples(seconds: np.ndarray, rounds: int = ROUNDS) -> np.ndarray:
        spikes = rng.exponential(1.0, (blocks, rounds)) * (rng.random((blocks, rounds)) < mood.spikes)
        return seconds[:, None] * np.exp(rng.normal(0, mood.noise, (blocks, rounds))) * (1 + spikes)

    found = {}
    for i in range(rows):
        clock = np.where(rng.random(blocks) < mood.slow_clock, 1.25, 1.0) * mood.drift
        crowd = np.where(rng.random(blocks) < mood.crowded, 1.33, 1.0)
        own = clock * crowd ** (1 / 3) if not traffic else np.full(blocks, mood.memory_drift)
        taken = samples(own * 1e-3 * (1 + i / rows) * (slowed or {}).get(i, 1.0))
        yardsticks = {
            "clock": tuple(samples(clock * 4e-4, 2 * ROUNDS).min(axis=1)),
            "multiply_add": tuple(samples(clock * crowd * 5e-4, 2 * ROUNDS).min(axis=1)),
        }
        if traffic:
            yardsticks["memory"] = tuple(samples(np.full(blocks, 4e-3 * mood.memory_drift)).min(axis=1))
        low, median, high = np.quantile(taken, (0.25, 0.5, 0.75))
        name = f"op-forward-variant-{i}"
        found[name] = Row(
            name, f"op-forward-{i}", float(median), float(low), float(high), 1.0, 2.0, 0.1,
            traffic=traffic, blocks=tuple(map(tuple, taken.tolist())), yardsticks=yardsticks,
        )  # fmt: skip
    return BenchRun(Path(f"{seed}.json"), "2026-01-01T00:00:00", {"cpu": "simulated"}, found, traffic * 4)


def write_run(path: Path, run: BenchRun) -> Path:
    """Write a run as pytest-benchmark does."""
    benchmarks = [
        {
            "name": f"test_bench[{row.name}]",
            "param": row.name,
            "group": row.group,
            "stats": {"median": row.median},
            "extra_info": {
                "blocks": row.blocks,
                "yardsticks": row.yardsticks,
                "baseline": row.baseline,
                "traffic_bytes": row.traffic,
                "GFLOP/s": row.gflops,
                "GB/s": row.gbytes,
                "error_share": row.error,
            },
        }
        for row in run.rows.values()
    ]
    machine = {**run.machine, "yardsticks": {"memory_bytes": run.yardstick_bytes}}
    path.write_text(json.dumps({"machine_info": {"fastcnn": machine}, "datetime": run.date, "benchmarks": benchmarks}))
    return path
