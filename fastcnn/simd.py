"""The register tile: the one piece of arithmetic under every fast kernel, emitted as LLVM vector code.

    y[m, v] = start[so + m*start_m + v] + sum over r < R, k < K of  x[xo + m*x_m + r*x_r + k*x_k] * w[wo + r*w_r + k*w_k + v]

`x` is read one scalar at a time and broadcast, `w` as `vectors` vectors of `lanes` elements; the height x vectors accumulators
stay in registers for the whole reduction. Only the strides and the loops around the tile change with its use:

    =================  =======================  ============================  ================================
    use                m (rows)                 r, k (reduction)              v (vector lanes)
    =================  =======================  ============================  ================================
    forward            pixels of an image row   kernel row; kernel column, C  output channels (packed weights)
    backward-input     pixels of an image row   the same on dy                input channels (flipped weights)
    backward-weight    kernel column, C         output row; output column     output channels (rows of dy)
    =================  =======================  ============================  ================================

Plain Numba loops leave this to LLVM's vectoriser and reach 1-25 % of the machine's peak; the tile reaches it.
References: Van Zee & van de Geijn, "BLIS" (2015), section 4; Georganas et al., arXiv 1808.05567, section II.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from . import machine
from .machine import TileShape

_LINE = 64  # bytes
_WEIGHTS_AHEAD = 16  # steps of a sum whose weights are asked for: they come from L2, where sums are long. 1.1 to 1.5 times as fast


@functools.cache
def tile(shape: TileShape, dtype: np.dtype, adds: bool = False) -> Any:
    """Return an intrinsic for tiles of 1 to `shape.height` rows.

    ``tile(height, x, xo, x_m, x_r, x_k, w, wo, w_r, w_k, start, so, start_m, relu, y, yo, y_m, R, K)``: offsets and strides count
    elements; R and K must be at least 1; `relu` 1 stores max(0, .), which NaN passes, 2 also min(6, .), 0 the sums. Writes
    y[yo + m*y_m + v] for m < height and v < shape.block, and touches nothing else.

    `start` is a bias, the same for every row (start_m = 0), or y itself (start_m = y_m), which accumulates. It is added at the end: a
    gradient summed over 100,000 pixels in many calls rounds as the sum of these calls' sums does, five times less than one long sum.

    One that `adds` has five more parameters, ``add, other, oo, far, far_k``: where add is 1, other[oo + m*y_m + v] is added before it is
    limited; and what lies at the address far + i*far_k, in bytes, is asked for in step i of the sum, for tiles to come.

    Notes
    -----
    A switch picks one of `shape.height` unrolled bodies, so that a row of 13 pixels is 7 + 6 with no remainder loop.

    It reads the elements that the sum above names and no others, whole vectors of `w`, `start` and `other` among them: who calls it sees to
    it that v < shape.block lies inside of them, and writes beside it why. Only what is fetched ahead may lie anywhere.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    scalar = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}[dtype]
    i32, i64 = ir.IntType(32), ir.IntType(64)
    vector = ir.VectorType(scalar, shape.lanes)
    fma_name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{shape.lanes}f{8 * dtype.itemsize}"

    def typed(x: Any, w: Any, start: Any, y: Any, *other: Any) -> tuple[Any, Any]:
        n = types.int64
        residual = (n, *other, n, n, n) if other else ()
        signature = types.void(n, x, n, n, n, n, w, n, n, n, start, n, n, n, y, n, n, n, n, *residual)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            height, x, xo, x_m, x_r, x_k, w, wo, w_r, w_k, start, so, start_m, relu, y, yo, y_m, R, K, *residual = args

            def data(position: int, value: Any, offset: Any) -> Any:
                return b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset])

            x0, w0, y0 = data(1, x, xo), data(6, w, wo), data(14, y, yo)
            start0 = data(10, start, so)
            other0 = data(20, *residual[1:3]) if residual else None
            far0 = b.inttoptr(residual[3], ir.IntType(8).as_pointer()) if residual else None
            fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), fma_name)
            pointer = ir.IntType(8).as_pointer()
            prefetch_type = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
            prefetch = cgutils.get_or_insert_function(b.module, prefetch_type, "llvm.prefetch.p0")

            def const(value: int) -> Any:
                return ir.Constant(i64, value)

            def opaque(value: Any) -> Any:
                """Return the value as one that LLVM knows nothing about."""
                return b.asm(ir.FunctionType(i64, [i64]), "", "=r,0", [value], False)

            def fetch(address: Any, for_writing: bool, level: int = 1) -> None:
                line = b.bitcast(address, pointer)
                b.call(prefetch, [line, *(ir.Constant(i32, value) for value in (int(for_writing), 4 - level, 1))])  # data

            def vector_at(base: Any, offset: Any) -> Any:
                return b.bitcast(b.gep(base, [offset]), vector.as_pointer())

            def load_vector(base: Any, offset: Any) -> Any:
                return b.load(vector_at(base, offset), align=dtype.itemsize)

            def broadcast(value: Any) -> Any:
                undefined = ir.Constant(vector, ir.Undefined)
                first = b.insert_element(undefined, value, ir.Constant(i32, 0))
                return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(i32, shape.lanes), [0] * shape.lanes))

            def phi(value: Any, block: Any) -> Any:
                node = b.phi(value.type)
                node.add_incoming(value, block)
                return node

            def body(rows: int, after: Any) -> None:
                """Emit the two reduction loops over `rows` x vectors accumulators, then the stores."""
                # Left to itself LLVM finds each row's address from the one before: 14 additions per step of the sum, some of which run
                # where the multiply-adds do. With odd multiples that it cannot see through, loads need none: 174 -> 198 GFLOP/s.
                odd_steps = {m: opaque(b.mul(x_m, const(m * dtype.itemsize))) for m in range(1, rows, 2)}
                shifts = {m: (m & -m).bit_length() - 1 for m in range(1, rows)}
                steps = {m: b.shl(odd_steps[m >> shift], const(shift)) for m, shift in shifts.items()}
                y_steps = [b.mul(y_m, const(m)) for m in range(rows)]
                cells = [(m, v) for m in range(rows) for v in range(shape.vectors)]
                columns = [const(v * shape.lanes) for v in range(shape.vectors)]
                lines = [column for v, column in enumerate(columns) if v * shape.lanes * dtype.itemsize % _LINE == 0]
                first = {cell: ir.Constant(vector, [0.0] * shape.lanes) for cell in cells}
                entry = b.block
                outer, inner, next_r, done = (b.append_basic_block(f"{name}{rows}") for name in ("r", "k", "next", "done"))

                # The lines to be written come from memory while the sums are made: 5-20 % of large outputs.
                for place in [b.add(y_step, column) for y_step in y_steps for column in lines]:
                    fetch(b.gep(y0, [place]), for_writing=True)
                    if other0 is not None:
                        fetch(b.gep(other0, [place]), for_writing=False)
                b.branch(outer)
                b.position_at_end(outer)
                r, xr, wr = phi(const(0), entry), phi(x0, entry), phi(w0, entry)
                acc_r = {cell: phi(first[cell], entry) for cell in cells}
                far_r = phi(far0, entry) if far0 is not None else None

                b.branch(inner)
                b.position_at_end(inner)
                k, xk, wk = phi(const(0), outer), phi(xr, outer), phi(wr, outer)
                acc_k = {cell: phi(acc_r[cell], outer) for cell in cells}
                if far_r is not None:
                    far_k = phi(far_r, outer)
                    fetch(far_k, for_writing=False, level=2)
                    far_next = b.gep(far_k, [residual[4]])
                    far_k.add_incoming(far_next, inner)
                weights = [load_vector(wk, column) for column in columns]
                ahead = b.mul(w_k, const(_WEIGHTS_AHEAD))  # no address is wrong
                for column in lines:
                    fetch(b.gep(wk, [b.add(ahead, column)]), for_writing=False)
                new = {}
                for m in range(rows):
                    at = b.bitcast(b.gep(b.bitcast(xk, pointer), [steps[m]]), xk.type) if m else xk
                    pixel = broadcast(b.load(at, align=dtype.itemsize))
                    for v in range(shape.vectors):
                        new[m, v] = b.call(fma, [pixel, weights[v], acc_k[m, v]])
                k_next = b.add(k, const(1))
                k.add_incoming(k_next, inner)
                xk.add_incoming(b.gep(xk, [x_k]), inner)
                wk.add_incoming(b.gep(wk, [w_k]), inner)
                for cell in cells:
                    acc_k[cell].add_incoming(new[cell], inner)
                b.cbranch(b.icmp_signed("<", k_next, K), inner, next_r)

                b.position_at_end(next_r)
                r_next = b.add(r, const(1))
                r.add_incoming(r_next, next_r)
                xr.add_incoming(b.gep(xr, [x_r]), next_r)
                if far_r is not None:
                    far_r.add_incoming(far_next, next_r)
                wr.add_incoming(b.gep(wr, [w_r]), next_r)
                for cell in cells:
                    acc_r[cell].add_incoming(new[cell], next_r)
                b.cbranch(b.icmp_signed("<", r_next, R), outer, done)

                b.position_at_end(done)
                # Chosen here, from an integer: a float would take one of the loop's vector registers.
                is_relu = b.icmp_signed("!=", relu, const(0))
                least = broadcast(b.select(is_relu, ir.Constant(scalar, 0.0), ir.Constant(scalar, float("-inf"))))
                is_relu6 = b.icmp_signed("==", relu, const(2))
                most = broadcast(b.select(is_relu6, ir.Constant(scalar, 6.0), ir.Constant(scalar, float("inf"))))

                def store(more: Any) -> None:
                    for m, v in cells:
                        store_cell(m, v, more)
                    b.branch(after)

                def store_cell(m: int, v: int, more: Any) -> None:
                    total = b.fadd(load_vector(start0, b.add(b.mul(start_m, const(m)), columns[v])), new[m, v])
                    if more is not None:
                        total = b.fadd(total, load_vector(more, b.add(y_steps[m], columns[v])))
                    low = b.fcmp_ordered(">", least, total)  # false for NaN, which passes: one vmaxps
                    total = b.select(low, least, total)
                    total = b.select(b.fcmp_ordered("<", most, total), most, total)
                    b.store(total, vector_at(y0, b.add(y_steps[m], columns[v])), align=dtype.itemsize)

                if other0 is not None:
                    sums, plain = b.append_basic_block(f"add{rows}"), b.append_basic_block(f"plain{rows}")
                    b.cbranch(b.icmp_signed("!=", residual[0], const(0)), sums, plain)
                    b.position_at_end(sums)
                    store(other0)
                    b.position_at_end(plain)
                store(None)

            after = b.append_basic_block("after")
            choice = b.switch(height, after)
            for rows in range(1, shape.height + 1):
                block = b.append_basic_block(f"rows{rows}")
                choice.add_case(const(rows), block)
                b.position_at_end(block)
                body(rows, after)
            b.position_at_end(after)
            return context.get_dummy_value()

        return signature, codegen

    if adds:

        @intrinsic
        def adding_kernel(
            typingctx, height, x, xo, x_m, x_r, x_k, w, wo, w_r, w_k, start, so, start_m, relu, y, yo, y_m, R, K, add, other, oo,
            far, far_k,
        ):  # fmt: skip
            return typed(x, w, start, y, other)

        return adding_kernel

    @intrinsic
    def kernel(typingctx, height, x, xo, x_m, x_r, x_k, w, wo, w_r, w_k, start, so, start_m, relu, y, yo, y_m, R, K):
        return typed(x, w, start, y)

    return kernel


