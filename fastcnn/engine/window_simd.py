"""Maxima and sums over windows as LLVM vector code: over their taps for some neighbouring elements at once, or along one run of elements.

The best or the sum so far stays in registers while the window is read: a plain loop over taps, each with its own loop over channels, would
load and store it at every tap, and look at bounds before each of its short loops.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import machine


class Emitter:
    """Emits the body of an intrinsic over windows of vectors of `lanes` elements."""

    def __init__(self, dtype: np.dtype, lanes: int, context: Any, builder: Any, sig: Any, args: Any) -> None:
        from llvmlite import ir

        self.ir, self.context, self.b, self.sig, self.args = ir, context, builder, sig, args
        self.i64, self.align = ir.IntType(64), dtype.itemsize
        floats = {4: ir.FloatType(), 8: ir.DoubleType()}
        self.scalar = floats[dtype.itemsize] if dtype.kind == "f" else ir.IntType(8 * dtype.itemsize)
        self.lanes, self.vector = lanes, ir.VectorType(self.scalar, lanes)

    def data(self, position: int, offset: Any) -> Any:
        """Return the address of an element of the array that is argument `position`."""
        first = self.context.make_array(self.sig.args[position])(self.context, self.b, self.args[position]).data
        return self.b.gep(first, [offset])

    def load(self, base: Any, vectors: int) -> list[Any]:
        """Return vectors that follow one another from an address."""
        places = [self.b.gep(base, [self.ir.Constant(self.i64, self.lanes * v)]) for v in range(vectors)]
        return [self.b.load(self.b.bitcast(place, self.vector.as_pointer()), align=self.align) for place in places]

    def store(self, values: Sequence[Any], base: Any, align: int) -> None:
        """Store vectors one after the other from an address."""
        for v, value in enumerate(values):
            place = self.b.gep(base, [self.ir.Constant(self.i64, self.lanes * v)])
            self.b.store(value, self.b.bitcast(place, value.type.as_pointer()), align=align)

    def splat(self, value: Any) -> Any:
        """Return a vector of one scalar."""
        ir = self.ir
        kind = ir.VectorType(value.type, self.lanes)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None))

    def loop(
        self, count: Any, steps: Sequence[Any], starts: Sequence[Any], state: Sequence[Any], body: Callable[..., list[Any]]
    ) -> list[Any]:
        """Emit state = body(counters, state) `count` times, at least once; counters begin at `starts` and grow by `steps`."""
        entry, head = self.b.block, self.b.append_basic_block("taps")
        self.b.branch(head)
        self.b.position_at_end(head)
        one, zero = self.ir.Constant(self.i64, 1), self.ir.Constant(self.i64, 0)
        first = [zero, *starts, *state]
        nodes = [self.b.phi(value.type) for value in first]
        counters = nodes[: 1 + len(starts)]
        new = body(counters[1:], nodes[len(counters) :])
        following = [self.b.add(counter, step) for counter, step in zip(counters, [one, *steps], strict=True)]
        for node, before, after in zip(nodes, first, [*following, *new], strict=True):
            node.add_incoming(before, entry)
            node.add_incoming(after, self.b.block)
        done = self.b.append_basic_block("done")
        self.b.cbranch(self.b.icmp_signed("<", following[0], count), head, done)
        self.b.position_at_end(done)
        return new


@functools.cache
def window_maximum(vectors: int, lanes: int, dtype: np.dtype, places: bool) -> Any:
    """Return an intrinsic for the maxima of windows, and where they are if `places`, of vectors * lanes neighbouring elements v.

    ``maximum(x, first, rows, row_step, columns, column_step, y, to, indices, place, row_place, column_place)``: y[to + v] = max over
    r < rows and s < columns of x[first + r*row_step + s*column_step + v]; NaN wins over every number. With `places` also
    indices[to + v] = place + r*row_place + s*column_place, below 2**31, of the first of equals, or of the last NaN.
    There must be a row and a column.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    def emit(context: Any, b: Any, sig: Any, args: Any) -> Any:
        e = Emitter(dtype, lanes, context, b, sig, args)
        _, first, rows, row_step, columns, column_step, _, to, _, start, row_place, column_place = args
        narrow = ir.IntType(32)

        def better(value: Any, best: Any) -> Any:
            if dtype.kind != "f":
                return (b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned)(">", value, best)
            return b.or_(b.fcmp_ordered(">", value, best), b.fcmp_unordered("uno", value, value))

        def tap(counters: list[Any], state: list[Any]) -> list[Any]:
            values, here = e.load(e.data(0, counters[0]), vectors), e.splat(b.trunc(counters[1], narrow))
            wins = [better(value, best) for value, best in zip(values, state, strict=False)]
            chosen = [b.select(win, *pair) for win, *pair in zip(wins, values, state[:vectors], strict=True)]
            return chosen + [b.select(win, here, place) for win, place in zip(wins, state[vectors:], strict=False)]

        def row(counters: list[Any], state: list[Any]) -> list[Any]:
            return e.loop(columns, [column_step, column_place], counters, state, tap)

        begin = e.load(e.data(0, first), vectors) + [e.splat(b.trunc(start, narrow))] * (vectors if places else 0)
        found = e.loop(rows, [row_step, row_place], [first, start], begin, row)
        e.store(found[:vectors], e.data(6, to), e.align)
        if places:
            wide = ir.VectorType(e.i64, lanes)
            e.store([b.sext(place, wide) for place in found[vectors:]], e.data(8, to), 8)
        return context.get_dummy_value()

    @intrinsic
    def maximum(typingctx, x, first, rows, row_step, columns, column_step, y, to, indices, place, row_place, column_place):
        n = types.int64
        return types.void(x, n, n, n, n, n, y, n, indices, n, n, n), emit

    return maximum


