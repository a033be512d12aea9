"""Copies into the words of bf16.py: padded channels-last images of two channels a word, and weights in blocks of output channels."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .. import amx, bf16
from ..jit import Kernel, kernel
from ..machine import tile_shape
from .filters import CHUNK, Filters, all_taps, gatherer, record
from .packing import clear, row_packer

FLOAT32 = np.dtype(np.float32)
_STRIP = 32  # pixels of planes that are transposed at once


@functools.cache
def word_packer() -> Kernel:
    """Return a kernel that rounds pixels of the image at x[at] into a padded channels-last buffer; a word is channels (2c, 2c + 1).

    ``pack(x, at, x_c, x_h, x_w, H, W, C, first_row, first_column, out, rows, columns, pitch)`` is `row_packer`'s, with a pitch of at least
    ceil(C / 2) words; what a pixel has beyond these is left as it is. Planes are transposed in float32 before they are rounded.
    """
    neighbours = bf16.neighbours()
    pack_rows = row_packer(FLOAT32)

    @kernel
    def pack(x, at, x_c, x_h, x_w, H, W, C, first_row, first_column, out, rows, columns, pitch):
        first, last = min(columns, max(0, -first_column)), max(0, min(columns, W - first_column))
        pixels = np.empty(0 if x_c == 1 else _STRIP * 2 * pitch, x.dtype)
        for i in range(rows):
            h = first_row + i
            row = i * columns * pitch
            if h < 0 or h >= H or first >= last:
                clear(out, row, row + columns * pitch)
                continue
            if x_c != 1:
                for j in range(0, columns, _STRIP):
                    strip = min(_STRIP, columns - j)
                    pack_rows(x, at, x_c, x_h, x_w, H, W, C, h, first_column + j, pixels, 1, strip, 2 * pitch)
                    neighbours(pixels, 0, strip * 2 * pitch, out, row + j * pitch)
                continue
            clear(out, row, row + first * pitch)
            clear(out, row + last * pitch, row + columns * pitch)
            source, to = at + h * x_h + (first_column + first) * x_w, row + first * pitch
            if x_w == C and 2 * pitch == C:
                neighbours(x, source, (last - first) * C, out, to)
            elif pitch == 16 and C <= 32:  # whole vectors, whose last words are of the next pixel; behind the last pixel nothing is read
                whole = min(last - first, (x.size - source - 32) // x_w + 1)
                for j in range(whole):
                    neighbours(x, source + j * x_w, 32, out, to + j * 16)
                for j in range(max(0, whole), last - first):
                    neighbours(x, source + j * x_w, C, out, to + j * 16)
            else:
                for j in range(last - first):
                    neighbours(x, source + j * x_w, C, out, to + j * pitch)

    return pack


@functools.cache
def pair_packer() -> Kernel:
    """Return a kernel that rounds a row of two images to words.

    ``pack(x, at_a, at_b, x_c, x_h, x_w, H, W, C, row_a, row_b, first_column, columns, scratch, none, out, to, block, pixel, panel)``:
    column j and channel c go to out[to + c // block * panel + j * pixel + c % block]; a negative `at_b`, a row or a column outside the
    image stands for zeros. `scratch` holds 2 * columns * C floats where x is planes, `none` is C zeros.
    """
    pairs = bf16.pairs()
    pack_rows = row_packer(FLOAT32)

    @kernel
    def pack(x, at_a, at_b, x_c, x_h, x_w, H, W, C, row_a, row_b, first_column, columns, scratch, none, out, to, block, pixel, panel):
        first, last = min(columns, max(0, -first_column)), max(0, min(columns, W - first_column))
        if row_a < 0 or row_a >= H:
            row_a = -1
        if at_b < 0 or row_b < 0 or row_b >= H:
            at_b, row_b = 0, -1
        if first >= last or (row_a < 0 and row_b < 0):
            first = last = columns
        a, b, ao, bo, step_a, step_b = none, none, 0, 0, 0, 0
        if x_c != 1:
            if first < last:
                pack_rows(x, at_a, x_c, x_h, x_w, H, W, C, row_a, first_column, scratch, 1, columns, C)
                pack_rows(x, at_b, x_c, x_h, x_w, H, W, C, row_b, first_column, scratch[columns * C :], 1, columns, C)
                a, b, ao, bo, step_a, step_b = scratch, scratch, first * C, (columns + first) * C, C, C
        else:
            if row_a >= 0:
                a, ao, step_a = x, at_a + row_a * x_h + (first_column + first) * x_w, x_w
            if row_b >= 0:
                b, bo, step_b = x, at_b + row_b * x_h + (first_column + first) * x_w, x_w
        for c in range(0, C, block):
            start = to + c // block * panel
            clear(out, start, start + first * pixel)
            clear(out, start + last * pixel, start + columns * pixel)
        if block == pixel == C == step_a == step_b:
            pairs(a, ao, b, bo, (last - first) * C, out, to + first * pixel)
        else:
            for j in range(last - first):
                for c in range(0, C, block):
                    count, word = min(block, C - c), to + c // block * panel + (first + j) * pixel
                    pairs(a, ao + j * step_a + c, b, bo + j * step_b + c, count, out, word)
                    if count < pixel:
                        clear(out, word + count, word + pixel)

    return pack


def filter_packer(filters: Filters, block: int, groups: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from a flat weight to (groups, outputs / block, J, L, inputs / 2, block) words in one axis, of two inputs each."""
    jobs = groups * -(-filters.outputs // block)
    size = jobs * filters.vertical.length * filters.horizontal.length * -(-filters.inputs // 2) * block
    taps = record(filters)
    run = _packer(block).bound(jobs, taps, np.empty(0, FLOAT32), np.empty(0, np.int32), work=16.0 * size)

    def pack(weight: np.ndarray) -> np.ndarray:
        packed = amx.empty(size)
        run(taps, weight, packed)
        return packed

    return pack


def weight_packer(weight_shape: tuple[int, int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a `filter_packer` for forward whose words are followed by one more: whether all weights are finite.

    Then weights times the zeros around the image are zeros, and may be left out.
    """
    pack_words = filter_packer(all_taps(weight_shape), tile_shape(weight_shape[0], 4).block)

    def pack(weight: np.ndarray) -> np.ndarray:
        return np.append(pack_words(weight), np.int32(np.isfinite(weight).all()))

    return pack


@functools.cache
def _packer(block: int) -> Kernel:
    pack_block = block_packer(block)

    @kernel(specialisation=block)
    def pack_job(job, filters, weight, packed):
        f = filters[0]
        blocks = (f.outputs + block - 1) // block
        pack_block(filters, weight, job // blocks, job % blocks, packed, job * f.J * f.L * ((f.inputs + 1) // 2) * block)

    return pack_job


@functools.cache
def block_packer(block: int) -> Kernel:
    """Return a kernel ``pack_block(filters, weight, group, k, packed, out)`` that packs block k of a group's outputs from word `out`."""
    gather = gatherer(block, FLOAT32)
    pairs = bf16.pairs()

    @kernel(specialisation=block)
    def pack_block(filters, weight, group, k, packed, out):
        f = filters[0]
        taps, depths = f.R * f.S, (f.inputs + 1) // 2
        scratch = np.empty(CHUNK * taps * block, weight.dtype)
        for c in range(0, f.inputs, CHUNK):
            count = min(CHUNK, f.inputs - c)
            gather(weight, filters, group, k * block, c, count, scratch, 0)
            if count % 2:  # the last input is paired with zeros
                clear(scratch, count * taps * block, (count + 1) * taps * block)
            for j in range(f.J):
                for n in range(f.L):
                    even = ((f.r_first + j * f.r_step) * f.S + f.s_first + n * f.s_step) * block
                    to = out + ((j * f.L + n) * depths + c // 2) * block
                    for _ in range((count + 1) // 2):
                        pairs(scratch, even, scratch, even + taps * block, block, packed, to)
                        even += 2 * taps * block
                        to += block

    return pack_block
