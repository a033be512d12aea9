"""What the tiles of depthwise convolution are written with: which inputs meet which taps, and vector instructions of LLVM."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ... import machine


class Slide(NamedTuple):
    """An axis along which a tile keeps up to `length` outputs, and loads every input once for all of its `taps`; fields as of `Tile`."""

    length: int
    taps: int
    stride: int = 1
    transposed: bool = False
    phase: int = 0
    rim: int = 0

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


class Emitter:
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

    def limiter(self, relu: Any) -> Callable[[Any], Any]:
        """Return what limits sums as they are stored: `relu` 1 raises them to 0, 2 limits them to 6 as well; NaN passes."""

        def chosen(relation: str, number: int, value: float, otherwise: float) -> Any:
            is_so = self.b.icmp_signed(relation, relu, self.const(number))
            return self.broadcast(self.b.select(is_so, self.ir.Constant(self.scalar, value), self.ir.Constant(self.scalar, otherwise)))

        least, most = chosen("!=", 0, 0.0, float("-inf")), chosen("==", 2, 6.0, float("inf"))

        def limit(total: Any) -> Any:
            total = self.b.select(self.b.fcmp_ordered(">", least, total), least, total)
            return self.b.select(self.b.fcmp_ordered("<", most, total), most, total)

        return limit

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

    def switch(self, choice: Any, cases: Mapping[int, tuple[int, ...]], body: Callable[..., None]) -> None:
        """Emit `body(*cases[choice])` for every case."""
        after = self.b.append_basic_block("after")
        switch = self.b.switch(choice, after)
        for case, arguments in cases.items():
            block = self.b.append_basic_block(f"case{case}")
            switch.add_case(self.const(case), block)
            self.b.position_at_end(block)
            body(*arguments)
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
def lane_sum(lanes: int, dtype: np.dtype) -> Any:
    """Return an intrinsic ``total(x, xo)``: the sum of `lanes` (a power of 2) elements, halves added to halves."""
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def total(typingctx, x, xo):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = Emitter(b, lanes, dtype)
            value = e.load(b.gep(context.make_array(sig.args[0])(context, b, args[0]).data, [args[1]]))
            width = lanes // 2
            while width:
                value = b.fadd(value, e.shuffle(value, value, [i + width if i < width else i for i in range(lanes)]))
                width //= 2
            return b.extract_element(value, e.ir.Constant(e.i32, 0))

        return x.dtype(x, types.int64), codegen

    return total
