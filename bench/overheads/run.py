"""The command: run the groups that are asked for, print the table, write JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fastcnn import files
from fastcnn.info import describe, headline

from . import denormals, first_use, threads
from .figure import Figure, table

GROUPS: dict[str, Callable[[bool], Iterator[Figure]]] = {
    "first-use": first_use.figures,
    "threads": threads.figures,
    "denormals": denormals.figures,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a Markdown table, and write what was asked for after every figure."""
    options = _options(argv)
    if options.json:
        files.require_writable(options.json)
    found: list[Figure] = []
    for name in options.only:
        for figure in GROUPS[name](options.quick):
            found.append(figure)
            value = "not measured" if figure.value is None else f"{figure.value:.3g} {figure.unit}"
            print(f"{figure.group}: {figure.name}: {value}{' MISSED' if figure.missed else ''}", file=sys.stderr, flush=True)
            if options.json:
                files.save_json(options.json, {"environment": describe(), "figures": [f.record() for f in found]})
    print(f"{headline()}\n\n{table(found)}")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.overheads", description="What fastcnn costs beside its arithmetic.")
    parser.add_argument("--only", type=_groups, default=list(GROUPS), help=f"of {', '.join(GROUPS)}, comma-separated; default: all")
    parser.add_argument("--quick", action="store_true", help="a sample of each group")
    parser.add_argument("--json", type=Path, help="write the figures, after each")
    return parser.parse_args(argv)


def _groups(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in GROUPS:
            raise argparse.ArgumentTypeError(f"expected each to be one of {', '.join(GROUPS)}; got {name!r}")
    return names
