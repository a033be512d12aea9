"""Kernels that only move memory: whole vectors read, or copied, again and again from a working set of each thread's own."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from .. import machine
from ..jit import SERIAL_BELOW, Kernel, kernel

_UNROLLED = 8  # vectors in flight: independent, as the latency of L1 times two loads a cycle needs
STEP = 2 * _UNROLLED * 64  # bytes; working sets are multiples of it, so that a copy's halves are whole rounds
_SAMPLE, _SAMPLES = 1.5e-3, 6  # seconds, and how many; the launch of threads takes 3e-6


class Streams:
    """Memory for working sets of up to `largest` bytes in all, and what threads read from it in a second.

    Raises
    ------
    RuntimeError
        NUMBA_DISABLE_JIT is set.
    """

    def __init__(self, largest: int) -> None:
        if machine.jit_is_disabled():
            raise RuntimeError("roofline: bandwidth is measured by compiled kernels, and NUMBA_DISABLE_JIT is set")
        block = np.empty(largest + 4096, np.uint8)
        start = -block.ctypes.data % 4096
        self._memory = block[start : start + largest]
        self._memory[...] = 1  # pages that nobody has written are all one page of zeros
        self._lanes = machine.lanes(4)

    def bandwidth(self, size: int, threads: int, copy: bool = False) -> float:
        """Return the best of a few samples in GB/s, where each thread works on `size` bytes; a copy counts both sides of it.

        Raises
        ------
        ValueError
            `size` is not a positive multiple of `STEP`, or too large for the memory.
        """
        if size <= 0 or size % STEP or size * threads > self._memory.size:
            raise ValueError(f"roofline: size must be a multiple of {STEP}, at most {self._memory.size // threads}; got {size}")
        run, sink = _kernel(self._lanes, copy), np.zeros((threads, 8), np.int64)
        shape = np.array([size, 1], np.int64)
        work = float(max(SERIAL_BELOW, size))

        def seconds(repeats: int) -> float:
            shape[1] = repeats
            start = time.perf_counter()
            run.launch(threads, self._memory, shape, sink, work=work)
            return time.perf_counter() - start

        with machine.threads(threads):
            seconds(1)
            repeats = 1
            while (taken := seconds(repeats)) < _SAMPLE:
                repeats = max(2 * repeats, int(repeats * _SAMPLE / max(taken, 1e-7) / 2))
            best = min(taken, *(seconds(repeats) for _ in range(_SAMPLES - 1)))
        return size * threads * repeats / best / 1e9


@functools.cache
def _kernel(lanes: int, copy: bool) -> Kernel:
    move = _mover(lanes, copy)

    @kernel(specialisation=(lanes, copy, _UNROLLED))
    def stream(job, memory, shape, sink):  # type: ignore[no-untyped-def]
        for _ in range(shape[1]):
            sink[job, 0] ^= move(memory, job * shape[0], shape[0])

    return stream


def _mover(lanes: int, copy: bool) -> Any:
    """Return an intrinsic that reads `size` bytes from `first` on, or copies their first half to the second; its result keeps the loads."""
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    i32, i64, vector = ir.IntType(32), ir.IntType(64), ir.VectorType(ir.IntType(32), lanes)
    width = 4 * lanes

    @intrinsic
    def move(typingctx, memory, first, size):  # type: ignore[no-untyped-def]
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            data = context.make_array(sig.args[0])(context, b, args[0]).data
            source = b.gep(data, [args[1]])
            length = b.lshr(args[2], ir.Constant(i64, 1)) if copy else args[2]
            target = b.gep(source, [length])
            entry, loop, done = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
            b.branch(loop)
            b.position_at_end(loop)
            at = b.phi(i64)
            at.add_incoming(ir.Constant(i64, 0), entry)
            sums = [b.phi(vector) for _ in range(1 if copy else _UNROLLED)]
            for total in sums:
                total.add_incoming(ir.Constant(vector, [0] * lanes), entry)

            def place(base: Any, number: int) -> Any:
                return b.bitcast(b.gep(base, [b.add(at, ir.Constant(i64, number * width))]), vector.as_pointer())

            values = [b.load(place(source, number), align=width) for number in range(_UNROLLED)]
            if copy:
                for number, value in enumerate(values):
                    b.store(value, place(target, number), align=width)
            new = [b.xor(total, value) for total, value in zip(sums, values, strict=False)]
            for total, following in zip(sums, new, strict=True):
                total.add_incoming(following, loop)
            after = b.add(at, ir.Constant(i64, _UNROLLED * width))
            at.add_incoming(after, loop)
            b.cbranch(b.icmp_signed("<", after, length), loop, done)
            b.position_at_end(done)
            total = functools.reduce(b.xor, new)
            return b.zext(b.extract_element(total, ir.Constant(i32, 0)), i64)

        return types.int64(memory, types.int64, types.int64), codegen

    return move
