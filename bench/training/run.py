"""Steps of ours and PyTorch's in turns, and the table of them."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastcnn import data, files, info, machine
from fastcnn.data.batches import Batches
from fastcnn.train.recipes import RECIPES, build
from fastcnn.train.step import Step

from . import with_torch

EPOCHS = 1e4  # of the schedule: more than are ever timed, and even with batches of one no more steps than a schedule may have
_PAUSE = 0.02  # seconds between turns, in which the other side's idle threads stop spinning
_BLOCK = 0.25  # seconds of a turn, about
_AGREE = 2e-3  # relative difference of the losses of the first steps
_WARM = 20  # steps that are not counted


class Row(NamedTuple):
    """Median seconds of a step: ours, batches included, and PyTorch's by memory format."""

    recipe: str
    precision: str
    threads: int
    batch: int
    ours: float
    channels_last: float
    contiguous_format: float

    def line(self, images: int, epochs: float) -> str:
        """Return the row of the table; `epochs` of so many images are what a whole training takes."""
        rates = [self.batch / seconds for seconds in self[4:]]
        ratios = [seconds / self.ours for seconds in self[5:]]
        whole = images * epochs / rates[0]
        return (
            f"| {self.recipe} | {self.precision} | {self.threads} | {self.batch} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[2]:,.0f} | "
            f"{ratios[0]:.2f} | {ratios[1]:.2f} | {whole:.2f} s |"
        )


HEAD = (
    "| recipe | precision | threads | batch | ours, images/s | PyTorch, channels-last | PyTorch, default | ours / channels-last "
    "| ours / default | whole recipe |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


@contextlib.contextmanager
def _torch(network: Any, weights: Any, threads: int, rates: Any) -> Iterator[Any]:
    """Start PyTorch's process with so many threads; yield the pipe to it."""
    before = dict(os.environ)
    os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=with_torch.serve, args=(other, network, weights, threads, rates), daemon=True)
    process.start()
    os.environ.clear()
    os.environ.update(before)
    try:
        yield pipe
        pipe.send(None)
        process.join(10)
    finally:
        process.kill()


def measure(recipe_name: str, batch: int, threads: int, seconds: float, precision: str, images: Any, labels: Any) -> Row:
    """Return the medians of one batch size; both sides take `seconds`, after their losses were compared.

    Raises
    ------
    RuntimeError
        The two sides do not compute the same.
    """
    recipe = replace(RECIPES["mnist"][recipe_name], batch_size=batch, augment=None, epochs=EPOCHS)
    parts = build(recipe, images.shape[-1], len(images), seed=0)
    rate = 1e-3
    batches = Batches(images, labels, batch, seed=0)
    rates = {"lr": rate, "betas": recipe.betas, "label_smoothing": recipe.label_smoothing}
    weights = parts.model.state_dict()
    take_step = Step(parts.model.train(), parts.loss, parts.optimizer, precision)
    count = len(batches) - 1 if len(batches) > 1 else 1  # whole batches
    at = 0

    def ours(steps: int) -> tuple[list[float], list[float]]:
        nonlocal at
        losses, times = [], []
        for _ in range(steps):
            begin = time.perf_counter()
            x, target = batches.batch(at // count, at % count)
            value, _ = take_step(x, target, rate)
            times.append(time.perf_counter() - begin)
            losses.append(value)
            at += 1
        return losses, times

    with machine.threads(threads), _torch(with_torch.description(parts.model), weights, threads, rates) as pipe:

        def theirs(name: str, first: int, steps: int) -> tuple[list[float], list[float]]:
            chosen = [batches.batch((first + i) // count, (first + i) % count) for i in range(steps)]
            pipe.send((name, [(np.array(x), target) for x, target in chosen], precision == "medium"))
            answer: tuple[list[float], list[float]] = pipe.recv()
            return answer

        first = {"ours": ours(3)[0]} | {name: theirs(name, 0, 3)[0] for name in with_torch.FORMATS}
        tolerance = _AGREE if precision != "medium" else 0.05
        for name in with_torch.FORMATS:
            if not np.allclose(first["ours"], first[name], rtol=tolerance):
                raise RuntimeError(f"bench.training: losses differ: ours {first['ours']}, PyTorch {name} {first[name]}")
        times: dict[str, list[float]] = {name: [] for name in first}
        ours(_WARM)
        done = 3
        for name in with_torch.FORMATS:
            theirs(name, done, _WARM)
        while min(map(sum, times.values())) < seconds:
            for name, kept in times.items():
                time.sleep(_PAUSE)
                step = statistics.median(kept) if kept else 0.01
                steps = max(3, min(200, int(_BLOCK / step)))
                kept += (ours(steps) if name == "ours" else theirs(name, done, steps))[1][1:]  # the first wakes the threads
            done += 3
    medians = {name: statistics.median(kept) for name, kept in times.items()}
    return Row(recipe_name, precision, threads, batch, medians["ours"], medians["channels_last"], medians["contiguous_format"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 where PyTorch is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.add_argument("--recipe", default="fast", choices=tuple(RECIPES["mnist"]))
    parser.add_argument("--threads", default=str(machine.max_threads()), help="with commas: 1,2")
    parser.add_argument("--batch-sizes", help="with commas (default: the recipe's)")
    parser.add_argument("--precision", default="high", help="medium: bfloat16 on both sides, where it pays")
    parser.add_argument("--seconds", type=float, default=3.0, help="of every side (default: 3)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("torch") is None:
        print('bench.training: PyTorch is missing: pip install "fastcnn[peers]"', file=sys.stderr)
        return 2
    images, labels = _images()
    recipe = RECIPES["mnist"][options.recipe]
    rows = []
    print("Our time holds the making of the batches, PyTorch's the steps alone. Steps in turns, medians.\n\n" + HEAD, flush=True)
    with _blas_alone():
        for threads in map(int, options.threads.split(",")):
            for batch in map(int, (options.batch_sizes or str(recipe.batch_size)).split(",")):
                rows.append(measure(options.recipe, batch, threads, options.seconds, options.precision, images, labels))
                print(rows[-1].line(len(images), recipe.epochs), flush=True)
    if options.json:
        files.save_json(options.json, {"rows": [row._asdict() for row in rows], "environment": json.loads(json.dumps(info.describe()))})
    return 0


def _images() -> tuple[np.ndarray, np.ndarray]:
    try:
        dataset = data.mnist()
    except data.DatasetNotFound:
        print("MNIST is not here: random images of its size")
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (60_000, 28, 28), np.uint8), rng.integers(0, 10, 60_000)
    return dataset.train_images, dataset.train_labels


@contextlib.contextmanager
def _blas_alone() -> Iterator[None]:
    """Give NumPy's BLAS one thread, as the training command does."""
    if importlib.util.find_spec("threadpoolctl") is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