@functools.cache
def window_sum(vectors: int, lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic for weighted sums over windows of vectors * lanes neighbouring elements v, divided by a number.

    ``total(x, first, rows, row_step, columns, column_step, row_weights, ro, column_weights, co, divisor, y, to)``: y[to + v] = sum over
    r < rows and s < columns of row_weights[ro + r] * column_weights[co + s] * x[first + r*row_step + s*column_step + v], / divisor.
    There must be a row and a column. Rows are summed one by one, which rounds less than one long sum.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    fma_name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{lanes}f{8 * dtype.itemsize}"

    def emit(context: Any, b: Any, sig: Any, args: Any) -> Any:
        e = Emitter(dtype, lanes, context, b, sig, args)
        _, first, rows, row_step, columns, column_step, _, ro, _, co, divisor, _, to = args
        fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(e.vector, [e.vector] * 3), fma_name)
        one = ir.Constant(e.i64, 1)

        nothing = [ir.Constant(e.vector, [0.0] * lanes)] * vectors

        def add(weight: Any, values: list[Any], totals: list[Any]) -> list[Any]:
            return [b.call(fma, [value, weight, total]) for value, total in zip(values, totals, strict=True)]

        def tap(counters: list[Any], state: list[Any]) -> list[Any]:
            return add(e.splat(b.load(e.data(8, counters[1]))), e.load(e.data(0, counters[0]), vectors), state)

        def row(counters: list[Any], state: list[Any]) -> list[Any]:
            weight = e.splat(b.load(e.data(6, counters[1])))
            return add(weight, e.loop(columns, [column_step, one], [counters[0], co], nothing, tap), state)

        totals = e.loop(rows, [row_step, one], [first, ro], nothing, row)
        target = e.data(11, to)
        plain = b.fcmp_ordered("==", divisor, ir.Constant(e.scalar, 1.0))
        with b.if_else(plain) as (undivided, divided):  # a division takes as long as several taps
            with undivided:
                e.store(totals, target, e.align)
            with divided:
                by = e.splat(divisor)
                e.store([b.fdiv(total, by) for total in totals], target, e.align)
        return context.get_dummy_value()

    n = types.int64
    number = types.float32 if dtype == np.float32 else types.float64

    @intrinsic
    def total(typingctx, x, first, rows, row_step, columns, column_step, row_weights, ro, column_weights, co, divisor, y, to):
        return types.void(x, n, n, n, n, n, row_weights, n, column_weights, n, number, y, n), emit

    return total


@functools.cache
def run_sum(lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic ``total(x, first, steps, rest)``: the sum of steps * lanes + rest elements from x[first].

    There must be a step, and `rest` is less than `lanes`.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    name = f"llvm.vector.reduce.fadd.v{lanes}f{8 * dtype.itemsize}"

    @intrinsic
    def total(typingctx, x, first, steps, rest):
        def emit(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = Emitter(dtype, lanes, context, b, sig, args)
            _, first, steps, rest = args
            width, zero = ir.Constant(e.i64, lanes), ir.Constant(e.vector, [0.0] * lanes)

            def step(counters: list[Any], state: list[Any]) -> list[Any]:
                return [b.fadd(state[0], e.load(e.data(0, counters[0]), 1)[0])]

            whole = e.loop(steps, [width], [first], [zero], step)[0]
            # The last vector overlaps what was summed: only its last `rest` elements count.
            last = e.load(e.data(0, b.sub(b.add(first, b.add(b.mul(steps, width), rest)), width)), 1)[0]
            order = ir.Constant(ir.VectorType(e.i64, lanes), list(range(lanes)))
            counts = b.icmp_signed(">=", order, e.splat(b.sub(width, rest)))
            reduce = cgutils.get_or_insert_function(b.module, ir.FunctionType(e.scalar, [e.scalar, e.vector]), name)
            every = b.fadd(whole, b.select(counts, last, zero))
            return b.call(reduce, [ir.Constant(e.scalar, -0.0), every], fastmath=("reassoc",))

        n = types.int64
        return (types.float32 if dtype == np.float32 else types.float64)(x, n, n, n), emit

    return total
