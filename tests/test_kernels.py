"""What Numba does to exceptions and NaN, and that kernels cannot come to harm by it: none raises, none is compiled with fast arithmetic."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fastcnn import jit
from fastcnn.jit import kernel

PACKAGE = Path(__file__).parents[1] / "fastcnn"
F32, F64 = np.float32, np.float64
EVERYWHERE = pytest.mark.parametrize("work", [0.0, 1e9], ids=["serial", "parallel"])


def _kernels() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield (where, function) for everything that has the decorator `kernel`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                named = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
                if any(isinstance(d, ast.Name) and d.id == "kernel" for d in named):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}", node


def _exceptions(function: ast.FunctionDef) -> list[int]:
    """Return the lines of a function that raise, assert or catch."""
    return [node.lineno for node in ast.walk(function) if isinstance(node, (ast.Raise, ast.Assert, ast.Try))]


def test_no_kernel_raises_asserts_or_catches() -> None:
    """What a kernel raises inside a parallel loop would vanish, and its element keep what it was."""
    found = dict(_kernels())
    assert len(found) > 100
    assert {where: lines for where, function in found.items() if (lines := _exceptions(function))} == {}


def test_the_search_for_exceptions_finds_them() -> None:
    lines = (
        "def f(x):",
        "    assert x",
        "    if x:",
        "        for i in x:",
        "            raise i",
        "    try:",
        "        x[0]",
        "    finally: x[1]",
    )
    (function,) = ast.parse("\n".join(lines)).body
    assert isinstance(function, ast.FunctionDef)
    assert sorted(_exceptions(function)) == [2, 5, 6]


@kernel
def _quotients(job, x, y):
    y[job] = x[job] / x[job + 4]


@EVERYWHERE
@pytest.mark.parametrize("dtype", [F32, F64])
def test_a_division_by_zero_is_infinite_or_nan_and_no_exception(dtype: type, work: float) -> None:
    x, y = np.array([1, -1, 0, 3, 0, 0, 0, 2], dtype), np.empty(4, dtype)
    _quotients.launch(4, x, y, work=work)
    np.testing.assert_array_equal(y, [np.inf, -np.inf, np.nan, 1.5])


@kernel
def _what_they_are(job, x, found):
    found[job, 0] = np.isnan(x[job])
    found[job, 1] = x[job] != x[job]
    found[job, 2] = x[job] > 0 or x[job] <= 0
    found[job, 3] = np.isinf(x[job] * x[job])
    found[job, 4] = 1 / (x[job] - x[job] + 1e-300) > 0


@EVERYWHERE
@pytest.mark.parametrize("dtype", [F32, F64])
def test_kernels_tell_nan_and_infinity_from_numbers(dtype: type, work: float) -> None:
    x, found = np.array([1, np.nan, np.inf, -0.0], dtype), np.full((4, 5), 2, np.int8)
    _what_they_are.launch(4, x, found, work=work)
    np.testing.assert_array_equal(found, [[0, 0, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1]])


@kernel
def _small_beside_large(job, x, y):
    total = x.dtype.type(0)
    for i in range(x.shape[1]):
        total += x[job, i]
    y[job] = total


@EVERYWHERE
def test_sums_keep_the_order_in_which_they_are_written(work: float) -> None:
    """(1e30 + 1) - 1e30 is 0, in whatever order vectors would like it."""
    x, y = np.tile(np.array([1e30, 1, -1e30, 1], F32), (3, 8)), np.empty(3, F32)
    _small_beside_large.launch(3, x, y, work=work)
    np.testing.assert_array_equal(y, 1)


def test_one_place_has_the_flags_and_they_say_what_was_decided() -> None:
    """Contraction, which fuses what is written as two roundings into one, is asked for by the tiles alone, by name."""
    assert jit._FLAGS == {"nogil": True, "error_model": "numpy"}
    words = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "fastmath=" in path.read_text("utf-8")}
    assert words == {"engine/dot_simd.py", "engine/window_simd.py"}  # which sum the lanes of one vector in any order, and nothing more
