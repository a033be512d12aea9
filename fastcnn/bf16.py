"""The register tile in bfloat16: products of bfloat16 numbers, sums in float32; a sibling of simd.py, on AMD at twice its peak.

    y[m, v] = start[so + m*start_m + v] + sum over r < R, k < K of  x[xo + m*x_m + r*x_r + k*x_k] . w[wo + r*w_r + k*w_k + v]

`x` and `w` hold *words*: an int32 of two bfloat16, the even term of the reduction in its low half. The dot product of two words is one
lane of `vdpbf16ps` (AVX512_BF16: Zen 4, Cooper Lake, Sapphire Rapids), which takes a word of x for all lanes as simd.tile does a scalar.
What makes a pair is the caller's choice: two channels, two images, two rows.

bfloat16 is a float32 without its last 16 bits: the same range, 8 bits of precision. Each factor is rounded by at most `ROUNDOFF` of itself;
a product of random matrices comes out with a relative error of 2.4e-3 (Frobenius). Conversions round to nearest even; NaN stays NaN, and
what is larger than 3.39e38 becomes Inf. The instructions take subnormal numbers, and make subnormal sums, 0, whatever the state of the
thread.

References: Intel Architecture Instruction Set Extensions, AVX512_BF16; Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training",
arXiv 1905.12322.
"""

from __future__ import annotations

import functools
from typing import Any

from . import machine
from .machine import TileShape

ROUNDOFF = 2.0**-8  # unit roundoff


def unavailable() -> str | None:
    """Return None where this CPU multiplies bfloat16 numbers, else the reason why not, in the words of `refuses`."""
    reason = machine.tiles_available()
    if reason is None and "avx512bf16" not in machine.cpu_features():
        return "this CPU has no AVX512_BF16"
    if reason is None and machine.isa().name != "avx512":
        return f"FASTCNN_ISA is {machine.isa().name}, and bfloat16 products need avx512"
    return reason


@functools.cache
def speed() -> float:
    """Return the rate of products in bfloat16 over that in float32.

    AMD (Zen 4) begins a `vdpbf16ps` as often as a multiply-add, which has half the products. Intel (Sapphire Rapids) has one unit for it
    against two for multiply-adds, and begins one every second cycle: 116 GFLOP/s against 226. The vendor tells them apart, by an
    instruction set that only AMD ever had, at no cost and in every process alike; to measure it would take a compilation.
    """
    return 1.8 if "sse4a" in machine.cpu_features() else 0.5


