"""A short form of ``python -m tests.fuzz`` that asks PyTorch: what it refuses and we accept, and where the results differ."""

from __future__ import annotations

import pytest

from tests.fuzz import surface, twins
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
