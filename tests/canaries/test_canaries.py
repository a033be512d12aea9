"""Variants between guard pages, a short form of `python -m tests.canaries`; and that an index off by one is found there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastcnn import amx, bf16, machine, registry

from .grid import calls
from .pages import PLACES, can_protect
from .watch import ROOT, watch

WHERE = PLACES[:2] if can_protect() else PLACES[2:]
protects = pytest.mark.skipif(not can_protect(), reason="this system's pages cannot be protected here")

# Cases whose arrays end in the middle of a vector, a tile, a block or a band; of other operations all.
CASES = {
    "conv2d": [
        "ones", "channels-31-33", "channels-3-5", "pointwise-strided", "pointwise-padded-right", "pointwise-strided-3-channels",
        "stride-3-2", "stride-beyond-input", "padding-one-side", "row-113", "stem-7x7", "groups-of-2", "depthwise-17-strided",
        "depthwise-7x7", "depthwise-row-67-strided",
    ],
    "conv2d_relu_max_pool2d": ["channels-31-33", "window-3x2-odd", "one-sided", "primes-one-channel"],
}  # fmt: skip


def _subjects() -> Iterator[Any]:
    """Yield (name of an operation, pattern of its variants): conv2d's many variants one by one, those of others together.

    A variant is left out for what this machine lacks, and for no other reason: one that refused everything by mistake fails.
    """
    lacking = {bf16.unavailable(), amx.unavailable(), machine.tiles_available()} - {None}
    for op in registry.operations().values():
        if op.name != "conv2d":
            yield pytest.param(op.name, r"\S+", id=op.name)
            continue
        for name in sorted(op.variants.keys() - {"reference"}):
            why = op.variants[name].refuses(op.problem.CASES[0].problem, "forward")
            marks = pytest.mark.skip(reason=f"{name}: {why}") if why in lacking else []
            yield pytest.param(op.name, name, id=f"{op.name}-{name}", marks=marks)


SUBJECTS = list(_subjects())


@pytest.mark.parametrize(("name", "variant"), SUBJECTS)
def test_nothing_behind_an_array_is_touched(name: str, variant: str) -> None:
    """In float32 on one thread: of both precisions, two threads and the lower instruction sets the command runs all."""
    result = watch(None, WHERE[0], [name], CASES.get(name, ()), rf"^\S+ \S+ {variant} .* float32 .*threads 1$", deaths=1)
    assert result.findings == []
    assert result.calls > 5
    assert result.arrays > result.calls


OTHERS = [name for name in sorted(registry.operations()) if name != "conv2d"]


@pytest.mark.parametrize(("names", "cases"), [(["conv2d"], CASES["conv2d"]), (OTHERS, ())], ids=["conv2d", "others"])
def test_nothing_before_an_array_is_touched(names: list[str], cases: list[str]) -> None:
    result = watch(None, WHERE[-1], names, cases, "float32 .*threads 1$", deaths=1)
    assert result.findings == []
    assert result.calls > 500


def test_the_grid_is_all_of_the_registry() -> None:
    found = list(calls())
    expected = {
        (op.name, direction, variant, case.name)
        for op in registry.operations().values()
        for direction in op.directions
        for variant, case in op.accepted(direction, op.problem.CASES)
        if variant != "reference"
    }
    assert {(c.op.name, c.direction, c.variant, c.case.name) for c in found} == expected
    assert {(c.dtype.name, c.threads) for c in found} == {(dtype, threads) for dtype in ("float32", "float64") for threads in (1, 2)}
    packs = {name for name, variant in registry.operations()["conv2d"].variants.items() if variant.packing is not None}
    assert {c.variant for c in found if c.form == "packed"} >= packs - {"amx", "bfloat16"}  # which not every CPU has
    assert {(c.relu, c.residual) for c in found if c.form == "packed"} == {(0, False), (0, True), (1, True), (2, False)}
    assert len(set(map(str, found))) == len(found)


def test_two_threads_touch_nothing_either() -> None:
    result = watch(
        None, WHERE[0], ["conv2d"], ["channels-31-33"], "(forward|weight) (direct|winograd) .*float32 arrays.*threads 2$", deaths=1
    )
    assert result.findings == []
    assert result.calls == 16
    assert result.in_kernels > 0


# --- An index off by one -----------------------------------------------------------------------------------------------

BREAKS = {  # the file, its line, and what becomes of a part of it
    "a load": ("simd.py", 'b.cbranch(b.icmp_signed("<", k_next, K), inner, next_r)', '"<"', '"<="'),
    "a store": ("simd.py", "b.store(total, vector_at(y0, b.add(y_steps[m], columns[v]))", "(y0,", "(b.gep(y0, [const(1)]),"),
    "a write into the input": ("engine/correlate.py", "target, y_row, y_pixel = y, g.y_h, g.y_w", "= y,", "= x,"),
}  # fmt: skip


@protects
@pytest.mark.parametrize("name", BREAKS)
def test_an_index_off_by_one_in_a_tile_is_found(name: str, tmp_path: Path) -> None:
    file, line, old, new = BREAKS[name]
    shutil.copytree(ROOT / "fastcnn", tmp_path / "fastcnn", ignore=shutil.ignore_patterns("__pycache__"))
    source = (tmp_path / "fastcnn" / file).read_text("utf-8")
    assert source.count(line) == 1
    assert line.count(old) == 1
    (tmp_path / "fastcnn" / file).write_text(source.replace(line, line.replace(old, new)), "utf-8")
    call = "conv2d forward direct mnist-second float32 arrays NHWC-NHWC, threads 1"
    narrow = "sse" if machine.architecture() == "x86" else None  # compiles faster
    result = watch(narrow, "end", ["conv2d"], ["mnist-second"], f"^{re.escape(call)}$", path=tmp_path)
    assert result.calls == 1
    (finding,) = result.findings
    assert finding[0] == "died"
    assert re.match(f"{re.escape(call)}: killed by SIG(SEGV|BUS)\n", finding[1])
