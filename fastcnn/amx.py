"""Matrix tiles in bfloat16 (Intel AMX): 16 x 16 sums of 32 products each in one instruction, ten times the rate of float32's vectors.

Numbers are *words* as in bf16.py: an int32 of two bfloat16, the even term of the reduction in its low half. An A tile is rows x words of
the left factor, a B tile words x columns of the right one (a row of it holds the same two terms for all columns), a C tile rows x columns
of float32 sums. Two A and two B tiles at a time meet in four C tiles, so that each tile that is loaded is used twice.

What a tile costs: a product takes as many cycles as A has rows, at most 16; to load a tile takes 8 cycles where its rows begin on a cache
line, about 50 where they straddle two. So what tiles read is packed into memory that is `aligned`.

The rounding is that of bf16.py; subnormal numbers count as 0.

References: Intel 64 and IA-32 Architectures Optimization Reference Manual, chapter 20, "Intel AMX".
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np

from . import bf16, machine
from .jit import Kernel, kernel

TILE = 16  # rows, columns and words of a whole tile
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18  # Linux on x86-64: asm/prctl.h, asm/fpu/types.h
_C, _A, _B = (0, 1, 2, 3), (4, 5), (6, 7)  # tile registers; C by row, then column


def unavailable() -> str | None:
    """Return None where this process may use matrix tiles, else the reason why not, in the words of `refuses`."""
    reason = bf16.unavailable()
    if reason is not None:
        return reason
    if not {"amx-tile", "amx-bf16"} <= machine.cpu_features():
        return "this CPU has no AMX_BF16"
    if not {"+amx-tile", "+amx-bf16"} <= _target_features():
        return "NUMBA_CPU_FEATURES leaves out AMX"
    return None if _permitted() else "the system does not give this process the tile registers"


@functools.cache
def _permitted() -> bool:
    """Whether this process has the tile registers: Linux gives their 8 KiB only to who asks, once; threads and children inherit that."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0


@functools.cache
def _target_features() -> frozenset[str]:
    """Return the features that Numba compiles for, each with its sign."""
    machine.numba()
    from numba.core.registry import cpu_target

    return frozenset(cpu_target.target_context.codegen().magic_tuple()[2].split(","))


def configuration(rows: tuple[int, int], columns: tuple[int, int], words: int) -> np.ndarray:
    """Return 64 bytes that set the sizes of all tiles: C's upper and lower `rows`, left and right `columns`, and A's `words`."""
    data = np.zeros(64, np.uint8)
    data[0] = 1  # palette
    bytes_of_row, row_count = data[16:32].view(np.uint16), data[48:56]
    for i in range(2):
        row_count[_A[i]], bytes_of_row[_A[i]] = rows[i], 4 * words
        row_count[_B[i]], bytes_of_row[_B[i]] = words, 4 * columns[i]
        for j in range(2):
            row_count[_C[2 * i + j]], bytes_of_row[_C[2 * i + j]] = rows[i], 4 * columns[j]
    return data


def last_pair(count: int) -> tuple[int, int]:
    """Return the sizes of the last two tiles of so many rows or columns, in pairs of 16; 1 for a tile that is not there."""
    left = count - (count - 1) // (2 * TILE) * 2 * TILE
    return min(TILE, left), max(1, left - TILE)


def empty(words: int) -> np.ndarray:
    """Return a new array of words on a cache line."""
    whole = np.empty(words + TILE, np.int32)
    first = -whole.ctypes.data % 64 // 4
    return whole[first : first + words]


@functools.cache
def aligned() -> Kernel:
    """Return `empty` for kernels."""

    @kernel(inline=True)
    def empty_in_kernel(words):
        whole = np.empty(words + 16, np.int32)
        first = -whole.ctypes.data % 64 // 4
        return whole[first : first + words]

    return empty_in_kernel


