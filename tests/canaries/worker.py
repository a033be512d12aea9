"""Runs calls between guard pages and says each before it begins, so that whoever reads that knows which one ended the process.

A line of the output is a word and its rest, between tabs: `call`, its number and name; `touched` or `wrong` and what was found; `without`
where a call was none; `refused` and why nothing was run; and last `done`, or `full` where the system gives one process no more pieces of
memory, the number of the next call, and how many arrays there were in all and in kernels.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastcnn import checks, machine
from fastcnn.agreement import Trial, error_share

from . import grid
from .allocators import Allocators
from .grid import Call
from .pages import CANARY, PLACES, Pages

_MOST_BLOCKS = 12_000  # of two mappings each; Linux allows a process 65,530


class Subject:
    """The inputs that several calls share, and what must come out of each."""

    def __init__(self, call: Call) -> None:
        self.trial = Trial(call.op, call.direction, call.case.problem, call.dtype, np.random.default_rng(1))
        self.residual = np.random.default_rng(2).standard_normal(self.trial.expected[0][0].shape).astype(call.dtype)

    def expected(self, call: Call) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (result, error allowed) of every output."""
        growth = call.op.variants[call.variant].directions[call.direction].error_growth
        for want, allowed in self.trial.expected:
            allowed = growth * allowed
            if call.residual:
                want = want + self.residual
                allowed = allowed + np.finfo(call.dtype).eps * (np.abs(want) + np.abs(self.residual))
            want = np.maximum(want, 0) if call.relu else want
            yield (np.minimum(want, 6) if call.relu == 2 else want), allowed


class Runner:
    """Runs calls on pages of one place."""

    def __init__(self, place: str) -> None:
        self.pages = Pages(place)
        self.allocators = Allocators(self.pages)

    def run(self, call: Call, subject: Subject) -> Iterator[tuple[str, str]]:
        """Run a call; yield what is wrong with it as ("touched" | "wrong", words), or ("without", words) where there is no such plan."""
        placed: list[np.ndarray] = []

        def place(array: np.ndarray, read_only: bool = True) -> np.ndarray:
            placed.append(self.pages.array(array, read_only))
            return placed[-1]

        inputs = [place(_ordered(call, array)) for array in subject.trial.arguments]
        results = call.op.problem.outputs(call.case.problem, call.direction, call.dtype)
        outputs = [place(_ordered(call, _poisoned(array)), read_only=False) for array in results]
        others = [place(_ordered(call, subject.residual))] if call.residual else []
        with machine.threads(call.threads), self.allocators.numpy():
            ran = _run(call, inputs, outputs, others, place)
        self.pages.check()
        if ran:
            for got, (want, allowed) in zip(outputs, subject.expected(call), strict=True):
                share = error_share(got, want, allowed)
                if not share <= 1:
                    yield "wrong", f"{call}: an error of {share:.3g} times what is allowed"
        else:
            yield "without", f"{call}: there is no such plan"
        for array in placed:
            self.pages.release(array)
        for found in self.pages.touched:
            yield "touched", f"{call}: {found}"
        self.pages.touched.clear()

    def end(self, word: str, number: int) -> None:
        """Check what the calls have kept, and end the process."""
        self.pages.check(everything=True)
        for found in self.pages.touched:
            _say("touched", f"something that a call had kept: {found}")
        _say(word, f"{number}\t{self.pages.made}\t{self.allocators.in_kernels}")


def _run(
    call: Call, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], others: Sequence[np.ndarray], place: Callable[..., np.ndarray]
) -> bool:
    """Compute a call; return whether it could be, as there may be no plan for such memory. Packed weights are put in their `place`."""
    variant, problem = call.op.variants[call.variant], call.case.problem
    function = variant.directions[call.direction]
    if call.form == "arrays":
        function(problem, *inputs, *outputs)
        return True
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if call.form == "plan":
            plan = grid.plan_of(function, problem, call.direction, call.last, call.dtype)
            if plan is not None:
                plan(*map(_flat, inputs), *map(_flat, outputs))
            return plan is not None
        assert variant.packing is not None
        x, weight, bias = inputs
        packed = place(variant.packing(problem, call.dtype)[1](weight.reshape(-1)))
        if call.form == "packed-plan":
            assert variant.packed_plan is not None
            plan = variant.packed_plan(problem, call.last, call.dtype, call.relu, call.residual)
            if plan is not None:
                plan(*map(_flat, (x, packed, bias, *outputs, *others)))
            return plan is not None
        assert variant.forward_packed is not None
        variant.forward_packed(problem, x, packed, bias, *outputs, call.relu, *others)
        return True


def _ordered(call: Call, array: np.ndarray) -> np.ndarray:
    """Return an array in the call's memory format, if it is an image."""
    problem = call.case.problem
    for shape, last in zip(grid.images(problem), call.last, strict=True):
        if array.shape == shape != getattr(problem, "weight_shape", None):
            return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else np.ascontiguousarray(array)
    return np.ascontiguousarray(array)


def _flat(array: np.ndarray) -> np.ndarray:
    return checks.flat(array) if array.ndim == 4 else array.reshape(-1)


def _poisoned(array: np.ndarray) -> np.ndarray:
    """Return an array of the same shape full of what no result is: NaN, -1, or the largest byte."""
    return np.full(array.nbytes, CANARY, np.uint8).view(array.dtype).reshape(array.shape)


def main() -> None:
    """Run the calls that the arguments choose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", choices=PLACES, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the call to begin with")
    parser.add_argument("--op", action="append", default=[])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--pattern", default="")
    arguments = parser.parse_args()
    faulthandler.enable()
    try:
        machine.isa()
    except ValueError as error:
        _say("refused", error)
    runner = Runner(arguments.place)
    known: Any = None
    number = arguments.first
    for call in itertools.islice(grid.calls(arguments.op, arguments.case, arguments.pattern), arguments.first, None):
        if len(runner.pages.blocks) > _MOST_BLOCKS:
            runner.end("full", number)
        _say("call", f"{number}\t{call}")
        if known is None or known[0] != call.subject:
            known = call.subject, Subject(call)
        for word, found in runner.run(call, known[1]):
            _say(word, found)
        number += 1
    runner.end("done", number)


def _say(word: str, rest: Any) -> None:
    sys.stdout.write(f"{word}\t{rest}\n")
    sys.stdout.flush()
    if word in ("done", "full", "refused"):
        os._exit(0)  # arrays that are still there would be freed while Python goes down


if __name__ == "__main__":
    main()
