"""Arrays on pages of their own: where an array lies in the machine's memory decides up to a third of a kernel's time.

What malloc gives was often in use a moment ago, in the same place. So a process would measure one place, and the next process another, and
both would be sure of themselves. With new pages for every block the difference shows where it belongs: between the blocks.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

_LINE, _PAGE = 64, 4096
_LARGE = 2**22  # bytes from which NumPy asks for large pages
_rng = np.random.default_rng(0)


def fresh(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of zeros on new pages, which begins at a random cache line of the first."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, size + _PAGE)
    if size >= _LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    first = _LINE * int(_rng.integers(_PAGE // _LINE))
    return np.frombuffer(memory, np.uint8, size, first).view(dtype).reshape(shape)


def fresh_copy(array: np.ndarray) -> np.ndarray:
    """Return a copy of an array, C-contiguous, on new pages."""
    copy = fresh(array.shape, array.dtype)
    copy[...] = array
    return copy


def filler() -> list[np.ndarray]:
    """Return memory that nobody needs, in pieces of up to 128 KiB: while it is held, malloc cannot give the places that it gave before.

    By where the scratch lay that compiled code allocates, a convolution by Winograd took 570 us a call in one block and 670 us in the next,
    until that scratch began on a line of the cache: without this in 12 blocks of 24, with it in 1.
    """
    return [np.empty(size, np.uint8) for size in _rng.integers(2**10, 2**17, 64)]
