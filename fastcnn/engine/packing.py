"""Copies into the layouts that tiles read: padded channels-last images, and weights in blocks of output channels.

Padding, cropping and the conversion from NCHW happen in the one copy that padding needs anyway; it is made a few rows at a time, so
that it is still in the L2 cache when the tiles read it.
"""

from __future__ import annotations

import functools

import numpy as np

from .. import machine, shuffles, simd
from ..jit import Kernel, kernel


@functools.cache
def transposer(dtype: np.dtype) -> Kernel:
    """Return a kernel for y[to + j*y_pitch + i] = x[at + i*x_pitch + j], i < rows, j < columns.

    Blocks of 16 x 16, 8 x 8 or 4 x 4 go through registers; the last block of a line overlaps the one before it, so that no remainder
    is left. Element by element this costs 6 cycles where blocks cost 0.6; those of 16 take whole lines of the cache.
    """
    largest = 16 if machine.lanes(dtype.itemsize) >= 16 else 8
    block16, block8, block4 = (shuffles.transpose_block(size, dtype) for size in (largest, 8, 4))
    lanes = machine.lanes(dtype.itemsize)
    mix = shuffles.interleave(lanes, dtype)

    @kernel(specialisation=(largest, dtype.str))
    def transpose(x, at, x_pitch, y, to, y_pitch, rows, columns):
        shortest = min(rows, columns)
        if rows == y_pitch == 3 and columns >= lanes:  # the colours of a picture
            for j0 in range(0, columns, lanes):
                j = min(j0, columns - lanes)
                mix(x, at + j, x_pitch, y, to + 3 * j)
            return
        if shortest < 4:
            for i in range(rows):
                for j in range(columns):
                    y[to + j * y_pitch + i] = x[at + i * x_pitch + j]
            return
        size = 4
        if shortest >= 8:
            size = largest if shortest >= largest else 8
        # Bounds: no block is larger than rows or columns, and the last ones begin at rows - size and columns - size.
        for i0 in range(0, rows, size):
            i = min(i0, rows - size)
            for j0 in range(0, columns, size):
                j = min(j0, columns - size)
                if size == 16:
                    block16(x, at + i * x_pitch + j, x_pitch, y, to + j * y_pitch + i, y_pitch)
                elif size == 8:
                    block8(x, at + i * x_pitch + j, x_pitch, y, to + j * y_pitch + i, y_pitch)
                else:
                    block4(x, at + i * x_pitch + j, x_pitch, y, to + j * y_pitch + i, y_pitch)

    return transpose


@kernel(inline=True)
def clear(out, first, last):
    """Set out[first:last] to 0; a loop, as Numba takes 20 times longer to compile the assignment of a slice (or np.zeros)."""
    part, zero = out[first:last], out.dtype.type(0)
    for i in range(part.size):
        part[i] = zero


@functools.cache
def strided_copier(dtype: np.dtype) -> Kernel:
    """Return a kernel ``copy(x, at, step, y, to, count)``: y[to + i] = x[at + i*step] for i < count.

    Every second element goes through registers, in vectors of 16, 8 or 4, of which the last overlaps the one before it.
    """
    largest = 16 if machine.lanes(dtype.itemsize) >= 16 else 8
    pick16, pick8, pick4 = (shuffles.every_second(size, dtype) for size in (largest, 8, 4))

    @kernel(specialisation=(largest, dtype.str))
    def copy_strided(x, at, step, y, to, count):
        if step != 2 or count < 4:
            source, target = x[at : at + (count - 1) * step + 1], y[to : to + count]
            for i in range(target.size):
                target[i] = source[i * step]
            return
        size = 4
        if count >= 8:
            size = largest if count >= largest else 8
        # Bounds: the last vector begins at count - size, and `every_second` ends with the last element that it picks.
        for first in range(0, count, size):
            i = min(first, count - size)
            if size == 16:
                pick16(x, at + 2 * i, y, to + i)
            elif size == 8:
                pick8(x, at + 2 * i, y, to + i)
            else:
                pick4(x, at + 2 * i, y, to + i)

    return copy_strided


_PLANES_AT_ONCE = 16  # that are transposed while the next ones are fetched
_PLANES_AHEAD = 2  # short rows of many planes: too many streams for the hardware to foresee


