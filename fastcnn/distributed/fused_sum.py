"""Many arrays and a few numbers added up over all ranks in one message: its latency is paid once, not for every array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..optim._segments import by_dtype, chunk_table
from .communicator import Communicator

_LINE = 64  # bytes: arrays begin at cache lines, as the optimisers' kernels like them


class FusedSum:
    """A buffer for arrays of these names and shapes; one message for each dtype, which is one in all.

    Parameters
    ----------
    comm : Communicator
    arrays : mapping of str to ndarray
        float32 or float64; the same on all ranks.
    numbers : int
        How many numbers are added up beside them, in the widest of the arrays' dtypes (float64 without arrays).
    """

    def __init__(self, comm: Communicator, arrays: Mapping[str, np.ndarray], numbers: int) -> None:
        self._comm = comm
        self._flats: list[np.ndarray] = []
        self.arrays: dict[str, np.ndarray] = {}
        groups = sorted(by_dtype("FusedSum", arrays, writable=False), key=lambda group: -next(iter(group.values())).itemsize) or [{}]
        for group in groups:
            dtype = np.dtype(next(iter(group.values())).dtype.newbyteorder("=") if group else np.float64)
            _, starts, size = chunk_table(tuple(array.size for array in group.values()))
            flat = _aligned(size + (0 if self._flats else numbers), dtype)
            for (name, array), start in zip(group.items(), starts, strict=True):
                self.arrays[name] = flat[start : start + array.size].reshape(array.shape)
            self._flats.append(flat)
        self._numbers = self._flats[0][self._flats[0].size - numbers :]

    @property
    def bytes(self) -> int:
        """Of a message."""
        return sum(flat.nbytes for flat in self._flats)

    def __call__(self, arrays: Mapping[str, np.ndarray], numbers: Sequence[float]) -> tuple[dict[str, np.ndarray], list[float]]:
        """Return the sums over all ranks, the same bits everywhere: arrays that the next call overwrites, and numbers."""
        for name, buffer in self.arrays.items():
            np.copyto(buffer, arrays[name])
        self._numbers[:] = numbers
        for flat in self._flats:
            self._comm.add_up(flat)
        return self.arrays, list(map(float, self._numbers))


def _aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """Return zeros that begin at a cache line."""
    memory = np.zeros(size * dtype.itemsize + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + size * dtype.itemsize].view(dtype)
