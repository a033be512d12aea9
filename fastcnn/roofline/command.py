"""The command ``fastcnn roofline``: what the machine allows and, of an operation, what its variants make of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import files, info, machine
from ..compare import run, table
from ..compare.arguments import Mistake, add_cases, add_measuring, given, parser, problems_of
from ..compare.command import closing, measured, written
from ..compare.peers import choose
from ..registry import Case, Operation
from ..report.ceilings import Grown, write_roofline
from ..report.comparison import write_comparison
from ..report.loglog import three
from ..report.problems import problems, short
from .ceilings import Roofline
from .chart import size
from .growth import growths
from .keep import roofline

SECONDS = 1.0  # of timing a case
_GROWING = 0.5  # of timing each size of a problem that grows


def main(argv: Sequence[str]) -> int:
    """Measure the machine once; compare an operation's variants with what it allows; write tables and a page."""
    p = parser("roofline", "Measure what this machine computes and reads at most, once, and compare the variants of an operation with it.")
    add_cases(p)
    add_measuring(p, SECONDS)
    p.add_argument("--html", type=Path, metavar="FILE", help="also write a page: tables, rooflines and, of the first case, how costs grow")
    p.add_argument("--again", action="store_true", help="measure the machine anew, though it is known")
    p.add_argument("--no-growth", dest="growth", action="store_false", help="let no problem grow for the page")
    arguments = p.parse_args(argv)
    asked = arguments.operation or arguments.suite
    if not asked and (arguments.case or arguments.problem or arguments.direction or given(arguments)):
        raise Mistake("a problem needs its operation: fastcnn roofline OP ...")
    op, cases, directions = problems_of(arguments) if asked else (None, [], [])
    for option in ("html", "json"):
        if (path := getattr(arguments, option)) is not None:
            with written(path, f"--{option}"):
                files.require_writable(path)
    found = _roofline(arguments)
    print("\n".join(_lines(found)))
    if op is None:
        if arguments.json:
            with written(arguments.json, "--json"):
                files.save_json(arguments.json, {"roofline": found.record()})
        if arguments.html:
            with written(arguments.html, "--html"):
                write_roofline(arguments.html, found)
        return 0
    print()
    _compare(arguments, found, op, cases, directions)
    return 0


def _roofline(arguments: argparse.Namespace) -> Roofline:
    try:
        return roofline(arguments.threads, arguments.again)
    except (ValueError, RuntimeError) as error:
        raise Mistake(error) from error


def _compare(arguments: argparse.Namespace, found: Roofline, op: Operation, cases: Sequence[Case], directions: Sequence[str]) -> None:
    with machine.threads(machine.get_threads() if arguments.threads is None else arguments.threads):
        environment = info.describe()
    comparison = measured(arguments, op, cases, directions)
    table.render(comparison.rows)
    threads = environment["threads"]
    for line in [table.LEGEND, "", *_bounds(found, comparison.rows, threads), *closing(comparison)]:
        print(line)
    if arguments.json:
        with written(arguments.json, "--json"):
            files.save_json(arguments.json, {"machine": environment, "roofline": found.record(), **comparison.record()})
    if arguments.html:
        grown = _grow(arguments, op, cases[0], directions[0]) if arguments.growth else []
        told = {**environment, "load": comparison.load, "noise": f"±{comparison.noise.spread:.1%}"}
        with written(arguments.html, "--html"):
            write_comparison(arguments.html, comparison.rows, told, found, grown)


def _lines(found: Roofline) -> list[str]:
    """Return the machine's peaks and bandwidths as a table."""
    counts = [f"{c.threads} thread{'s' if c.threads > 1 else ''}" for c in found.ceilings]
    lines = [("", "size", *(f"{count}, {how}" for count in counts for how in ("read GB/s", "copy GB/s")))]
    sizes = {cache.name: size(cache.bytes) for cache in found.caches}
    for i, level in enumerate(found.ceilings[0].levels):
        rates = [three(rate) for c in found.ceilings for rate in (c.levels[i].read, c.levels[i].copy)]
        lines.append((level.name, sizes.get(level.name, ""), *rates))
    peaks = ", ".join(f"{three(c.gflops)} on {count}" for c, count in zip(found.ceilings, counts, strict=True))
    cpu = found.machine.get("cpu", "unknown CPU")
    return [f"{cpu}: peak {peaks} (GFLOP/s, float32)", "", table.markdown(lines), "", f"cache sizes: from the {found.source}"]


def _bounds(found: Roofline, rows: Sequence[Any], threads: int) -> list[str]:
    """Return in words what bounds the choice on each problem, and how near to its roof it is."""
    lines = []
    for problem in problems(rows):
        row = problem.chosen
        if row is None or not row.gflops or problem.intensity is None:
            continue
        ceilings, level = found.of(threads), found.level(problem.bytes, threads)
        roof = ceilings.attainable(problem.intensity, level, problem.dtype)
        bound = "the multiply-adds" if roof == ceilings.peak(problem.dtype) else f"reading {level.name}"
        told = f"{short(problem.intensity)} FLOP/byte, bound by {bound}: {row.variant} has {row.gflops / roof:.0%} of {short(roof)} GFLOP/s"
        lines.append(f"{problem.direction} {problem.case}: {told}")
    return [*lines, ""] if lines else []


def _grow(arguments: argparse.Namespace, op: Operation, case: Case, direction: str) -> list[Grown]:
    """Measure one problem as it grows along every axis that it has."""
    found = []
    for growth in growths(op, case, direction):
        print(f"growing {case.name}: {growth.axis}, {', '.join(str(number) for number, _ in growth.cases)}", file=sys.stderr)
        cases = [each for _, each in growth.cases]
        baselines = choose(arguments.peers).baselines
        compared = run(op, cases, [direction], arguments.dtype, arguments.threads, _GROWING, baselines, blocks=arguments.blocks)
        work = tuple(float(op.problem.work(each.problem, direction)) for each in cases)
        found.append(Grown(op.name, case.name, growth, tuple(compared.rows), work))
    return found
