"""Options that describe a problem of an operation in words, as a command line gives them; an operation's `from_options` names its own.

``from_options(op, shape, kernel, stride=1, ...)`` in an operation's `problem.py` returns a checked problem; `op` is the name that errors
begin with. Its other parameters are the options, in order: annotated with what a user is to write (``Annotated[Any, "N,C,H,W"]``), without
a default where they are needed, a bool where they are flags. Letters joined by commas are sizes, one for each axis, those in brackets may
be left out; they arrive as a tuple of so many ints. All else arrives as `read` understands it, for the operation's own checks.
"""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

from .window import LARGEST, integer, shown

_SIZES = re.compile(r"([A-Z](?:,[A-Z])*)(?:\[((?:,[A-Z])+)\])?")  # N,C,H,W or N,C[,H,W]


class Option(NamedTuple):
    """One option of an operation: what a user writes for it, and the value that it has where it is not given."""

    name: str
    metavar: str
    required: bool
    default: Any

    @property
    def flag(self) -> bool:
        """Whether it is switched on or off, and takes no value."""
        return isinstance(self.default, bool)

    @property
    def dashed(self) -> str:
        """As it stands on a command line: --ceil-mode."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def usage(self) -> str:
        """How it is used, in brackets where it may be left out."""
        if self.flag:
            return f"[{self.dashed.replace('--', '--no-') if self.default else self.dashed}]"
        return f"{self.dashed} {self.metavar}" if self.required else f"[{self.dashed} {self.metavar}]"

    @property
    def axes(self) -> tuple[str, ...]:
        """The letters of its axes, those that may be left out too; none where it holds no sizes."""
        match = _SIZES.fullmatch(self.metavar)
        return tuple(letter for part in match.groups("") for letter in part.split(",") if letter) if match else ()

    def checked(self, op: str, value: Any) -> Any:
        """Return a value: sizes as a tuple of ints, one for every axis; ValueError where they are none."""
        match = _SIZES.fullmatch(self.metavar)
        if not match:
            return value
        given = value if isinstance(value, tuple) else (value,)
        counts = {len(match[1].split(",")), len(self.axes)}
        if len(given) not in counts or not all(type(size) is int and 0 <= size <= LARGEST for size in given):
            raise ValueError(f"{op}: {self.name} must be {self.metavar}, each between 0 and {LARGEST}; got {written(value)}")
        return given


def options_of(problem: ModuleType) -> dict[str, Option]:
    """Return the options of an operation by name, in order, from the `from_options` of its `problem.py`; none where it has none."""
    function = getattr(problem, "from_options", None)
    if function is None:
        return {}
    hints = inspect.get_annotations(function, eval_str=True)  # before Python 3.11, typing's are Optional where the default is None
    _, *parameters = inspect.signature(function).parameters.values()
    return {p.name: _option(p, hints[p.name]) for p in parameters}


def _option(parameter: inspect.Parameter, hint: Any) -> Option:
    metavar = typing.get_args(hint)[1] if typing.get_origin(hint) is typing.Annotated else ""
    required = parameter.default is inspect.Parameter.empty
    return Option(parameter.name, metavar, required, None if required else parameter.default)


def check(op: str, known: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values given for the options of an operation, checked.

    Raises
    ------
    ValueError
        One is unknown, missing, or holds other sizes than it should.
    """
    usage = " ".join(option.usage for option in known.values())
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"; did you mean {known[close[0]].dashed}" if close else ""
            raise ValueError(f"{op} has no option --{name.replace('_', '-')}{hint}; a problem of your own is {usage}")
    missing = [option.dashed for option in known.values() if option.required and option.name not in given]
    if missing:
        raise ValueError(f"a {op} of your own needs {' and '.join(missing)}: {usage}")
    return {name: known[name].checked(op, value) for name, value in given.items()}


def read(text: str) -> Any:
    """Return the value of a text: an int, a float, a tuple of such numbers joined by commas, or else a word as it stands.

    >>> read("8"), read("1,28,28"), read("same"), read("1e-5")
    (8, (1, 28, 28), 'same', 1e-05)
    """
    parts = tuple(_number(part) for part in text.split(","))
    if len(parts) > 1:
        if not all(isinstance(part, (int, float)) for part in parts):
            raise ValueError(f"expected numbers joined by commas; got {text!r}")
        return parts
    return parts[0]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue  # the next kind, or a word
    return text


def written(value: Any) -> str:
    """Return a value as a user writes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def name_of(known: Mapping[str, Option], given: Mapping[str, Any]) -> str:
    """Return the name of a problem: its sizes as 2x4x9x9-6x3x3, then what else was given, as stride2."""
    parts = []
    for name, option in known.items():
        value = given.get(name)
        if name not in given or value is False or value == option.default:
            continue
        text = "x".join(map(str, value)) if isinstance(value, tuple) else "" if value is True else str(value)
        parts.append(text if option.required else f"{name}{text}")
    return "-".join(parts)


def dimensions(op: str, name: str, value: Any) -> tuple[int, ...]:
    """Return the sizes of any number of axes, each at least 0, from an int or a tuple of ints."""
    return tuple(integer(op, name, size, 0) for size in (value if isinstance(value, tuple) else (value,)))


def sides(op: str, padding: Any) -> Any:
    """Return padding as the operations take it: four numbers T,B,L,R as ((T, B), (L, R)), all else as it is."""
    if isinstance(padding, tuple) and len(padding) == 4:
        return padding[:2], padding[2:]
    if isinstance(padding, tuple) and len(padding) > 4:
        raise ValueError(f"{op}: padding must be INT, INT,INT, T,B,L,R, same or valid; got {shown(written(padding))}")
    return padding
