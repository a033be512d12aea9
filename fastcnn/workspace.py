"""Memory for intermediate images, kept by each thread from call to call.

What malloc gives back to the system after every call comes back as page faults, which take longer than a small convolution.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

_LARGEST = 4 * 2**20  # bytes that a thread keeps
_LINE = 64


class _Kept(threading.local):
    memory: np.ndarray | None = None


_kept = _Kept()


def workspace(size: int, dtype: Any) -> np.ndarray:
    """Return `size` elements of any value, in one axis, until the calling thread asks again.

    More than 4 MiB are allocated anew.
    """
    dtype = np.dtype(dtype)
    needed = size * dtype.itemsize
    if needed > _LARGEST:
        return np.empty(size, dtype)
    memory = _kept.memory
    if memory is None or memory.size < needed:
        whole = np.empty(needed + _LINE, np.uint8)
        first = -whole.ctypes.data % _LINE
        memory = _kept.memory = whole[first : first + needed]
    return memory[:needed].view(dtype)


def release() -> np.ndarray | None:
    """Forget the memory that the calling thread keeps, and return it: which pages it has decides up to a third of a kernel's speed.

    A benchmark that holds what it gets makes the next call take other pages.
    """
    memory, _kept.memory = _kept.memory, None
    return memory
