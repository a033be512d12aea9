"""The commands `fastcnn compare`, `explain` and `tune`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import files, info, machine, tuning
from ..explain import explain
from . import earlier, peers, table
from .arguments import Mistake, add_cases, add_measuring, add_precision, parser, problems_of
from .measuring import Comparison, run

SECONDS = 1.0  # of timing a case: two minutes for a suite


def compare(argv: Sequence[str]) -> int:
    """Check and time the variants of an operation side by side."""
    p = parser("compare", "Check every variant of an operation against the reference, and time them in turns.")
    add_cases(p)
    add_measuring(p, SECONDS)
    p.add_argument(
        "--against", type=Path, metavar="FILE",
        help="what an earlier --json has written: tell which ratios are outside its bands now, with exit code 1 where any is",
    )  # fmt: skip
    p.add_argument(
        "--html", type=Path, metavar="FILE", help="also write a page of the tables, and of the variants under this machine's roofline"
    )
    arguments = p.parse_args(argv)
    op, cases, directions = problems_of(arguments)
    before = known(arguments.against)
    found = measured(arguments, op, cases, directions)
    table.render(found.rows)
    for line in [table.LEGEND, "", *table.verdicts(found.rows), *closing(found)]:
        print(line)
    environment = info.describe()
    if arguments.json:
        with written(arguments.json, "--json"):
            files.save_json(arguments.json, {"machine": environment, **found.record()})
    if arguments.html:
        write_page(arguments.html, found, arguments.threads)
    return against(found, before)


def write_page(path: Path, found: Comparison, threads: int | None, grown: Sequence[Any] = ()) -> None:
    """Write a comparison as a page, under the roofline of this machine, which is measured where it is not known yet."""
    from ..report.comparison import write_comparison
    from ..roofline import roofline

    with machine.threads(machine.get_threads() if threads is None else threads):
        environment = {**info.describe(), "load": found.load, "noise": f"±{found.noise.spread:.1%}"}
    with written(path, "--html"):
        write_comparison(path, found.rows, environment, roofline(threads), grown)


def known(path: Path | None) -> list[dict[str, Any]] | None:
    """Return the rows of an earlier comparison, if one is named; Mistake where it cannot be read."""
    try:
        return None if path is None else earlier.load(path)
    except ValueError as error:
        raise Mistake(error) from error


def against(found: Comparison, before: list[dict[str, Any]] | None) -> int:
    """Tell how an earlier comparison agrees with this one; return 1 where a ratio is outside its bands, else 0."""
    if before is None:
        return 0
    meeting = earlier.meet(found.rows, before)
    print(f"{meeting.shared - len(meeting.departures)} of {meeting.shared} ratios lie within the bands of the earlier run")
    for departure in meeting.departures:
        print(departure)
    return 1 if meeting.departures else 0


def measured(arguments: argparse.Namespace, op: Any, cases: Sequence[Any], directions: Sequence[str]) -> Comparison:
    """Print what is compared where, and with whom, and return what measuring found; Mistake where that cannot be done."""
    try:
        choice = peers.choose(arguments.peers)
        with machine.threads(machine.get_threads() if arguments.threads is None else arguments.threads):
            print(f"{info.headline()}\n")
            for name, reason in choice.missing.items():
                print(f"{name} is {reason}", file=sys.stderr)
            with peers.Company(choice.libraries) as company, _progress() as progress:
                settings = arguments.dtype, arguments.threads, arguments.seconds, choice.baselines, company, progress, arguments.blocks
                return run(op, cases, directions, *settings, apart=True)
    except ValueError as error:
        raise Mistake(error) from error


def closing(found: Comparison) -> list[str]:
    """Return what must be known of the machine to read the tables."""
    load = " to ".join("unknown" if of is None else f"{of[0]:.1f}" for of in found.load.values())
    lines = [f"peak {found.peak:.0f} GFLOP/s; load {load}; a fixed piece of work took ±{found.noise.spread:.1%} from moment to moment"]
    return lines + ([f"WARNING: {found.noise.warning}"] if found.noise.warning else [])


@contextlib.contextmanager
def written(path: Path, option: str) -> Iterator[None]:
    """Turn what goes wrong when a file is written into a Mistake."""
    try:
        yield
    except OSError as error:
        raise Mistake(f"cannot write {option} {path}: {error.strerror}") from error


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show what is being done in one line of a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    try:
        yield lambda text: print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def explanations(argv: Sequence[str]) -> int:
    """Tell which variant serves a problem, and why others refuse it."""
    p = parser("explain", "Tell which variant serves a problem, why others refuse it, and what their costs predict.")
    add_cases(p)
    add_precision(p)
    p.add_argument("--measure", action="store_true", help="also run each variant that estimates its cost")
    p.add_argument("--tuned", action="store_true", help="let what `fastcnn tune` has measured decide, where there is such")
    arguments = p.parse_args(argv)
    op, cases, directions = problems_of(arguments)
    width = max(map(len, op.variants))
    with tuning.tuned() if arguments.tuned else contextlib.nullcontext():
        for direction in directions:
            for case in cases:
                print(f"{op.name} {direction} {case.name}")
                for line in explain(op, case.problem, direction, arguments.precision, arguments.measure):
                    print(f"  {line.variant:{width}}  {line}")
    return 0


def tune(argv: Sequence[str]) -> int:
    """Measure which variant is fastest here, and keep it."""
    p = parser("tune", "Measure which variant is fastest here, for `with fastcnn.tuned():` and FASTCNN_TUNED=1.")
    add_cases(p)
    add_precision(p)
    p.add_argument("--threads", type=int, metavar="N", help="default: all usable cores")
    arguments = p.parse_args(argv)
    op, cases, directions = problems_of(arguments)
    try:
        with machine.threads(machine.get_threads() if arguments.threads is None else arguments.threads):
            for direction in directions:
                for case in cases:
                    found = tuning.tune(op, case.problem, direction, arguments.precision)
                    gain = "" if found.fastest == found.estimated else f", {found.ratio:.2f} times as fast as {found.estimated}"
                    print(f"{op.name} {direction} {case.name}: {found.fastest}{gain}", flush=True)
    except ValueError as error:
        raise Mistake(error) from error
    except OSError as error:
        raise Mistake(f"cannot keep the results: {error}") from error
    return 0
