"""The command: choose suites, directions, threads and peers, measure row by row, print tables, write JSON."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fastcnn import files
from fastcnn.peers.team import OURS, PEERS, Failed, Team, installed, usable_cores
from fastcnn.registry import DIRECTIONS, Case

from ..suites import SUITES
from . import oracle
from .measure import measure_row
from .record import Record
from .row import Row
from .table import details, summary


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a Markdown table, and write what was asked for."""
    options = _options(argv)
    if options.json:
        files.require_writable(options.json)
    peers = []
    for peer in options.peers:
        if installed(peer):
            peers.append(peer)
        else:
            print(f'{peer} is not installed and is left out; pip install "fastcnn[peers]" brings it', file=sys.stderr)
    try:
        record = _record(peers, options)
    except ValueError as reason:
        print(f"--resume: {reason}", file=sys.stderr)
        return 2
    try:
        with _ended_in_order():
            measure(Team.of(peers), record, options)
    except KeyboardInterrupt:
        print("interrupted" + (f"; {options.json} has the rows so far" if options.json else ""), file=sys.stderr)
        return 130
    print(summary(record.values) if options.summary else f"{summary(record.values)}\n\n{details(record.values)}")
    return 0


def _record(peers: list[str], options: argparse.Namespace) -> Record:
    if options.resume:
        return Record.resume(peers, options.seconds, options.resume, options.json)
    return Record.begin(peers, options.seconds, options.json)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does: temporary files and workers go."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def measure(team: Team, record: Record, options: argparse.Namespace) -> None:
    """Measure all rows that the record lacks; it is saved after each, and at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastcnn-peers-")))
        stack.callback(record.save)
        stack.enter_context(team)
        for threads in options.threads:
            _peak(team, threads, record)
        selected = list(_selected(options))
        for number, (suite, case) in enumerate(selected):
            for direction in options.directions:
                missing = [threads for threads in options.threads if not record.has(suite, case.name, direction, threads)]
                if not missing:
                    continue
                with _truth(case, direction, folder / "truth") as truth:
                    for threads in missing:
                        row = measure_row(team, suite, case, direction, threads, str(truth), options.seconds)
                        record.add(row)
                        print(f"[{number + 1}/{len(selected)}] {_line(row)}", file=sys.stderr, flush=True)
        for threads in options.threads:
            _peak(team, threads, record)


def _peak(team: Team, threads: int, record: Record) -> None:
    """Measure the peak before and after the rows; the record keeps the better one."""
    try:
        record.raise_peak(threads, team.worker(OURS, threads).ask("peak"))
    except Failed as reason:
        print(f"the peak of {threads} thread(s) is unknown: {reason}", file=sys.stderr)


@contextlib.contextmanager
def _truth(case: Case, direction: str, folder: Path) -> Iterator[Path]:
    """Leave what must come out in `folder` for the workers, and clear it away afterwards."""
    oracle.truth(case, direction).save(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _line(row: Row) -> str:
    speeds = ", ".join(f"{name} {speed.gflops:.1f}" for name, speed in row.speeds.items())
    failures = "".join(f"; {name} FAILED: {reason}" for name, reason in row.failed.items())
    return f"{row.case} {row.direction} {row.threads}T {row.variant}: {speeds}{failures}"


def _selected(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    for suite in options.suite:
        for case in SUITES[suite]:
            named = any(fnmatch.fnmatchcase(case.name, f"*{pattern}*") for pattern in options.cases)
            if named and (not options.batch or case.problem.N in options.batch):
                yield suite, case


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Compare conv2d with the libraries that are installed.")
    parser.add_argument("--suite", type=_several("suite", tuple(SUITES)), default="all", help=f"of {', '.join(SUITES)}; default: all")
    parser.add_argument("--directions", type=_several("direction", DIRECTIONS), default="all", help=f"of {', '.join(DIRECTIONS)}")
    parser.add_argument("--threads", type=_integers, default="1", help="comma-separated thread counts; default: 1")
    parser.add_argument("--batch", type=_integers, default="", help="only problems with these N")
    parser.add_argument("--cases", type=_patterns, default="", help="only problems whose name contains one of these, comma-separated; * ?")
    parser.add_argument("--peers", type=_several("peer", PEERS), default="all", help=f"of {', '.join(PEERS)}; default: the installed ones")
    parser.add_argument("--seconds", type=float, default=1.0, help="of samples per row; default: 1")
    parser.add_argument("--json", type=Path, help="write everything that was measured, after every row")
    parser.add_argument("--resume", type=Path, metavar="JSON", help="go on with the rows that such a file lacks, into --json or itself")
    parser.add_argument("--summary", action="store_true", help="print a line per suite and direction only")
    options = parser.parse_args(argv)
    options.json = options.json or options.resume
    if not all(1 <= threads <= len(usable_cores()) for threads in options.threads):
        parser.error(f"--threads: this process may use {len(usable_cores())} core(s); got {options.threads}")
    if not list(_selected(options)):
        parser.error("no problem has that suite, name and batch")
    return options


def _several(kind: str, known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = list(known) if text == "all" else [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"expected each {kind} to be one of {', '.join(known)}; got {name!r}")
        return names

    return parse


def _patterns(text: str) -> list[str]:
    return text.split(",")


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]
