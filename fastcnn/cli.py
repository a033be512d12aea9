"""The command ``fastcnn``: train a network, search for its settings, draw for it, compare variants, explain a choice, describe the machine.

Mistakes in the arguments end in one line on stderr and exit code 2. What a command needs is imported when it runs, so that
``fastcnn --help`` stays quick.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, machine
from .console import ends_with_its_reader

_PROBLEM_COMMANDS = {
    "compare": "check and time the variants of an operation side by side",
    "explain": "tell which variant serves a problem, and why others refuse it",
    "tune": "measure which variant is fastest here, for `with fastcnn.tuned():` and FASTCNN_TUNED=1",
    "sweep": "compare the variants of an operation as one axis of a problem grows",
    "roofline": "measure what this machine allows at most, and compare the variants of an operation with it",
}


class _Mistake(Exception):
    """What the user must mend, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Mistake(f"{message} (see {self.prog} --help)")


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process if not given.

    Returns
    -------
    int
        Exit code: 0, or 2 for what the user must mend; `train`, `search`, `bench-report` and `draw` have their own.

    Raises
    ------
    SystemExit
        For --help and --version, with code 0.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv[:1] == ["train"]:  # before argparse, which would take the options for its own
            from .train.command import main as train

            return train(argv[1:], program=("fastcnn", "train"))
        if argv[:1] == ["onnx"]:
            return _onnx(argv[1:])
        if argv[:1] == ["search"]:
            return _search(argv[1:])
        if argv[:1] and argv[0] in _PROBLEM_COMMANDS:
            return _on_problems(argv[0], argv[1:])
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
    commands.add_parser("search", help="search for the best settings, on several workers; see fastcnn search --help", add_help=False)
    commands.add_parser("onnx", help="run, time or describe an ONNX model; see fastcnn onnx --help", add_help=False)

    for name, says in _PROBLEM_COMMANDS.items():
        commands.add_parser(name, help=f"{says}; see fastcnn {name} --help", add_help=False)

    warmup = commands.add_parser("warmup", help="compile the kernels of training now, so that no command waits for them later")
    warmup.add_argument("--recipe", action="append", metavar="NAME", help="of this data set only; repeatable (default: every recipe)")
    warmup.add_argument("--all", action="store_true", help="also what the benchmark cases of every operation need (minutes)")
    warmup.add_argument("--threads", type=int, metavar="N", help="for N threads, and for one (default: all usable cores, and one)")
    warmup.set_defaults(run=_warmup)

    report = commands.add_parser("report", help="write report.html anew from the files of a training run")
    report.add_argument("folder", type=Path, metavar="DIR", help="what `fastcnn train --out DIR` has written")
    report.set_defaults(run=_report)

    bench_report = commands.add_parser("bench-report", help="show a run of `pytest bench`, or what has become of its rows in a later run")
    bench_report.add_argument("before", type=_paths, metavar="A.json[,...]",
                              help="of `pytest bench --benchmark-json=A.json`; several runs of a version must agree")  # fmt: skip
    bench_report.add_argument("after", type=_paths, nargs="?", default=[], metavar="B.json[,...]",
                              help="later runs, judged against A; exit code 1 if a row is worse")  # fmt: skip
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


# --- Commands ----------------------------------------------------------------------------------------------------------


def _on_problems(name: str, argv: Sequence[str]) -> int:
    """Run a command whose options are those of all operations, which are read only when it runs."""
    from .compare import command, sweep
    from .compare.arguments import Mistake
    from .roofline.command import main as roofline

    commands = {
        "compare": command.compare,
        "explain": command.explanations,
        "tune": command.tune,
        "sweep": sweep.sweep,
        "roofline": roofline,
    }
    try:
        return commands[name](argv)
    except Mistake as mistake:
        raise _Mistake(mistake) from mistake


def _onnx(argv: Sequence[str]) -> int:
    from .extras import require

    try:
        require("onnx", "ONNX", "onnx", "fastcnn.onnx")
    except ImportError as error:
        raise _Mistake(error) from error
    from .onnx.command import main as onnx

    return onnx(argv)


def _search(argv: Sequence[str]) -> int:
    try:
        from .search.command import CannotSearch
        from .search.command import main as search
    except ImportError as error:
        raise _Mistake(error) from error
    try:
        return search(argv)
    except CannotSearch as error:
        raise _Mistake(error) from error


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


def _paths(text: str) -> list[Path]:
    return [Path(name) for name in text.split(",")]


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
    ranks = found.get("ranks")
    if isinstance(ranks, dict) and ranks["rank"]:
        return  # rank 0 tells
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
