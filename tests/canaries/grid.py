"""Every call: operation, direction, case, dtype, variant, form, memory format and threads, all from the registry."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcnn import registry
from fastcnn.registry import Case, Operation, Variant

THREADS = (1, 2)


class Call(NamedTuple):
    """One run of one variant."""

    op: Operation
    direction: str
    case: Case
    dtype: np.dtype
    variant: str
    form: str  # "arrays": as test_variants runs it; "plan": on flat memory; "packed", "packed-plan": with weights packed beforehand
    relu: int  # of packed weights
    residual: bool
    last: tuple[bool, ...]  # whether the input's and the output's memory is channels-last; () where there are no images
    threads: int

    def __str__(self) -> str:
        extra = [f"relu {self.relu}"] * (self.relu > 0) + ["residual"] * self.residual
        formats = ["-".join("NHWC" if last else "NCHW" for last in self.last)] if self.last else []
        words = self.op.name, self.direction, self.variant, self.case.name, self.dtype.name, self.form, *extra, *formats
        return f"{' '.join(words)}, threads {self.threads}"

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """What has the same inputs and results."""
        return self.op.name, self.direction, self.case.name, self.dtype.name


def calls(operations: Sequence[str] = (), cases: Sequence[str] = (), pattern: str = "") -> Iterator[Call]:
    """Yield the calls of the named operations on the named cases (of all where none is named) whose names match a regular expression.

    Those with the same inputs come in a row.
    """
    for op in registry.operations().values():
        if operations and op.name not in operations:
            continue
        for direction, case, dtype in itertools.product(op.directions, op.problem.CASES, map(np.dtype, (np.float32, np.float64))):
            if cases and case.name not in cases:
                continue
            for name, variant in op.variants.items():
                if name != "reference" and variant.refuses(case.problem, direction) is None:
                    for form, relu, residual, last in _forms(variant, direction, case.problem):
                        for threads in THREADS:
                            call = Call(op, direction, case, dtype, name, form, relu, residual, last, threads)
                            if re.search(pattern, str(call)):
                                yield call


def _forms(variant: Variant, direction: str, problem: Any) -> Iterator[tuple[str, int, bool, tuple[bool, ...]]]:
    """Yield (form, relu, residual, memory formats); whether there is a plan is known once it is asked for, between guard pages."""
    formats = memory_formats(problem)
    function: Any = variant.directions[direction]
    holds = all(0 not in shape for shape in images(problem))
    for last in formats:
        yield "arrays", 0, False, last
        if function.plan is not None and holds:
            yield "plan", 0, False, last
    if direction == "forward" and variant.packing is not None and variant.forward_packed is not None and holds:
        adds = "residual" in inspect.signature(variant.forward_packed).parameters
        for last, (relu, residual) in itertools.product(formats, ((0, False), (1, True), (2, False), (0, True))):
            if adds or not residual:
                yield "packed", relu, residual, last
            if variant.packed_plan is not None:
                yield "packed-plan", relu, residual, last


def images(problem: Any) -> list[tuple[int, ...]]:
    """Return the shapes of the input's and the output's images, none where there are no images."""
    shapes = [getattr(problem, name, ()) for name in ("input_shape", "output_shape")]
    return shapes if all(len(shape) == 4 for shape in shapes) else []


def memory_formats(problem: Any) -> list[tuple[bool, ...]]:
    """Return all choices of memory formats: a convolution's images may differ in it, those of others are alike."""
    shapes = images(problem)
    if not shapes:
        return [()]
    mixed = hasattr(problem, "weight_shape") and shapes[0] != shapes[1]
    return list(itertools.product((False, True), repeat=2)) if mixed else [(False, False), (True, True)]


def plan_of(function: Any, problem: Any, direction: str, last: tuple[bool, ...], dtype: np.dtype) -> Any:
    """Return the plan of a direction for memory formats (input, output), None where there is none; it takes flat arrays."""
    return function.plan(problem, channels_last=last[::-1] if direction == "backward_input" else last, dtype=dtype)
