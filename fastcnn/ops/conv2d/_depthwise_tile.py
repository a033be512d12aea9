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
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ... import machine
from ._depthwise_emitter import Emitter, Slide


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

    def inputs(self, length: int) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
        """Yield the inputs of a run; see `Slide`."""
        return Slide(self.height, self.taps, self.stride, self.transposed, self.phase, self.rim).inputs(length)

    @property
    def phases(self) -> int:
        """Vectors of output columns that lie interleaved in memory."""
        return self.cross_stride if self.planes and self.transposed else 1

    @property
    def span(self) -> int:
        """Elements of the output that one position of a run covers."""
        return self.lanes * self.phases


@functools.cache
def correlate_tile(tile: Tile, dtype: np.dtype) -> Any:
    """Return an intrinsic for runs of 1 to `tile.height` outputs.

    ``run(length, x, xo, x_j, x_u, j, j_step, size, u, u_step, cross_size, w, wo, w_t, w_u, start, so, y, yo, y_m, U, K, valid, relu)``:
    offsets and strides count elements. `xo` is where input position j and cross position u would lie; both may be outside of
    0 <= j < size, 0 <= u < cross_size: such inputs count as 0 and are not read. U is the number of cross taps, each `u_step` positions
    (x_u elements of x, w_u of w) after the last. A looped tile has K taps, each `j_step` positions (x_t elements) after the last.
    Planes write the first `valid` of `tile.span` columns; `relu` as in `Emitter.limiter`.
    """
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def run(
        typingctx, length, x, xo, x_j, x_u, x_t, j, j_m, j_step, size, u, u_step, cross_size,
        w, wo, w_t, w_u, start, so, y, yo, y_m, U, K, valid, relu,
    ):  # fmt: skip
        n = types.int64
        signature = types.void(n, x, n, n, n, n, n, n, n, n, n, n, n, w, n, n, n, start, n, y, n, n, n, n, n, n)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            e = Emitter(b, tile.lanes, dtype)
            (length, x, xo, x_j, x_u, x_t, j, j_m, j_step, size, u, u_step, cross_size,
             w, wo, w_t, w_u, start, so, y, yo, y_m, U, K, valid, relu) = args  # fmt: skip

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
                total = [*map(e.limiter(relu), cross_taps(m_count, [initial] * (m_count * tile.phases)))]
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

            e.switch(length, {m: (m,) for m in range(1, tile.height + 1)}, body)
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
            e = Emitter(b, tile.lanes, dtype)
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

            e.switch(length, {m: (m,) for m in range(1, tile.height + 1)}, body)
            return context.get_dummy_value()

        return signature, codegen

    return run
