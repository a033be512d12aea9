"""Register tiles of depthwise convolution over channels-last images: a block of output pixels, one vector of channels, all taps unrolled.

Every input pixel of the block is loaded once and meets all its taps, of rows and columns alike; the weights (or the sums of their
gradient) and the outputs (or their errors) stay in registers.

Blocks are small on purpose. What takes time is not the arithmetic but to fetch the image, and each pixel of a block is a stream of its own,
as the loop around it goes from channel to channel: the hardware foresees about two dozen. Blocks of 2 x 7 pixels (36 inputs for 126
multiply-adds) took 1.3 times as long as blocks of 4 x 2 (24 for 72) on 8 images of 32 x 112 x 112, with strides of 2 twice as long.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ... import machine
from ._depthwise_emitter import Emitter, Slide

Tap = tuple[int, int, int]  # channel within the group, kernel row, kernel column


class Block(NamedTuple):
    """What a block is unrolled for: up to `vertical.length` x `horizontal.length` pixels of `lanes` channels.

    Every output channel sums over the `group` input channels of its group, a divisor of `lanes`; 1 is depthwise.
    """

    lanes: int
    vertical: Slide
    horizontal: Slide
    group: int = 1

    @property
    def taps(self) -> list[Tap]:
        """Every tap, in the order of the packed weights."""
        return [(i, r, s) for i in range(self.group) for r in range(self.vertical.taps) for s in range(self.horizontal.taps)]

    def shapes(self) -> dict[int, tuple[int, int]]:
        """Return {rows * (horizontal.length + 1) + columns: (rows, columns)} of all blocks, the number being what `run` takes."""
        pitch = self.horizontal.length + 1
        return {
            rows * pitch + columns: (rows, columns)
            for rows in range(1, self.vertical.length + 1)
            for columns in range(1, self.horizontal.length + 1)
        }


class _Window(NamedTuple):
    """The input of a block: where its position (0, 0) would lie, the steps between rows and columns, and what of it is the image."""

    start: Any
    x_u: Any
    x_j: Any
    u: Any
    height: Any
    j: Any
    width: Any


def _meet(
    e: Emitter, block: Block, shape: tuple[int, int], x: _Window, members: Iterable[int], pair: Callable[[Any, tuple[int, int], Tap], None]
) -> None:
    """Load every input pixel of a block of `shape`, and emit `pair(value, output (p, q), tap)` for all that it joins.

    `members` are channels of a group: each lane gets the value of that one in its own group, by a shuffle.
    """
    zeros, rows, columns = e.zeros(), e.walk(x.start, x.x_u), list(block.horizontal.inputs(shape[1]))
    exists = {j: e.is_within(e.b.add(x.j, e.const(j)), x.width) for j, at_rim, _ in columns if at_rim}
    for u, may_miss, of_rows in block.vertical.inputs(shape[0]):
        row, step = rows(u), x.x_j
        if may_miss:  # a row outside of the image is one pixel of zeros, read again and again
            inside = e.is_within(e.b.add(x.u, e.const(u)), x.height)
            row, step = e.b.select(inside, row, zeros), e.b.select(inside, step, e.const(0))
        pixel = e.walk(row, step)
        for j, at_rim, of_columns in columns:
            address = pixel(j)
            value = e.load(e.b.select(exists[j], address, zeros) if at_rim else address)
            for i in members:
                picks = [lane // block.group * block.group + i for lane in range(block.lanes)]
                member = e.shuffle(value, value, picks) if block.group > 1 else value
                for p, r in of_rows:
                    for q, s in of_columns:
                        pair(member, (p, q), (i, r, s))


@functools.cache
def correlate_block(block: Block, dtype: np.dtype) -> Any:
    """Return an intrinsic that computes the outputs of a block.

    ``run(shape, x, xo, x_u, x_j, u, H, j, W, w, wo, w_t, start, so, y, yo, y_p, y_q, relu)``: offsets and strides count elements; `shape`
    is one of `Block.shapes`. `xo` is where input position (u, j) would lie; positions outside of 0 <= u < H, 0 <= j < W count as 0 and are
    not read. Tap number i has its weights at w[wo + i*w_t]; the sums begin with start[so]; `relu` as in `Emitter.limiter`.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def run(typingctx, shape, x, xo, x_u, x_j, u, H, j, W, w, wo, w_t, start, so, y, yo, y_p, y_q, relu):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = Emitter(b, block.lanes, dtype)
            shape, x, xo, x_u, x_j, u, H, j, W, w, wo, w_t, start, so, y, yo, y_p, y_q, relu = args

            def data(position: int, value: Any, offset: Any) -> Any:
                return b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset])

            window = _Window(data(1, x, xo), x_u, x_j, u, H, j, W)
            weight_of, y0 = e.walk(data(9, w, wo), w_t), data(14, y, yo)
            places = {tap: weight_of(i) for i, tap in enumerate(block.taps)}
            initial = e.load(data(12, start, so))

            def body(rows: int, columns: int) -> None:
                total = {(p, q): initial for p in range(rows) for q in range(columns)}
                weights: dict[Tap, Any] = {}  # loaded when first needed: those of all taps of a group would not fit the registers

                def pair(value: Any, output: tuple[int, int], tap: Tap) -> None:
                    if tap not in weights:
                        weights[tap] = e.load(places[tap])
                    total[output] = e.fma(value, weights[tap], total[output])

                _meet(e, block, (rows, columns), window, range(block.group), pair)
                row, limit = e.walk(y0, y_p), e.limiter(relu)
                for p in range(rows):
                    pixel = e.walk(row(p), y_q)
                    for q in range(columns):
                        e.store(limit(total[p, q]), pixel(q))

            e.switch(shape, block.shapes(), body)
            return context.get_dummy_value()

        return types.void(n, x, n, n, n, n, n, n, n, w, n, n, start, n, y, n, n, n, n), codegen

    return run


