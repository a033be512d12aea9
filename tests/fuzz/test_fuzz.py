"""A short form of ``python -m tests.fuzz``; and that the command finds what it is there to find."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcnn import functional
from tests.fuzz import hostile, judge, legal, surface
from tests.fuzz.call import Call
from tests.fuzz.crew import Crew
from tests.fuzz.run import drawn, every, simplest
from tests.fuzz.vocabulary import evaluate

PARTS = 4  # tests that share the functions among them, so that several processes of pytest can
SLOW = ("train.", "estimator.", "models.")  # rooms that take their time: the command calls them


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew() as made:
        yield made


def test_every_public_function_is_called_or_exempt_for_a_reason() -> None:
    known = surface.public()
    assert len(known) > 250
    assert set(surface.EXEMPT) <= set(known), "what is exempt is there"
    assert set(legal.makers()) >= set(surface.required()), "a public function needs a strategy in legal_*.py, or a reason in surface.py"
    assert set(legal.makers()) <= set(known), "a strategy is of a public function"


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="plain Python takes its time: silences would be seen")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_hostile_call_is_refused_by_name_or_right(part: int, crew: Crew) -> None:
    names = [name for name in surface.required() if not name.startswith(SLOW)]
    failures = []
    for name in itertools.islice(names, part, None, PARTS):
        for call in drawn(name, 2, seed=7):
            answer = crew.ask(call)
            failures += [f"{answer.failure}\n  {call.text}"] if answer.failure else []
    assert not failures, "\n".join(failures)


def test_the_same_seed_draws_the_same_calls() -> None:
    first, second, other = (drawn("functional.conv2d", 20, seed) for seed in (3, 3, 4))
    assert first == second
    assert first != other
    assert sum(bool(call.spoilt()) for call in first) > 5
    assert "F.conv2d(" in first[0].text


def test_a_legal_call_is_computed_and_its_text_reproduces_it(crew: Crew) -> None:
    for name in ("functional.conv2d", "functional.max_pool2d_backward", "layers.Linear", "optim.Adam", "schedules.Cosine"):
        call = Call(name, *legal_example(name))
        assert crew.ask(call).kind == "returned", call.text
        assert evaluate(call.text) is not None


def legal_example(name: str) -> tuple[str, dict[str, str]]:
    """Return a plain legal call."""
    return {
        "functional.conv2d": ("F.conv2d(", {"input": "ints((1, 2, 4, 4))", "weight": "ints((3, 2, 3, 3))"}),
        "functional.max_pool2d_backward": (
            "F.max_pool2d_backward(",
            {"grad_output": "ints((1, 1, 2, 2))", "indices": "labels((1, 1, 2, 2), 16)", "input_shape": "(1, 1, 4, 4)", "kernel_size": "2"},
        ),
        "layers.Linear": ("layer(layers.Linear, ", {"in_features": "3", "out_features": "2", "x": "reals((4, 3))"}),
        "optim.Adam": ("descent(optim.Adam, ", {"params": "{'w': ints((3,))}", "grads": "{'w': ints((3,), seed=1)}"}),
        "schedules.Cosine": ("rate(schedules.Cosine, ", {"max_lr": "0.1", "steps": "5", "step": "2"}),
    }[name]


# --- The judge sees what is wrong ----------------------------------------------------------------------------------------


def broken(crew: Crew, expression: str, **arguments: str) -> str:
    """Return the failure of a call of something that is not the library."""
    return crew.ask(Call("functional.broken", f"({expression})(", arguments)).failure


def test_a_death_is_laid_at_the_door_of_its_call_and_the_worker_replaced(crew: Crew) -> None:
    before = crew.replaced
    failure = broken(crew, "lambda x: __import__('os').kill(__import__('os').getpid(), 11)", x="1")
    assert failure.startswith("died: by signal SIGSEGV")
    assert broken(crew, "lambda x: ints((2,))", x="1") == ""
    assert crew.replaced == before + 1


def test_a_silence_is_a_failure(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.crew.SILENCE", 0.5)
    monkeypatch.setattr("tests.fuzz.crew.COMPILING", 4.0)
    assert broken(crew, "lambda x: __import__('time').sleep(60)", x="1") == "silent: for more than 0 s"


@pytest.mark.parametrize(
    ("expression", "failure"),
    [
        ("lambda x: {}['a']", "failed: unclean: KeyError"),
        ("lambda x: [][1]", "failed: unclean: IndexError"),
        ("lambda x: np.empty(2**40)", "failed: unclean: MemoryError|failed: unclean: _ArrayMemoryError"),
        ("lambda x: 1 + 'a'", "failed: nameless: TypeError"),
        ("lambda x: x.__setitem__(0, 9)", "failed: changed: the caller's x"),
        ("lambda x: x", "failed: odd result: on the memory of an argument"),
        ("lambda x: x.astype('>f4')", "failed: odd result: ndarray of >f4"),
        ("lambda x: np.arange(6.0).reshape(2, 3).T", "failed: odd result: not contiguous"),
        ("lambda x: np.broadcast_to(1.0, 3)", "failed: odd result: read-only"),
        ("lambda x: np.log(x - 10)", "failed: warned: RuntimeWarning"),
        ("lambda x: np.zeros(2**27)", "failed: memory: a result of 1073741824 bytes"),
    ],
)
def test_what_breaks_a_promise_is_a_failure(crew: Crew, expression: str, failure: str) -> None:
    found = broken(crew, expression, x="ints((3,))")
    assert any(found.startswith(words) for words in failure.split("|")), found


def test_a_refusal_that_names_the_operation_is_none(crew: Crew) -> None:
    call = Call("functional.relu", "F.relu(", {"input": "[1.0]"})
    answer = crew.ask(call)
    assert (answer.kind, answer.detail, answer.failure) == ("refused", "relu: input must be a NumPy array; got list", "")


def test_what_fails_is_made_simpler(crew: Crew) -> None:
    legal_ones = {"x": "ints((3,))", "y": "1", "z": "2"}
    call = Call("functional.broken", "(lambda x, y=1, z=2: [][x[0].astype(int) * 0 + 1])(", {**legal_ones, "y": "object()"}, legal_ones)
    assert simplest(call, crew.ask(call), crew).call.arguments == {"x": "ints((3,))"}


def test_every_argument_is_spoilt_in_every_way() -> None:
    calls = every("functional.conv2d", 2, seed=0)
    base, others = calls[0], [call for call in calls if call.spoilt()]
    assert not base.spoilt()
    assert all(len(call.spoilt()) == 1 for call in others)
    assert len({call.text for call in calls}) == len(calls) > 1000
    spoilt = {call.spoilt()[0] for call in others}
    assert spoilt >= {"input", "weight", "bias", "stride", "padding", "dilation", "groups", "layout", "precision", "algorithm"}
    for name in spoilt:
        assert {"10**400", "[1] * 1000"} <= {call.arguments[name] for call in others if name in call.arguments}
    assert any("stretched(" in call.arguments["input"] for call in others)


def test_the_command_shares_functions_out() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--calls", "6", "--jobs", "2", "--only", "functional.relu", "--no-torch"]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": root}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "0 kinds of failures" in done.stdout


def test_every_kind_of_argument_is_spoilt_in_its_own_way() -> None:
    seen = {name: set() for name in ("input", "stride", "groups", "layout", "bias")}
    for call in drawn("functional.conv2d", 300, seed=0):
        for name in set(call.spoilt()) & set(seen):
            seen[name].add(call.arguments[name])
    assert all(len(values) >= 2 for values in seen.values()), {name: len(values) for name, values in seen.items()}
    assert hostile.ABSURD
    assert judge.MEMORY < 2**30
    assert functional.conv2d is surface.public()["functional.conv2d"]
