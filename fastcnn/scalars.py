"""Checks of what is no array: numbers in a range, dtypes, random generators, shapes, mappings; beside `checks`, in its words.

Layers, optimisers, schedules, initialisers, models and data take theirs from here, so that a wrong argument is told by name wherever it
is given, before it meets arithmetic that speaks of something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import checks, window

_AXES = 32  # of any array here; NumPy has 32 or 64


def between(op: str, name: str, value: Any, least: float, most: float, *, below: bool = False) -> float:
    """Return a checked number of `least` to `most`, with `below` less than `most`, as a float."""
    number = checks.number(op, name, value, finite=False)
    if not least <= number <= most or (below and number == most):
        raise ValueError(
            f"{op}: {name} must be at least {least:g} and {'below' if below else 'at most'} {most:g}; got {window.shown(value)}"
        )
    return number


def pair(op: str, name: str, value: Any) -> tuple[float, float]:
    """Return two checked numbers as floats."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{op}: {name} must be two numbers; got {window.shown(value)}")
    first, second = (checks.number(op, f"{name}[{i}]", number, finite=False) for i, number in enumerate(value))
    return first, second


def dtype(op: str, value: Any) -> np.dtype:
    """Return a checked dtype that is computed in: float32 or float64."""
    if not isinstance(value, (str, type, np.dtype)):  # NumPy also takes None, and what has a dtype: numbers, modules
        raise TypeError(f"{op}: dtype must be float32 or float64; got {window.shown(value)}")
    try:
        found = np.dtype(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{op}: dtype must be float32 or float64; got {window.shown(value)}") from error
    if found not in checks.FLOATS:
        raise TypeError(f"{op}: dtype must be float32 or float64; got {window.shown(value)}")
    return np.dtype(found)


def generator(op: str, value: Any) -> np.random.Generator:
    """Return a random generator from one, a seed (an int of at least 0), or None (fresh entropy)."""
    if isinstance(value, np.random.Generator):
        return value
    if value is None:
        return np.random.default_rng()
    try:
        seed = window.whole(op, "rng", value)
    except TypeError as error:
        raise TypeError(f"{op}: rng must be a Generator, a seed or None; got {type(value).__name__}") from error
    if seed < 0:
        raise ValueError(f"{op}: rng must be a Generator, a seed of at least 0, or None; got {window.shown(seed)}")
    return np.random.default_rng(seed)


def shape(op: str, value: Any, name: str = "shape", axes: int = _AXES) -> tuple[int, ...]:
    """Return a checked shape: a tuple or list of up to `axes` sizes, each at least 0."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{op}: {name} must be a tuple of int; got {window.shown(value)}")
    if len(value) > axes:
        raise ValueError(f"{op}: {name} must have at most {axes} axes; got {len(value)}")
    return tuple(window.integer(op, f"{name}[{i}]", size, 0) for i, size in enumerate(value))


def mapping(op: str, name: str, value: Any) -> Mapping[str, Any]:
    """Return a checked mapping of names to values."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{op}: {name} must be a mapping of name to array; got {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{op}: names of {name} must be str; got {window.shown(key)}")
    return value


def state(op: str, name: str, value: Any, own: np.ndarray) -> np.ndarray:
    """Return a checked array of a saved state as a new one of the shape and dtype of `own`, whose place it takes."""
    given = np.asarray(value) if isinstance(value, (int, float, np.generic)) else checks.array(op, name, value, None, None)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{op}: {name} must be numbers; got dtype {given.dtype}")
    if given.shape != own.shape:
        raise ValueError(f"{op}: {name} must have shape {own.shape}; got {given.shape}")
    with np.errstate(all="ignore"):
        new = given.astype(own.dtype)
        if own.dtype.kind == "f" and not np.array_equal(np.isfinite(new), np.isfinite(given)):
            raise ValueError(f"{op}: {name} has numbers beyond {own.dtype}; got up to {np.abs(given[np.isfinite(given)]).max():g}")
    return new


def positive(op: str, name: str, value: Any) -> float:
    """Return a checked finite number above 0 as a float."""
    number = checks.number(op, name, value)
    if number <= 0:
        raise ValueError(f"{op}: {name} must be above 0; got {window.shown(value)}")
    return number


def not_negative(op: str, name: str, value: Any) -> float:
    """Return a checked finite number of at least 0 as a float."""
    number = checks.number(op, name, value)
    if number < 0:
        raise ValueError(f"{op}: {name} must not be negative; got {window.shown(value)}")
    return number
