"""One trial of a search: what was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Trial(NamedTuple):
    """Settings that were tried.

    Attributes
    ----------
    number : int
        Place among the candidates, from 1.
    parameters : dict
    score : float or None
        The larger, the better; None where the trial failed.
    result : dict
        What else the objective returned.
    seconds : float
        That the objective took, where the trial was run.
    attempts : int
        More than 1 where workers died with it.
    error : str or None
        Why it failed: an exception's type and words, or what its workers died of.
    """

    number: int
    parameters: dict[str, Any]
    score: float | None
    result: dict[str, Any]
    seconds: float
    attempts: int = 1
    error: str | None = None


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials from the best score to the worst; equal ones in the order of the candidates, and failed ones last."""
    return sorted(trials, key=lambda trial: (trial.score is None, -(trial.score or 0.0), trial.number))


def best(trials: Iterable[Trial]) -> Trial:
    """Return the one of some `Trial` objects, `trials`, with the highest score, of several the first; ValueError where none has a score."""
    first = next(iter(ranked(trials)), None)
    if first is None or first.score is None:
        raise ValueError("best: no trial has a score" + (f"; the first failed with {first.error}" if first else ""))
    return first


def of_record(number: int, record: Mapping[str, Any]) -> Trial:
    """Return the trial that a line of the journal tells of."""
    return Trial(number, *(record[name] for name in Trial._fields[1:]))
