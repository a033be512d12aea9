"""The README's table of what the texts teach: ``python -m tests.features.table [--write README.md]``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from fastcnn import files

from .rows import FOUND, MISTAKES, ROWS, Row

BEGIN, END = "<!-- features table begin -->", "<!-- features table end -->"


def collect() -> dict[str, Row]:
    """Return the marked tests of this folder by the names of their rows."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{path.stem}")
    return FOUND


def table() -> str:
    """Return what stands between the marks of the README."""
    found = collect()
    about = (
        "What the project grew out of - five texts and the code behind them - teaches, row by row: where it is, the test that compares "
        "its values with a definition or with numbers worked by hand, and where to read on "
        "(`python -m tests.features.table --write README.md`)."
    )
    lines = [about, "", "| what | exactly | where | test | shown |", "|---|---|---|---|---|"]
    for name in ROWS:
        if name in found:
            row = found[name]
            lines.append(f"| {name} | {row.meaning} | `{row.module}` | {_test(row)} | {_link(row.example)} |")
        else:
            lines.append(f"| {name} | not yet | | | |")
    mistakes = ["| mistake | right | test |", "|---|---|---|"]
    for name in MISTAKES:
        if name in found:
            mistakes.append(f"| {name} | {found[name].meaning} | {_test(found[name])} |")
    folded = "<details><summary>Mistakes in the originals that are not made here, each with its test</summary>"
    return "\n".join([*lines, "", folded, "", *mistakes, "", "</details>"])


def between_marks(text: str) -> str:
    """Return what stands between the marks of a text; ValueError where there are none."""
    _, begin, rest = text.partition(BEGIN)
    inside, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there must be the lines {BEGIN} and {END}, between which the table goes")
    return inside.strip()


def _test(row: Row) -> str:
    file, _, name = row.test.partition("::")
    return f"[{name}](tests/features/{file})"


def _link(example: str) -> str:
    if "/" not in example and not example.startswith("README"):
        return f"`help({example})`"
    file, _, heading = example.partition("#")
    return f"[{heading.replace('-', ' ') if heading else file}]({f'#{heading}' if file == 'README.md' else file})"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or write it between the marks of a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.features.table", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="README", help=f"replace what stands between {BEGIN} and {END}")
    path = parser.parse_args(argv).write
    if path is None:
        print(table())
        return 0
    text = path.read_text("utf-8")
    try:
        between_marks(text)
    except ValueError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    with files.replacing(path) as file:
        file.write(f"{before}{BEGIN}\n{table()}\n{END}{after}".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
