"""Weights as the kernels want them: which taps a correlation uses, packed in blocks of output channels, and gradients back from there.

A correlation may use the weight as it is (forward), with input and output channels swapped and the taps flipped (backward-input),
or only every s-th tap (one phase of a strided backward-input): `Filters` says which, and `filter_packer` copies them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import machine, simd
from ..jit import Kernel, kernel
from .packing import clear, transposer


class Taps(NamedTuple):
    """Taps first, first + step, ... along one axis of a kernel; a negative step flips it."""

    first: int
    step: int
    length: int


class Filters(NamedTuple):
    """Filters taken from a weight whose groups have K output and C input channels each; `swapped` makes the input channels the outputs."""

    K: int
    C: int
    R: int
    S: int
    vertical: Taps
    horizontal: Taps
    swapped: bool = False

    @property
    def outputs(self) -> int:
        """Output channels of the correlation."""
        return self.C if self.swapped else self.K

    @property
    def inputs(self) -> int:
        """Channels that the correlation sums over."""
        return self.K if self.swapped else self.C


def all_taps(weight_shape: tuple[int, int, int, int], groups: int = 1) -> Filters:
    """Return the filters of a forward correlation."""
    K, C, R, S = weight_shape
    return Filters(K // groups, C, R, S, Taps(0, 1, R), Taps(0, 1, S))


def flipped(weight_shape: tuple[int, int, int, int], vertical: Taps, horizontal: Taps, groups: int = 1) -> Filters:
    """Return the filters of a backward correlation with these taps, last to first."""
    K, C, R, S = weight_shape
    down, right = (Taps(t.first + (t.length - 1) * t.step, -t.step, t.length) for t in (vertical, horizontal))
    return Filters(K // groups, C, R, S, down, right, swapped=True)


RECORD = np.dtype([(name, np.int64) for name in (
    "K", "C", "R", "S", "r_first", "r_step", "J", "s_first", "s_step", "L", "swapped", "outputs", "inputs",
)])  # fmt: skip
_INPUTS_AHEAD = 2  # whose weights are fetched while others are packed
CHUNK = 32  # input channels that pass through the scratch at once: 32 x 9 taps x 32 outputs x 4 bytes = 36 KiB


def record(filters: Filters) -> np.ndarray:
    """Return the filters as kernels read them."""
    f = filters
    values = (f.K, f.C, f.R, f.S, *f.vertical, *f.horizontal, int(f.swapped), f.outputs, f.inputs)
    return np.array([values], RECORD)


def filter_packer(filters: Filters, block: int, dtype: np.dtype, groups: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from a flat weight to (groups, outputs / block, J, L, inputs, block) values in one axis.

    Where the last block has no output channel it has zeros.
    """
    pack = phase_packer([filters], block, dtype, groups)
    return lambda weight: pack(weight)[0]


