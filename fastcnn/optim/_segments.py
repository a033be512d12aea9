"""Many arrays of one dtype seen as one line of elements, so that one launch of a kernel serves them all.

The arrays stay where they are: kernels get their addresses (see `simd.array_at`). What an optimiser remembers of them is one flat,
aligned buffer for each kind of memory, in which every array's part begins at a cache line.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import checks, machine
from ..jit import Kernel

CHUNK = 8192  # elements of a job: small enough to share a layer among threads, and 20 ns to start

_ALIGNED = 16  # elements: 64 bytes of float32
_nothing_at: Any = (ctypes.c_char * 0).from_buffer


def address(value: np.ndarray) -> int:
    """Return where a C-contiguous array begins; the caller keeps the array alive while that is used."""
    if value.flags.writeable:
        return ctypes.addressof(_nothing_at(value))  # a third of the time of value.ctypes.data
    return int(value.ctypes.data)


@functools.lru_cache(maxsize=64)
def chunk_table(sizes: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...], int]:
    """Return the jobs for arrays of these sizes, where each begins in a flat buffer, and the buffer's size in elements.

    A job is (array, first element in it, elements, first element in the flat buffer).
    """
    jobs, starts, end = [], [], 0
    for index, size in enumerate(sizes):
        starts.append(end)
        jobs += [(index, first, min(CHUNK, size - first), end + first) for first in range(0, size, CHUNK)]
        end += -(-size // _ALIGNED) * _ALIGNED
    return np.array(jobs, np.int64).reshape(-1, 4), tuple(starts), end


class Segments:
    """Arrays of one dtype that kernels read or change in place.

    Parameters
    ----------
    arrays : mapping of name to ndarray
        Of one dtype, float32 or float64. Kernels work on the arrays' own memory where that is C-contiguous, aligned and native, else on
        copies that `fetch` and `store` bring up to date.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = list(arrays.values())
        self.names = list(arrays)
        self.dtype = self.arrays[0].dtype.newbyteorder("=")
        self.shapes = [array.shape for array in self.arrays]
        self.jobs, self._starts, self.size = chunk_table(tuple(array.size for array in self.arrays))
        self._copies: list[tuple[np.ndarray, np.ndarray]] = []
        self._direct = [self._directly(array) for array in self.arrays]  # keeps the copies alive, as self.arrays does the others
        self.addresses = np.array([address(array) for array in self._direct], np.int64)
        self._overlap = _overlap(self.arrays)
        self._bound: dict[Any, Callable[..., None]] = {}

    def _directly(self, array: np.ndarray) -> np.ndarray:
        """Return an array as kernels can address it: itself, or a copy; one copy for one array under two names."""
        if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
            return array
        for known, copy in self._copies:
            if known is array:
                return copy
        self._copies.append((array, np.empty(array.shape, self.dtype)))
        return self._copies[-1][1]

    def fetch(self) -> None:
        """Bring the copies up to date, before a kernel."""
        for array, copy in self._copies:
            copy[...] = array

    def store(self) -> None:
        """Write the copies back, after a kernel that changes the arrays."""
        for array, copy in self._copies:
            array[...] = copy

    def flat(self) -> np.ndarray:
        """Return zeros for every element of the arrays, beginning at a cache line."""
        memory = np.zeros(self.size * self.dtype.itemsize + 64, np.uint8)
        first = -memory.ctypes.data % 64
        return memory[first : first + self.size * self.dtype.itemsize].view(self.dtype)

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parts of a flat buffer by name, in the arrays' shapes."""
        parts = zip(self.names, self._starts, self.shapes, self.arrays, strict=True)
        return {name: flat[start : start + array.size].reshape(shape) for name, start, shape, array in parts}

    def launch(self, kernel: Kernel, streams: int, *arrays: np.ndarray) -> None:
        """Run ``kernel(job, jobs, *arrays)`` for every job; `streams` is how many elements it moves for each of the arrays' elements.

        Arrays that share memory (one parameter under two names) are worked on by one thread, in order: each is changed in turn.
        """
        key = kernel, machine.get_threads()
        run = self._bound.get(key)
        if run is None:
            work = 0.0 if self._overlap else 8.0 * streams * self.size
            run = self._bound[key] = kernel.bound(len(self.jobs), self.jobs, *arrays, work=work)
        run(self.jobs, *arrays)


def by_dtype(op: str, arrays: Mapping[str, Any], writable: bool = True) -> list[dict[str, np.ndarray]]:
    """Return the arrays in groups of one dtype each, checked.

    Raises
    ------
    TypeError
        Not an ndarray, or not of float32 or float64.
    ValueError
        A read-only array, where they will be written.
    """
    groups: dict[np.dtype, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"{op}: {name!r} must be a NumPy array; got {type(array).__name__}")
        native = array.dtype.newbyteorder("=")
        if native not in checks.FLOATS:
            raise TypeError(f"{op}: {name!r} must have dtype float32 or float64; got {array.dtype}")
        if writable and not array.flags.writeable:
            raise ValueError(f"{op}: {name!r} is read-only, and would be changed in place")
        checks.require_memory(op, repr(name), array.shape, native.itemsize)  # a broadcast view may stand for more than fits
        groups.setdefault(native, {})[name] = array
    return list(groups.values())


def _overlap(arrays: Sequence[np.ndarray]) -> bool:
    """Whether two of the arrays may share memory."""
    bounds = sorted(_bounds(array) for array in arrays if array.size)
    return any(first[1] > second[0] for first, second in itertools.pairwise(bounds))


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """Return the first byte of an array's memory and the one behind its last."""
    reach = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
    first = int(array.ctypes.data)
    return first + sum(r for r in reach if r < 0), first + sum(r for r in reach if r > 0) + array.itemsize
