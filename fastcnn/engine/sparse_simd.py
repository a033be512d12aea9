"""Lists of the gradients that are not 0, and sums over them, as LLVM vector code: the intrinsics of the sparse loops.

An entry of a list is two integers of the gradient's size: its bits, and the place (in elements) of what it multiplies. Lists are arrays of
such integers, and offsets into them count entries. Each loop writes what it reads whether it counts or not, and moves on where it does: a
branch on gradients that are 0 at random would be mispredicted every other time, at 15 cycles.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .. import machine

BLOCK = 8  # channels whose gradients are looked at in one vector


def entry_type(dtype: np.dtype) -> np.dtype:
    """Return the integers of a list's entries."""
    return np.dtype(f"i{dtype.itemsize}")


class GatherShape(NamedTuple):
    """A register tile of `gathered_tile`: `rows` lines of `vectors` vectors of `lanes` elements, `copies` sums that take turns."""

    rows: int
    vectors: int
    lanes: int
    copies: int


class _Emitter:
    """Helpers to emit the body of an intrinsic: types of a dtype, addresses in arrays, loops."""

    def __init__(self, dtype: np.dtype, context: Any, builder: Any, sig: Any, args: Any) -> None:
        from llvmlite import ir

        self.ir, self.context, self.b, self.sig, self.args, self.dtype = ir, context, builder, sig, args, dtype
        self.scalar = {4: ir.FloatType(), 8: ir.DoubleType()}[dtype.itemsize]
        self.bits, self.i32, self.i64 = ir.IntType(8 * dtype.itemsize), ir.IntType(32), ir.IntType(64)

    def const(self, value: int) -> Any:
        return self.ir.Constant(self.i64, value)

    def data(self, position: int, offset: Any = None) -> Any:
        """Return the address of an element of the array that is argument `position`."""
        first = self.context.make_array(self.sig.args[position])(self.context, self.b, self.args[position]).data
        return first if offset is None else self.b.gep(first, [offset])

    def vector(self, kind: Any, lanes: int) -> Any:
        return self.ir.VectorType(kind, lanes)

    def load(self, kind: Any, base: Any, offset: Any, align: int) -> Any:
        return self.b.load(self.b.bitcast(self.b.gep(base, [offset]), kind.as_pointer()), align=align)

    def store(self, value: Any, base: Any, offset: Any, align: int) -> None:
        self.b.store(value, self.b.bitcast(self.b.gep(base, [offset]), value.type.as_pointer()), align=align)

    def broadcast(self, value: Any, lanes: int) -> Any:
        undefined = self.ir.Constant(self.vector(value.type, lanes), self.ir.Undefined)
        one = self.b.insert_element(undefined, value, self.ir.Constant(self.i32, 0))
        return self.b.shuffle_vector(one, undefined, self.ir.Constant(self.vector(self.i32, lanes), [0] * lanes))

    def loop(self, begin: Any, step: int, end: Any, carried: list[Any], body: Any) -> list[Any]:
        """Emit ``for i from begin while i + step <= end`` around `body`, which maps (i, carried) to the next carried.

        Return [i, *carried] as they are after the loop.
        """
        b, entry = self.b, self.b.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
        b.branch(head)
        b.position_at_end(head)
        nodes = [b.phi(value.type) for value in (begin, *carried)]
        for node, value in zip(nodes, (begin, *carried), strict=True):
            node.add_incoming(value, entry)
        following = b.add(nodes[0], self.const(step))
        b.cbranch(b.icmp_signed("<=", following, end), inside, after)
        b.position_at_end(inside)
        results = [following, *body(nodes[0], nodes[1:])]
        for node, value in zip(nodes, results, strict=True):
            node.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return nodes


