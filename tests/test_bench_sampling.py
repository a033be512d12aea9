"""How benchmarks are sampled: in turns and blocks, on new arrays; and on real kernels, that 10 % slower is told and nothing else."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("pytest_benchmark")

from bench import sampling, sensitivity
from bench.sampling import BLOCKS, ROUNDS, Plan, Sampler, plan
from bench.tape import Tape


def test_competitors_take_turns_on_new_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "plan", lambda call, seconds: Plan(1, 2, BLOCKS))
    seen: list[tuple[str, int]] = []
    made = {"a": 0, "b": 0}

    def make(name: str):
        made[name] += 1
        return lambda number=made[name]: seen.append((name, number))

    sampler = Sampler({name: lambda name=name: make(name) for name in "ab"}, 1.0, memory=False)
    sampler.take(BLOCKS // 2)
    assert [len(found.blocks) for found in sampler.taken.values()] == [BLOCKS // 2] * 2
    sampler.take()
    sampler.take()  # there is nothing left to do
    assert [len(found.blocks) for found in sampler.taken.values()] == [BLOCKS] * 2
    block = [(name, 2) for _ in range(2) for name in "ab" for _ in range(2)]  # each sample is a call to warm up and one to time
    assert seen[: len(block)] == block
    assert {number for _, number in seen} == set(range(2, BLOCKS + 2))  # the first arrays served the plan
    for found in sampler.taken.values():
        assert [len(samples) for samples in found.blocks] == [2] * BLOCKS
        assert {name: len(values) for name, values in found.yardsticks.items()} == {"clock": BLOCKS, "multiply_add": BLOCKS}


def test_slow_calls_get_fewer_rounds_then_fewer_blocks() -> None:
    assert plan(lambda: time.sleep(2e-3), 1.0)[1:] == (ROUNDS, BLOCKS)
    found = plan(lambda: time.sleep(2e-3), 0.12)
    assert found.rounds == 1
    assert BLOCKS / 2 <= found.blocks <= BLOCKS
    assert plan(lambda: time.sleep(0.02), 0.01) == Plan(1, 1, 1)


def test_few_blocks_lie_in_both_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "plan", lambda call, seconds: Plan(1, 1, 4))
    sampler = Sampler({"slow": lambda: lambda: None}, 1.0, memory=True)
    sampler.take(BLOCKS // 2)
    assert len(sampler.taken["slow"].blocks) == 2
    sampler.take()
    assert len(sampler.taken["slow"].blocks) == 4
    assert len(sampler.taken["slow"].yardsticks["memory"]) == 4


def test_a_tape_plays_samples() -> None:
    tape = Tape()
    for _ in range(2):
        tape.load([1.0, 3.0], loops=2)
        times = []
        for _ in range(5):
            before = tape.clock()
            tape.play()
            times.append(tape.clock() - before)
        assert times == [1.0, 1.0, 3.0, 3.0, 3.0]  # pytest-benchmark makes one call more than it times


def test_slowed_by_is_in_proportion() -> None:
    slow = sensitivity.slowed_by(lambda: time.sleep(0.01), 0.5)
    start = time.perf_counter()
    slow()
    assert 0.015 <= time.perf_counter() - start < 0.1


def test_a_kernel_slowed_by_a_tenth_is_told_and_no_other() -> None:
    """Two runs of real kernels, seven times; ``python -m bench.sensitivity`` does twenty of each."""
    found = sensitivity.tries(6) + sensitivity.tries(1, share=0)
    assert len({one.slowed for one in found}) > 4
    missed = [one.slowed for one in found if one.slowed and not one.told]
    assert len(missed) <= 1, missed
    assert sum(one.alarmed for one in found) <= 1
