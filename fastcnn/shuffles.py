"""Vectors rearranged, as LLVM vector code: blocks transposed, colours of pixels interleaved, every second element picked."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import machine


@functools.cache
def transpose_block(lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic that transposes a block of `lanes` x `lanes` elements in registers.

    ``transpose(x, xo, x_pitch, y, yo, y_pitch)``: y[yo + j*y_pitch + i] = x[xo + i*x_pitch + j] for i, j < lanes (a power of 2).

    Notes
    -----
    Step s of log2(lanes) exchanges the off-diagonal halves of all 2s x 2s blocks: two shuffles per pair of registers.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    scalar = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}[dtype]
    i32, i64 = ir.IntType(32), ir.IntType(64)
    vector = ir.VectorType(scalar, lanes)

    @intrinsic
    def transpose(typingctx, x, xo, x_pitch, y, yo, y_pitch):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            x, xo, x_pitch, y, yo, y_pitch = args

            def line(position: int, value: Any, offset: Any, pitch: Any, index: int) -> Any:
                base = context.make_array(sig.args[position])(context, b, value).data
                return b.bitcast(b.gep(base, [b.add(offset, b.mul(pitch, ir.Constant(i64, index)))]), vector.as_pointer())

            def shuffle(first: Any, second: Any, picks: list[int]) -> Any:
                return b.shuffle_vector(first, second, ir.Constant(ir.VectorType(i32, lanes), picks))

            rows = [b.load(line(0, x, xo, x_pitch, i), align=dtype.itemsize) for i in range(lanes)]
            step = lanes // 2
            while step:
                upper = [j if not j & step else lanes + j - step for j in range(lanes)]
                lower = [j + step if not j & step else lanes + j for j in range(lanes)]
                for i in range(lanes):
                    if not i & step:
                        first, second = rows[i], rows[i + step]
                        rows[i], rows[i + step] = shuffle(first, second, upper), shuffle(first, second, lower)
                step //= 2
            for i, row in enumerate(rows):
                b.store(row, line(3, y, yo, y_pitch, i), align=dtype.itemsize)
            return context.get_dummy_value()

        return types.void(x, n, n, y, n, n), codegen

    return transpose


@functools.cache
def interleave(lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic ``mix(x, xo, x_pitch, y, yo)``: y[yo + 3*j + c] = x[xo + c*x_pitch + j] for j < lanes and c < 3."""
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    scalar = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}[dtype]
    vector, picks = ir.VectorType(scalar, lanes), ir.VectorType(ir.IntType(32), lanes)

    @intrinsic
    def mix(typingctx, x, xo, x_pitch, y, yo):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            x, xo, x_pitch, y, yo = args
            source, target = (context.make_array(sig.args[i])(context, b, value).data for i, value in ((0, x), (3, y)))

            def at(base: Any, offset: Any, step: Any, index: int) -> Any:
                place = b.add(offset, b.mul(step, ir.Constant(ir.IntType(64), index)))
                return b.bitcast(b.gep(base, [place]), vector.as_pointer())

            red, green, blue = (b.load(at(source, xo, x_pitch, c), align=dtype.itemsize) for c in range(3))
            for part in range(3):
                places = [divmod(part * lanes + lane, 3) for lane in range(lanes)]  # (pixel, plane) of each element
                two = b.shuffle_vector(red, green, ir.Constant(picks, [pixel + lanes * (c % 2) for pixel, c in places]))
                three = [lanes + pixel if c == 2 else lane for lane, (pixel, c) in enumerate(places)]
                pixels = b.shuffle_vector(two, blue, ir.Constant(picks, three))
                b.store(pixels, at(target, yo, ir.Constant(ir.IntType(64), lanes), part), align=dtype.itemsize)
            return context.get_dummy_value()

        return types.void(x, n, n, y, n), codegen

    return mix


@functools.cache
def every_second(lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic ``pick(x, xo, y, yo)``: y[yo + i] = x[xo + 2*i] for i < lanes; reads nothing beyond x[xo + 2*lanes - 2]."""
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    scalar = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}[dtype]
    vector = ir.VectorType(scalar, lanes)

    @intrinsic
    def pick(typingctx, x, xo, y, yo):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            x, xo, y, yo = args

            def at(position: int, value: Any, offset: Any) -> Any:
                return b.bitcast(b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset]), vector.as_pointer())

            low = b.load(at(0, x, xo), align=dtype.itemsize)
            high = b.load(at(0, x, b.add(xo, ir.Constant(ir.IntType(64), lanes - 1))), align=dtype.itemsize)  # one back: to end in time
            picks = [2 * i for i in range(lanes // 2)] + [lanes + 2 * i + 1 for i in range(lanes // 2)]
            even = b.shuffle_vector(low, high, ir.Constant(ir.VectorType(ir.IntType(32), lanes), picks))
            b.store(even, at(2, y, yo), align=dtype.itemsize)
            return context.get_dummy_value()

        return types.void(x, types.int64, y, types.int64), codegen

    return pick
