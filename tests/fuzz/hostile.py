"""Hostile calls: a legal one of which an argument or two are spoilt, each according to what it was, or absurdly."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import legal, surface
from tests.fuzz.call import Call
from tests.fuzz.words import FORMS

_ARRAYS = re.compile(r"(ints|reals|shares|distinct|labels|places)\(")
ABSURD = (
    "None", "'abc'", "b'abc'", "''", "1.5", "-1", "0", "True", "{}", "[]", "()", "object()", "1j", "float('nan')", "float('inf')", "2**70",
    "10**400", "np.float32(0.5)", "np.bool_(True)", "np.array(2)", "np.ones((2, 2))", "np.array(['a', 'b'])", "Fraction(1, 2)", "Broken()",
    "lambda: 0", "iter([1, 2])", "(i for i in range(2))", "memoryview(b'ab')", "[[1, 2], [3]]", "((1, 2), (3, 4))", "{1, 2}", "range(3)",
    "np",
    "np.float32", "np.array(None)", "...", "np.nan", "'é' * 3", "[1] * 1000", "np.datetime64('2020')", "{'a': 1}",
)  # fmt: skip
_SIZES = (
    "0", "-1", "1", "2", "3", "7", "2**31", "2**31 - 1", "2**62", "2**70", "-2**63", "1.0", "1.5", "True", "None", "'2'", "'same'",
    "'valid'", "'full'",
    "(1,)", "(1, 2)", "(1, 2, 3)", "(1, 2, 3, 4)", "((1, 2), (3, 4))", "((0, 1), (1, 0), (2, 2))", "((1, 2),)", "((1,), (2,))", "[2, 2]",
    "()", "(0, 1)", "(1, -1)",
    "(2**31, 1)", "(1, 2**62)", "(None, 1)", "(1, 1.5)", "(True, 1)", "np.int8(2)", "np.uint64(2)", "np.array(2)", "np.array([2, 2])",
    "np.ones(2, int)",
    "float('nan')", "10**5000", "[1] * 1000", "iter([1, 1])", "2**20", "1000", "(1000, 1)", "(3, (1, 1))",
)  # fmt: skip
_NUMBERS = (
    "0.0", "-0.5", "1.0", "2.0", "-1e-300", "1e-320", "1e300", "-1e300", "float('nan')", "float('inf')", "-float('inf')", "10**400", "0",
    "1", "-3", "True", "None",
    "'0.5'", "np.float32(0.5)", "np.float64('nan')", "np.array(0.5)", "np.array([0.5])", "Fraction(1, 3)", "1j", "(0.5,)",
    "(0.1, 0.2, 0.3)", "2**70",
)  # fmt: skip
_FLAGS = (
    "None",
    "0",
    "1",
    "'yes'",
    "np.bool_(True)",
    "True",
    "False",
    "0.0",
    "np.array(True)",
    "[True]",
    "np.array([True, False])",
    "object()",
)
_WORDS = (
    "''",
    "'no such'",
    "None",
    "1",
    "True",
    "b'none'",
    "'MEAN'",
    "['mean']",
    "np.array(['mean', 'sum'])",
    "np.str_('mean')",
    "'a' * 10**5",
    "object()",
)
_ARRAY = (
    "{0}.tolist()", "tuple({0})", "({0},)", "{0}[None]", "{0}[..., None]", "dropped({0})", "cut({0}, 0)", "cut({0}, 1)", "cut({0}, -1)",
    "cut({0}, 1, 1)",
    "cut({0}, -1, 1)", "cut({0}, 0, 1)", "longer({0}, 0)", "longer({0}, 1)", "longer({0}, -1)", "stretched({0}, 0)", "stretched({0}, 1)",
    "stretched({0}, -1)",
    "stretched({0}, 0, 2**40)", "stretched({0}, 0, 1000)", "{0}.astype('f4')", "{0}.astype('f8')", "{0}.astype('f2')", "{0}.astype('g')",
    "{0}.astype('i4')",
    "{0}.astype('u1')", "{0}.astype('c8')", "{0}.astype(bool)", "{0}.astype(object)", "{0}.astype('S4')", "{0}.astype('U4')",
    "{0}.astype('i8').astype('M8[s]')",
    "np.ma.masked_array({0}, mask=False)", "put({0}, float('nan'))", "put({0}, float('inf'))", "put({0}, -float('inf'))",
    "put({0}, 1e38)", "put({0}, 1e-40)",
    "put({0}, -1)", "put({0}, 100)", "{0} * 0", "-{0}", "{0}.reshape(-1)", "{0}.T", "{0}.reshape(-1, 1)", "np.zeros(())",
    "np.zeros((), 'f4')", "np.zeros(0, 'f4')",
    "np.zeros((1, 0, 3), 'f4')", "np.zeros((1,) * 32, 'f4')", "(row for row in {0})", "[[1.0, 2.0], [3.0]]",
    "np.asmatrix({0}.reshape(-1, 1))",
    "{0}.astype([('a', 'f4'), ('b', 'f4')])", "memoryview({0})", "np.float32(1)", "2.0",
)  # fmt: skip
_MAPPINGS = (
    "{{}}", "{{1: 2}}", "{{'a.weight': None}}", "{{'a.weight': [1.0]}}", "list({0})", "{{'b': np.zeros(3, 'f4')}}",
    "{{'a.weight': np.zeros((3, 2), 'i4')}}",
    "{{'a.weight': np.zeros((3, 2), 'f8'), 'a.bias': np.zeros(3, 'f4')}}", "{{'a.weight': np.broadcast_to(np.float32(0), (3, 2))}}",
    "{{'': np.zeros(0, 'f4')}}",
    "{{name: form('stepped', value) for name, value in {0}.items()}}",
    "{{name: form('byte-swapped', value) for name, value in {0}.items()}}",
    "{{name: form('read-only', value) for name, value in {0}.items()}}", "{{name: value[:1] for name, value in {0}.items()}}",
    "{{name: form('unaligned', value) for name, value in {0}.items()}}", "{{name: put(value, np.nan) for name, value in {0}.items()}}",
    "{{name: stretched(value) for name, value in {0}.items()}}", "{{name: value.astype('c8') for name, value in {0}.items()}}",
    "{{name: np.ma.masked_array(value) for name, value in {0}.items()}}", "{{name: value.astype(object) for name, value in {0}.items()}}",
)  # fmt: skip
_ENDLESS = {"epochs", "max_iter", "samples", "n_iter_no_change", "f"}  # arguments of which a large one rightly takes its time


def _kind(expression: str) -> tuple[str, ...]:
    """Return what an argument may become, after what it is."""
    if _ARRAYS.match(expression):
        forms = tuple(f"form({name!r}, {{0}})" for name in sorted(FORMS))
        expression = expression if expression.endswith(")") else f"({expression})"
        return tuple(text.replace("{0}", expression) for text in (*_ARRAY, *forms, *forms))
    if expression.startswith("{"):
        return tuple(text.format(expression) for text in _MAPPINGS)
    if expression in ("True", "False"):
        return _FLAGS
    if expression[0] in "'\"":
        return _WORDS
    if re.fullmatch(r"-?\d+\.\d*(e-?\d+)?|-?\d+e-?\d+", expression):
        return _NUMBERS
    if expression[0] in "-(0123456789[" or expression == "None":
        return (*_SIZES, *_near(expression))
    return ABSURD


def _near(expression: str) -> tuple[str, ...]:
    """Return sizes that are off by one."""
    numbers = list(re.finditer(r"\d+", expression))
    return tuple(
        expression[: found.start()] + str(int(found[0]) + step) + expression[found.end() :] for found in numbers for step in (-1, 1, 1)
    )


def _default(value: Any) -> str:
    """Return the expression of a default, by which an argument that was not given is spoilt."""
    return repr(value) if isinstance(value, (bool, int, float, str, tuple, type(None))) else "object()"


@functools.cache
def _parameters(name: str) -> dict[str, Any]:
    """Return the parameters that may be given by name, with their defaults."""
    if name == "data.Dataset":  # whose methods are called
        return {}
    try:
        signature = inspect.signature(surface.public()[name])
    except (KeyError, ValueError):
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {key: parameter.default for key, parameter in signature.parameters.items() if parameter.kind in named}


def every(call: Call) -> list[Call]:
    """Return a legal call with one argument spoilt: each in turn, those not given too, in all ways that there are."""
    found, given = [call], call.arguments
    left_out = {key: _default(value) for key, value in _parameters(call.name).items() if key not in given}
    for target, before in {**given, **left_out}.items():
        for after in dict.fromkeys((*_kind(before), *ABSURD)):
            if after != before and not _takes_its_time(target, after, given):
                found.append(call._replace(arguments={**given, target: after}))
    return found


def _takes_its_time(target: str, value: str, given: dict[str, str]) -> bool:
    if re.search(r"2\*\*20|1000", value) and "'reference'" in given.values():  # definitions are loops of Python
        return True
    return target in _ENDLESS and re.search(r"\d{3}|\*\*|None", value) is not None


@st.composite
def calls(draw: st.DrawFn, name: str) -> Call:
    """Draw a call of a function: legal once in five, else with an argument spoilt, or two."""
    call = draw(legal.calls(name))
    if draw(st.integers(1, 5)) == 1:
        return call
    arguments, left_out = dict(call.arguments), {key: value for key, value in _parameters(name).items() if key not in call.arguments}
    for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
        target = draw(st.sampled_from(sorted({*arguments, *(left_out if draw(st.integers(1, 3)) == 1 else ())})))
        before = arguments[target] if target in arguments else _default(left_out[target])
        pool = ABSURD if draw(st.integers(1, 4)) == 1 else _kind(before)
        after = draw(st.sampled_from(pool))
        if _takes_its_time(target, after, arguments):
            continue
        arguments[target] = after
    return call._replace(arguments=arguments)
