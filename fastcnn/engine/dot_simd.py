"""Scalar products of one vector with several rows of a matrix, as LLVM vector code."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import machine
from .window_simd import Emitter


@functools.cache
def dot_rows(rows: int, unrolled: int, lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic for products of one vector with `rows` rows, each in `unrolled` sums of vectors.

    ``dots(x, xo, w, wo, pitch, steps, singles, rest, bias, bo, y, yo)``: y[yo + r] = bias[bo + r] + sum over i of
    x[xo + i] * w[wo + r*pitch + i] for i < (steps * unrolled + singles) * lanes + rest, where steps >= 1 and rest < lanes. A sum is one
    chain of additions, which take four cycles each: several sums at once keep the multipliers busy.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    kind = f"v{lanes}f{8 * dtype.itemsize}"
    fma_name, sum_name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.{kind}", f"llvm.vector.reduce.fadd.{kind}"

    def emit(context: Any, b: Any, sig: Any, args: Any) -> Any:
        e = Emitter(dtype, lanes, context, b, sig, args)
        _, xo, _, wo, pitch, steps, singles, rest, _, bo, _, yo = args
        fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(e.vector, [e.vector] * 3), fma_name)
        reduce = cgutils.get_or_insert_function(b.module, ir.FunctionType(e.scalar, [e.scalar, e.vector]), sum_name)
        width, zero = ir.Constant(e.i64, lanes), ir.Constant(e.vector, [0.0] * lanes)
        starts = [b.add(wo, b.mul(pitch, ir.Constant(e.i64, r))) for r in range(rows)]

        def add(count: int, at: Any, totals: list[Any]) -> list[Any]:
            """Add the products of `count` vectors, `at` elements from the start; totals[r * unrolled + u]."""
            x, new = e.load(e.data(0, b.add(xo, at)), count), list(totals)
            for r, start in enumerate(starts):
                for u, w in enumerate(e.load(e.data(2, b.add(start, at)), count)):
                    new[r * unrolled + u] = b.call(fma, [x[u], w, new[r * unrolled + u]])
            return new

        stride, none = ir.Constant(e.i64, unrolled * lanes), ir.Constant(e.i64, 0)
        whole = e.loop(steps, [stride], [none], [zero] * (rows * unrolled), lambda at, totals: add(unrolled, at[0], totals))
        done = b.mul(steps, stride)
        before = b.block
        with b.if_then(b.icmp_signed(">", singles, none)):
            more = e.loop(singles, [width], [done], whole, lambda at, totals: add(1, at[0], totals))
            after = b.block
        merged = []
        for old, new in zip(whole, more, strict=True):
            node = b.phi(e.vector)
            node.add_incoming(old, before)
            node.add_incoming(new, after)
            merged.append(node)
        # The last vector overlaps what was summed: only its last `rest` elements count. Products are left out, not factors: 0 * inf is NaN.
        end = b.add(b.add(done, b.mul(singles, width)), b.sub(rest, width))
        order = ir.Constant(ir.VectorType(e.i64, lanes), list(range(lanes)))
        counts = b.icmp_signed(">=", order, e.splat(b.sub(width, rest)))
        last = add(1, end, merged)
        for r in range(rows):
            sums = [b.select(counts, last[r * unrolled], merged[r * unrolled]), *merged[r * unrolled + 1 : (r + 1) * unrolled]]
            while len(sums) > 1:
                sums = [b.fadd(*pair) for pair in zip(sums[::2], sums[1::2], strict=True)]
            place = ir.Constant(e.i64, r)
            total = b.call(reduce, [ir.Constant(e.scalar, -0.0), sums[0]], fastmath=("reassoc",))
            b.store(b.fadd(total, b.load(e.data(8, b.add(bo, place)))), e.data(10, b.add(yo, place)))
        return context.get_dummy_value()

    @intrinsic
    def dots(typingctx, x, xo, w, wo, pitch, steps, singles, rest, bias, bo, y, yo):
        n = types.int64
        return types.void(x, n, w, n, n, n, n, n, bias, n, y, n), emit

    return dots