@functools.cache
def gathered_tile(shape: GatherShape, dtype: np.dtype) -> Any:
    """Return an intrinsic for a sum of blocks of x that begin at listed places, each times a number of its own.

    ``gather(count, entries, first, x, xo, x_r, y, yo, y_r, valid)``: y[yo + r*y_r + v] += sum over the entries (value, place) from `first`
    on of value * x[xo + place + r*x_r + v] for r < rows and v < valid, where valid <= vectors * lanes. The elements from `valid` on are
    read, both x's and y's, but y's stay (to the sign of a zero).

    Notes
    -----
    The sums stay in registers, x is an operand of the multiply-add: an instruction per vector and number, and no store. Few sums would
    wait for one another (four cycles from sum to sum): `copies` of them take turns.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    rows, vectors, lanes, copies = shape
    cells = [(r, v) for r in range(rows) for v in range(vectors)]

    @intrinsic
    def gather(typingctx, count, entries, first, x, xo, x_r, y, yo, y_r, valid):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(dtype, context, b, sig, args)
            count, _, first, _, xo, x_r, _, yo, y_r, valid = args
            vector, size, const = e.vector(e.scalar, lanes), dtype.itemsize, e.const
            name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{lanes}f{8 * size}"
            fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), name)
            numbers, x0, y0 = e.data(1, b.mul(first, const(2))), e.data(3, xo), e.data(6, yo)
            values = b.bitcast(numbers, e.scalar.as_pointer())
            lines = [b.gep(x0, [b.mul(x_r, const(r))]) for r in range(rows)]

            def body(step: int) -> Any:
                def add(i: Any, sums: list[Any]) -> list[Any]:
                    sums = list(sums)
                    for copy in range(step):
                        at = b.mul(b.add(i, const(copy)), const(2))
                        value = e.broadcast(b.load(b.gep(values, [at]), align=size), lanes)
                        place = b.load(b.gep(numbers, [b.add(at, const(1))]), align=size)
                        starts = [b.gep(line, [b.sext(place, e.i64) if size < 8 else place]) for line in lines]
                        for cell, (r, v) in enumerate(cells, copy * len(cells)):
                            sums[cell] = b.call(fma, [value, e.load(vector, starts[r], const(v * lanes), size), sums[cell]])
                    return sums

                return add

            zero = ir.Constant(vector, [0.0] * lanes)
            i, *sums = e.loop(const(0), copies, count, [zero] * (copies * len(cells)), body(copies))
            while len(sums) > len(cells):
                half = len(sums) // 2
                sums = [b.fadd(sums[cell], sums[cell + half]) for cell in range(half)]
            if copies > 1:
                _, *sums = e.loop(i, 1, count, sums, body(1))
            limit = e.broadcast(b.trunc(valid, e.i32), lanes)
            numbers_of_lanes = e.vector(e.i32, lanes)
            inside = [
                b.icmp_signed(">", limit, ir.Constant(numbers_of_lanes, [v * lanes + lane for lane in range(lanes)]))
                for v in range(vectors)
            ]
            for (r, v), total in zip(cells, sums, strict=True):
                at = b.add(b.mul(y_r, const(r)), const(v * lanes))
                e.store(b.fadd(e.load(vector, y0, at, size), b.select(inside[v], total, zero)), y0, at, size)
            return context.get_dummy_value()

        return types.void(n, entries, n, x, n, n, y, n, n, n), codegen

    return gather


@functools.cache
def passed_entries(dtype: np.dtype) -> Any:
    """Return an intrinsic that makes entries of the gradients of a row of windows, `BLOCK` channels of each.

    ``pass_row(dy, y, winners, at, pitch, windows, place, step, width, down, right, entries, first, sums)``: entry first + q*BLOCK + v has
    dy[at + q*pitch + v] where y there is not <= 0, else 0, and the place of the pixel w that won: place + q*step + w // width * down +
    w % width * right. `width` is at most 256. What passed is added to sums[v].
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def pass_row(typingctx, dy, y, winners, at, pitch, windows, place, step, width, down, right, entries, first, sums):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(dtype, context, b, sig, args)
            _, _, _, at, pitch, windows, place, step, width, down, right, _, first, _ = args
            size, const = dtype.itemsize, e.const
            floats, whole, bytes_ = e.vector(e.scalar, BLOCK), e.vector(e.i32, BLOCK), e.vector(ir.IntType(8), BLOCK)
            errors, values, won = (e.data(i, at) for i in range(3))
            target, totals = e.data(11, b.mul(first, const(2))), e.data(13)
            # w // width = w * ceil(2**16 / width) >> 16 for w < 256: the factor is too large by less than width / 2**16.
            factor = b.udiv(b.add(width, const(2**16 - 1)), width)
            factors, right_, back = (
                e.broadcast(b.trunc(value, e.i32), BLOCK) for value in (factor, right, b.sub(down, b.mul(width, right)))
            )
            sixteen = ir.Constant(whole, [16] * BLOCK)
            zipped = ir.Constant(e.vector(e.i32, 2 * BLOCK), [lane + part * BLOCK for lane in range(BLOCK) for part in range(2)])
            zero = ir.Constant(floats, [0.0] * BLOCK)

            def body(q: Any, carried: list[Any]) -> list[Any]:
                source = b.mul(q, pitch)
                closed = b.fcmp_ordered("<=", e.load(floats, values, source, size), zero)
                passed = b.select(closed, zero, e.load(floats, errors, source, size))
                w = b.zext(e.load(bytes_, won, source, 1), whole)
                row = b.lshr(b.mul(w, factors), sixteen)
                origin = e.broadcast(b.trunc(b.add(place, b.mul(q, step)), e.i32), BLOCK)
                places = b.add(b.add(origin, b.mul(w, right_)), b.mul(row, back))
                wide = e.vector(e.bits, BLOCK)
                pair = b.bitcast(passed, wide), b.sext(places, wide) if size > 4 else places
                e.store(b.shuffle_vector(*pair, zipped), target, b.mul(q, const(2 * BLOCK)), size)
                return [b.fadd(carried[0], passed)]

            _, total = e.loop(const(0), 1, windows, [zero], body)
            e.store(b.fadd(e.load(floats, totals, const(0), size), total), totals, const(0), size)
            return context.get_dummy_value()

        return types.void(dy, y, winners, n, n, n, n, n, n, n, n, entries, n, sums), codegen

    return pass_row