@functools.cache
def tile(shape: TileShape) -> Any:
    """Return an intrinsic for tiles of 1 to `shape.height` rows, with `shape.lanes` of 4, 8 or 16.

    ``tile(height, x, xo, x_m, x_r, x_k, w, wo, w_r, w_k, start, so, start_m, relu, y, yo, y_m, R, K, ahead)``: as simd.tile; x and w are
    int32 arrays of words, start and y float32; offsets and strides count elements of their arrays. Every step of the reduction asks for the
    line of w that lies `ahead` of its own to come into the L2 cache: those of the next block, say; 0 costs nothing.

    Notes
    -----
    The intrinsic is declared with words for operands, which LLVM before 17 knows and later ones upgrade: no bfloat type is needed.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    i32, i64, f32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
    vector, words = ir.VectorType(f32, shape.lanes), ir.VectorType(i32, shape.lanes)
    dot_name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * shape.lanes}"

    @intrinsic
    def kernel(
        typingctx: Any, height: Any, x: Any, xo: Any, x_m: Any, x_r: Any, x_k: Any, w: Any, wo: Any, w_r: Any, w_k: Any,
        start: Any, so: Any, start_m: Any, relu: Any, y: Any, yo: Any, y_m: Any, R: Any, K: Any, ahead: Any,
    ) -> Any:  # fmt: skip
        n = types.int64
        signature = types.void(n, x, n, n, n, n, w, n, n, n, start, n, n, n, y, n, n, n, n, n)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            height, x, xo, x_m, x_r, x_k, w, wo, w_r, w_k, start, so, start_m, relu, y, yo, y_m, R, K, ahead = args

            def data(position: int, value: Any, offset: Any) -> Any:
                return b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset])

            x0, w0, start0, y0 = data(1, x, xo), data(6, w, wo), data(10, start, so), data(14, y, yo)
            dot = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector, words, words]), dot_name)
            hint = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), i32, i32, i32])
            prefetch = cgutils.get_or_insert_function(b.module, hint, "llvm.prefetch.p0")

            def const(value: int) -> Any:
                return ir.Constant(i64, value)

            def at(base: Any, offset: Any, kind: Any) -> Any:
                return b.bitcast(b.gep(base, [offset]), kind.as_pointer())

            def broadcast(value: Any, kind: Any) -> Any:
                undefined = ir.Constant(kind, ir.Undefined)
                first = b.insert_element(undefined, value, ir.Constant(i32, 0))
                return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(i32, shape.lanes), [0] * shape.lanes))

            def phi(value: Any, block: Any) -> Any:
                node = b.phi(value.type)
                node.add_incoming(value, block)
                return node

            def body(rows: int, after: Any) -> None:
                """Emit the two reduction loops over `rows` x vectors accumulators, then the stores."""
                x_steps = [b.mul(x_m, const(m)) for m in range(rows)]
                cells = [(m, v) for m in range(rows) for v in range(shape.vectors)]
                columns = [const(v * shape.lanes) for v in range(shape.vectors)]
                first = {(m, v): b.load(at(start0, b.add(b.mul(start_m, const(m)), columns[v]), vector), align=4) for m, v in cells}
                for m, v in cells:  # the lines of y are fetched during the sums: 3 % on large images
                    line = at(y0, b.add(b.mul(y_m, const(m)), columns[v]), ir.IntType(8))
                    b.call(prefetch, [line, ir.Constant(i32, 1), ir.Constant(i32, 3), ir.Constant(i32, 1)])
                entry = b.block
                outer, inner, next_r, done = (b.append_basic_block(f"{name}{rows}") for name in ("r", "k", "next", "done"))

                b.branch(outer)
                b.position_at_end(outer)
                r, xr, wr = phi(const(0), entry), phi(x0, entry), phi(w0, entry)
                acc_r = {cell: phi(first[cell], entry) for cell in cells}

                b.branch(inner)
                b.position_at_end(inner)
                k, xk, wk = phi(const(0), outer), phi(xr, outer), phi(wr, outer)
                acc_k = {cell: phi(acc_r[cell], outer) for cell in cells}
                b.call(prefetch, [at(wk, ahead, ir.IntType(8)), ir.Constant(i32, 0), ir.Constant(i32, 2), ir.Constant(i32, 1)])
                weights = [b.load(at(wk, column, words), align=4) for column in columns]
                new = {}
                for m in range(rows):
                    pixel = broadcast(b.load(b.gep(xk, [x_steps[m]]), align=4), words)
                    for v in range(shape.vectors):
                        new[m, v] = b.call(dot, [acc_k[m, v], pixel, weights[v]])
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
                wr.add_incoming(b.gep(wr, [w_r]), next_r)
                for cell in cells:
                    acc_r[cell].add_incoming(new[cell], next_r)
                b.cbranch(b.icmp_signed("<", r_next, R), outer, done)

                b.position_at_end(done)
                # Chosen here, from an integer: a float would take one of the loop's vector registers.
                is_relu = b.icmp_signed("!=", relu, const(0))
                least = broadcast(b.select(is_relu, ir.Constant(ir.FloatType(), 0.0), ir.Constant(ir.FloatType(), float("-inf"))), vector)
                for m, v in cells:
                    low = b.fcmp_ordered(">", least, new[m, v])  # false for NaN, which passes: one vmaxps
                    b.store(b.select(low, least, new[m, v]), at(y0, b.add(b.mul(y_m, const(m)), columns[v]), vector), align=4)
                b.branch(after)

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

    return kernel


@functools.cache
def neighbours() -> Any:
    """Return an intrinsic that rounds a run of floats to words of two neighbours.

    ``neighbours(x, xo, count, y, yo)``: y[yo + i] = (x[xo + 2i], x[xo + 2i + 1]) for 2i < count; an odd count's last word ends in 0.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def kernel(typingctx: Any, x: Any, xo: Any, count: Any, y: Any, yo: Any) -> Any:
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            x, xo, count, y, yo = args
            run = _Run(context, b)
            source, target = run.data(sig.args[0], x, xo), run.data(sig.args[3], y, yo)

            def step(word: Any, left: Any) -> None:
                number = b.mul(word, run.const(2))
                rest = None if left is None else b.sub(count, number)
                low = run.load(source, number, rest)
                high = run.load(source, b.add(number, run.const(16)), None if rest is None else b.sub(rest, run.const(16)))
                run.store(run.rounded(low, high), target, word, left)

            run.over(b.lshr(b.add(count, run.const(1)), run.const(1)), b.lshr(count, run.const(5)), step)
            return context.get_dummy_value()

        return types.void(x, n, n, y, n), codegen

    return kernel


