"""The intrinsics: what the tile computes, what it leaves alone, and that its inner loop keeps its sums in registers."""

from __future__ import annotations

import platform
import re
from typing import Any

import numba
import numpy as np
import pytest

from fastcnn import machine, simd
from fastcnn.machine import TileShape

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
SHAPES = sorted({(machine.tile_shape(channels, dtype.itemsize), dtype) for channels in (8, 16, 24, 32) for dtype in DTYPES}, key=str)


def _tile_function(shape: TileShape, dtype: np.dtype) -> Any:
    tile = simd.tile(shape, dtype)

    def run(height, x, w, start, start_m, relu, y, R, K):
        tile(height, x, 0, K + 1, 2 * K, 1, w, 0, K * shape_block, shape_block, start, 0, start_m, relu, y, 3, shape_block + 5, R, K)

    shape_block = shape.block
    return numba.njit(nogil=True)(run)


@pytest.mark.skipif(machine.jit_is_disabled(), reason="tiles are machine code")
@pytest.mark.parametrize(("shape", "dtype"), SHAPES, ids=str)
def test_tile(shape: TileShape, dtype: np.dtype) -> None:
    """Every height, with a bias or accumulating, with and without a ReLU; beyond its rows and columns nothing is written."""
    run, rng, block = _tile_function(shape, dtype), np.random.default_rng(0), shape.block
    for height in range(1, shape.height + 1):
        for R, K in ((1, 1), (3, 7)):
            x = rng.integers(-4, 5, (R - 1) * 2 * K + (height - 1) * (K + 1) + K).astype(dtype)
            w = rng.integers(-4, 5, R * K * block).astype(dtype)
            at = np.arange(height)[:, None, None] * (K + 1) + np.arange(R)[:, None] * 2 * K + np.arange(K)
            sums = np.einsum("mrk,rkv->mv", x[at], w.reshape(R, K, block))
            for relu in (0, 1):
                for accumulate in (False, True):
                    y = rng.integers(-9, 10, 3 + shape.height * (block + 5)).astype(dtype)
                    before = y.copy()
                    rows = np.lib.stride_tricks.as_strided(y[3:], (height, block), ((block + 5) * y.itemsize, y.itemsize))
                    start = y[3:] if accumulate else rng.integers(-9, 10, block).astype(dtype)
                    want = sums + (rows if accumulate else start[:block])
                    want = np.maximum(want, 0) if relu else want
                    run(height, x, w, start, block + 5 if accumulate else 0, relu, y, R, K)
                    np.testing.assert_array_equal(rows, want)
                    rows[...] = np.lib.stride_tricks.as_strided(before[3:], rows.shape, rows.strides)
                    np.testing.assert_array_equal(y, before)


@pytest.mark.skipif(machine.jit_is_disabled(), reason="tiles are machine code")
def test_nan_passes_the_relu() -> None:
    shape, dtype = SHAPES[0]
    x, w, y = np.full(1, np.nan, dtype), np.ones(shape.block, dtype), np.zeros(3 + shape.block, dtype)
    _tile_function(shape, dtype)(1, x, w, np.zeros(shape.block, dtype), 0, 1, y, 1, 1)
    assert np.isnan(y[3:]).all()


def _loops(assembly: str) -> list[list[str]]:
    """Return the innermost loops: the instructions from a label to a jump back to it, with no other label between."""
    loops, label, body = [], None, []
    for line in assembly.splitlines():
        if found := re.match(r"(\.?\w+):", line):
            label, body = found.group(1), []
        else:
            body.append(line.strip())
            if label and re.match(rf"\s*j\w+\s+{re.escape(label)}\b", line):
                loops.append(body)
    return loops


@pytest.mark.skipif(machine.jit_is_disabled(), reason="tiles are machine code")
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86-64 assembly")
@pytest.mark.parametrize(("shape", "dtype"), SHAPES, ids=str)
def test_sums_stay_in_registers(shape: TileShape, dtype: np.dtype) -> None:
    """The inner loop of every height has height x vectors multiply-adds, and no vector goes to the stack or comes from it."""
    function = _tile_function(shape, dtype)
    array = numba.types.Array(numba.from_dtype(dtype), 1, "C")
    n = numba.int64
    function.compile((n, array, array, array, n, n, array, n, n))
    multiply = re.compile(r"vfn?m(add|sub)\d+p|vmulp|mulp")
    counts = set()
    for loop in _loops("\n".join(function.inspect_asm().values())):
        count = sum(bool(multiply.match(line)) for line in loop)
        if count:
            counts.add(count)
            spills = [line for line in loop if "rsp" in line and re.search(r"[xyz]mm", line)]
            assert not spills, spills[:3]
    for height in range(1, shape.height + 1):  # LLVM unrolls some loops twice or four times
        assert counts & {height * shape.vectors * unrolled for unrolled in (1, 2, 4)}, (height, counts)


@pytest.mark.skipif(machine.jit_is_disabled(), reason="transforms are machine code")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_two_sided_product(seed: int, dtype: np.dtype) -> None:
    """Y = max(floor, M X M' + start) for matrices with zeros, ones and rows or columns that pair up."""
    rng = np.random.default_rng(seed)
    base = rng.integers(-3, 4, (4, 5)).astype(float)
    signs = (-1.0) ** np.arange(5)
    matrix = [np.vstack([base, base[-1] * signs]), np.hstack([base, base[:, -1:] * ((-1.0) ** np.arange(4))[:, None]]), base, base / 3][
        seed
    ]
    rows, width = matrix.shape
    lanes = 4
    transform = simd.two_sided(tuple(map(tuple, matrix.tolist())), lanes, dtype)

    @numba.njit
    def run(x, start, floor, y):
        transform(x, 0, width * lanes, lanes, start, 0, floor, y, 0, rows * lanes, lanes)

    x = rng.standard_normal((width, width, lanes)).astype(dtype)
    start = rng.standard_normal(lanes).astype(dtype)
    for floor in (-np.inf, 0.0):
        y = np.full((rows, rows, lanes), np.nan, dtype)
        run(x.reshape(-1), start, floor, y.reshape(-1))
        want = np.maximum(np.einsum("ia,abl,jb->ijl", matrix, x.astype(np.float64), matrix) + start, floor)
        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4)