@functools.cache
def compressed(dtype: np.dtype) -> Any:
    """Return an intrinsic that lists every `BLOCK`-th of `count` entries, from `first` on, that is not 0.

    ``compress(entries, first, count, listed, to) -> length``: the list begins at entry `to` of `listed`, where `count` must have room.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def compress(typingctx, entries, first, count, listed, to):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(dtype, context, b, sig, args)
            const, pair = e.const, e.vector(e.bits, 2)
            source, target = e.data(0, b.mul(args[1], const(2))), e.data(3, b.mul(args[4], const(2)))

            def body(i: Any, carried: list[Any]) -> list[Any]:
                at = b.mul(i, const(2 * BLOCK))
                entry = e.load(pair, source, at, dtype.itemsize)
                e.store(entry, target, b.mul(carried[0], const(2)), dtype.itemsize)
                some = b.icmp_unsigned("!=", e.load(e.bits, source, at, dtype.itemsize), e.ir.Constant(e.bits, 0))
                return [b.add(carried[0], b.zext(some, e.i64))]

            return e.loop(const(0), 1, args[2], [const(0)], body)[1]

        return n(entries, n, n, listed, n), codegen

    return compress


@functools.cache
def scattered_tile(rows: int, vectors: int, lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic that adds a block of x, times a number of its own each time, at the places of a list.

    ``scatter(count, entries, first, x, xo, x_r, y, yo, y_r)``: for the entries (value, place) from `first` on, one after the other,
    y[yo + place + r*y_r + v] += value * x[xo + r*x_r + v] for r < rows and v < vectors * lanes.

    Notes
    -----
    x stays in registers; each vector of y is loaded, changed and stored. Places should be multiples of `lanes`: a vector that lies over two
    which were just stored must wait until they are in the cache.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def scatter(typingctx, count, entries, first, x, xo, x_r, y, yo, y_r):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(dtype, context, b, sig, args)
            count, _, first, _, xo, x_r, _, yo, y_r = args
            vector, size, const = e.vector(e.scalar, lanes), dtype.itemsize, e.const
            name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{lanes}f{8 * size}"
            fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), name)
            numbers, x0, y0 = e.data(1, b.mul(first, const(2))), e.data(3, xo), e.data(6, yo)
            values = b.bitcast(numbers, e.scalar.as_pointer())
            cells = [(r, v) for r in range(rows) for v in range(vectors)]
            block = {(r, v): e.load(vector, x0, b.add(b.mul(x_r, const(r)), const(v * lanes)), size) for r, v in cells}
            lines = [b.gep(y0, [b.mul(y_r, const(r))]) for r in range(rows)]

            def add(i: Any, carried: list[Any]) -> list[Any]:
                at = b.mul(i, const(2))
                value = e.broadcast(b.load(b.gep(values, [at]), align=size), lanes)
                place = b.load(b.gep(numbers, [b.add(at, const(1))]), align=size)
                starts = [b.gep(line, [b.sext(place, e.i64) if size < 8 else place]) for line in lines]
                for r, v in cells:
                    total = b.call(fma, [value, block[r, v], e.load(vector, starts[r], const(v * lanes), size)])
                    e.store(total, starts[r], const(v * lanes), size)
                return []

            e.loop(const(0), 1, count, [], add)
            return context.get_dummy_value()

        return types.void(n, entries, n, x, n, n, y, n, n), codegen

    return scatter


@functools.cache
def pixel_mover(vectors: int, lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic ``move(x, xo, x_step, y, yo, y_step, count)``: y[yo + i*y_step + v] = x[xo + i*x_step + v] for i < count.

    v < vectors * lanes. A loop over slices of few elements would spend its time on making slices.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def move(typingctx, x, xo, x_step, y, yo, y_step, count):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(dtype, context, b, sig, args)
            source, target, vector = e.data(0, args[1]), e.data(3, args[4]), e.vector(e.scalar, lanes)

            def body(i: Any, carried: list[Any]) -> list[Any]:
                for v in range(vectors):
                    part = e.const(v * lanes)
                    pixels = e.load(vector, source, b.add(b.mul(i, args[2]), part), dtype.itemsize)
                    e.store(pixels, target, b.add(b.mul(i, args[5]), part), dtype.itemsize)
                return []

            e.loop(e.const(0), 1, args[6], [], body)
            return context.get_dummy_value()

        return types.void(x, n, n, y, n, n, n), codegen

    return move
