"""One layout of ranks and threads: steps of the network of `fast` on all ranks, and what of their time is spent on sums.

``mpiexec -n 2 python -m bench.distributed.worker OPTIONS``; rank 0 prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastcnn import data, machine
from fastcnn.data.batches import Batches
from fastcnn.distributed import Communicator, world
from fastcnn.distributed.step import SharedStep
from fastcnn.train.command import limited
from fastcnn.train.recipes import RECIPES, build
from fastcnn.train.step import Step

_WARM = 10  # steps that are not counted


def images() -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's training images, or random ones of their size."""
    try:
        dataset = data.mnist()
        return dataset.train_images, dataset.train_labels
    except data.DatasetNotFound:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (60_000, 28, 28), np.uint8), rng.integers(0, 10, 60_000)


def measure(comm: Communicator, batch: int, seconds: float, sync_batch_norm: bool, apart: bool = False) -> dict[str, Any]:
    """Return medians over the steps of `seconds` on all ranks, at a global batch size; the making of batches is part of a step.

    `apart`, every rank has a batch of that size and a network of its own: what they share is the machine.
    """
    parts = build(RECIPES["mnist"]["fast"], 28, 60_000, seed=0)
    batches = Batches(*images(), batch, seed=0, mean=33.3, deviation=78.6, part=(0, 1) if apart else (comm.rank, comm.size))
    whole = len(batches) - 1
    waited = [0.0]
    together = comm.size > 1 and not apart
    with contextlib.ExitStack() as stack:
        if together:
            timed = _Timed(comm, waited)
            shared = SharedStep(parts.model.train(), parts.loss, parts.optimizer, "high", timed, sync_batch_norm)  # type: ignore[arg-type]
            stack.enter_context(shared.sharing())
        else:
            alone = Step(parts.model.train(), parts.loss, parts.optimizer, "high")

        def step(number: int) -> None:
            at = number % whole
            x, target = batches.batch(number // whole, at)
            if together:
                shared(x, target, 1e-3, batches.rows(at), False)
            else:
                alone(x, target, 1e-3)

        begin = time.perf_counter()
        for number in range(_WARM):
            step(number)
        each = comm.sums((time.perf_counter() - begin) / _WARM)[0] / comm.size
        steps = max(5, int(seconds / each))  # the same on all ranks
        times, sums = [], []
        comm.sums(0)
        for number in range(_WARM, _WARM + steps):
            waited[0], begin = 0.0, time.perf_counter()
            step(number)
            times.append(time.perf_counter() - begin)
            sums.append(waited[0])
    return {"batch": batch, "steps": steps, "seconds": statistics.median(times), "sums": statistics.median(sums)}


class _Timed:
    """A communicator whose sums are timed: waiting for the slowest rank is in it."""

    def __init__(self, comm: Communicator, waited: list[float]) -> None:
        self.comm, self.waited = comm, waited

    def add_up(self, values: np.ndarray) -> None:
        begin = time.perf_counter()
        self.comm.add_up(values)
        self.waited[0] += time.perf_counter() - begin


def sum_seconds(comm: Communicator, size: int, repeats: int = 50) -> float:
    """Return the median time of the sum of so many float32 over all ranks, which are here at the same time."""
    values, times = np.zeros(size, np.float32), []
    for _ in range(repeats):
        comm.sums(0)
        times.append(_timed(lambda: comm.add_up(values)))
    return statistics.median(times)


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    """Measure one layout."""
    parser = argparse.ArgumentParser(prog="python -m bench.distributed.worker", description=__doc__)
    parser.add_argument("--threads", type=int, default=0, help="of each rank (default: its share of the cores)")
    parser.add_argument("--batches", default="512,1024,2048", help="global batch sizes")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each batch size")
    parser.add_argument("--sizes", default="", help="of sums to time, in float32 values")
    parser.add_argument("--no-sync-batch-norm", action="store_true")
    parser.add_argument("--apart", action="store_true", help="a network and batches of its own on every rank")
    options = parser.parse_args()
    with world() as comm, limited(min(options.threads or comm.threads, machine.max_threads())):
        settings = options.seconds, not options.no_sync_batch_norm, options.apart
        rows = [measure(comm, int(size), *settings) for size in options.batches.split(",") if size]
        sums = [(int(size), sum_seconds(comm, int(size))) for size in options.sizes.split(",") if size]
        if comm.is_leader:
            print(json.dumps({"ranks": comm.size, "threads": machine.get_threads(), "rows": rows, "sums": sums}))


if __name__ == "__main__":
    main()
