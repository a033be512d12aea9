"""The latency of whole ONNX models, ours beside ONNX Runtime's, in turns.

    python -m bench.onnx.latency --models resnet50,mobilenet_v1,vgg19 --batch 1,8 --threads 1,2

Each (model, threads) runs in a process of its own. A turn of either side is two runs, of which the last counts: the first one finds the
caches full of the other's arrays. Between turns on several threads there is a pause, as ONNX Runtime's threads spin for a while.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_PAUSE_SECONDS = 0.05
HEADER = "| model | batch | threads | ours, ms | ONNX Runtime, ms | ratio | largest difference |\n|---|--:|--:|--:|--:|--:|--:|"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print a row of Markdown for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.onnx.latency", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--models", default="resnet50,mobilenet_v1,vgg19", help="of bench.onnx.models, comma-separated")
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=4.0, help="per row")
    options = parser.parse_args(argv)
    batches = [int(size) for size in options.batch.split(",")]
    print(HEADER, flush=True)
    for name in options.models.split(","):
        for threads in map(int, options.threads.split(",")):
            process = multiprocessing.get_context("spawn").Process(target=rows, args=(name, batches, threads, options.seconds))
            process.start()
            process.join()
    return 0


def rows(name: str, batches: Sequence[int], threads: int, seconds: float) -> None:
    """Print the rows of a model."""
    models, backend = (importlib.import_module(module) for module in ("bench.onnx.models", "fastcnn.onnx"))
    importlib.import_module("fastcnn.machine").set_threads(threads)
    model = models.MODELS[name]()
    ours, theirs = backend.prepare(model), _session(model, threads)
    for batch in batches:
        feeds = models.feeds(model, batch)
        arrays = list(feeds.values())

        def run_ours(arrays: list[np.ndarray] = arrays) -> np.ndarray:
            return np.asarray(ours.run(arrays)[0])

        def run_theirs(feeds: dict[str, np.ndarray] = feeds) -> np.ndarray:
            return np.asarray(theirs.run(None, feeds)[0])

        got, want = run_ours(), run_theirs()
        difference = np.abs(got - want).max() / np.abs(want).max()
        own, peer = _medians([run_ours, run_theirs], seconds, _PAUSE_SECONDS if threads > 1 else 0.0)
        print(f"| {name} | {batch} | {threads} | {1e3 * own:.2f} | {1e3 * peer:.2f} | {own / peer:.2f} | {difference:.1e} |", flush=True)


def _session(model: Any, threads: int) -> Any:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    return onnxruntime.InferenceSession(_stored(model), options, providers=["CPUExecutionProvider"])


def _stored(model: Any) -> bytes:
    content: bytes = model.SerializeToString()
    return content


def _medians(runs: Sequence[Callable[[], Any]], seconds: float, pause: float) -> list[float]:
    """Return the median seconds of functions that take turns for so many seconds, at least three each."""
    samples: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples[0]) < 3:
        for run, taken in zip(runs, samples, strict=True):
            run()
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
            time.sleep(pause)
    return [float(np.median(taken)) for taken in samples]


if __name__ == "__main__":
    sys.exit(main())
