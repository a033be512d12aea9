"""What to compare, by name: operations, directions, cases, suites, and problems of one's own. Nothing of the registry is listed here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..registry import Case, Operation, operations
from . import onednn
from .suites import SUITES


def operation(name: str) -> Operation:
    """Return an operation by name; ValueError where there is none."""
    return _lookup("operation", name, operations())


def cases_named(op: Operation, names: Sequence[str] | None) -> list[Case]:
    """Return benchmark or test cases of an operation by name, all benchmark cases for None; ValueError for an unknown name."""
    if names is None:
        return list(op.problem.BENCH)
    known = {case.name: case for case in (*op.problem.CASES, *op.problem.BENCH)}
    return [_lookup(f"{op.name} case", name, known) for name in names]


def directions_named(op: Operation, names: Sequence[str] | None) -> list[str]:
    """Return checked directions of an operation, all of them for None; ValueError for one that it does not have."""
    known = {direction: direction for direction in op.directions}
    return [_lookup(f"{op.name} direction", name, known) for name in (known if names is None else names)]


def suite(op: Operation, name: str) -> list[Case]:
    """Return the cases of a suite: its convolutions, or those benchmark cases of another operation whose names begin as the suite's.

    Raises
    ------
    ValueError
        There is no such suite, or it has nothing for this operation.
    """
    convolutions = _lookup("suite", name, SUITES)
    if onednn.is_convolution(op):
        return [op.case(_as_options(case.problem), case.name) for case in convolutions]
    cases = [case for case in op.problem.BENCH if case.name.startswith(name)]
    if not cases:
        known = ", ".join(case.name for case in op.problem.BENCH)
        raise ValueError(f"suite {name!r} has nothing for {op.name}; its cases are {known}")
    return cases


def own(op: Operation, given: Mapping[str, Any], descriptors: Iterable[str] = ()) -> list[Case]:
    """Return the problems that options, and descriptors in oneDNN's syntax, describe; TypeError or ValueError where they describe none."""
    cases = [op.case(given)] if given else []
    return cases + [onednn.case(op, text) for text in descriptors]


def _as_options(problem: Any) -> dict[str, Any]:
    p = problem
    return {
        "shape": p.input_shape,
        "kernel": (p.K, p.R, p.S),
        "stride": (p.stride_h, p.stride_w),
        "padding": (p.top, p.bottom, p.left, p.right),
        "dilation": (p.dilation_h, p.dilation_w),
        "groups": p.groups,
    }


def _lookup(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        close = difflib.get_close_matches(name, known, 3, 0.5)
        raise ValueError(f"unknown {kind} {name!r}; {'did you mean' if close else 'expected one of'} {', '.join(close or known)}")
    return known[name]