@functools.cache
def row_packer(dtype: np.dtype) -> Kernel:
    """Return a kernel that copies pixels of the image at x[at] into a padded channels-last buffer.

    ``pack(x, at, x_c, x_h, x_w, H, W, C, first_row, first_column, out, rows, columns, pitch)`` fills
    out[row, column, :pitch] from (first_row, first_column); pixels outside the image, and the channels from C to `pitch`, become 0.
    Strides count elements; x is fastest where channels (x_c = 1) or columns (x_w = 1) are contiguous.
    """
    transpose, copy_strided, fetch = transposer(dtype), strided_copier(dtype), simd.prefetch(for_writing=False, level=2)
    line_elements = 64 // dtype.itemsize

    @kernel(specialisation=dtype.str)
    def pick(x, at, x_c, x_h, x_w, C, out, rows, columns, pitch):
        """Copy every x_w-th column of planes: plane by plane into lines, and these transposed into pixels."""
        size, reach = rows * columns, (columns - 1) * x_w // line_elements + 1
        lines = np.empty(C * size, x.dtype)
        for c in range(C):
            for i in range(rows):
                begin = at + c * x_c + i * x_h
                fetch(x, begin + _PLANES_AHEAD * x_c, line_elements, reach)
                copy_strided(x, begin, x_w, lines, c * size + i * columns, columns)
        transpose(lines, 0, size, out, 0, pitch, C, size)
        if pitch != C:
            for j in range(size):
                clear(out, j * pitch + C, (j + 1) * pitch)

    @kernel(specialisation=dtype.str)
    def pack(x, at, x_c, x_h, x_w, H, W, C, first_row, first_column, out, rows, columns, pitch):
        if x_c != 1 and x_w != 1 and first_row >= 0 and first_row + rows <= H and first_column >= 0 and first_column + columns <= W:
            pick(x, at + first_row * x_h + first_column * x_w, x_c, x_h, x_w, C, out, rows, columns, pitch)
            return
        first, last = min(columns, max(0, -first_column)), max(0, min(columns, W - first_column))
        for i in range(rows):
            h = first_row + i
            row = i * columns * pitch
            if h < 0 or h >= H or first >= last:
                clear(out, row, row + columns * pitch)
                continue
            clear(out, row, row + first * pitch)
            clear(out, row + last * pitch, row + columns * pitch)
            if pitch != C:
                for j in range(first, last):
                    clear(out, row + j * pitch + C, row + (j + 1) * pitch)
            source, to = at + h * x_h + (first_column + first) * x_w, row + first * pitch
            if x_c != 1 and x_w != 1:
                pick(x, source, x_c, x_h, x_w, C, out[to : to + (last - first) * pitch], 1, last - first, pitch)
            elif x_c != 1:
                for c in range(0, C, _PLANES_AT_ONCE):
                    for i in range(c + _PLANES_AT_ONCE, min(c + 2 * _PLANES_AT_ONCE, C)):
                        fetch(x, source + i * x_c, line_elements, (last - first - 1) // line_elements + 2)
                    transpose(x, source + c * x_c, x_c, out, to + c, pitch, min(_PLANES_AT_ONCE, C - c), last - first)
            else:
                run, runs = (last - first) * C, 1
                if pitch != C or x_w != C:
                    run, runs = C, last - first
                for j in range(runs):
                    target, pixels = out[to + j * pitch : to + j * pitch + run], x[source + j * x_w : source + j * x_w + run]
                    for c in range(run):
                        target[c] = pixels[c]

    return pack


@functools.cache
def row_unpacker(dtype: np.dtype) -> Kernel:
    """Return a kernel that stores the first `valid` channels of rows x columns pixels, `block` channels apart.

    ``unpack(pixels, block, valid, y, at, y_c, y_h, y_w, rows, columns)``: to y[at + c*y_c + row*y_h + column*y_w].
    """
    transpose = transposer(dtype)

    @kernel(specialisation=dtype.str)
    def unpack(pixels, block, valid, y, at, y_c, y_h, y_w, rows, columns):
        if y_w == 1:
            length, lines = columns, rows
            if y_h == columns:  # rows follow one another: transpose the band at once
                length, lines = rows * columns, 1
            for i in range(lines):
                transpose(pixels, i * length * block, block, y, at + i * y_h, y_c, length, valid)
        elif y_c == 1:
            for i in range(rows):
                for j in range(columns):
                    to = at + i * y_h + j * y_w
                    target, source = y[to : to + valid], pixels[(i * columns + j) * block : (i * columns + j) * block + valid]
                    for c in range(target.size):
                        target[c] = source[c]
        else:  # every y_w-th column of planes
            lines = np.empty(valid * columns, y.dtype)
            for i in range(rows):
                transpose(pixels, i * columns * block, block, lines, 0, columns, columns, valid)
                for c in range(valid):
                    to = at + c * y_c + i * y_h
                    plane, line = y[to : to + (columns - 1) * y_w + 1], lines[c * columns : (c + 1) * columns]
                    if y_w == 2:
                        for j in range(line.size):
                            plane[2 * j] = line[j]
                    else:
                        for j in range(line.size):
                            plane[j * y_w] = line[j]

    return unpack
