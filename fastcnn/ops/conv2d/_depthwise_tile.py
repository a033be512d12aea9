"""Register tiles of depthwise convolution, emitted as LLVM vector code: a run of output positions slides over its taps.

One axis of the image is the *slide*: a run of `m` output positions is kept in registers, each input position `j` is loaded once and meets
every tap `t` that joins it to an output of the run. The other axis is the *cross*: its taps `u` are looped over. `pairs` says who meets
whom; everything is unrolled, so the table costs nothing::

    forward          j = m*stride + t                 y[m]  += x[j]  * w[t]
    backward-input   m + phase = j*stride + t         dx[m] += dy[j] * w[t]
    backward-weight  j = m*stride + t                 dw[t] += x[j]  * dy[m]

The vector lies along whichever axis is contiguous in memory:

    =============  =============  ==============  =======================  ==================================
    memory         lanes          slide           weights                  rim of the image
    =============  =============  ==============  =======================  ==================================
    channels-last  channels       columns, taps   vectors                  a pixel is loaded, or a vector of
                                  S               (packed R, S, C)         zeros at another address
    planes (NCHW)  columns        rows, taps R    scalars, broadcast       lanes are masked, rows as above
    =============  =============  ==============  =======================  ==================================
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ... import machine


class Tile(NamedTuple):
    """What a tile is unrolled for.

    Parameters
    ----------
    lanes : int
    height : int
        Output positions of the longest run.
    taps : int
        Of the slide axis.
    stride : int
        Of the slide axis.
    transposed : bool
        Backward-input: outputs are `stride` times as dense as inputs.
    phase : int
        (first output of a run + padding) % stride, when transposed.
    looped : bool
        The taps of the slide axis are a loop too, and `taps` is 1: for dilation and for kernels too wide to unroll.
    rim : int
        So many input positions at either end of a run may lie outside of the image.
    planes : bool
        Lanes are columns.
    cross : int
        Taps of the cross axis where they are unrolled (planes, and weight gradients); 0 for a loop.
    cross_stride : int
        Of the columns, 1 or 2 (planes).
    cross_phase : int
        The same as `phase`, of the columns (planes).
    """

    lanes: int
    height: int
    taps: int
    stride: int = 1
    transposed: bool = False
    phase: int = 0
    looped: bool = False
    rim: int = 0
    planes: bool = False
    cross: int = 0
    cross_stride: int = 1
    cross_phase: int = 0

    def pairs(self, length: int) -> dict[int, list[tuple[int, int]]]:
        """Return {input position j: [(output m, tap t), ...]} of a run of `length` outputs, j counted from that of output 0."""
        found: dict[int, list[tuple[int, int]]] = {}
        for m in range(length):
            for t in range(self.taps):
                j, rest = divmod(m + self.phase - t, self.stride) if self.transposed else (m * self.stride + t, 0)
                if rest == 0:
                    found.setdefault(j, []).append((m, t))
        return dict(sorted(found.items()))

    def inputs(self, length: int) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
        """Yield (input position j, whether it may be outside of the image, its pairs)."""
        pairs = self.pairs(length)
        for place, (j, partners) in enumerate(pairs.items()):
            yield j, min(place, len(pairs) - 1 - place) < self.rim, partners

    @property
    def phases(self) -> int:
        """Vectors of output columns that lie interleaved in memory."""
        return self.cross_stride if self.planes and self.transposed else 1

    @property
    def span(self) -> int:
        """Elements of the output that one position of a run covers."""
        return self.lanes * self.phases


class _Emitter:
    """Vector instructions of one element type and number of lanes."""

    def __init__(self, builder: Any, lanes: int, dtype: np.dtype) -> None:
        from llvmlite import ir
        from numba.core import cgutils

        self.ir, self.cgutils, self.b = ir, cgutils, builder
        self.lanes, self.align, self.bits = lanes, dtype.itemsize, 8 * dtype.itemsize
        self.scalar = ir.FloatType() if dtype == np.float32 else ir.DoubleType()
        self.vector, self.mask = ir.VectorType(self.scalar, lanes), ir.VectorType(ir.IntType(1), lanes)
        self.i32, self.i64 = ir.IntType(32), ir.IntType(64)
        self.indices = ir.VectorType(self.i64 if self.bits == 64 else self.i32, lanes)
        self.nothing = ir.Constant(self.vector, None)

    def const(self, value: int) -> Any:
        return self.ir.Constant(self.i64, value)

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        return self.cgutils.get_or_insert_function(self.b.module, self.ir.FunctionType(result, arguments), name)

    def fma(self, x: Any, w: Any, total: Any) -> Any:
        name = f"llvm.{'fma' if machine.has_fma() else 'fmuladd'}.v{self.lanes}f{self.bits}"
        return self.b.call(self.function(name, self.vector, *[self.vector] * 3), [x, w, total])

    def zeros(self) -> Any:
        """Return the address of a vector of zeros (two, for loads that read both parities)."""
        kind = self.ir.ArrayType(self.scalar, 2 * self.lanes)
        value = self.cgutils.global_constant(self.b.module, f"zeros{self.lanes}f{self.bits}", self.ir.Constant(kind, None))
        return self.b.bitcast(value, self.scalar.as_pointer())

    def at(self, base: Any, *steps: Any) -> Any:
        for step in steps:
            base = self.b.gep(base, [step])
        return base

    def walk(self, base: Any, step: Any) -> Callable[[int], Any]:
        """Return a function that gives base + i*step for rising i, by additions: multiples would fill the registers."""
        here: dict[int, Any] = {}

        def to(i: int) -> Any:
            if not here:
                here[i] = self.at(base, self.b.mul(step, self.const(i))) if i else base
            last = max(here)
            for place in range(last, i):
                here[place + 1] = self.at(here[place], step)
            return here[i]

        return to

    def load(self, address: Any) -> Any:
        return self.b.load(self.b.bitcast(address, self.vector.as_pointer()), align=self.align)

    def store(self, value: Any, address: Any) -> None:
        self.b.store(value, self.b.bitcast(address, self.vector.as_pointer()), align=self.align)

    def broadcast(self, value: Any, kind: Any = None) -> Any:
        kind = kind or self.vector
        undefined = self.ir.Constant(kind, self.ir.Undefined)
        first = self.b.insert_element(undefined, value, self.ir.Constant(self.i32, 0))
        return self.b.shuffle_vector(first, undefined, self.ir.Constant(self.ir.VectorType(self.i32, self.lanes), [0] * self.lanes))

    def shuffle(self, first: Any, second: Any, picks: list[int]) -> Any:
        return self.b.shuffle_vector(first, second, self.ir.Constant(self.ir.VectorType(self.i32, self.lanes), picks))

    def within(self, first: Any, size: Any) -> Any:
        """Return the mask of lanes i with 0 <= first + i < size."""
        width = self.indices.element
        if self.bits != 64:
            first, size = self.b.trunc(first, width), self.b.trunc(size, width)
        lanes = self.ir.Constant(self.indices, list(range(self.lanes)))
        return self.b.icmp_unsigned("<", self.b.add(self.broadcast(first, self.indices), lanes), self.broadcast(size, self.indices))

    def is_within(self, position: Any, size: Any) -> Any:
        return self.b.icmp_unsigned("<", position, size)

    def masked_load(self, address: Any, mask: Any) -> Any:
        pointer = self.vector.as_pointer()
        name = f"llvm.masked.load.v{self.lanes}f{self.bits}.p0"
        function = self.function(name, self.vector, pointer, self.i32, self.mask, self.vector)
        return self.b.call(function, [self.b.bitcast(address, pointer), self.ir.Constant(self.i32, self.align), mask, self.nothing])

    def masked_store(self, value: Any, address: Any, mask: Any) -> None:
        pointer = self.vector.as_pointer()
        name = f"llvm.masked.store.v{self.lanes}f{self.bits}.p0"
        function = self.function(name, self.ir.VoidType(), self.vector, pointer, self.i32, self.mask)
        self.b.call(function, [value, self.b.bitcast(address, pointer), self.ir.Constant(self.i32, self.align), mask])

    def phi(self, value: Any, block: Any) -> Any:
        node = self.b.phi(value.type)
        node.add_incoming(value, block)
        return node

    def switch(self, choice: Any, cases: range, body: Callable[[int], None]) -> None:
        """Emit `body(case)` for every case of `choice`."""
        after = self.b.append_basic_block("after")
        switch = self.b.switch(choice, after)
        for case in cases:
            block = self.b.append_basic_block(f"case{case}")
            switch.add_case(self.const(case), block)
            self.b.position_at_end(block)
            body(case)
            self.b.branch(after)
        self.b.position_at_end(after)

    def loop(self, count: Any, state: list[Any], body: Callable[[list[Any]], list[Any]], may_be_empty: bool = False) -> list[Any]:
        """Emit `for _ in range(count): state = body(state)` and return the state after it."""
        entry = self.b.block
        head, done = self.b.append_basic_block("loop"), self.b.append_basic_block("done")
        if may_be_empty:
            self.b.cbranch(self.b.icmp_signed(">", count, self.const(0)), head, done)
        else:
            self.b.branch(head)
        self.b.position_at_end(head)
        i, now = self.phi(self.const(0), entry), [self.phi(value, entry) for value in state]
        after = body(list(now))
        last, i_next = self.b.block, self.b.add(i, self.const(1))
        for node, value in zip([i, *now], [i_next, *after], strict=True):
            node.add_incoming(value, last)
        self.b.cbranch(self.b.icmp_signed("<", i_next, count), head, done)
        self.b.position_at_end(done)
        results = []
        for before, value in zip(state, after, strict=True):
            node = self.phi(value, last)
            if may_be_empty:
                node.add_incoming(before, entry)
            results.append(node)
        return results

    def row_loader(self, column: Any, columns: Any, stride: int, valid: Any, parities: int) -> Callable[[Any], list[Any]]:
        """Return `load(address)` of every `stride`-th column from `column` on, and of those one further for a second parity.

        Columns outside of the image, and lanes that are not valid, are zeros.
        """
        mask = self.within(column, columns)
        if stride == 1:
            mask = mask if valid is None else self.b.and_(mask, valid)
            return lambda address: [self.masked_load(address, mask)]
        half = self.const(self.lanes)
        upper = self.within(self.b.add(column, half), columns)

        def load(address: Any) -> list[Any]:
            parts = self.masked_load(address, mask), self.masked_load(self.at(address, half), upper)
            rows = [self.shuffle(*parts, list(range(parity, 2 * self.lanes, 2))) for parity in range(parities)]
            return rows if valid is None else [self.b.select(valid, row, self.nothing) for row in rows]

        return load


@functools.cache
def correlate_tile(tile: Tile, dtype: np.dtype) -> Any:
    """Return an intrinsic for runs of 1 to `tile.height` outputs.

    ``run(length, x, xo, x_j, x_u, j, j_step, size, u, u_step, cross_size, w, wo, w_t, w_u, start, so, y, yo, y_m, U, K, valid)``:
    offsets and strides count elements. `xo` is where input position j and cross position u would lie; both may be outside of
    0 <= j < size, 0 <= u < cross_size: such inputs count as 0 and are not read. U is the number of cross taps, each `u_step` positions
    (x_u elements of x, w_u of w) after the last. A looped tile has K taps, each `j_step` positions (x_t elements) after the last.
    Planes write the first `valid` of `tile.span` columns.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def run(
        typingctx, length, x, xo, x_j, x_u, x_t, j, j_m, j_step, size, u, u_step, cross_size,
        w, wo, w_t, w_u, start, so, y, yo, y_m, U, K, valid,
    ):  # fmt: skip
        n = types.int64
        signature = types.void(n, x, n, n, n, n, n, n, n, n, n, n, n, w, n, n, n, start, n, y, n, n, n, n, n)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(b, tile.lanes, dtype)
            (length, x, xo, x_j, x_u, x_t, j, j_m, j_step, size, u, u_step, cross_size,
             w, wo, w_t, w_u, start, so, y, yo, y_m, U, K, valid) = args  # fmt: skip

            def data(position: int, value: Any, offset: Any) -> Any:
                return b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset])

            x0, w0, start0, y0 = data(1, x, xo), data(13, w, wo), data(17, start, so), data(19, y, yo)
            zeros = e.zeros()

            def taps(m_count: int, xu: Any, wus: list[Any], first: Any, cross: Any, total: list[Any], phase: int = 0) -> list[Any]:
                """Add what one cross tap (or two that share their loads) contributes; total[m * phases + phase] are the sums."""
                total, step = list(total), x_j
                weights: list[list[Any]] = []
                for wu in wus:
                    places = [e.at(wu, b.mul(w_t, e.const(t))) for t in range(tile.taps)]
                    weights.append([e.broadcast(b.load(at, align=e.align)) if tile.planes else e.load(at) for at in places])
                if tile.planes:
                    load = e.row_loader(cross, cross_size, 1 if tile.transposed else tile.cross_stride, None, len(wus))
                else:  # a row outside of the image is one pixel of zeros, read again and again
                    inside = e.is_within(cross, cross_size)
                    xu, step = b.select(inside, xu, zeros), b.select(inside, x_j, e.const(0))
                pixel = e.walk(xu, step)
                for place, at_rim, partners in tile.inputs(m_count):
                    address = pixel(place)
                    if at_rim:
                        there = e.is_within(b.add(first, b.mul(j_m, e.const(place))), size)
                        address = b.select(there, address, zeros)
                    values = load(address) if tile.planes else [e.load(address)]
                    for value, of_taps in zip(values, weights, strict=True):
                        for m, t in partners:
                            cell = m * tile.phases + phase
                            total[cell] = e.fma(value, of_taps[t], total[cell])
                return total

            def cross_taps(m_count: int, total: list[Any]) -> list[Any]:
                if tile.cross:  # unrolled
                    together = 2 if tile.cross_stride == 2 and not tile.transposed else 1
                    for s in range(0, tile.cross, together):
                        phase = (s - tile.cross_phase) % tile.cross_stride if tile.phases > 1 else 0
                        steps = e.const((phase + tile.cross_phase - s) // tile.cross_stride if tile.phases > 1 else s)
                        xu, cross = e.at(x0, b.mul(x_u, steps)), b.add(u, b.mul(u_step, steps))
                        wus = [e.at(w0, b.mul(w_u, e.const(i))) for i in range(s, min(s + together, tile.cross))]
                        total = taps(m_count, xu, wus, j, cross, total, phase)
                    return total

                def one(state: list[Any]) -> list[Any]:
                    xu, wu, cross, *total = state
                    if tile.looped:

                        def inner(state: list[Any]) -> list[Any]:
                            xk, wk, first, *total = state
                            return [e.at(xk, x_t), e.at(wk, w_t), b.add(first, j_step), *taps(m_count, xk, [wk], first, cross, total)]

                        total = e.loop(K, [xu, wu, j, *total], inner)[3:]
                    else:
                        total = taps(m_count, xu, [wu], j, cross, total)
                    return [e.at(xu, x_u), e.at(wu, w_u), b.add(cross, u_step), *total]

                return e.loop(U, [x0, w0, u, *total], one, may_be_empty=True)[3:]

            def body(m_count: int) -> None:
                initial = e.broadcast(b.load(start0, align=e.align)) if tile.planes else e.load(start0)
                total = cross_taps(m_count, [initial] * (m_count * tile.phases))
                pixel = e.walk(y0, y_m)
                for m in range(m_count):
                    address = pixel(m)
                    if not tile.planes:
                        e.store(total[m], address)
                    elif tile.phases == 1:
                        e.masked_store(total[m], address, e.within(e.const(0), valid))
                    else:
                        even, odd = total[2 * m : 2 * m + 2]
                        for half in range(2):
                            places = range(half * tile.lanes, (half + 1) * tile.lanes)
                            mixed = e.shuffle(even, odd, [i // 2 + i % 2 * tile.lanes for i in places])
                            skipped = e.const(half * tile.lanes)
                            e.masked_store(mixed, e.at(address, skipped), e.within(skipped, valid))

            e.switch(length, range(1, tile.height + 1), body)
            return context.get_dummy_value()

        return signature, codegen

    return run


@functools.cache
def gradient_tile(tile: Tile, dtype: np.dtype) -> Any:
    """Return an intrinsic that adds the products of a run of 1 to `tile.height` outputs to the gradient of all taps.

    ``run(length, x, xo, x_j, x_u, j, j_m, size, u, u_step, cross_size, dy, yo, y_m, dw, wo, w_t, w_u, valid)``: as `correlate_tile`;
    dw[wo + t*w_t + u*w_u + lane] += sum over m of x[j + m*stride + t] * dy[m]. Planes read the first `valid` columns of dy.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def run(typingctx, length, x, xo, x_j, x_u, j, j_m, size, u, u_step, cross_size, dy, yo, y_m, dw, wo, w_t, w_u, valid):
        n = types.int64
        signature = types.void(n, x, n, n, n, n, n, n, n, n, n, dy, n, n, dw, n, n, n, n)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(b, tile.lanes, dtype)
            length, x, xo, x_j, x_u, j, j_m, size, u, u_step, cross_size, dy, yo, y_m, dw, wo, w_t, w_u, valid = args

            def data(position: int, value: Any, offset: Any) -> Any:
                return b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset])

            x0, dy0, dw0 = data(1, x, xo), data(11, dy, yo), data(14, dw, wo)
            zeros = e.zeros()
            split = 4 if tile.taps * tile.cross < 4 else 1  # a lone sum would wait for itself

            def body(m_count: int) -> None:
                counted = e.within(e.const(0), valid) if tile.planes else None
                errors, pixel = [], e.walk(dy0, y_m)
                for m in range(m_count):
                    address = pixel(m)
                    errors.append(e.masked_load(address, counted) if tile.planes else e.load(address))
                cells = [(t, s) for s in range(tile.cross) for t in range(tile.taps)]
                places = {(t, s): e.at(dw0, b.mul(w_t, e.const(t)), b.mul(w_u, e.const(s))) for t, s in cells}
                total = {(*cell, i): e.nothing if i else e.load(places[cell]) for cell in cells for i in range(split)}
                crosses = [b.add(u, b.mul(u_step, e.const(s))) for s in range(tile.cross)]
                together = 2 if tile.planes and tile.cross_stride == 2 else 1  # cross taps that share their loads
                groups = range(0, tile.cross, together)
                loads: dict[int, Any] = {}
                pixels: dict[int, Any] = {}
                for s in groups:
                    base, step = e.at(x0, b.mul(x_u, e.const(s))), x_j
                    if tile.planes:
                        loads[s] = e.row_loader(crosses[s], cross_size, tile.cross_stride, counted, min(together, tile.cross - s))
                    else:
                        loads[s] = lambda address: [e.load(address)]
                        inside = e.is_within(crosses[s], cross_size)
                        base, step = b.select(inside, base, zeros), b.select(inside, x_j, e.const(0))
                    pixels[s] = e.walk(base, step)
                for place, at_rim, partners in tile.inputs(m_count):
                    there = e.is_within(b.add(j, b.mul(j_m, e.const(place))), size) if at_rim else None
                    for s in groups:
                        address = pixels[s](place)
                        values = loads[s](b.select(there, address, zeros) if at_rim else address)
                        for i, value in enumerate(values):
                            for m, t in partners:
                                cell = t, s + i, m % split
                                total[cell] = e.fma(value, errors[m], total[cell])
                for t, s in cells:
                    value = total[t, s, 0]
                    for i in range(1, split):
                        value = b.fadd(value, total[t, s, i])
                    e.store(value, places[t, s])

            e.switch(length, range(1, tile.height + 1), body)
            return context.get_dummy_value()

        return signature, codegen

    return run


@functools.cache
def lane_sum(lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic ``total(x, xo)``: the sum of `lanes` (a power of 2) elements, halves added to halves."""
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def total(typingctx, x, xo):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = _Emitter(b, lanes, dtype)
            value = e.load(b.gep(context.make_array(sig.args[0])(context, b, args[0]).data, [args[1]]))
            width = lanes // 2
            while width:
                value = b.fadd(value, e.shuffle(value, value, [i + width if i < width else i for i in range(lanes)]))
                width //= 2
            return b.extract_element(value, e.ir.Constant(e.i32, 0))

        return x.dtype(x, types.int64), codegen

    return total


@functools.cache
def prefetch(for_writing: bool, level: int = 1) -> Any:
    """Return an intrinsic ``fetch(x, first, step, count)``: ask for the cache lines of x[first + i*step], i < count; no address is wrong.

    `level` is the cache that they come into: 2 for more lines at a time than L1 can wait for.
    A run reads several rows of pixels at once, vector after vector: too many short streams for the hardware to foresee. Asking for the
    next row, a row ahead, made maps that come from memory 2 to 3 times faster.
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
