"""A short form of ``python -m tests.fuzz`` that asks PyTorch: what it refuses and we accept, and where the results differ."""

from __future__ import annotations

import pytest

from tests.fuzz import surface, twins
from tests.fuzz.call import Call
from tests.fuzz.crew import Crew
from tests.fuzz.run import drawn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (extra 'partners')")


def test_what_pytorch_refuses_is_refused_and_results_agree() -> None:
    failures, agreed = [], 0
    with Crew(with_torch=True) as crew:
        for name in surface.required():
            if name.startswith("functional.") and not name.endswith("_backward"):
                for call in drawn(name, 4, seed=5):
                    answer = crew.ask(call)
                    agreed += answer.torch[0] == "agrees"
                    failures += [f"{answer.failure}\n  {call.text}"] if answer.failure else []
        assert crew.has_torch
    assert not failures, "\n".join(failures)
    assert agreed > 60


def test_a_difference_is_seen() -> None:
    ours = twins.Outcome("returned", result=__import__("numpy").ones(3, "f4"))
    arguments = {"input": "ints((3,))"}
    assert twins.compare(torch, "functional.relu", arguments, ours).kind == "disagrees"
    assert twins.compare(torch, "functional.conv1d", {"input": "ints((3,))", "weight": "ints((3,))"}, ours).detail.startswith(
        "PyTorch refuses"
    )


def test_a_question_that_fails_itself_is_no_verdict_of_pytorch() -> None:
    call = Call("functional.avg_pool3d", "(lambda input: ints((2,)))(", {"input": "ints((2, 2, 2, 2, 2))"})  # which has no kernel_size
    with Crew(with_torch=True) as crew:
        assert "cannot be asked: with status 1" in crew.ask(call).failure


def test_arrays_in_any_form_are_asked_about() -> None:
    with Crew(with_torch=True) as crew:
        for form in ("subclass", "box", "byte-swapped", "read-only"):
            arguments = {"input": f"form({form!r}, reals((2, 3, 4), 'f4', 1))", "weight": f"form({form!r}, reals((3,), 'f4', 2))"}
            answer = crew.ask(Call("functional.instance_norm", "F.instance_norm(", arguments))
            assert answer.torch[0] == "agrees", (form, answer)