@functools.cache
def gradient_block(block: Block, dtype: np.dtype) -> Any:
    """Return an intrinsic that adds the products of a block to the gradient of all taps.

    ``run(shape, x, xo, x_u, x_j, u, H, j, W, dy, yo, y_p, y_q, dw, wo, w_t)``: as `correlate_block`; dw[wo + i*w_t] grows by the sum over
    the outputs of dy times the input that tap number i joins to them.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def run(typingctx, shape, x, xo, x_u, x_j, u, H, j, W, dy, yo, y_p, y_q, dw, wo, w_t):
        n = types.int64

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = Emitter(b, block.lanes, dtype)
            shape, x, xo, x_u, x_j, u, H, j, W, dy, yo, y_p, y_q, dw, wo, w_t = args

            def data(position: int, value: Any, offset: Any) -> Any:
                return b.gep(context.make_array(sig.args[position])(context, b, value).data, [offset])

            window = _Window(data(1, x, xo), x_u, x_j, u, H, j, W)
            dy0, sum_of = data(9, dy, yo), e.walk(data(13, dw, wo), w_t)
            places = {tap: sum_of(i) for i, tap in enumerate(block.taps)}

            def body(rows: int, columns: int) -> None:
                row = e.walk(dy0, y_p)
                lines = [e.walk(row(p), y_q) for p in range(rows)]
                errors = {(p, q): e.load(lines[p](q)) for p in range(rows) for q in range(columns)}
                total: dict[Tap, Any] = {}

                def pair(value: Any, output: tuple[int, int], tap: Tap) -> None:
                    total[tap] = e.fma(value, errors[output], total[tap])

                for i in range(block.group):  # one after the other: their sums would not fit the registers
                    own = [tap for tap in block.taps if tap[0] == i]
                    total.update({tap: e.load(places[tap]) for tap in own})
                    _meet(e, block, (rows, columns), window, [i], pair)
                    for tap in own:
                        e.store(total[tap], places[tap])

            e.switch(shape, block.shapes(), body)
            return context.get_dummy_value()

        return types.void(n, x, n, n, n, n, n, n, n, dy, n, n, n, dw, n, n), codegen

    return run
