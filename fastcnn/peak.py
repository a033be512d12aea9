"""The most that the cores can do: independent chains of fused multiply-adds in registers, with no memory behind them."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from . import machine
from .jit import Kernel, kernel

_CHAINS = {32: 24, 16: 12}  # by registers; FMA latency 4 times 2 units needs 8
_ITERATIONS, _SAMPLES = 100_000, 15


def peak_gflops(threads: int) -> float:
    """Return the best of a few samples in float32 GFLOP/s on so many threads; takes 0.1 s."""
    level = machine.isa()
    lanes, chains = level.lanes(4), _CHAINS[level.registers]
    work = 2.0 * lanes * chains * _ITERATIONS * threads
    run, sink = _kernel(lanes, chains), np.zeros((threads, 16), np.float32)
    with machine.threads(threads):
        run.launch(threads, sink, work=work)
        best = np.inf
        for _ in range(_SAMPLES):
            start = time.perf_counter()
            run.launch(threads, sink, work=work)
            best = min(best, time.perf_counter() - start)
    return work / best / 1e9


@functools.cache
def _kernel(lanes: int, chains: int) -> Kernel:
    multiply_add = _multiply_add(lanes, chains)
    iterations = _ITERATIONS

    @kernel(specialisation=(lanes, chains, iterations))
    def spin(job, sink):
        sink[job, 0] = multiply_add(sink[job, 0], iterations)

    return spin


def _multiply_add(lanes: int, chains: int) -> Any:
    """Return an intrinsic: `count` rounds of acc = acc * x + x on `chains` vectors; the sum keeps LLVM from dropping them."""
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    i32, i64, vector = ir.IntType(32), ir.IntType(64), ir.VectorType(ir.FloatType(), lanes)
    name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{lanes}f32"

    @intrinsic
    def multiply_add(typingctx, x, count):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), name)
            undefined = ir.Constant(vector, ir.Undefined)
            first = b.insert_element(undefined, args[0], ir.Constant(i32, 0))
            x = b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(i32, lanes), [0] * lanes))
            entry, loop, done = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
            b.branch(loop)
            b.position_at_end(loop)
            i = b.phi(i64)
            i.add_incoming(ir.Constant(i64, 0), entry)
            sums = [b.phi(vector) for _ in range(chains)]
            for number, value in enumerate(sums):  # chains that began alike would be computed once
                value.add_incoming(ir.Constant(vector, [number / 64] * lanes), entry)
            new = [b.call(fma, [value, x, x]) for value in sums]
            for value, following in zip(sums, new, strict=True):
                value.add_incoming(following, loop)
            following_i = b.add(i, ir.Constant(i64, 1))
            i.add_incoming(following_i, loop)
            b.cbranch(b.icmp_signed("<", following_i, args[1]), loop, done)
            b.position_at_end(done)
            total = functools.reduce(b.fadd, new)
            return b.extract_element(total, ir.Constant(i32, 0))

        return types.float32(types.float32, types.int64), codegen

    return multiply_add
