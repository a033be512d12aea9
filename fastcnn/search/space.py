"""The settings to search over: every combination of some values, or candidates drawn at random from values and ranges."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import ParameterGrid, ParameterSampler

from .. import checks, window
from ..data.augment import Augment

_OP = "search"
_DIGITS = 4  # of numbers drawn: what a table shows is what was tried
_MOST = 100_000
_RANGE = re.compile(r"(\S+?)\.\.(\S+?)(:log)?")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, drawn evenly, or evenly in their logarithms; a distribution as of `scipy.stats`, for `sample`.

    Parameters
    ----------
    low, high : float or int
        Two ints make it a range of ints, both ends included.
    log : bool

    Raises
    ------
    TypeError, ValueError
        The ends are no finite numbers, do not rise, or have no logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        checks.flag("Range", "log", self.log)
        low, high = (checks.number("Range", name, getattr(self, name)) for name in ("low", "high"))
        if not low < high:
            raise ValueError(f"Range: low must be below high; got {self.low} and {self.high}")
        if self.log and low <= 0:
            raise ValueError(f"Range: low must be above 0, as 0 has no logarithm; got {self.low}")

    def rvs(self, size: None = None, random_state: Any = None) -> float | int:
        """Return a number drawn by `random_state`, a RandomState of NumPy, rounded to four digits or a whole number; `size` is None."""
        rng = np.random.RandomState() if random_state is None else random_state
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        low, high = (self.low - 0.5, self.high + 0.5) if whole else (self.low, self.high)  # so that the ends are as likely as the rest
        drawn = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
        rounded = round(drawn) if whole else float(f"{drawn:.{_DIGITS}g}")
        return min(max(rounded, self.low), self.high)


def grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of some settings, the last setting changing fastest.

    Parameters
    ----------
    axes : dict of str to sequence

    Raises
    ------
    TypeError, ValueError
        A setting has no values, a range, or there are more than 100,000 combinations.

    Examples
    --------
    >>> from fastcnn.search import grid
    >>> grid({"batch_size": [64, 128], "learning_rate": [0.003]})
    [{'batch_size': 64, 'learning_rate': 0.003}, {'batch_size': 128, 'learning_rate': 0.003}]
    """
    values = {name: _values(name, given) for name, given in axes.items()}
    if (count := math.prod(map(len, values.values()))) > _MOST:
        raise ValueError(f"{_OP}: a grid must have at most {_MOST:,} candidates; got {count:,}. Draw some of them with --random N")
    order = {name: number for number, name in enumerate(values)}
    found = [dict(sorted(candidate.items(), key=lambda item: order[item[0]])) for candidate in ParameterGrid(values)]
    places = {name: {repr(value): place for place, value in enumerate(given)} for name, given in values.items()}
    return sorted(found, key=lambda candidate: [places[name][repr(value)] for name, value in candidate.items()])


def sample(axes: Mapping[str, Any], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return candidates drawn at random, none twice; always the same for a seed.

    Parameters
    ----------
    axes : dict of str to `Range` or sequence
        Of a sequence every value is as likely as any other.
    count : int
        How many; fewer come where there are no more.
    seed : int

    Raises
    ------
    TypeError, ValueError
        An argument is none of these.

    Examples
    --------
    >>> from fastcnn.search import Range, sample
    >>> [sorted(candidate) for candidate in sample({"learning_rate": Range(1e-4, 1e-2, log=True), "batch_size": [64, 128]}, 2)]
    [['batch_size', 'learning_rate'], ['batch_size', 'learning_rate']]
    """
    count = window.integer(_OP, "count", count, 1)
    seed = window.integer(_OP, "seed", seed, 0)
    if count > _MOST:
        raise ValueError(f"{_OP}: count must be at most {_MOST:,}; got {count:,}")
    choices = {name: given if isinstance(given, Range) else _values(name, given) for name, given in axes.items()}
    combinations = math.prod(len(given) if isinstance(given, list) else _MOST for given in choices.values())
    drawn = ParameterSampler(choices, min(count, combinations), random_state=seed % 2**32)
    return list({repr(candidate): candidate for candidate in ({name: found[name] for name in choices} for found in drawn)}.values())


def _values(name: str, given: Any) -> list[Any]:
    if isinstance(given, Range):
        raise ValueError(f"{_OP}: {name} must have values, as a grid has no ranges; draw candidates with --random N, or `sample`")
    if isinstance(given, (str, bytes)) or not isinstance(given, (Sequence, np.ndarray)):
        raise TypeError(f"{_OP}: {name} must have a sequence of values; got {type(given).__name__}")
    if not len(given):
        raise ValueError(f"{_OP}: {name} must have at least one value; got none")
    return list({repr(value): value for value in given}.values())


# --- As a command line has them ----------------------------------------------------------------------------------------

# What of a recipe can be searched over, and of which kind it is. Settings of `Augment` change those of the recipe, or begin at none.
KINDS: dict[str, type] = {
    "recipe": str, "model": str, "epochs": float, "batch_size": int, "learning_rate": float, "optimizer": str, "weight_decay": float,
    "schedule": str, "warmup": float, "label_smoothing": float, "average": float, "precision": str,
    **{f"augment.{field.name}": float for field in dataclasses.fields(Augment) if isinstance(field.default, float)},
}  # fmt: skip
_SHORT = {"lr": "learning_rate"}


def axes_of(texts: Sequence[str]) -> dict[str, Any]:
    """Return the settings that words like learning_rate=1e-4..1e-2:log and batch_size=64,128 name, with their values or ranges.

    Raises
    ------
    ValueError
        A word cannot be read, there is no such setting, or one is named twice.
    """
    axes: dict[str, Any] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = _SHORT.get(name, name)
        if not equals or not values:
            raise ValueError(f"expected NAME=VALUE,VALUE,... such as learning_rate=0.001,0.003; got {text!r}")
        if name not in KINDS:
            close = difflib.get_close_matches(name, KINDS, 1, 0.6)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(f"there is no setting {name!r} to search over; {hint}There are {', '.join(KINDS)}")
        if name in axes:
            raise ValueError(f"{name} is named twice; join its values by commas")
        axes[name] = _read(name, values)
    return axes


def _read(name: str, text: str) -> Any:
    kind = KINDS[name]
    match = _RANGE.fullmatch(text)
    if match and kind is not str:
        try:
            return Range(kind(match[1]), kind(match[2]), match[3] is not None)
        except ValueError as error:
            raise ValueError(f"{name} must have a range like 16..256 or 1e-4..1e-2:log; got {text!r} ({error})") from None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        words = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"{name} must have {words} joined by commas, or a range LOW..HIGH; got {text!r}") from None
