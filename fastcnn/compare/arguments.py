"""What `fastcnn compare`, `explain`, `tune` and `sweep` are told: an operation, problems of it, and how to measure.

The options that describe problems are those that operations name in their `problem.py` (see `fastcnn.options`), all in one parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from .. import options
from ..checks import FLOATS
from ..options import Option
from ..registry import PRECISIONS, Case, Operation, operations
from . import problems
from .measuring import BLOCKS
from .peers import DEFAULT
from .suites import SUITES


class Mistake(Exception):
    """What the user must mend, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message} (see {self.prog} --help)")


def parser(command: str, says: str) -> argparse.ArgumentParser:
    """Return the parser of a command, with the arguments that all of them have: an operation, problems and directions."""
    usages = "\n".join(f"  {name:24}{' '.join(o.usage for o in op.options.values())}" for name, op in operations().items())
    p = _Parser(
        prog=f"fastcnn {command}",
        description=says,
        epilog=f"problems of your own, by operation:\n{usages}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("operation", metavar="OP", nargs="?", help=f"one of {', '.join(operations())} (with --suite: conv2d if not given)")
    p.add_argument("--direction", action="append", metavar="NAME", help="forward, backward_input or backward_weight; repeatable")
    _add_options(p)
    return p


def add_cases(p: argparse.ArgumentParser) -> None:
    """Add the ways to name problems that are known."""
    p.add_argument("--case", action="append", metavar="NAME", help="a benchmark or test case; repeatable (default: all benchmark cases)")
    p.add_argument("--suite", choices=tuple(SUITES), help="layers of known networks")
    p.add_argument(
        "--problem", action="append", metavar="DESCRIPTOR", help="in oneDNN's syntax: mb128_ic64oc512_ih56oh56kh3ph1; repeatable"
    )


def add_measuring(p: argparse.ArgumentParser, seconds: float) -> None:
    """Add how to measure, and where to leave the results."""
    p.add_argument("--dtype", choices=[str(dtype) for dtype in FLOATS], default="float32")
    p.add_argument("--threads", type=int, metavar="N", help="default: all usable cores")
    p.add_argument("--blocks", type=_blocks, default=BLOCKS, metavar="N",
                   help=f"of rounds, each in a process of its own; more make bands narrower (default: {BLOCKS})")  # fmt: skip
    p.add_argument("--seconds", type=_above_zero, default=seconds, metavar="NUMBER", help=f"of timing each case (default: {seconds:g})")
    p.add_argument(
        "--peers", type=lambda text: tuple(name for name in text.split(",") if name), default=DEFAULT, metavar="NAMES",
        help="what to compare with: naive, python, scipy, torch, onnxruntime, openvino, jax; joined by commas (default: naive,scipy)",
    )  # fmt: skip
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the rows, the machine, its noise and its load as JSON")


def add_precision(p: argparse.ArgumentParser) -> None:
    """Add what may be chosen."""
    p.add_argument("--precision", choices=PRECISIONS, default="high", help="what may be chosen (default: high)")


def _add_options(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("a problem of your own", "which options an operation has, and which it needs, stands below")
    known: dict[str, Option] = {}
    for op in operations().values():
        for name, option in op.options.items():
            known.setdefault(name, option)
    for name, option in known.items():
        if option.flag:
            group.add_argument(
                option.dashed, action=argparse.BooleanOptionalAction, default=None, dest=f"own_{name}", help=argparse.SUPPRESS
            )
        else:
            group.add_argument(option.dashed, type=_value, metavar="VALUE", dest=f"own_{name}", help=argparse.SUPPRESS)


def _value(text: str) -> Any:
    try:
        return options.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _blocks(text: str) -> int:
    value = int(text)
    if not 2 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 2 to 1000; got {text!r}")
    return value


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0; got {text!r}")
    return value


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a problem of one's own that were given."""
    return {name.removeprefix("own_"): value for name, value in vars(arguments).items() if name.startswith("own_") and value is not None}


def operation_of(arguments: argparse.Namespace) -> Operation:
    """Return the operation; Mistake where there is no such one."""
    name = arguments.operation or ("conv2d" if getattr(arguments, "suite", None) else None)
    if name is None:
        raise Mistake("the following arguments are required: OP, an operation such as conv2d")
    return _or_mistake(lambda: problems.operation(name))


def problems_of(arguments: argparse.Namespace) -> tuple[Operation, list[Case], list[str]]:
    """Return the operation, cases and directions that the arguments name; Mistake where they name none."""
    op = operation_of(arguments)

    def found() -> tuple[Operation, list[Case], list[str]]:
        directions = problems.directions_named(op, arguments.direction)
        cases = problems.own(op, given(arguments), arguments.problem or ())
        if arguments.suite:
            cases = problems.suite(op, arguments.suite) + cases
        if arguments.case or not cases:
            cases = problems.cases_named(op, arguments.case) + cases
        return op, cases, directions

    return _or_mistake(found)


def _or_mistake(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (TypeError, ValueError) as error:
        raise Mistake(error) from error
