"""A run: so many calls of a function, drawn from a seed, and what failed among them, made simpler."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

from tests.fuzz import hostile, legal
from tests.fuzz.call import Call
from tests.fuzz.crew import Answer, Crew

_PASSED_OVER = 8  # legal calls: the first that Hypothesis draws are the plainest


class Failure(NamedTuple):
    """A call that failed, and how."""

    call: Call
    failure: str


class Report(NamedTuple):
    """What a run of one function came to."""

    name: str
    outcomes: dict[str, int]
    torch: dict[str, int]
    failures: list[Failure]


def drawn(name: str, count: int, seed: int, calls: Callable[[str], SearchStrategy[Call]] = hostile.calls) -> list[Call]:
    """Return calls of a function: the same ones for the same seed, count and versions of Hypothesis and Python."""
    found: list[Call] = []

    @hypothesis.seed(f"{seed} {name}")
    @hypothesis.settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @hypothesis.given(calls(name))
    def draw(call: Call) -> None:
        found.append(call)

    draw()
    return found[:count]


def every(name: str, count: int, seed: int) -> list[Call]:
    """Return `count` legal calls of a function, and those with one argument spoilt in one of all the ways that there are."""
    bases = {call.text: call for call in drawn(name, _PASSED_OVER + count, seed, legal.calls)[-count:]}
    return [spoilt for call in bases.values() for spoilt in hostile.every(call)]


def run(name: str, calls: list[Call], crew: Crew) -> Report:
    """Make these calls of a function."""
    outcomes: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    failures: dict[str, Failure] = {}
    for call in calls:
        answer = crew.ask(call)
        outcomes[answer.kind] += 1
        theirs[answer.torch[0]] += 1
        if answer.failure and kind_of(answer) not in failures:
            failures[kind_of(answer)] = simplest(call, answer, crew)
    return Report(name, dict(outcomes), dict(theirs), list(failures.values()))


def kind_of(answer: Answer) -> str:
    """Return a failure without the numbers and names of this call, to tell kinds apart."""
    return re.sub(r"\d+|'[^']*'|\([^)]*\)|\[[^]]*\]", "#", answer.failure)[:80]


def simplest(call: Call, answer: Answer, crew: Crew) -> Failure:
    """Return a call with as few changes and arguments as still fail alike."""
    best = Failure(call, answer.failure)
    if answer.kind == "silent":  # every try takes its time
        return best
    tried = 0
    again = True
    while again and tried < 40:
        again = False
        for simpler in best.call.simpler():
            tried += 1
            other = crew.ask(simpler)
            if other.failure and kind_of(other) == kind_of(answer):
                best, again = Failure(simpler, other.failure), True
                break
    return best
