"""The Markdown tables of a run: ``python -m bench.peers.table peers.json [--write README.md]``. Losses stand in bold."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastcnn import files
from fastcnn.registry import DIRECTIONS

from .row import Row

BEGIN, END = "<!-- peers table begin -->", "<!-- peers table end -->"
_TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch", "jax": "JAX"}


def summary(record: dict[str, Any]) -> str:
    """Return a line per suite, direction and number of threads: geometric means, losses and the worst ratio."""
    rows = _rows(record)
    peers = [_TITLES[name] for name in record["peers"]]
    lines = [
        _head(record),
        "",
        "| suite | direction | threads | problems | share of peak | ours / PyTorch | worst | ours / best peer | won | worst "
        "| bfloat16 / OpenVINO | worst |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|---|",
    ]
    groups = dict.fromkeys((row.suite, row.direction, row.threads) for row in rows)
    for group in groups:
        lines.append(_summary_line(group, [row for row in rows if (row.suite, row.direction, row.threads) == group], record))
    lines += [
        "",
        f"Ratios are geometric means; peers: {', '.join(peers) or 'none'}. PyTorch meets our plain calls, the best peer our best; "
        "OpenVINO as it comes, in bfloat16 and with weights compiled in, our prepared weights at precision medium.",
    ]
    if failures := _failures(rows):
        lines += ["", *failures]
    return "\n".join(lines)


def details(record: dict[str, Any]) -> str:
    """Return a line per problem: GFLOP/s of ours / PyTorch / the best peer, in every direction; a table per number of threads."""
    rows = _rows(record)
    directions = [direction for direction in DIRECTIONS if any(row.direction == direction for row in rows)]
    tables = []
    for threads in dict.fromkeys(row.threads for row in rows):
        mine = {(row.case, row.direction): row for row in rows if row.threads == threads}
        lines = [
            f"| ours / PyTorch / best float32 peer, GFLOP/s, {_threads(threads)} | {' | '.join(directions)} |",
            "|---|" + "---:|" * len(directions),
        ]
        for case in dict.fromkeys(case for case, _ in mine):
            cells = [_cell(mine[case, direction]) if (case, direction) in mine else "" for direction in directions]
            lines.append(f"| {case} | {' | '.join(cells)} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def folded(record: dict[str, Any]) -> str:
    """Return the summary, and the problems folded away."""
    return f"{summary(record)}\n\n<details><summary>Every problem</summary>\n\n{details(record)}\n\n</details>"


def write(path: Path, record: dict[str, Any]) -> None:
    """Replace what stands between the markers of a file.

    Raises
    ------
    ValueError
        The file has no such markers.
    """
    text = path.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} must have the lines {BEGIN} and {END}, between which the table goes")
    with files.replacing(path) as file:
        file.write(f"{before}{BEGIN}\n{folded(record)}\n{END}{after}".encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables of a run, or write them into a file with markers."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.table", description=__doc__)
    parser.add_argument("json", type=Path, help="what python -m bench.peers --json wrote")
    parser.add_argument("--write", type=Path, metavar="README", help=f"replace what stands between {BEGIN} and {END}")
    arguments = parser.parse_args(argv)
    record = json.loads(arguments.json.read_text("utf-8"))
    if not arguments.write:
        print(f"{summary(record)}\n\n{details(record)}")
        return 0
    try:
        write(arguments.write, record)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _rows(record: dict[str, Any]) -> list[Row]:
    return [Row.from_record(row) for row in record["rows"]]


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _head(record: dict[str, Any]) -> str:
    environment = record["environment"]
    ours = {name: environment["versions"][name] for name in ("fastcnn", "numpy", "numba")}
    versions = ", ".join(f"{_TITLES.get(name, name)} {version}" for name, version in {**ours, **record["peers"]}.items())
    peaks = ", ".join(f"{value:.0f} GFLOP/s on {_threads(int(count))}" for count, value in record["peak_gflops"].items())
    load = record["load"]
    loads = " to ".join(f"{load[when][0]:.1f}" for when in ("start", "end") if load[when]) or "unknown"
    return f"{environment['cpu']}, {environment['isa']}, float32; multiply-add peak {peaks}; load {loads}; {versions}."


def _summary_line(group: tuple[str, str, int], rows: list[Row], record: dict[str, Any]) -> str:
    suite, direction, threads = group
    peak = record["peak_gflops"].get(str(threads))
    shares = [row.ours / peak for row in rows if row.ours and peak]
    contested = sum(row.peer is not None for row in rows)  # where ours failed, it has not won
    torch, peer = _ratios(rows, "best / torch"), _ratios(rows, "best / best peer")
    medium = _mean_and_worst(_ratios(rows, "prepared medium / openvino default"))
    cells = [
        suite, direction, str(threads), str(len(rows)), f"{_mean(shares):.0%}" if shares else "",
        *_mean_and_worst(torch)[:2], _mean_and_worst(peer)[0],
        f"{sum(ratio >= 1 for ratio in peer.values())} of {contested}" if contested else "", _mean_and_worst(peer)[2],
        medium[0], medium[2],
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _mean_and_worst(ratios: dict[str, float]) -> tuple[str, str, str]:
    """Return the geometric mean, the worst ratio, and the worst with its problem."""
    if not ratios:
        return "", "", ""
    worst = min(ratios, key=lambda case: ratios[case])
    return _ratio(_mean(list(ratios.values()))), _ratio(ratios[worst]), f"{_ratio(ratios[worst])} {worst}"


def _ratios(rows: list[Row], kind: str) -> dict[str, float]:
    return {row.case: ratio for row in rows if (ratio := row.ratios()[kind])}


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"**{value:.2f}**"


def _cell(row: Row) -> str:
    speeds = " / ".join("-" if speed is None else f"{speed:.3g}" for speed in (row.ours, row.torch, row.peer))
    lost = row.ours is None or (row.peer is not None and row.ours < row.peer)
    return f"**{speeds}**" if lost and row.speeds else speeds


def _failures(rows: list[Row]) -> list[str]:
    """Return a line per contender that failed anywhere."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, reason in row.failed.items():
            found.setdefault(name, []).append(f"{row.case} {row.direction} ({reason})")
    return [f"- {name} failed {len(where)} time(s): {where[0]}{' ...' if len(where) > 1 else ''}" for name, where in found.items()]


if __name__ == "__main__":
    sys.exit(main())