def phase_packer(phases: list[Filters], block: int, dtype: np.dtype, groups: int = 1) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a `filter_packer` for several choices of taps from the same weight, which is read once for all."""
    jobs = groups * -(-phases[0].outputs // block)
    sizes = [jobs * f.vertical.length * f.horizontal.length * f.inputs * block for f in phases]
    ends = np.cumsum(sizes)
    taps, sample = np.concatenate([record(f) for f in phases]), np.empty(0, dtype)
    starts = ends - sizes
    run = _packer(block, dtype).bound(jobs, taps, starts, sample, sample, work=16.0 * ends[-1])

    def pack(weight: np.ndarray) -> list[np.ndarray]:
        packed = np.empty(ends[-1], dtype)
        run(taps, starts, weight, packed)
        return [packed[start:end] for start, end in zip(starts, ends, strict=True)]

    return pack


def filter_effort(size: int) -> float:
    """Return the vector multiply-adds that packing (or unpacking) so many weights costs."""
    return 1.5 * size  # 1.5 cycles per weight where a full vector's multiply-add takes one


@functools.cache
def gatherer(block: int, dtype: np.dtype) -> Kernel:
    """Return a kernel that copies taps of a block of outputs, from weights with outputs slowest, into scratch[input, r, s, output].

    ``gather(weight, filters, group, k, c, count, scratch, out)`` takes inputs c..c+count of a group;
    outputs from the last valid one to `block` become 0.
    """
    transpose = transposer(dtype)

    @kernel(specialisation=(block, dtype.str))
    def gather(weight, filters, group, k, c, count, scratch, out):
        f = filters[0]
        taps, valid = f.R * f.S, min(block, f.outputs - k)
        if valid < block:
            clear(scratch, out, out + count * taps * block)
        if f.swapped and taps == 1:
            for i in range(count):
                at, to = (group * f.K + c + i) * f.C + k, out + i * block
                source, target = weight[at : at + valid], scratch[to : to + valid]
                for v in range(target.size):
                    target[v] = source[v]
        elif f.swapped:
            for i in range(count):
                at = ((group * f.K + c + i) * f.C + k) * taps
                transpose(weight, at, taps, scratch, out + i * taps * block, block, valid, taps)
        else:
            transpose(weight, ((group * f.K + k) * f.C + c) * taps, f.C * taps, scratch, out, block, valid, count * taps)

    return gather


@functools.cache
def _packer(block: int, dtype: np.dtype) -> Kernel:
    pack_block = block_packer(block, dtype)

    @kernel(specialisation=(block, dtype.str))
    def pack_job(job, phases, starts, weight, packed):
        blocks = (phases[0].outputs + block - 1) // block
        for i in range(phases.size):
            f = phases[i]
            pack_block(phases[i : i + 1], weight, job // blocks, job % blocks, packed, starts[i] + job * f.J * f.L * f.inputs * block)

    return pack_job


@functools.cache
def block_packer(block: int, dtype: np.dtype) -> Kernel:
    """Return a kernel ``pack_block(filters, weight, group, k, packed, out)`` that packs block k of a group's outputs from element `out`."""
    gather, fetch = gatherer(block, dtype), simd.prefetch(for_writing=False, level=2)
    line = 64 // dtype.itemsize

    @kernel(specialisation=(block, dtype.str))
    def pack_block(filters, weight, group, k, packed, out):
        f = filters[0]
        taps = f.R * f.S
        if taps == 1:
            gather(weight, filters, group, k * block, 0, f.inputs, packed, out)
            return
        if f.swapped:  # neighbouring outputs are `taps` apart: a few lines of the cache serve all taps of an input
            valid = min(block, f.outputs - k * block)
            for i in range(f.inputs):
                ahead = ((group * f.K + i + _INPUTS_AHEAD) * f.C + k * block) * taps
                fetch(weight, ahead, line, valid * taps // line + 1)
                for j in range(f.J):
                    for n in range(f.L):
                        tap = (f.r_first + j * f.r_step) * f.S + f.s_first + n * f.s_step
                        at = ((group * f.K + i) * f.C + k * block) * taps + tap
                        to = out + ((j * f.L + n) * f.inputs + i) * block
                        source, target = weight[at : at + (valid - 1) * taps + 1], packed[to : to + block]
                        for v in range(valid):
                            target[v] = source[v * taps]
                        for v in range(valid, block):
                            target[v] = 0
            return
        scratch = np.empty(CHUNK * taps * block, weight.dtype)
        for c in range(0, f.inputs, CHUNK):
            count = min(CHUNK, f.inputs - c)
            gather(weight, filters, group, k * block, c, count, scratch, 0)
            for j in range(f.J):
                for n in range(f.L):
                    tap = (f.r_first + j * f.r_step) * f.S + f.s_first + n * f.s_step
                    to = out + ((j * f.L + n) * f.inputs + c) * block
                    for i in range(count):
                        source = scratch[(i * taps + tap) * block : (i * taps + tap) * block + block]
                        target = packed[to + i * block : to + i * block + block]
                        for v in range(block):
                            target[v] = source[v]

    return pack_block


def unpack_gradient(partial: np.ndarray, dweight: np.ndarray) -> None:
    """Sum (parts, groups, R*S*C, pitch) gradients over the parts, in order, into dweight (K, C, R, S), which is C-contiguous."""
    K, C, R, S = dweight.shape
    parts, groups, _, pitch = partial.shape
    chunks = min(machine.get_threads(), C)
    sizes = np.array([(parts, groups, K // groups, C, R * S, pitch, chunks)], SIZES)
    _summer(dweight.dtype).launch(groups * chunks, sizes, partial.reshape(-1), dweight.reshape(-1), work=8.0 * partial.size)


SIZES = np.dtype([(name, np.int64) for name in ("parts", "groups", "K", "C", "taps", "pitch", "chunks")])
_STRIP = 32  # output channels of one transposition


@functools.cache
def _summer(dtype: np.dtype) -> Kernel:
    unpack = unpacker(dtype)

    @kernel(specialisation=dtype.str)
    def sum_channels(job, sizes, partial, dweight):
        g = sizes[0]
        group, chunk = job // g.chunks, job % g.chunks
        first, last = chunk * g.C // g.chunks, (chunk + 1) * g.C // g.chunks
        size = g.taps * g.C * g.pitch
        unpack(partial, group * size, g.parts, g.groups * size, g.pitch, g.taps, g.C, first, last, g.K, dweight, group * g.K * g.C * g.taps)

    return sum_channels


@functools.cache
def unpacker(dtype: np.dtype) -> Kernel:
    """Return a kernel that sums parts of a gradient [tap, c, k] into weights [k, c, tap].

    ``unpack(gradient, at, parts, part, pitch, taps, C, first, last, K, dweight, out)``: the first part begins at element `at`, one is
    `part` elements from the next, k is `pitch` long; channels first..last are written, weights begin at element `out`.
    """
    transpose = transposer(dtype)

    @kernel(specialisation=dtype.str)
    def unpack(gradient, at, parts, part, pitch, taps, C, first, last, K, dweight, out):
        scratch = np.empty(CHUNK * taps * _STRIP, dweight.dtype)
        for c in range(first, last, CHUNK):
            count = min(CHUNK, last - c)
            for k in range(0, K, _STRIP):
                valid = min(_STRIP, K - k)
                for i in range(count):
                    for tap in range(taps):
                        source = at + (tap * C + c + i) * pitch + k
                        total = scratch[(i * taps + tap) * _STRIP : (i * taps + tap) * _STRIP + valid]
                        term = gradient[source : source + valid]
                        for v in range(total.size):
                            total[v] = term[v]
                        for _ in range(1, parts):
                            source += part
                            term = gradient[source : source + valid]
                            for v in range(total.size):
                                total[v] += term[v]
                transpose(scratch, 0, _STRIP, dweight, out + (k * C + c) * taps, C * taps, count * taps, valid)

    return unpack
