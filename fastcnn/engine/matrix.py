"""Products of whole matrices on the tiles of amx.py: what a fully connected layer needs in its three directions.

    y[m,n] = start[n] + sum over k < K of a[m,k] * b[k,n]

A factor may lie in memory with its sums' terms together (*by terms*: the k of one m, or of one n, follow one another) or apart. Both are
rounded to words on the way into the tiles' order. `a` is packed first, all of it; then each job packs the columns of `b` that are its own
and runs all of its rows over them while they lie in its cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import amx, bf16, machine
from ..jit import Kernel, kernel
from .packing import clear, transposer
from .words import FLOAT32


class Sizes(NamedTuple):
    """A product as kernels read it."""

    M: int
    N: int
    K: int
    a_by_terms: int
    b_by_terms: int
    words: int  # of a step: the inner size of the tiles
    steps: int
    height: int  # rows of a tile
    pairs: int  # of column tiles
    splits: int  # jobs of the rows
    strips: int  # jobs that pack `a`


SIZES = np.dtype([(name, np.int64) for name in Sizes._fields])
# In vector multiply-adds of float32: a launch; a product of tiles; a float of a factor packed, and transposed; one of the result.
_LAUNCH, _STEP, _PACK, _TRANSPOSE, _STORE = 20_000.0, 60.0, 0.45, 0.35, 1.5


def effort(M: int, N: int, K: int, a_by_terms: bool, b_by_terms: bool) -> float:
    """Return what `multiply` costs in vector multiply-adds of float32, measured."""
    tiles = -(-M // amx.TILE) * -(-N // amx.TILE) * -(-K // (2 * amx.TILE))
    packing = M * K * (_PACK + _TRANSPOSE * (not a_by_terms)) + N * K * (_PACK + _TRANSPOSE * b_by_terms)
    return _LAUNCH + tiles * _STEP + packing + _STORE * M * N


def inner_size(words: int) -> tuple[int, int]:
    """Return (words of a step, steps) of a reduction whose tail may be filled with zeros."""
    return (words, 1) if words <= amx.TILE else (amx.TILE, -(-words // amx.TILE))


def multiply(M: int, N: int, K: int, a_by_terms: bool, b_by_terms: bool) -> Callable[..., None]:
    """Return a function ``(a, b, start, y)`` on flat float32 arrays, `start` may be None; for the threads that the caller has now."""
    tiles, threads = -(-M // amx.TILE), machine.get_threads()
    words, steps = inner_size(-(-K // 2))
    pairs, strips = -(-N // (2 * amx.TILE)), tiles
    splits = max(1, min(-(-tiles // 4), -(-2 * threads // pairs))) if threads > 1 else 1
    height = -(-M // tiles)
    sizes = np.array([Sizes(M, N, K, int(a_by_terms), int(b_by_terms), words, steps, height, pairs, splits, strips)], SIZES)
    table, floats, packed = table_of(height, N, words), np.zeros(N, FLOAT32), np.empty(0, np.int32)
    pack = _a_packer().bound(strips, sizes, floats, packed, work=8.0 * M * K)
    run = _multiplier().bound(pairs * splits, sizes, table, packed, floats, floats, floats, work=8.0 * (K * N + M * N) + M * N * K / 8)

    def product(a: np.ndarray, b: np.ndarray, start: np.ndarray | None, y: np.ndarray) -> None:
        packed = amx.empty(M * words * steps)
        pack(sizes, a, packed)
        run(sizes, table, packed, b, floats if start is None else start, y)

    return product


def table_of(height: int, columns: int, words: int) -> np.ndarray:
    """Return two tile configurations: for pairs of whole column tiles, and for the last pair, or single tile, of `columns`."""
    whole, rows = (amx.TILE, amx.TILE), (height, height)
    return np.concatenate([amx.configuration(rows, size, words) for size in (whole, amx.last_pair(columns))])


@functools.cache
def _a_packer() -> Kernel:
    neighbours, pairs, transpose = bf16.neighbours(), bf16.pairs(), transposer(FLOAT32)

    @kernel
    def pack_rows_of_a(job, sizes, a, packed):
        g = sizes[0]
        pitch, used = g.words * g.steps, (g.K + 1) // 2
        first, last = job * g.M // g.strips, (job + 1) * g.M // g.strips
        rows = last - first
        if g.a_by_terms:
            for m in range(first, last):
                neighbours(a, m * g.K, g.K, packed, m * pitch)
                clear(packed, m * pitch + used, (m + 1) * pitch)
            return
        scratch, none = np.empty(used * rows, np.int32), np.zeros(rows, a.dtype)
        for w in range(g.K // 2):
            pairs(a, 2 * w * g.M + first, a, (2 * w + 1) * g.M + first, rows, scratch, w * rows)
        if g.K % 2:
            pairs(a, (g.K - 1) * g.M + first, none, 0, rows, scratch, (used - 1) * rows)
        transpose(scratch.view(np.float32), 0, rows, packed.view(np.float32), first * pitch, pitch, used, rows)
        for m in range(first, last):
            clear(packed, m * pitch + used, (m + 1) * pitch)

    return pack_rows_of_a


@functools.cache
def _b_packer() -> Kernel:
    """Return a kernel that packs columns `first` to `first + valid` (16 at most) of b into words out[to + w * 16 + column]."""
    neighbours, pairs, transpose = bf16.neighbours(), bf16.pairs(), transposer(FLOAT32)

    @kernel
    def pack_columns_of_b(sizes, b, first, valid, out, to):
        g = sizes[0]
        used, end = (g.K + 1) // 2, to + g.words * g.steps * 16
        if g.b_by_terms:
            scratch = np.empty(valid * used, np.int32)
            for i in range(valid):
                neighbours(b, (first + i) * g.K, g.K, scratch, i * used)
            transpose(scratch.view(np.float32), 0, used, out.view(np.float32), to, 16, valid, used)
        else:
            for w in range(g.K // 2):
                pairs(b, 2 * w * g.N + first, b, (2 * w + 1) * g.N + first, valid, out, to + w * 16)
            if g.K % 2:
                none = np.zeros(16, b.dtype)
                pairs(b, (g.K - 1) * g.N + first, none, 0, valid, out, to + (used - 1) * 16)
        clear(out, to + used * 16, end)

    return pack_columns_of_b


@functools.cache
def _multiplier() -> Kernel:
    pack_columns, empty = _b_packer(), amx.aligned()
    configure, product, release = amx.configure(), amx.product(), amx.release()

    @kernel
    def multiply_columns(job, sizes, table, packed, b, start, y):
        g = sizes[0]
        split, pair = job % g.splits, job // g.splits
        first, size = pair * 32, g.words * g.steps * 16
        valid = min(32, g.N - first)
        wide = (valid + 15) // 16
        panels = empty(2 * size)
        for i in range(wide):
            pack_columns(sizes, b, first + i * 16, min(16, valid - i * 16), panels, i * size)
        pitch, tiles = g.words * g.steps, (g.M + g.height - 1) // g.height
        t_first, t_last = split * tiles // g.splits, (split + 1) * tiles // g.splits
        configure(table, 1 if pair == g.pairs - 1 else 0)
        # Bounds. The last tile of rows begins early enough to end with row M - 1, and computes some rows again. Of the last pair of
        # column tiles the table has what is left of N; rows of packed a and b are whole steps.
        for t in range(t_first, t_last, 2):
            m0, m1 = min(t * g.height, g.M - g.height), min((t + 1) * g.height, g.M - g.height)
            product(
                min(2, t_last - t), wide, packed, (m0 * pitch, m1 * pitch), (pitch, 0, g.words, 0),
                panels, (0, size), (16, 0, g.words * 16), start, (first, first), y, (m0 * g.N + first, m1 * g.N + first), (g.N, 16, 0),
                1, g.steps,
            )  # fmt: skip
        release()

    return multiply_columns
