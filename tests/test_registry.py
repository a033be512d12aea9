"""The registry finds variants, and refuses files that break its rules with an error that names them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from fastcnn import amx, bf16, machine, registry
from fastcnn.compare.suites import SUITES
from fastcnn.registry import Operation, RegistryError

OPERATIONS = registry.operations()
REFERENCE = "def forward(problem, x, y):\n    pass\n"


@pytest.fixture
def operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that builds an Operation from the sources of its files."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def build(preference=("reference",), **sources: str) -> Operation:
        folder = tmp_path / "trial_op"
        folder.mkdir()
        for name, source in {"reference": REFERENCE, "__init__": "", **sources}.items():
            (folder / f"{name}.py").write_text(source)
        for name in [name for name in sys.modules if name.startswith("trial_op")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return Operation("trial_op", preference, sys)

    return build


def test_a_file_is_a_variant(operation) -> None:
    op = operation(
        fast=REFERENCE + "def refuses(problem):\n    return 'too odd' if problem % 2 else None\n", preference=("fast", "reference")
    )
    assert sorted(op.variants) == ["fast", "reference"]
    assert op.choose(2, "forward") is op.variants["fast"].directions["forward"]
    assert op.choose(3, "forward") is op.variants["reference"].directions["forward"]
    assert list(op.explain(3, "forward")) == [("fast", "refuses: too odd"), ("reference", "chosen")]
    with pytest.raises(ValueError, match="'fast' cannot compute forward of this problem: too odd"):
        op.choose(3, "forward", "fast")
    with pytest.raises(ValueError, match="algorithm must be 'auto' or one of"):
        op.choose(3, "forward", "fats")
    with pytest.raises(ValueError, match="algorithm must be 'auto' or one of"):
        op.choose(3, "forward", None)


def test_the_cheapest_is_chosen(operation) -> None:
    op = operation(
        fast=REFERENCE + "def cost(problem, direction):\n    return problem\n",
        steady=REFERENCE + "def cost(problem, direction):\n    return 9.0\n",
        preference=("fast", "steady", "reference"),
    )
    assert dict(op.explain(3, "forward")) == {"fast": "chosen", "steady": "accepts, 3.0 times the cost", "reference": "accepts"}
    assert dict(op.explain(18, "forward")) == {"fast": "accepts, 2.0 times the cost", "steady": "chosen", "reference": "accepts"}
    assert op.choose(18, "forward") is op.choose(18, "forward") is op.variants["steady"].directions["forward"]
    assert op.choose(18, "forward", "fast") is op.variants["fast"].directions["forward"], "forced, it computes"


def test_precision_bounds_the_choice(operation) -> None:
    op = operation(
        rough=REFERENCE + "PRECISION = 'medium'\ndef cost(problem, direction):\n    return 1.0\n",
        fair=REFERENCE + "PRECISION = 'high'\ndef cost(problem, direction):\n    return 2.0\n",
        preference=("rough", "fair", "reference"),
    )
    for precision, name in (("medium", "rough"), ("high", "fair"), ("highest", "reference")):
        assert op.choose(1, "forward", precision=precision) is op.variants[name].directions["forward"]
    assert dict(op.explain(1, "forward"))["rough"] == "accepts, at precision 'medium'"


def test_an_unlisted_variant_is_reached_by_name_only(operation) -> None:
    op = operation(extra=REFERENCE)
    assert op.choose(1, "forward") is op.variants["reference"].directions["forward"]
    assert op.choose(1, "forward", "extra") is op.variants["extra"].directions["forward"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def foward(problem, x, y):\n    pass\n", r"bad\.py: foward\(\) is no direction"),
        ("def backward_input(problem, dy, dx):\n    pass\n", r"bad\.py: reference\.py defines no backward_input"),
        ("def forward(problem, x):\n    pass\n", r"bad\.py: forward\(\) must take \(problem, x, y\), as reference\.py; got \(problem, x\)"),
        ("def _helper():\n    pass\n", r"bad\.py: defines none of"),
        ("PRECISION = 'low'\ndef forward(problem, x, y):\n    pass\n", r"bad\.py: PRECISION must be one of .*got 'low'"),
    ],
)
def test_mistakes_name_the_file(operation, source: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        operation(bad=source)


def test_preference_must_end_in_reference(operation) -> None:
    with pytest.raises(RegistryError, match="end in 'reference'"):
        operation(fast=REFERENCE, preference=("fast",))


def test_preference_must_name_variants(operation) -> None:
    with pytest.raises(RegistryError, match="must name variants"):
        operation(preference=("fsat", "reference"))


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS)
def test_reference_accepts_every_case(op: Operation) -> None:
    for direction in op.directions:
        for case in [*op.problem.CASES, *op.problem.BENCH]:
            assert op.variants["reference"].refuses(case.problem, direction) is None


@pytest.mark.parametrize(
    ("op", "variant", "direction"),
    [(op, name, direction) for op in OPERATIONS.values() for name, v in op.variants.items() for direction in v.directions],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_variant_accepts_a_case(op: Operation, variant: str, direction: str) -> None:
    accepted = [case.name for name, case in op.accepted(direction, op.problem.CASES) if name == variant]
    reasons = {op.variants[variant].refuses(case.problem, direction) for case in op.problem.CASES}
    if not accepted and (missing := reasons & {amx.unavailable(), bf16.unavailable(), machine.tiles_available()} - {None}):
        pytest.skip(f"{op.name}.{variant}: {' and '.join(map(str, missing))}")
    assert accepted, f"{op.name}.{variant}.{direction} accepts no case: all its tests would be left out"


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS)
def test_case_names_are_unique(op: Operation) -> None:
    for cases in (op.problem.CASES, op.problem.BENCH):
        names = [case.name for case in cases]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("level", machine.ISAS)
def test_tiles_are_cheaper_than_columns_whatever_the_width_of_vectors(level: str, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are in multiply-adds of this machine's vectors: BLAS, taken for 16 numbers wide, was chosen where there are eight."""
    monkeypatch.setattr(machine, "isa", lambda: machine.ISAS[level])
    variants = OPERATIONS["conv2d"].variants
    for suite in ("mnist", "resnet50"):
        for case in SUITES[suite]:
            for direction in ["forward"] if packed else ["forward", "backward_weight"]:
                direct, im2col = (variants[name].cost(case.problem, direction, packed) for name in ("direct", "im2col"))
                assert direct < im2col, (case.name, direction)
