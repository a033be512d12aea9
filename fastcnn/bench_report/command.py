"""``fastcnn bench-report``: Markdown on the terminal, HTML in a file, and an exit code that fails a build on a regression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import files
from . import page, tables
from .record import read_bench
from .verdict import compare, confirmed


def report(before: Sequence[Path], after: Sequence[Path], html: Path | None, threshold: float) -> int:
    """Print a run, or two of them compared.

    Parameters
    ----------
    before : sequence of path
        The run, or those of the earlier version.
    after : sequence of path
        Those of the later version; none for a report of one run.
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
    earlier, later = [read_bench(path) for path in before], [read_bench(path) for path in after]
    if not later:
        if len(earlier) > 1:
            raise ValueError(f"bench-report: without later runs, one run is reported at a time; got {len(earlier)}")
        first = earlier[0]
        text, made, code = tables.markdown_of_run(first), page.page_of_run(first), 0
    else:
        found = confirmed([compare(first, second, threshold) for first in earlier for second in later])
        text, made, code = tables.markdown_of_comparison(found), page.page_of_comparison(found), int(bool(found.regressions))
    print(text, end="")
    if html is not None:
        with files.replacing(html) as file:
            file.write(made.encode())
    return code
