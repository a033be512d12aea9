"""The table of a search: a live one, the best at the top, on a terminal with rich; lines of Markdown, as trials end, in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from ..compare.table import duration, markdown
from .searching import Plan
from .trial import Trial, ranked

_SHOWN = 20  # rows of the live table; the last one has all
_NOTE = 70  # characters


def headline(plan: Plan) -> str:
    """Return how the search is run: trials, workers, and how they share the cores."""
    place, threads = plan.workers, plan.threads
    done = f", {len(plan.done)} of them done before" if plan.done else ""
    kind = {"loky": "processes", "threading": "threads of this process", "dask": "slots of Dask workers"}[place.backend]
    where = f"{place.jobs} {kind}" if place.jobs > 1 or place.backend == "dask" else "this process"
    more = " (more threads than cores: they will wait for one another)" if threads > place.cores else ""
    if plan.dropped:
        done += " (and one that was cut short while it was written down, which is done again)"
    return f"{len(plan.candidates)} trials{done}; on {where}, {threads} thread{'s' * (threads > 1)} each{more}"


class Table:
    """Rows as text, for candidates that are known."""

    def __init__(self, candidates: Sequence[dict[str, Any]]) -> None:
        self.names = list(dict.fromkeys(name for candidate in candidates for name in candidate))
        self.headings = ("trial", *self.names, "score", "loss", "time", "note")

    def row(self, trial: Trial) -> tuple[str, ...]:
        """Return the cells of a trial; the score with its standard deviation over folds, where there are several."""
        score = "" if trial.score is None else f"{trial.score:.4f}"
        scores = trial.result.get("scores")
        if isinstance(scores, list) and len(scores) > 1:
            mean = sum(scores) / len(scores)
            score += f" ±{(sum((one - mean) ** 2 for one in scores) / len(scores)) ** 0.5:.4f}"
        loss = trial.result.get("loss")
        note = f"{trial.attempts} attempts" if trial.attempts > 1 else ""
        if trial.error:
            note = f"failed: {trial.error}"
        return (
            str(trial.number),
            *(str(trial.parameters.get(name, "")) for name in self.names),
            score,
            f"{loss:.4f}" if isinstance(loss, float) else "",
            duration(trial.seconds) if trial.error is None else "",
            note if len(note) <= _NOTE else f"{note[: _NOTE - 3]}...",
        )

    def markdown(self, trials: Iterable[Trial]) -> str:
        """Return a table of trials, the best first."""
        return markdown([self.headings, *map(self.row, ranked(trials))])


class Lines:
    """Prints a line of Markdown for each trial as it ends, and at the end all of them again, the best first."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.trials: list[Trial] = []

    def begin(self, plan: Plan) -> None:
        """Print what is about to be done, and the headings."""
        self.table, self.trials = Table(plan.candidates), list(plan.done)
        print(headline(plan), file=self.file)
        zeros = {"loss": 0.0, "scores": [0.0, 0.0]}
        blank = [Trial(number, candidate, 0.0, zeros, 0.01) for number, candidate in enumerate(plan.candidates, 1)]
        self._widths = [max(map(len, column)) for column in zip(self.table.headings, *map(self.table.row, blank), strict=True)]
        rule = "|".join("-" * (width + 2) for width in self._widths)
        print(f"\n{self._line(self.table.headings)}\n|{rule}|", file=self.file, flush=True)

    def _line(self, cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True))} |"

    def add(self, trial: Trial) -> None:
        """Print a trial."""
        self.trials.append(trial)
        print(self._line(self.table.row(trial)), file=self.file, flush=True)

    def lost(self, number: int, cause: str) -> None:
        """Tell that a worker died."""
        print(_lost(number, cause), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Print all trials, the best first."""
        if self.trials:
            print(f"\nthe best first:\n\n{self.table.markdown(self.trials)}", file=self.file, flush=True)


class Live:
    """Draws the best trials so far with rich, anew whenever one has ended."""

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self.console = Console(file=file)
        self.live = RichLive(console=self.console, auto_refresh=False)  # rich's own thread would take a core from the trials
        self.trials: list[Trial] = []

    def begin(self, plan: Plan) -> None:
        """Print what is about to be done, and an empty table."""
        self.table, self.trials, self.count = Table(plan.candidates), list(plan.done), len(plan.candidates)
        self.console.print(headline(plan), highlight=False)
        self.live.start()
        self._draw(_SHOWN)

    def _draw(self, most: int) -> None:
        from rich.table import Table as RichTable

        drawn = RichTable(title=f"{len(self.trials)} of {self.count} trials, the best first")
        for heading in self.table.headings:
            drawn.add_column(heading, justify="left" if heading == "note" else "right")
        for place, trial in enumerate(ranked(self.trials)[:most]):
            drawn.add_row(*self.table.row(trial), style="red" if trial.error else "bold green" if not place else "")
        self.live.update(drawn, refresh=True)

    def add(self, trial: Trial) -> None:
        """Draw the table with a trial."""
        self.trials.append(trial)
        self._draw(_SHOWN)

    def lost(self, number: int, cause: str) -> None:
        """Tell that a worker died."""
        self.console.print(_lost(number, cause), style="red", highlight=False)

    def close(self) -> None:
        """Draw all trials."""
        if self.live.is_started:
            self._draw(len(self.trials))
            self.live.stop()


def _lost(number: int, cause: str) -> str:
    return f"a worker died with trial {number}, which will be tried again, alone ({cause})"


def display_for(file: TextIO | None = None) -> Lines | Live:
    """Return a live table where `file` (standard output) is a terminal and rich is installed, else lines."""
    file = file or sys.stdout
    if file.isatty():
        try:
            return Live(file)
        except ImportError:
            return Lines(file)
    return Lines(file)
