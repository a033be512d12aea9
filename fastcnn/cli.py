"""The command ``fastcnn``: train a network, draw for it, compare an operation's variants, explain or tune a choice, describe the machine.

Mistakes in the arguments end in one line on stderr and exit code 2. What a command needs is imported when it runs, so that
``fastcnn --help`` stays quick.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, files, machine, tuning
from .checks import FLOATS
from .registry import PRECISIONS, Case, Operation


class _Mistake(Exception):
    """What the user must mend, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Mistake(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process if not given.

    Returns
    -------
    int
        Exit code: 0, or 2 for what the user must mend; `train`, `bench-report` and `draw` have their own.

    Raises
    ------
    SystemExit
        For --help and --version, with code 0.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv[:1] == ["train"]:  # before argparse, which would take the options for its own
            from .train.command import main as train

            return train(argv[1:], prog="fastcnn train")
        if argv[:1] == ["onnx"]:
            return _onnx(argv[1:])
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments) or 0
    except (_Mistake, MemoryError) as mistake:
        print(f"fastcnn: {mistake}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastcnn", description="High-performance CNN kernels for CPUs, in NumPy and Numba.")
    parser.add_argument("--version", action="version", version=f"fastcnn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("train", help="train a small CNN; see fastcnn train --help", add_help=False)
    commands.add_parser("onnx", help="run, time or describe an ONNX model; see fastcnn onnx --help", add_help=False)

    compare = commands.add_parser("compare", help="check and time the variants of an operation side by side")
    _add_problem_arguments(compare)
    compare.add_argument("--dtype", choices=[str(dtype) for dtype in FLOATS], default="float32")
    compare.add_argument("--threads", type=int, metavar="N", help="default: all usable cores")
    compare.add_argument("--json", type=Path, metavar="FILE", help="also write the rows, and the machine, as JSON")
    compare.set_defaults(run=_compare)

    explain = commands.add_parser("explain", help="tell which variant serves a problem, and why others refuse it")
    _add_problem_arguments(explain)
    explain.add_argument("--precision", choices=PRECISIONS, default="high", help="what may be chosen (default: high)")
    explain.add_argument("--measure", action="store_true", help="also run each variant that estimates its cost")
    explain.add_argument("--tuned", action="store_true", help="let what `fastcnn tune` has measured decide, where there is such")
    explain.set_defaults(run=_explain)

    tune = commands.add_parser("tune", help="measure which variant is fastest here, for `with fastcnn.tuned():` and FASTCNN_TUNED=1")
    _add_problem_arguments(tune)
    tune.add_argument("--precision", choices=PRECISIONS, default="high", help="what may be chosen (default: high)")
    tune.add_argument("--threads", type=int, metavar="N", help="default: all usable cores")
    tune.set_defaults(run=_tune)

    warmup = commands.add_parser("warmup", help="compile the kernels of training now, so that no command waits for them later")
    warmup.add_argument("--recipe", action="append", metavar="NAME", help="of this data set only; repeatable (default: every recipe)")
    warmup.add_argument("--all", action="store_true", help="also what the benchmark cases of every operation need (minutes)")
    warmup.add_argument("--threads", type=int, metavar="N", help="for N threads, and for one (default: all usable cores, and one)")
    warmup.set_defaults(run=_warmup)

    report = commands.add_parser("report", help="write report.html anew from the files of a training run")
    report.add_argument("folder", type=Path, metavar="DIR", help="what `fastcnn train --out DIR` has written")
    report.set_defaults(run=_report)

    bench_report = commands.add_parser("bench-report", help="show a run of `pytest bench`, or what has become of its rows in a later run")
    bench_report.add_argument("before", type=Path, metavar="A.json", help="of `pytest bench --benchmark-json=A.json`; the earlier of two")
    bench_report.add_argument(
        "after", type=Path, nargs="?", metavar="B.json", help="the later run, judged against A; exit code 1 if a row is worse"
    )
    bench_report.add_argument("--html", type=Path, metavar="FILE", help="also write one self-contained page")
    bench_report.add_argument(
        "--threshold", type=_share, default=0.05, metavar="P%", help="the smallest change that matters (default: 5%%)"
    )
    bench_report.set_defaults(run=_bench_report)

    draw = commands.add_parser("draw", help="draw digits on a page in the browser, and see live what a network makes of them")
    draw.add_argument("--weights", type=Path, metavar="DIR|FILE",
                      help="a run of `fastcnn train --out DIR`, or a file of weights (default: train in seconds, once)")  # fmt: skip
    draw.add_argument("--port", type=int, default=8028, metavar="N", help="on 127.0.0.1; 0 takes any that is free (default: 8028)")
    draw.add_argument("--no-browser", action="store_true", help="print the address only")
    draw.set_defaults(run=_draw)

    info = commands.add_parser("info", help="describe CPU, threads, caches, versions and settings: what a bug report needs")
    info.add_argument("--measure", action="store_true", help="also measure the multiply-add peak and a copy in memory (a second)")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)
    return parser


