"""fastcnn beside PyTorch: ``python -m bench.peers [--cases mnist,lenet] [--threads 1,2] [--json FILE]``.

Both libraries compute the same convolutions in one process, in interleaved rounds, on the same number of threads (set again for every call,
as Numba resets PyTorch's), each in NCHW and in channels-last memory. Every result is checked against float64 before it is timed.
PyTorch's idle OpenMP workers spin for milliseconds on the other cores: with several threads set OMP_WAIT_POLICY=PASSIVE, or they slow
whoever is measured next. For one thread pin the process to a core and set OPENBLAS_NUM_THREADS=1, as im2col uses BLAS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastcnn
from fastcnn import files
from fastcnn.agreement import Trial, error_share
from fastcnn.info import headline
from fastcnn.registry import operations
from fastcnn.timing import Timing, measure

CONV2D = operations()["conv2d"]


class Row(NamedTuple):
    """Median times of one case and direction."""

    case: str
    direction: str
    threads: int
    gflop: float
    times: dict[str, Timing]

    def gflops(self, name: str) -> float:
        """GFLOP/s of one competitor."""
        return self.gflop / self.times[name].median

    def best(self, library: str) -> float:
        """GFLOP/s of a library in the better of its two layouts."""
        return max(self.gflops(name) for name in self.times if name.startswith(library))

    @property
    def ratio(self) -> float:
        """How many times faster than PyTorch we are, each in its better layout."""
        return self.best("fastcnn") / self.best("torch")


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def _ours(p: Any, direction: str, arguments: Sequence[np.ndarray], layout: str) -> Callable[[], np.ndarray]:
    window: dict[str, Any] = {"stride": (p.stride_h, p.stride_w), "padding": ((p.top, p.bottom), (p.left, p.right)), "layout": layout}
    convert = _channels_last if layout == "NHWC" else np.asarray
    if direction == "forward":
        x, weight, bias = convert(arguments[0]), *arguments[1:]
        return lambda: fastcnn.conv2d(x, weight, bias, **window)
    if direction == "backward_input":
        dy, weight = convert(arguments[0]), arguments[1]
        shape = convert(np.broadcast_to(np.float32(0), p.input_shape)).shape
        return lambda: fastcnn.conv2d_input(shape, weight, dy, **window)
    x, dy = convert(arguments[0]), convert(arguments[1])
    return lambda: fastcnn.conv2d_weight(x, p.weight_shape, dy, **window)


def _torch(p: Any, direction: str, arguments: Sequence[np.ndarray], layout: str, threads: int) -> Callable[[], Any]:
    import torch

    form = torch.channels_last if layout == "NHWC" else torch.contiguous_format
    tensors = [torch.from_numpy(a) if a.ndim == 1 else torch.from_numpy(a).contiguous(memory_format=form) for a in arguments]
    stride, padding = (p.stride_h, p.stride_w), (p.top, p.left)

    def run() -> Any:
        torch.set_num_threads(threads)
        if direction == "forward":
            return torch.nn.functional.conv2d(*tensors, stride=stride, padding=padding)
        wanted = [direction == "backward_input", direction == "backward_weight", False]
        dy = tensors[0] if wanted[0] else tensors[1]
        x = torch.empty(p.input_shape).contiguous(memory_format=form) if wanted[0] else tensors[0]
        weight = tensors[1] if wanted[0] else torch.empty(p.weight_shape).contiguous(memory_format=form)
        backward = torch.ops.aten.convolution_backward
        return backward(dy, x, weight, [p.K], stride, padding, (1, 1), False, (0, 0), 1, wanted)[0 if wanted[0] else 1]

    return run


def _check(trial: Trial, name: str, result: Any) -> None:
    got = np.asarray(result)
    if name.startswith("fastcnn") and name.endswith("NHWC") and trial.direction != "backward_weight":
        got = got.transpose(0, 3, 1, 2)
    ((want, allowed),) = trial.expected
    share = error_share(got, want, allowed)
    if share > 1:
        raise SystemExit(f"{name}: {trial.direction} of {trial.problem} is wrong: error {share:.1f} times the tolerance")


def compare(case: Any, direction: str, threads: int, seconds: float) -> Row:
    """Check and time both libraries, in both layouts, on one case."""
    trial = Trial(CONV2D, direction, case.problem, np.float32, np.random.default_rng(0))
    functions: dict[str, Callable[[], Any]] = {}
    with fastcnn.threads(threads):
        for layout in ("NCHW", "NHWC"):
            functions[f"fastcnn {layout}"] = _ours(case.problem, direction, trial.arguments, layout)
            functions[f"torch {layout}"] = _torch(case.problem, direction, trial.arguments, layout, threads)
        for name, function in functions.items():
            _check(trial, name, function())
        times = measure(functions, rounds=50, budget_seconds=seconds)
    return Row(case.name, direction, threads, CONV2D.problem.work(case.problem, direction) / 1e9, times)


COLUMNS = ("fastcnn NCHW", "fastcnn NHWC", "torch NCHW", "torch NHWC")


def print_details(rows: list[Row]) -> None:
    """Print every layout's GFLOP/s, and the ratios of our better layout, and of NCHW, to PyTorch's better layout."""
    print(f"| case | direction | threads | {' | '.join(COLUMNS)} | best / best | NCHW / torch's best |")
    print("|---|---|---|" + "---:|" * 6)
    for row in rows:
        speeds = " | ".join(f"{row.gflops(name):.1f}" for name in COLUMNS)
        ratios = f"{row.ratio:.2f} | {row.gflops('fastcnn NCHW') / row.best('torch'):.2f}"
        print(f"| {row.case} | {row.direction} | {row.threads} | {speeds} | {ratios} |")


def print_summary(rows: list[Row]) -> None:
    """Print a line per case: GFLOP/s of fastcnn and of PyTorch, each in its better layout, in every direction."""
    print(f"| fastcnn / PyTorch, GFLOP/s | {' | '.join(CONV2D.directions)} |\n|---|" + "---:|" * len(CONV2D.directions))
    for case, threads in dict.fromkeys((row.case, row.threads) for row in rows):
        cells = [f"{row.best('fastcnn'):.0f} / {row.best('torch'):.0f}" for row in rows if (row.case, row.threads) == (case, threads)]
        print(f"| {case}{f', {threads} threads' if threads > 1 else ''} | {' | '.join(cells)} |")
    print(f"\nGeometric mean of the {len(rows)} ratios: {np.exp(np.mean([np.log(row.ratio) for row in rows])):.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--cases", default="", help="comma-separated parts of case names; default: all benchmark cases")
    parser.add_argument("--threads", default="1", help="comma-separated thread counts")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per row")
    parser.add_argument("--summary", action="store_true", help="a line per case, each library in its better layout")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    try:
        import torch
    except ImportError:
        print('PyTorch is not installed; pip install "fastcnn[peers]" brings it', file=sys.stderr)
        return 2
    print(f"fastcnn {fastcnn.__version__}, PyTorch {torch.__version__}, float32, medians of interleaved rounds; {headline()}\n")
    rows = []
    for case in CONV2D.problem.BENCH:
        if any(part in case.name for part in arguments.cases.split(",")):
            for direction in CONV2D.directions:
                for threads in map(int, arguments.threads.split(",")):
                    print(f"{case.name} {direction} ...", end="\r", file=sys.stderr, flush=True)
                    rows.append(compare(case, direction, threads, arguments.seconds))
    (print_summary if arguments.summary else print_details)(rows)
    if arguments.json:
        files.save_json(arguments.json, [{**row._asdict(), "times": {n: t._asdict() for n, t in row.times.items()}} for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