@functools.cache
def pairs() -> Any:
    """Return an intrinsic that rounds two runs of floats to words of one number from each.

    ``pairs(a, ao, b, bo, count, y, yo)``: y[yo + i] = (a[ao + i], b[bo + i]) for i < count.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    interleave = [i // 2 + 16 * (i % 2) for i in range(32)]

    @intrinsic
    def kernel(typingctx: Any, a: Any, ao: Any, b: Any, bo: Any, count: Any, y: Any, yo: Any) -> Any:
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            run = _Run(context, b)
            first, second, target = (run.data(sig.args[i], args[i], args[i + 1]) for i in (0, 2, 5))

            def step(word: Any, left: Any) -> None:
                halves = run.rounded(run.load(first, word, left), run.load(second, word, left))
                order = ir.Constant(ir.VectorType(ir.IntType(32), 32), interleave)
                run.store(b.shuffle_vector(halves, ir.Constant(halves.type, ir.Undefined), order), target, word, left)

            run.over(args[4], b.lshr(args[4], run.const(4)), step)
            return context.get_dummy_value()

        return types.void(a, n, b, n, n, y, n), codegen

    return kernel


@functools.cache
def unpool_quad(paired: bool) -> Any:
    """Return an intrinsic that unpools a 2 x 2 window into words.

    ``unpool(dy, y, winners, first, firsts, second, seconds, out, o0, o1, o2, o3)``: of 32 gradients, dy[first + i] for i < firsts and
    dy[second + i] for i < seconds (16 each at most, the others count as 0), the pixel at out[o0] gets those whose y is not <= 0 and whose
    winner is 0, the one at out[o1] those with 1 ..., all else 0: 16 words each. A word is (first, second) where `paired`, else neighbours.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    order = [i // 2 + 16 * (i % 2) for i in range(32)] if paired else list(range(32))
    i8, i32 = ir.IntType(8), ir.IntType(32)

    @intrinsic
    def kernel(
        typingctx: Any, dy: Any, y: Any, winners: Any, first: Any, firsts: Any, second: Any, seconds: Any,
        out: Any, o0: Any, o1: Any, o2: Any, o3: Any,
    ) -> Any:  # fmt: skip
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            run = _Run(context, b)
            zeros, bytes16, halves = ir.Constant(run.floats, [0.0] * 16), ir.VectorType(i8, 16), ir.VectorType(ir.IntType(16), 32)

            def half(at: Any, count: Any) -> tuple[Any, Any]:
                """Return 16 gradients that passed, and their winners."""
                error, value = (run.load(run.data(sig.args[i], args[i], at), run.const(0), count) for i in (0, 1))
                place = b.bitcast(run.data(sig.args[2], args[2], at), bytes16.as_pointer())
                absent = ir.Constant(bytes16, [0] * 16)
                chosen = run._call("llvm.masked.load.v16i8.p0", bytes16, [place, ir.Constant(i32, 1), run._below(count), absent])
                return b.select(b.fcmp_ordered("<=", value, zeros), zeros, error), chosen

            def ordered(vector: Any, other: Any) -> Any:
                return b.shuffle_vector(vector, other, ir.Constant(ir.VectorType(i32, 32), order))

            (low, chosen_low), (high, chosen_high) = half(args[3], args[4]), half(args[5], args[6])
            rounded = run.rounded(low, high)
            rounded, chosen = ordered(rounded, ir.Constant(halves, ir.Undefined)), ordered(chosen_low, chosen_high)
            for i in range(4):
                here = b.icmp_signed("==", chosen, ir.Constant(ir.VectorType(i8, 32), [i] * 32))
                words = b.select(here, rounded, ir.Constant(halves, [0] * 32))
                run.store(words, run.data(sig.args[7], args[7], args[8 + i]), run.const(0), None)
            return context.get_dummy_value()

        return types.void(dy, y, winners, n, n, n, n, out, n, n, n, n), codegen

    return kernel


class _Run:
    """Emits a loop over a run of words, 16 at a time, and once more with masks for what is left."""

    def __init__(self, context: Any, builder: Any) -> None:
        from llvmlite import ir
        from numba.core import cgutils

        self.context, self.b, self.ir, self.cgutils = context, builder, ir, cgutils
        self.i32, self.i64 = ir.IntType(32), ir.IntType(64)
        self.floats, self.words = ir.VectorType(ir.FloatType(), 16), ir.VectorType(self.i32, 16)
        self.mask = ir.VectorType(ir.IntType(1), 16)

    def const(self, value: int) -> Any:
        return self.ir.Constant(self.i64, value)

    def data(self, kind: Any, array: Any, offset: Any) -> Any:
        return self.b.gep(self.context.make_array(kind)(self.context, self.b, array).data, [offset])

    def over(self, words: Any, whole: Any, step: Any) -> None:
        """Call step(first word, None) for `whole` vectors, then step(first word, words left) where words are left."""
        b = self.b
        with self.cgutils.for_range(b, whole) as loop:
            step(b.shl(loop.index, self.const(4)), None)
        done = b.shl(whole, self.const(4))
        with self.cgutils.if_likely(b, b.icmp_signed("<", done, words)):
            step(done, b.sub(words, done))

    def load(self, base: Any, offset: Any, left: Any) -> Any:
        """Load 16 floats; of those beyond `left` none is touched, and 0 returned."""
        pointer = self._at(base, offset, self.floats)
        if left is None:
            return self.b.load(pointer, align=4)
        zero = self.ir.Constant(self.floats, [0.0] * 16)
        return self._call("llvm.masked.load.v16f32.p0", self.floats, [pointer, self.ir.Constant(self.i32, 4), self._below(left), zero])

    def store(self, words: Any, base: Any, offset: Any, left: Any) -> None:
        value, pointer = self.b.bitcast(words, self.words), self._at(base, offset, self.words)
        if left is None:
            self.b.store(value, pointer, align=4)
        else:
            arguments = [value, pointer, self.ir.Constant(self.i32, 4), self._below(left)]
            self._call("llvm.masked.store.v16i32.p0", self.ir.VoidType(), arguments)

    def rounded(self, low: Any, high: Any) -> Any:
        """Return 32 bfloat16 (as i16): the 16 of `low`, then those of `high`."""
        return self._call("llvm.x86.avx512bf16.cvtne2ps2bf16.512", self.ir.VectorType(self.ir.IntType(16), 32), [high, low])

    def _at(self, base: Any, offset: Any, kind: Any) -> Any:
        return self.b.bitcast(self.b.gep(base, [offset]), kind.as_pointer())

    def _below(self, left: Any) -> Any:
        """Return the mask of the lanes below `left`."""
        ir, b, wide = self.ir, self.b, self.ir.VectorType(self.i64, 16)
        undefined = ir.Constant(wide, ir.Undefined)
        first = b.insert_element(undefined, left, ir.Constant(self.i32, 0))
        spread = b.shuffle_vector(first, undefined, ir.Constant(self.words, [0] * 16))
        return b.icmp_signed("<", ir.Constant(wide, list(range(16))), spread)

    def _call(self, name: str, returned: Any, arguments: list[Any]) -> Any:
        kind = self.ir.FunctionType(returned, [argument.type for argument in arguments])
        return self.b.call(self.cgutils.get_or_insert_function(self.b.module, kind, name), arguments)
