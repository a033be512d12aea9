"""Legal calls: a strategy for every public function, by its name; the families stand in ``legal_*.py``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.call import Call

Draw = st.DrawFn
Make = Callable[[Draw, str], tuple[str, dict[str, str]]]  # (draw, name) -> the opening, and the arguments

_MAKERS: dict[str, Make] = {}
_FAMILIES = ("windows", "pools", "elements", "losses", "layers", "training", "data")
DTYPES = ("f4", "f8")
ALGORITHMS = ("auto", "auto", "auto", "auto", "reference", "direct", "im2col")


def legal(*names: str) -> Callable[[Make], Make]:
    """Register what makes the calls of these functions."""

    def register(make: Make) -> Make:
        for name in names:
            assert name not in _MAKERS, name
            _MAKERS[name] = make
        return make

    return register


def makers() -> dict[str, Make]:
    """Return all of them by the name of the function."""
    for family in _FAMILIES:
        importlib.import_module(f"tests.fuzz.legal_{family}")
    return _MAKERS


@st.composite
def calls(draw: Draw, name: str) -> Call:
    """Draw a legal call of a function."""
    opening, arguments = makers()[name](draw, name)
    return Call(name, opening, arguments, arguments)


# --- Expressions ---------------------------------------------------------------------------------------------------------


def one_of(draw: Draw, *values: Any) -> Any:
    """Draw one of a few values."""
    return draw(st.sampled_from(values))


def chance(draw: Draw, of: int) -> bool:
    """Draw True once in so many times."""
    return draw(st.integers(1, of)) == of


def seed(draw: Draw) -> int:
    """Draw the seed of an array."""
    return draw(st.integers(0, 99))


def array(draw: Draw, kind: str, shape: Any, dtype: str) -> str:
    """Draw an array: an expression of `kind`, a name of `words`."""
    return f"{kind}({tuple(shape)}, {dtype!r}, {seed(draw)})"


def number(draw: Draw, least: float, most: float) -> str:
    """Draw a float with few digits."""
    return repr(round(draw(st.floats(least, most)), 3))


def sizes(draw: Draw, values: tuple[int, ...]) -> str:
    """Return one int for every axis; one for all of them, at times, where they are equal."""
    return repr(values[0]) if len(set(values)) == 1 and draw(st.booleans()) else repr(values)


def optional(draw: Draw, **arguments: Callable[[], str]) -> dict[str, str]:
    """Draw which of the arguments are given."""
    return {name: make() for name, make in arguments.items() if draw(st.booleans())}


def flag(draw: Draw) -> str:
    """Draw a bool."""
    return repr(draw(st.booleans()))


def batch(draw: Draw, largest: int = 3) -> int:
    """Draw how many images there are; seldom none."""
    return one_of(draw, 1, 2, largest, 1, 2, 0)
