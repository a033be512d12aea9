"""How benchmarks are sampled: in turns, a block in each of several processes; and on real kernels, that 10 % slower is told."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

pytest.importorskip("pytest_benchmark")

from bench import processes, sampling
from bench.sampling import BLOCKS, ROUNDS, Plan, block, plan
from bench.tape import Tape
from fastcnn.timing import lingers, settle


def test_competitors_of_a_block_take_turns() -> None:
    seen: list[str] = []
    calls = {name: lambda name=name: seen.append(name) for name in "abc"}
    found = block(calls, {"a": Plan(2, 2, BLOCKS), "b": Plan(1, 1, BLOCKS), "c": Plan(1, 1, 1)}, memory=False)
    # each sample is a call to warm up, but for those that are slow enough for a single block, and as many to time as the plan says
    assert "".join(seen) == "aaa" + "bb" + "c" + "aaa"
    assert {name: [len(taken) for taken in samples.blocks] for name, samples in found.items()} == {"a": [2], "b": [1], "c": [1]}
    for samples in found.values():
        assert {name: len(values) for name, values in samples.yardsticks.items()} == {"clock": 1, "multiply_add": 1}
    assert found["a"].loops == 2
    assert "memory" in block(calls, dict.fromkeys("abc", Plan(1, 1, 1)), memory=True)["a"].yardsticks


def test_slow_calls_get_fewer_rounds_then_fewer_blocks() -> None:
    assert plan(lambda: time.sleep(2e-3), 1.0)[1:] == (ROUNDS, BLOCKS, False)
    found = plan(lambda: time.sleep(2e-3), 0.07)
    assert found.rounds == 1
    assert BLOCKS / 2 <= found.blocks <= BLOCKS
    assert plan(lambda: time.sleep(0.02), 0.01) == Plan(1, 1, 1)


@pytest.mark.parametrize("blocks", range(1, BLOCKS + 1))
def test_few_blocks_are_spread_over_the_processes(blocks: int) -> None:
    due = [process for process in range(BLOCKS) if Plan(1, 1, blocks).due(process)]
    assert len(due) == blocks
    gaps = [second - first for first, second in itertools.pairwise(due)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_every_block_has_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BLOCKS", 2)
    workers = []

    class Counted(processes.Worker):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            workers.append((self, asked := []))
            self._asked = asked

        def ask(self, command: str, *arguments: object, seconds: float = 120.0) -> object:
            self._asked.append((command, tuple(arguments[0])))
            return super().ask(command, *arguments, seconds=seconds)

    monkeypatch.setattr(processes, "Worker", Counted)
    good, bad = ("relu-forward-direct-resnet-64", "relu-forward-reference-resnet-64"), ("relu-forward-no-such-variant",)
    told: list[str] = []
    found = processes.sample([bad, good], "quick", told.append)
    assert told == ["looking how long 3 benchmarks take", "sampling in process 1 of 2", "sampling in process 2 of 2"]
    assert isinstance(found[bad[0]], processes.Failed)
    assert "KeyError" in str(found[bad[0]])
    for name, blocks in zip(good, (2, 1), strict=True):  # a baseline has 8 of 12, and so sits out the first
        assert len(found[name].blocks) == blocks
        assert min(found[name].flat) > 0
        assert {key: len(values) for key, values in found[name].yardsticks.items()} == {"clock": blocks, "multiply_add": blocks}
    opened = ("open", tuple("quick"))
    assert [asked for _, asked in workers] == [
        [opened, ("plans", bad), ("plans", good)],
        [opened, ("block", good[:1])],
        [opened, ("block", good)],
    ]
    assert not any(worker.alive for worker, _ in workers)


def test_those_whose_threads_go_on_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answers:
        alive = True

        def __init__(self, *arguments: object) -> None:
            pass

        def ask(self, command: str, names: list[str], *arguments: object, seconds: float = 0.0) -> dict[str, object] | None:
            asked.append((command, names))
            if command == "plans":
                return {name: Plan(1, 1, BLOCKS, lingers=name.startswith("blas")) for name in names}
            return {name: sampling.Samples(1, [[1.0]], {"clock": [1.0]}) for name in names} if command == "block" else None

        def end(self) -> None:
            asked.append(("end", []))

    asked: list[tuple[str, object]] = []
    monkeypatch.setattr(processes, "Worker", Answers)
    monkeypatch.setattr(processes, "BLOCKS", 1)
    found = processes.sample([["blas-a", "b"], ["c", "blas-d"]], "quick")
    assert [names for command, names in asked if command == "block"] == [["b"], ["c"], ["blas-a"], ["blas-d"]]
    assert set(found) == {"blas-a", "b", "c", "blas-d"}


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
    slow = processes.slowed_by(lambda: time.sleep(0.01), 0.5)
    start = time.perf_counter()
    slow()
    assert 0.015 <= time.perf_counter() - start < 0.1


def test_a_sample_waits_for_threads_that_still_compute() -> None:
    end = time.perf_counter() + 0.05

    def compute() -> None:
        while time.perf_counter() < end:
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    assert lingers()
    settle()
    waited = time.perf_counter()
    thread.join()
    assert waited >= end
    assert not lingers()