# --- Problems ----------------------------------------------------------------------------------------------------------


def _add_problem_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operation", metavar="OP", help="an operation, e.g. conv2d")
    parser.add_argument(
        "--case", action="append", metavar="NAME", help="a benchmark or test case; repeatable (default: all benchmark cases)"
    )
    parser.add_argument("--direction", action="append", metavar="NAME", help="forward, backward_input or backward_weight; repeatable")
    shape = parser.add_argument_group("a convolution of your own (conv2d)")
    shape.add_argument("--shape", type=_sizes(4), metavar="N,C,H,W", help="of the input")
    shape.add_argument("--kernel", type=_sizes(3), metavar="K,R,S", help="filters, their height and width")
    shape.add_argument("--stride", type=_sizes(1, 2), metavar="INT[,INT]")
    shape.add_argument("--padding", type=_padding, metavar="INT[,INT]|T,B,L,R|same|valid")
    shape.add_argument("--dilation", type=_sizes(1, 2), metavar="INT[,INT]")
    shape.add_argument("--groups", type=int, metavar="INT")


def _sizes(*counts: int) -> Callable[[str], tuple[int, ...]]:
    def parse(text: str) -> tuple[int, ...]:
        values = tuple(int(part) for part in text.split(","))
        if len(values) not in counts or min(values) < 0:
            raise ValueError
        return values

    parse.__name__ = f"list of {' or '.join(map(str, counts))} sizes"  # argparse: invalid list of 4 sizes value: '1,2'
    return parse


def _padding(text: str) -> Any:
    if text in ("same", "valid"):
        return text
    values = _sizes(1, 2, 4)(text)
    return (values[:2], values[2:]) if len(values) == 4 else values


_padding.__name__ = "padding"  # argparse: invalid padding value: 'x'


def _problems(arguments: argparse.Namespace) -> tuple[Operation, list[Case], list[str]]:
    """Return the operation, cases and directions that the arguments name; _Mistake where they name none."""
    from . import compare

    try:
        op = compare.operation(arguments.operation)
        directions = compare.directions_named(op, arguments.direction)
        own = {name: value for name in _OWN if (value := getattr(arguments, name)) is not None}
        cases = [] if own and not arguments.case else compare.cases_named(op, arguments.case)
        return op, [*cases, _convolution(op, **own)] if own else cases, directions
    except (TypeError, ValueError) as error:
        raise _Mistake(error) from error


_OWN = ("shape", "kernel", "stride", "padding", "dilation", "groups")


