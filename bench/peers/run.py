"""The command: choose suites, directions, threads and peers, measure row by row, print tables, write JSON."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fastcnn import files
from fastcnn.info import describe
from fastcnn.registry import DIRECTIONS, Case

from ..suites import SUITES
from . import oracle
from .measure import measure_row
from .row import Row
from .table import details, summary
from .team import OURS, PEERS, Failed, Team, installed, usable_cores


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
        record = measure(Team.of(peers), peers, options)
    except KeyboardInterrupt:
        print("interrupted" + (f"; {options.json} has the rows so far" if options.json else ""), file=sys.stderr)
        return 130
    print(summary(record) if options.summary else f"{summary(record)}\n\n{details(record)}")
    return 0


def measure(team: Team, peers: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Measure all rows and return the record; what was measured is written to --json even where the run is cut short."""
    record: dict[str, Any] = {
        "environment": describe(),
        "peers": {peer: importlib.metadata.version(peer) for peer in peers},
        "seconds": options.seconds,
        "load": {"start": _load(), "end": None},
        "peak_gflops": {},
        "rows": [],
    }
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastcnn-peers-")))
        stack.callback(_finish, record, options.json)
        stack.enter_context(team)
        for threads in options.threads:
            _peak(team, threads, record)
        selected = list(_selected(options))
        for number, (suite, case) in enumerate(selected):
            for direction in options.directions:
                with _truth(case, direction, folder / "truth") as truth:
                    for threads in options.threads:
                        row = measure_row(team, suite, case, direction, threads, str(truth), options.seconds)
                        record["rows"].append(row.record(record["peak_gflops"].get(str(threads))))
                        print(f"[{number + 1}/{len(selected)}] {_line(row)}", file=sys.stderr, flush=True)
        for threads in options.threads:
            _peak(team, threads, record)
    return record


def _finish(record: dict[str, Any], path: Path | None) -> None:
    record["load"]["end"] = _load()
    if path:
        files.save_json(path, record)


def _peak(team: Team, threads: int, record: dict[str, Any]) -> None:
    """Measure the peak before and after the rows, and keep the better one."""
    try:
        peak = team.worker(OURS, threads).ask("peak")
    except Failed as reason:
        print(f"the peak of {threads} thread(s) is unknown: {reason}", file=sys.stderr)
        return
    if peak > record["peak_gflops"].get(str(threads), 0):
        record["peak_gflops"][str(threads)] = peak
        for number, row in enumerate(record["rows"]):
            if row["threads"] == threads:
                record["rows"][number] = Row.from_record(row).record(peak)


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


def _load() -> list[float] | None:
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def _selected(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    for suite in options.suite:
        for case in SUITES[suite]:
            if options.cases in case.name and (not options.batch or case.problem.N in options.batch):
                yield suite, case


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Compare conv2d with the libraries that are installed.")
    parser.add_argument("--suite", type=_several("suite", tuple(SUITES)), default="all", help=f"of {', '.join(SUITES)}; default: all")
    parser.add_argument("--directions", type=_several("direction", DIRECTIONS), default="all", help=f"of {', '.join(DIRECTIONS)}")
    parser.add_argument("--threads", type=_integers, default="1", help="comma-separated thread counts; default: 1")
    parser.add_argument("--batch", type=_integers, default="", help="only problems with these N")
    parser.add_argument("--cases", default="", help="only problems whose name contains this")
    parser.add_argument("--peers", type=_several("peer", PEERS), default="all", help=f"of {', '.join(PEERS)}; default: the installed ones")
    parser.add_argument("--seconds", type=float, default=1.0, help="of samples per row; default: 1")
    parser.add_argument("--json", type=Path, help="write everything that was measured")
    parser.add_argument("--summary", action="store_true", help="print a line per suite and direction only")
    options = parser.parse_args(argv)
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


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]