@functools.cache
def configure() -> Any:
    """Return an intrinsic ``configure(table, index)``: the tiles get the sizes of the `configuration` at 64 * index; they become 0.

    RuntimeError where there are none: without Linux's permission, which this asks for, the instruction would end the process.
    """
    reason = unavailable()
    if reason is not None:
        raise RuntimeError(f"matrix tiles: {reason}")
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def set_sizes(typingctx: Any, table: Any, index: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = context.make_array(sig.args[0])(context, b, args[0]).data
            at = b.gep(data, [b.mul(args[1], ir.Constant(ir.IntType(64), 64))])
            _call(b, "ldtilecfg", [b.bitcast(at, ir.IntType(8).as_pointer())])
            return context.get_dummy_value()

        return types.void(table, types.int64), codegen

    return set_sizes


@functools.cache
def release() -> Any:
    """Return an intrinsic ``release()``: the tiles are free, and no context switch has to save them."""
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def free(typingctx: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            _call(b, "tilerelease", [])
            return context.get_dummy_value()

        return types.void(), codegen

    return free


@functools.cache
def product() -> Any:
    """Return an intrinsic that computes up to 2 x 2 tiles of a matrix product, with the sizes of the last `configure`.

    ``product(high, wide, a, a_at, a_steps, b, b_at, b_steps, start, start_at, y, y_at, y_steps, R, K)``:
    Y[i, j] = START[i, j] + sum over r < R, k < K of A[i] at (r, k) . B[j] at (r, k), for tiles i < high and j < wide.
    A[i] begins at word a_at[i] + r*a_steps[1] + k*a_steps[2], its rows a_steps[0] apart; for the last r it is a_steps[3] further on. So do
    the B[j] of `b`, without that. Y[i, j] is at
    y_at[i] + j*y_steps[1], its rows y_steps[0] apart, START[i, j] at start_at[i] + j*y_steps[1], its rows y_steps[2] apart (0: one row
    for all). Pairs are tuples; a and b are int32 arrays of words, start and y float32.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    i8, i64 = ir.IntType(8), ir.IntType(64)

    @intrinsic
    def kernel(
        typingctx: Any, high: Any, wide: Any, a: Any, a_at: Any, a_steps: Any, b: Any, b_at: Any, b_steps: Any,
        start: Any, start_at: Any, y: Any, y_at: Any, y_steps: Any, R: Any, K: Any,
    ) -> Any:  # fmt: skip
        n = types.int64
        signature = types.void(n, n, a, a_at, a_steps, b, b_at, b_steps, start, start_at, y, y_at, y_steps, n, n)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            def const(value: int, kind: Any = i64) -> Any:
                return ir.Constant(kind, value)

            def in_bytes(position: int) -> list[Any]:
                """Return the numbers of a tuple of elements (of 4 bytes each)."""
                kinds = sig.args[position]
                numbers = [context.cast(b, b.extract_value(args[position], i), kind, n) for i, kind in enumerate(kinds)]
                return [b.mul(number, const(4)) for number in numbers]

            def pointers(position: int) -> list[Any]:
                """Return where the tiles of an array begin."""
                base = b.bitcast(context.make_array(sig.args[position])(context, b, args[position]).data, i8.as_pointer())
                return [b.gep(base, [offset]) for offset in in_bytes(position + 1)]

            def tile(number: int) -> Any:
                return const(number, i8)

            def phi(value: Any, block: Any) -> Any:
                node = b.phi(value.type)
                node.add_incoming(value, block)
                return node

            a0, b0, start0, y0 = pointers(2), pointers(5), pointers(8), pointers(10)
            (a_pitch, a_r, a_k, a_last), (b_pitch, b_r, b_k), (y_pitch, column, start_pitch) = in_bytes(4), in_bytes(7), in_bytes(12)
            R, K = args[13:]

            def body(rows: int, columns: int, after: Any) -> None:
                cells = [(i, j) for i in range(rows) for j in range(columns)]
                for i, j in cells:
                    at = b.gep(start0[i], [b.mul(column, const(j))])
                    _call(b, "tileloadd64", [tile(_C[2 * i + j]), at, start_pitch])
                entry = b.block
                outer, inner, next_r, done = (b.append_basic_block(f"{name}{rows}{columns}") for name in ("r", "k", "next", "done"))
                jump = b.select(b.icmp_signed("==", R, const(1)), a_last, const(0))
                firsts, steps = [b.gep(pointer, [jump]) for pointer in a0[:rows]] + b0[:columns], [a_k] * rows + [b_k] * columns

                b.branch(outer)
                b.position_at_end(outer)
                r, in_r = phi(const(0), entry), [phi(first, entry) for first in firsts]
                b.branch(inner)
                b.position_at_end(inner)
                k, in_k = phi(const(0), outer), [phi(pointer, outer) for pointer in in_r]
                for i in range(rows):
                    _call(b, "tileloadd64", [tile(_A[i]), in_k[i], a_pitch])
                for j in range(columns):
                    _call(b, "tileloadd64", [tile(_B[j]), in_k[rows + j], b_pitch])
                for i, j in cells:
                    _call(b, "tdpbf16ps", [tile(_C[2 * i + j]), tile(_A[i]), tile(_B[j])])
                k_next = b.add(k, const(1))
                k.add_incoming(k_next, inner)
                for pointer, step in zip(in_k, steps, strict=True):
                    pointer.add_incoming(b.gep(pointer, [step]), inner)
                b.cbranch(b.icmp_signed("<", k_next, K), inner, next_r)

                b.position_at_end(next_r)
                r_next = b.add(r, const(1))
                r.add_incoming(r_next, next_r)
                a_step = b.add(a_r, b.select(b.icmp_signed("==", b.add(r_next, const(1)), R), a_last, const(0)))
                for pointer, step in zip(in_r, [a_step] * rows + [b_r] * columns, strict=True):
                    pointer.add_incoming(b.gep(pointer, [step]), next_r)
                b.cbranch(b.icmp_signed("<", r_next, R), outer, done)

                b.position_at_end(done)
                for i, j in cells:
                    _call(b, "tilestored64", [tile(_C[2 * i + j]), b.gep(y0[i], [b.mul(column, const(j))]), y_pitch])
                b.branch(after)

            after = b.append_basic_block("after")
            choice = b.switch(b.add(b.mul(args[0], const(2)), args[1]), after)
            for rows, columns in ((1, 1), (1, 2), (2, 1), (2, 2)):
                block = b.append_basic_block(f"tiles{rows}{columns}")
                choice.add_case(const(2 * rows + columns), block)
                b.position_at_end(block)
                body(rows, columns, after)
            b.position_at_end(after)
            return context.get_dummy_value()

        return signature, codegen

    return kernel


def _call(b: Any, name: str, arguments: list[Any]) -> None:
    """Emit an instruction; tiles are named by constants, so the order of what is emitted is kept."""
    from llvmlite import ir
    from numba.core import cgutils

    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.x86.{name}"), arguments)