@functools.cache
def prefetch(for_writing: bool, level: int = 1) -> Any:
    """Return an intrinsic ``fetch(x, first, step, count)``: ask for the cache lines of x[first + i*step], i < count; no address is wrong.

    `level` is the cache that they come into: 2 for more lines at a time than L1 can wait for.
    A kernel that reads several rows of pixels at once, vector after vector, follows too many short streams for the hardware to foresee.
    Asking for the next row, a row ahead, made depthwise convolutions of maps that come from memory 2 to 3 times faster.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def fetch(typingctx, x, first, step, count):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
            start = b.gep(context.make_array(sig.args[0])(context, b, args[0]).data, [args[1]])
            function = cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32]), "llvm.prefetch.p0")
            with cgutils.for_range(b, args[3]) as loop:
                address = b.bitcast(b.gep(start, [b.mul(loop.index, args[2])]), byte)
                b.call(function, [address, ir.Constant(i32, int(for_writing)), ir.Constant(i32, 4 - level), ir.Constant(i32, 1)])
            return context.get_dummy_value()

        return types.void(x, types.int64, types.int64, types.int64), codegen

    return fetch


@functools.cache
def correlation_tile(taps: int, height: int, lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic for the scalar products of 1 to `height` lines with `taps` others, in vector lanes.

    ``correlate(rows, x, xo, x_s, y, yo, y_m, steps, total, to)``: with i over steps x lanes elements, adds the sums of
    x[xo + s*x_s + i] * y[yo + m*y_m + i] to total[to + (m*taps + s)*lanes + i % lanes] for m < rows and s < taps; steps >= 1.

    Notes
    -----
    The reduction runs along the vectors, so that planes need no transposition; the lanes of `total` are summed once, at the very end.
    Sums start from 0 and are added to `total` when they are complete, as `tile` does for its accuracy.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    scalar = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}[dtype]
    i64, vector = ir.IntType(64), ir.VectorType(scalar, lanes)
    fma_name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{lanes}f{8 * dtype.itemsize}"

    @intrinsic
    def correlate(typingctx, rows, x, xo, x_s, y, yo, y_m, steps, total, to):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            rows, x, xo, x_s, y, yo, y_m, steps, total, to = args
            fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), fma_name)

            def data(position: int, value: Any, offset: Any) -> Any:
                return b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset])

            def const(value: int) -> Any:
                return ir.Constant(i64, value)

            def vector_at(base: Any, offset: Any) -> Any:
                return b.bitcast(b.gep(base, [offset]), vector.as_pointer())

            def load(base: Any, offset: Any) -> Any:
                return b.load(vector_at(base, offset), align=dtype.itemsize)

            x0, y0, total0 = data(1, x, xo), data(4, y, yo), data(8, total, to)

            def body(height: int, after: Any) -> None:
                cells = [(m, s) for m in range(height) for s in range(taps)]
                entry, loop, done = b.block, b.append_basic_block(f"loop{height}"), b.append_basic_block(f"done{height}")
                b.branch(loop)
                b.position_at_end(loop)
                i = b.phi(i64)
                i.add_incoming(const(0), entry)
                sums = {cell: b.phi(vector) for cell in cells}
                for node in sums.values():
                    node.add_incoming(ir.Constant(vector, [0.0] * lanes), entry)
                at = b.mul(i, const(lanes))
                shifted = [load(x0, b.add(at, b.mul(x_s, const(s)))) for s in range(taps)]
                new = {}
                for m in range(height):
                    line = load(y0, b.add(at, b.mul(y_m, const(m))))
                    for s in range(taps):
                        new[m, s] = b.call(fma, [line, shifted[s], sums[m, s]])
                i_next = b.add(i, const(1))
                i.add_incoming(i_next, loop)
                for cell in cells:
                    sums[cell].add_incoming(new[cell], loop)
                b.cbranch(b.icmp_signed("<", i_next, steps), loop, done)
                b.position_at_end(done)
                for m, s in cells:
                    place = const((m * taps + s) * lanes)
                    b.store(b.fadd(load(total0, place), new[m, s]), vector_at(total0, place), align=dtype.itemsize)
                b.branch(after)

            after = b.append_basic_block("after")
            choice = b.switch(rows, after)
            for height_ in range(1, height + 1):
                block = b.append_basic_block(f"rows{height_}")
                choice.add_case(const(height_), block)
                b.position_at_end(block)
                body(height_, after)
            b.position_at_end(after)
            return context.get_dummy_value()

        return types.void(n, x, n, n, y, n, n, n, total, n), codegen

    return correlate


@functools.cache
def pool_quad(lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic that pools a 2 x 2 window of `lanes` channels, raised to 0, in registers.

    ``pool(x, upper, lower, pixel, y, winners, to)``: y[to + v] = max(0, x[upper + v], x[upper + pixel + v], x[lower + v],
    x[lower + pixel + v]) for v < lanes, and winners[to + v] which of the four it was, 0 where none is positive. NaN wins over numbers.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    scalar = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}[dtype]
    vector, places = ir.VectorType(scalar, lanes), ir.VectorType(ir.IntType(8), lanes)

    @intrinsic
    def pool(typingctx, x, upper, lower, pixel, y, winners, to):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            x, upper, lower, pixel, y, winners, to = args

            def at(position: int, value: Any, offset: Any, kind: Any) -> Any:
                return b.bitcast(b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset]), kind.as_pointer())

            best, place = ir.Constant(vector, [0.0] * lanes), ir.Constant(places, [0] * lanes)
            for i, offset in enumerate((upper, b.add(upper, pixel), lower, b.add(lower, pixel))):
                value = b.load(at(0, x, offset, vector), align=dtype.itemsize)
                better = b.or_(b.fcmp_ordered(">", value, best), b.fcmp_unordered("uno", value, value))
                best, place = b.select(better, value, best), b.select(better, ir.Constant(places, [i] * lanes), place)
            b.store(best, at(4, y, to, vector), align=dtype.itemsize)
            b.store(place, at(5, winners, to, places), align=1)
            return context.get_dummy_value()

        return types.void(x, n, n, n, y, winners, n), codegen

    return pool


@functools.cache
def two_sided(matrix: tuple[tuple[float, ...], ...], lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic for Y = max(floor, M X M' + start), one small matrix product on either side, in `lanes` vector lanes at once.

    ``transform(x, xo, x_row, x_column, start, so, floor, y, yo, y_row, y_column)``: reads x[xo + i*x_row + j*x_column + lane] for
    i, j < columns of M, writes y[yo + i*y_row + j*y_column + lane] for i, j < rows of M; start[so + lane] is added to each element.

    Notes
    -----
    The transforms of Winograd's algorithm: M is constant, so zeros cost nothing, ones an addition, and what two rows (or columns) share
    up to alternating signs is computed once. Everything stays in registers, as far as there are enough.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    scalar = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}[dtype]
    scalar_type = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}[dtype]
    vector = ir.VectorType(scalar, lanes)
    fma_name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{lanes}f{8 * dtype.itemsize}"
    M = np.array(matrix)

    @intrinsic
    def transform(typingctx, x, xo, x_row, x_column, start, so, floor, y, yo, y_row, y_column):
        n = types.int64
        signature = types.void(x, n, n, n, start, n, floor, y, n, n, n)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            x, xo, x_row, x_column, start, so, floor, y, yo, y_row, y_column = args
            fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), fma_name)

            def at(position: int, value: Any, first: Any, *steps: tuple[Any, int]) -> Any:
                offset = first
                for stride, index in steps:
                    offset = b.add(offset, b.mul(stride, ir.Constant(ir.IntType(64), index)))
                base = context.make_array(sig.args[position])(context, b, value).data
                return b.bitcast(b.gep(base, [offset]), vector.as_pointer())

            def dot(coefficients: Any, values: list[Any]) -> Any:
                """Return the sum of coefficients times values, None where all are zero."""
                total = None
                for c, value in sorted(
                    ((float(c), v) for c, v in zip(coefficients, values, strict=True)), key=lambda term: abs(term[0]) != 1
                ):
                    if c == 0 or value is None:
                        continue
                    if total is None:
                        total = value if c == 1 else b.fneg(value) if c == -1 else b.fmul(ir.Constant(vector, [c] * lanes), value)
                    elif abs(c) == 1:
                        total = b.fadd(total, value) if c == 1 else b.fsub(total, value)
                    else:
                        total = b.call(fma, [ir.Constant(vector, [c] * lanes), value, total])
                return total

            def apply(values: list[Any]) -> list[Any]:
                """Return M values, sharing what `_paired` rows and columns have in common."""
                columns, coefficients = list(values), M.copy()
                for i, j in _paired(M.T):
                    alike, opposed = columns[i], columns[j]
                    columns[i], columns[j] = b.fadd(alike, opposed), b.fsub(alike, opposed)
                    same = np.isclose(M[:, i], M[:, j])
                    coefficients[:, i], coefficients[:, j] = np.where(same, M[:, i], 0), np.where(same, 0, M[:, i])
                result: list[Any] = [None] * len(M)
                if not _paired(M.T):
                    for i, j in _paired(M):
                        same = np.isclose(M[i], M[j])
                        even, odd = dot(np.where(same, M[i], 0), values), dot(np.where(same, 0, M[i]), values)
                        result[i], result[j] = b.fadd(even, odd), b.fsub(even, odd)
                return [dot(row, columns) if done is None else done for row, done in zip(coefficients, result, strict=True)]

            rows, width = M.shape
            grid = [[b.load(at(0, x, xo, (x_row, i), (x_column, j)), align=dtype.itemsize) for j in range(width)] for i in range(width)]
            half = [apply([grid[i][j] for i in range(width)]) for j in range(width)]  # half[j][i]: columns transformed
            added = b.load(at(4, start, so), align=dtype.itemsize)
            undefined = ir.Constant(vector, ir.Undefined)
            first = b.insert_element(undefined, context.cast(b, floor, sig.args[6], scalar_type), ir.Constant(ir.IntType(32), 0))
            least = b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))
            for i in range(rows):
                for j, value in enumerate(apply([half[column][i] for column in range(width)])):
                    total = b.fadd(value, added)
                    total = b.select(b.fcmp_ordered(">", least, total), least, total)
                    b.store(total, at(7, y, yo, (y_row, i), (y_column, j)), align=dtype.itemsize)
            return context.get_dummy_value()

        return signature, codegen

    return transform


def _paired(M: np.ndarray) -> list[tuple[int, int]]:
    """Return the rows (i, i + 1) whose elements differ in sign at most, in some and not in all places."""
    pairs, i = [], 0
    while i + 1 < len(M):
        same, opposed = np.isclose(M[i], M[i + 1]), np.isclose(M[i], -M[i + 1])
        nonzero = ~np.isclose(M[i], 0)
        if (same | opposed).all() and (same & nonzero).any() and (opposed & nonzero).any():
            pairs.append((i, i + 1))
            i += 1
        i += 1
    return pairs


@functools.cache
def array_at(dtype: np.dtype) -> Any:
    """Return a function ``at(address, size)`` for kernels: the `size` elements at an address as an array, without a copy.

    A kernel that takes addresses serves any number of arrays with one compilation; as a tuple each number would be a type of its own.
    Whoever passes addresses keeps the arrays behind them alive until the kernel returns.
    """
    if machine.jit_is_disabled():

        def plain(address: int, size: int) -> np.ndarray:
            memory: Any = (ctypes.c_char * (int(size) * dtype.itemsize)).from_address(int(address))
            return np.frombuffer(memory, dtype)

        return plain
    machine.numba()
    from numba import from_dtype
    from numba.core import cgutils, types
    from numba.extending import intrinsic
    from numba.np.arrayobj import populate_array

    array = types.Array(from_dtype(dtype), 1, "C")

    @intrinsic
    def at(typingctx, address, size):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            out = context.make_array(array)(context, b)
            step = context.get_constant(types.intp, dtype.itemsize)
            data, shape, strides = b.inttoptr(args[0], out.data.type), cgutils.pack_array(b, [args[1]]), cgutils.pack_array(b, [step])
            populate_array(out, data=data, shape=shape, strides=strides, itemsize=step, meminfo=None)  # nobody counts references
            return out._getvalue()

        return array(types.int64, types.int64), codegen

    return at


@functools.cache
def float_of_bits() -> Any:
    """Return a function for kernels that reads 32 bits, given as an int32, as a float32."""
    if machine.jit_is_disabled():
        return lambda bits: np.int32(bits).view(np.float32)
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def read(typingctx, bits):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            return b.bitcast(args[0], ir.FloatType())

        return types.float32(types.int32), codegen

    return read
