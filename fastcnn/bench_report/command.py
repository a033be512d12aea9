"""``fastcnn bench-report``: Markdown on the terminal, HTML in a file, and an exit code that fails a build on a regression."""

from __future__ import annotations

from pathlib import Path

from .. import files
from . import page, tables
from .record import read_bench
from .verdict import compare


def report(before: Path, after: Path | None, html: Path | None, threshold: float) -> int:
    """Print a run, or two of them compared.

    Parameters
    ----------
    before : path
        The run, or the earlier of two.
    after : path or None
    html : path or None
        Where to write the page.
    threshold : float
        The smallest change that matters, as a share.

    Returns
    -------
    int
        1 where a row of the library is worse, else 0.

    Raises
    ------
    NoRun
        A file holds no run.
    ValueError
        The runs have no row in common, or the threshold is not between 0 and 1.
    OSError
        The page cannot be written.
    """
    first = read_bench(before)
    if after is None:
        text, made, code = tables.markdown_of_run(first), page.page_of_run(first), 0
    else:
        found = compare(first, read_bench(after), threshold)
        text, made, code = tables.markdown_of_comparison(found), page.page_of_comparison(found), int(bool(found.regressions))
    print(text, end="")
    if html is not None:
        with files.replacing(html) as file:
            file.write(made.encode())
    return code
