"""Memory for results: what nobody holds any more serves the next result.

malloc gives large arrays back to the system, and every step of a training gets them anew as pages that must be cleared and mapped: a
tenth of the time of a small network. So each thread keeps the blocks that it has handed out. A block is free when nothing but this list
refers to it: every array on it, and every view of one, keeps the block as its base (the block itself, as that owns its memory).
"""

from __future__ import annotations

import ctypes
import functools
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import machine

_LINE = 64  # bytes of a cache line, and of the widest vector
_KEPT_FROM = 2**14  # bytes; smaller ones malloc has at hand, and aligning them costs more than it saves
_LARGEST = 2**27  # bytes of a block that is kept: VGG's first layers for eight images have 103 MB, and took 7 or, in fresh pages, 116 ms
_STORE = 2**25  # bytes of address space that stored arrays share
_LARGE_PAGE = 2**21
_KEPT = min(2**29, machine.memory_bytes() // 16)  # bytes that a thread keeps at most


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a new array of any values, as `np.empty` does; from 16 KiB on it begins at a cache line.

    NumPy's begin 16 bytes behind one, and every vector stored there would touch two lines.
    """
    return allocator(shape, dtype)()


def allocator(shape: tuple[int, ...], dtype: Any) -> Callable[[], np.ndarray]:
    """Return `empty` for a shape and dtype, as a function that is called again and again."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _KEPT_FROM:
        return functools.partial(np.empty, shape, dtype)
    return functools.partial(_aligned, shape, dtype, size)


def _aligned(shape: tuple[int, ...], dtype: np.dtype, size: int) -> np.ndarray:
    block = _kept.block(size) if size <= _LARGEST and _COUNTS else np.empty(size + _LINE, np.uint8)
    address = ctypes.addressof(_nothing_at(block))  # a third of the time of block.ctypes.data
    return np.ndarray(shape, dtype, block, -address % _LINE)


def stored(values: np.ndarray) -> np.ndarray:
    """Return a copy that is to last, such as packed weights, next to others of its kind.

    A network reads all of its weights at every call. In pages of 4 KiB they have more addresses than the processor remembers; together
    they fill large pages, which NumPy asks for where an array has 4 MiB or more. ResNet-50 took 3-10 % less time.
    """
    return _stores.copy(values)


def is_kept(block: np.ndarray) -> bool:
    """Whether an array is a block that the calling thread hands out again when nobody refers to it."""
    return any(block is own for own in _kept.blocks.get(block.nbytes - _LINE, []))


def adopt(block: np.ndarray) -> None:
    """Take a block out of what the calling thread hands out and counts: it belongs to the caller from now on."""
    _kept.forget(block)


def release() -> None:
    """Give the calling thread's free blocks back to the system."""
    _kept.drop_free()


_nothing_at: Any = (ctypes.c_char * 0).from_buffer


def _size_class(size: int) -> int:
    """Return `size` rounded up by a seventh at most, so that batches of nearly one size share blocks."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step


def _counted(blocks: list[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Yield every block and how many refer to it.

    The loop holds a block before it is counted: a signal handler that asks for memory in between finds it in use.
    """
    for block in blocks:
        yield block, sys.getrefcount(block)


_UNUSED = next(_counted([np.empty(1)]))[1]  # of a block that only its list and the loop hold; interpreters count differently
_COUNTS: bool = getattr(sys, "_is_gil_enabled", lambda: True)()  # without the lock another thread may take what was counted as free


class _Kept(threading.local):
    """The blocks of one thread, by size."""

    def __init__(self) -> None:
        self.blocks: dict[int, list[np.ndarray]] = {}
        self.total = 0

    def block(self, size: int) -> np.ndarray:
        """Return a block of at least `size` bytes that nobody uses."""
        size = _size_class(size)
        for block, references in _counted(self.blocks.get(size, [])):
            if references == _UNUSED:
                return block
        block = np.empty(size + _LINE, np.uint8)
        if self.total + size > _KEPT:
            self.drop_free()
        if self.total + size <= _KEPT:
            self.blocks.setdefault(size, []).append(block)
            self.total += size
        return block

    def forget(self, block: np.ndarray) -> None:
        """Keep a block no longer."""
        size = block.nbytes - _LINE
        own = self.blocks.get(size, [])
        others = [other for other in own if other is not block]
        if len(others) < len(own):
            self.blocks[size], self.total = others, self.total - size

    def drop_free(self) -> None:
        """Forget the blocks that nobody uses."""
        used = {size: [block for block, references in _counted(blocks) if references != _UNUSED] for size, blocks in self.blocks.items()}
        self.blocks = {size: blocks for size, blocks in used.items() if blocks}
        self.total = sum(size * len(blocks) for size, blocks in self.blocks.items())


class _Stores(threading.local):
    """The memory that the next copies of a thread go to; its pages are taken from the system when they are first written."""

    def __init__(self) -> None:
        self.rest = np.empty(0, np.uint8)

    def copy(self, values: np.ndarray) -> np.ndarray:
        size = -(-values.nbytes // _LINE) * _LINE
        if size > self.rest.size:
            whole = np.empty(max(_STORE, size) + _LARGE_PAGE, np.uint8)
            self.rest = whole[-whole.ctypes.data % _LARGE_PAGE :]
        place, self.rest = self.rest[: values.nbytes], self.rest[size:]
        result = place.view(values.dtype).reshape(values.shape)
        result[...] = values
        return result


_kept = _Kept()
_stores = _Stores()