def _convolution(
    op: Operation, shape: Any = None, kernel: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Case:
    from .ops.conv2d import OPERATION
    from .ops.conv2d.problem import checked_problem

    if op is not OPERATION:
        raise ValueError(f"{op.name} has named cases only; --{', --'.join(_OWN)} describe a {OPERATION.name}")
    if shape is None or kernel is None:
        raise ValueError(f"a {op.name} of your own needs --shape N,C,H,W and --kernel K,R,S")
    N, C, H, W = shape
    K, R, S = kernel
    if groups < 1 or C % groups:
        raise ValueError(f"--groups must divide the {C} channels of --shape; got {groups}")
    problem = checked_problem(op.name, shape, (K, C // groups, R, S), stride, padding, dilation, groups)
    return Case(f"{N}x{C}x{H}x{W}-{K}x{R}x{S}", problem)


def _onnx(argv: Sequence[str]) -> int:
    from .extras import require

    try:
        require("onnx", "ONNX", "onnx", "fastcnn.onnx")
    except ImportError as error:
        raise _Mistake(error) from error
    from .onnx.command import main as onnx

    return onnx(argv)


# --- Commands ----------------------------------------------------------------------------------------------------------


def _compare(arguments: argparse.Namespace) -> None:
    from . import compare, info

    op, cases, directions = _problems(arguments)
    try:
        with machine.threads(machine.get_threads() if arguments.threads is None else arguments.threads):
            print(f"{info.headline()}\n")
    except ValueError as error:
        raise _Mistake(error) from error
    rows = []
    for direction in directions:  # each table as soon as it is there
        rows += compare.compare(op, cases, [direction], arguments.dtype, arguments.threads)
        compare.render([row for row in rows if row.direction == direction])
    print(compare.LEGEND)
    if arguments.json:
        try:
            files.save_json(arguments.json, {"machine": info.describe(), "rows": [row.record() for row in rows]})
        except OSError as error:
            raise _Mistake(f"cannot write --json {arguments.json}: {error.strerror}") from error


def _explain(arguments: argparse.Namespace) -> None:
    from .explain import explain

    op, cases, directions = _problems(arguments)
    width = max(map(len, op.variants))
    with tuning.tuned() if arguments.tuned else contextlib.nullcontext():
        for direction in directions:
            for case in cases:
                print(f"{op.name} {direction} {case.name}")
                for line in explain(op, case.problem, direction, arguments.precision, arguments.measure):
                    print(f"  {line.variant:{width}}  {line}")


def _tune(arguments: argparse.Namespace) -> None:
    op, cases, directions = _problems(arguments)
    try:
        with machine.threads(machine.get_threads() if arguments.threads is None else arguments.threads):
            for direction in directions:
                for case in cases:
                    found = tuning.tune(op, case.problem, direction, arguments.precision)
                    gain = "" if found.fastest == found.estimated else f", {found.ratio:.2f} times as fast as {found.estimated}"
                    print(f"{op.name} {direction} {case.name}: {found.fastest}{gain}", flush=True)
    except ValueError as error:
        raise _Mistake(error) from error
    except OSError as error:
        raise _Mistake(f"cannot keep the results: {error}") from error


def _warmup(arguments: argparse.Namespace) -> None:
    from . import warmup

    if machine.jit_is_disabled():
        raise _Mistake("warmup: NUMBA_DISABLE_JIT is set; there is nothing to compile")
    try:
        with machine.threads(machine.get_threads() if arguments.threads is None else arguments.threads):
            tasks = warmup.recipe_tasks(arguments.recipe) + (warmup.operation_tasks() if arguments.all else [])
            warmup.warm_up(tasks)
    except ValueError as error:
        raise _Mistake(f"warmup: {error}") from error


def _report(arguments: argparse.Namespace) -> None:
    from .report.run_folder import RunFolderError, write_report

    try:
        print(write_report(arguments.folder))
    except RunFolderError as error:
        raise _Mistake(error) from error
    except OSError as error:
        raise _Mistake(f"cannot write {arguments.folder / 'report.html'}: {error.strerror or error}") from error


def _bench_report(arguments: argparse.Namespace) -> int:
    from .bench_report.command import report

    try:
        return report(arguments.before, arguments.after, arguments.html, arguments.threshold)
    except ValueError as error:
        raise _Mistake(error) from error
    except OSError as error:
        raise _Mistake(f"cannot write --html {arguments.html}: {error.strerror or error}") from error


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


_share.__name__ = "share"  # argparse: invalid share value: 'x'


def _draw(arguments: argparse.Namespace) -> int:
    from .draw.command import CannotDraw, draw

    try:
        return draw(arguments.weights, arguments.port, not arguments.no_browser)
    except CannotDraw as error:
        raise _Mistake(error) from error


def _info(arguments: argparse.Namespace) -> None:
    from . import info

    try:
        found = info.report(arguments.measure)
    except ValueError as error:  # FASTCNN_ISA
        raise _Mistake(error) from error
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        lines = [f"{key}: {_line(item)}" for key, item in value.items()] if isinstance(value, dict) else [_line(value)]
        for i, line in enumerate(lines or ["none"]):
            print(f"{'' if i else name.replace('_', ' '):16} {line}")
    print(f"\n{info.BUG_REPORT}")


def _line(value: Any) -> str:
    return "; ".join(value) if isinstance(value, list) else str(value)
