"""Weights as the kernels want them: which taps a correlation uses, packed in blocks of output channels, and gradients back from there.

A correlation may use the weight as it is (forward), with input and output channels swapped and the taps flipped (backward-input),
or only every s-th tap (one phase of a strided backward-input): `Filters` says which, and `pack` copies them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ... import machine
from ...jit import Kernel, kernel
from ._packing import transposer


class Taps(NamedTuple):
    """Taps first, first + step, ... along one axis of a kernel; a negative step flips it."""

    first: int
    step: int
    count: int


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
    last = [Taps(t.first + (t.count - 1) * t.step, -t.step, t.count) for t in (vertical, horizontal)]
    return Filters(K // groups, C, R, S, *last, swapped=True)


RECORD = np.dtype([(name, np.int64) for name in (
    "K", "C", "R", "S", "r_first", "r_step", "J", "s_first", "s_step", "L", "swapped", "outputs", "inputs",
)])  # fmt: skip
CHUNK = 16  # input channels that pass through the scratch at once: 16 x 9 taps x 32 outputs x 4 bytes = 18 KiB


def record(filters: Filters) -> np.ndarray:
    """Return the filters as kernels read them."""
    f = filters
    values = (f.K, f.C, f.R, f.S, *f.vertical, *f.horizontal, int(f.swapped), f.outputs, f.inputs)
    return np.array([values], RECORD)


def pack(weight: np.ndarray, filters: Filters, block: int, groups: int = 1) -> np.ndarray:
    """Return (groups, outputs / block, J, L, inputs, block) values in one axis, zeros where the last block has no output channel."""
    jobs = groups * -(-filters.outputs // block)
    packed = np.empty(jobs * filters.vertical.count * filters.horizontal.count * filters.inputs * block, weight.dtype)
    _packer(block, weight.dtype).launch(jobs, record(filters), weight.reshape(-1), packed, work=16.0 * packed.size)
    return packed


@functools.cache
def gatherer(block: int, dtype: np.dtype) -> Kernel:
    """Return a kernel that copies taps of a block of outputs, from weights with outputs slowest, into scratch[input, r, s, output].

    ``gather(weight, filters, group, k, c, count, scratch)`` takes inputs c..c+count of a group; outputs from the last valid one to `block` become 0.
    """
    transpose = transposer(dtype)

    @kernel(specialisation=(block, dtype.str))
    def gather(weight, filters, group, k, c, count, scratch):
        f = filters[0]
        taps, valid = f.R * f.S, min(block, f.outputs - k)
        if valid < block:
            for i in range(count * taps * block):
                scratch[i] = 0
        if f.swapped and taps == 1:
            for i in range(count):
                at = (group * f.K + c + i) * f.C + k
                source, target = weight[at : at + valid], scratch[i * block : i * block + valid]
                for v in range(target.size):
                    target[v] = source[v]
        elif f.swapped:
            for i in range(count):
                transpose(weight, ((group * f.K + c + i) * f.C + k) * taps, taps, scratch, i * taps * block, block, valid, taps)
        else:
            transpose(weight, ((group * f.K + k) * f.C + c) * taps, f.C * taps, scratch, 0, block, valid, count * taps)

    return gather


@functools.cache
def _packer(block: int, dtype: np.dtype) -> Kernel:
    pack_block = block_packer(block, dtype)

    @kernel(specialisation=(block, dtype.str))
    def pack_job(job, filters, weight, packed):
        f = filters[0]
        blocks = (f.outputs + block - 1) // block
        pack_block(filters, weight, job // blocks, job % blocks, packed, job * f.J * f.L * f.inputs * block)

    return pack_job


@functools.cache
def block_packer(block: int, dtype: np.dtype) -> Kernel:
    """Return a kernel ``pack_block(filters, weight, group, k, packed, out)`` that packs block k of a group's outputs from element `out`."""
    gather = gatherer(block, dtype)

    @kernel(specialisation=(block, dtype.str))
    def pack_block(filters, weight, group, k, packed, out):
        f = filters[0]
        taps = f.R * f.S
        scratch = np.empty(CHUNK * taps * block, weight.dtype)
        for c in range(0, f.inputs, CHUNK):
            count = min(CHUNK, f.inputs - c)
            gather(weight, filters, group, k * block, c, count, scratch)
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
    """Sum (jobs, R, S, C, padded K) gradients over the jobs, in order, into dweight (K, C, R, S)."""
    K, C, R, S = dweight.shape
    sizes = np.array([(len(partial), K, C, R * S, partial.shape[-1])], SIZES)
    flat = dweight.reshape(-1) if dweight.flags.c_contiguous else np.empty(dweight.size, dweight.dtype)
    jobs = min(machine.get_threads(), C)
    _unpacker(dweight.dtype).launch(jobs, sizes, partial.reshape(-1), flat, np.array([jobs]), work=8.0 * partial.size)
    if not dweight.flags.c_contiguous:
        dweight[...] = flat.reshape(dweight.shape)


SIZES = np.dtype([(name, np.int64) for name in ("jobs", "K", "C", "taps", "pitch")])
_STRIP = 32  # output channels of one transposition


@functools.cache
def _unpacker(dtype: np.dtype) -> Kernel:
    transpose = transposer(dtype)

    @kernel(specialisation=dtype.str)
    def unpack_channels(job, sizes, partial, dweight, jobs):
        g = sizes[0]
        scratch = np.empty(CHUNK * g.taps * _STRIP, partial.dtype)
        first, last = job * g.C // jobs[0], (job + 1) * g.C // jobs[0]
        size = g.taps * g.C * g.pitch
        for c in range(first, last, CHUNK):
            count = min(CHUNK, last - c)
            for k in range(0, g.K, _STRIP):
                valid = min(_STRIP, g.K - k)
                for i in range(count):
                    for tap in range(g.taps):
                        at = (tap * g.C + c + i) * g.pitch + k
                        total = scratch[(i * g.taps + tap) * _STRIP : (i * g.taps + tap) * _STRIP + valid]
                        source = partial[at : at + valid]
                        for v in range(total.size):
                            total[v] = source[v]
                        for part in range(1, g.jobs):
                            source = partial[part * size + at : part * size + at + valid]
                            for v in range(total.size):
                                total[v] += source[v]
                transpose(scratch, 0, _STRIP, dweight, (k * g.C + c) * g.taps, g.C * g.taps, count * g.taps, valid)

    return unpack_channels
