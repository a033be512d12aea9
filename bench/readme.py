"""The README's tables, measured anew: ``python -m bench.readme [--only recipes,training] [--write README.md]``.

Each table stands between two marks, and is what one or more commands print; those commands serve by themselves, too. All of them together
take half an hour: a table is written as soon as it is there, and what a command printed before it failed is lost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from fastcnn import files
from fastcnn.info import headline
from tests.features import table as features

from .peers.table import folded

ROOT = Path(__file__).parents[1]


def tables(*commands: str) -> str:
    """Return the Markdown tables that commands print, those with one head in one table, below the commands themselves."""
    heads: dict[tuple[str, str], list[str]] = {}
    for command in commands:
        lines = [line for line in _run(command).splitlines() if line.startswith("|")]
        if len(lines) < 3:
            raise ValueError(f"{command}: printed no table")
        heads.setdefault((lines[0], lines[1]), []).extend(lines[2:])
    told = " and ".join(f"`{command}`" for command in commands)
    return "\n\n".join([f"{told}, {headline()}:", *("\n".join([*head, *lines]) for head, lines in heads.items())])


def _peers() -> str:
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "peers.json"
        _run(f"python -m bench.peers --json {record}")
        return folded(json.loads(record.read_text("utf-8")))


def _run(command: str) -> str:
    """Return what a command prints; the user sees its progress."""
    python, *rest = command.split()
    return subprocess.run(
        [sys.executable if python == "python" else python, *rest], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


TABLES: dict[str, Callable[[], str]] = {
    "features": features.table,
    "recipes": lambda: tables(
        "python -m bench.recipes --recipe sprint,fast --seeds 10", "python -m bench.recipes --recipe balanced,accurate --seeds 5"
    ),
    "training": lambda: tables(
        "python -m bench.training --threads 1 --batch-sizes 128", "python -m bench.training --threads 2 --batch-sizes 1,8,64,128,256,1024"
    ),
    "peers": _peers,
}


def marks(name: str) -> tuple[str, str]:
    """Return what stands before and after a table."""
    return f"<!-- {name} table begin -->", f"<!-- {name} table end -->"


def replaced(text: str, name: str, content: str) -> str:
    """Return a text with another table; ValueError unless its marks stand there once, in order."""
    begin, end = marks(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"expected {begin} and {end}, once each and in this order")
    return f"{text[: text.index(begin)]}{begin}\n{content}\n{text[text.index(end) :]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write, or print."""
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default=",".join(TABLES), metavar="NAMES", help=f"default: {','.join(TABLES)}")
    parser.add_argument("--write", type=Path, metavar="README", help="the file with the marks; without it tables are printed")
    options = parser.parse_args(argv)
    names = options.only.split(",")
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"--only must be of {', '.join(TABLES)}; got {', '.join(unknown)}")
    try:
        for name in names:
            if options.write:  # a file without the marks is told before an hour of measuring
                replaced(options.write.read_text("utf-8"), name, "")
        for name in names:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            made = TABLES[name]()
            if options.write:
                with files.replacing(options.write) as file:
                    file.write(replaced(options.write.read_text("utf-8"), name, made).encode())
            else:
                print(f"{made}\n", flush=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"bench.readme: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
