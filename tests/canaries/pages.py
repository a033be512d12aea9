"""Memory in which no byte beside an array can be read or written unnoticed.

A block lies alone on pages of its own, between two that may neither be read nor written::

    place "end"      [ no access ][ canary | array ][ no access ]     the first byte behind the array ends the process
    place "start"    [ no access ][ array | canary ][ no access ]     so does the last byte before it
    place "between"  canary | array | canary                          on any system: writes are found, once the block is checked

What is left of the pages is canary: bytes that nobody may change. All of it, fresh arrays included, is 0xFF, which reads as NaN in every
floating format and as -1 in integers: an element that is read before it was written shows in the result.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any, NamedTuple

import numpy as np

PLACES = ("end", "start", "between")
CANARY = 0xFF
MARGIN = 256  # canary bytes on either side "between": four of the widest vectors
_FAILED = ctypes.c_void_p(-1).value


def can_protect() -> bool:
    """Whether this system can take the access to a page away."""
    return sys.platform in ("linux", "darwin")


class Block(NamedTuple):
    """An array's memory and the canaries around it, as addresses."""

    first: int  # of the canary before the data
    data: int
    size: int
    last: int  # behind the canary after the data
    holder: Any = None  # what keeps the memory, where it is Python's


class Pages:
    """Blocks with the same `place`; see the module.

    Attributes
    ----------
    blocks : dict
        Those in use, by the address of their data.
    touched : list of str
        What was found at blocks that are given back or checked.
    made : int
        Blocks so far.
    """

    def __init__(self, place: str) -> None:
        if place not in PLACES:
            raise ValueError(f"Pages: place must be one of {PLACES}; got {place!r}")
        if place != "between" and not can_protect():
            raise ValueError(f"Pages: {sys.platform} has no mprotect here; use 'between'")
        self.place, self.made = place, 0
        self.blocks: dict[int, Block] = {}
        self._fresh: dict[int, Block] = {}  # those not checked yet
        self.touched: list[str] = []
        if place != "between":
            self._c = _library()

    def allocate(self, size: int, clear: bool = False) -> int:
        """Return the address of `size` new bytes, 0xFF or, with `clear`, 0; 0 where there is no memory."""
        size = max(size, 1)
        block = self._between(size) if self.place == "between" else self._protected(size)
        if block is None:
            return 0
        ctypes.memset(block.first, CANARY, block.last - block.first)
        if clear:
            ctypes.memset(block.data, 0, size)
        self.blocks[block.data] = self._fresh[block.data] = block
        self.made += 1
        return block.data

    def free(self, address: int) -> None:
        """Check a block and give it back: on protected pages, whoever reads it later ends the process."""
        if not address:
            return
        block = self.blocks.pop(address)
        self._fresh.pop(address, None)
        self._check(block)
        if block.holder is None:
            self._c.munmap(*self._whole(block))

    def check(self, everything: bool = False) -> None:
        """Check the blocks in use that came since the last check, or all."""
        for block in list((self.blocks if everything else self._fresh).values()):
            self._check(block)
        self._fresh.clear()

    def array(self, values: np.ndarray, read_only: bool = False) -> np.ndarray:
        """Return a copy of an array in a block that nobody frees but `release`.

        Its memory is in the order of the original's, which is contiguous once its axes are sorted. With `read_only` a write ends the
        process (on protected pages), though NumPy takes it for writable, as kernels want all of their arrays.
        """
        order = np.argsort([-stride for stride in values.strides], kind="stable")
        sorted_ = values.transpose(order)
        memory = np.ascontiguousarray(sorted_)
        address = self.allocate(memory.nbytes)
        raw: Any = (ctypes.c_char * memory.nbytes).from_address(address)
        copy = np.frombuffer(raw, values.dtype).reshape(memory.shape)
        copy[...] = memory
        if read_only and self.place != "between":
            self._c.mprotect(*self._inner(self.blocks[address]), mmap.PROT_READ)
        return copy.transpose(np.argsort(order))

    def release(self, array: np.ndarray) -> None:
        """Free what `array` returned."""
        self.free(array.__array_interface__["data"][0])

    def _between(self, size: int) -> Block:
        holder = ctypes.create_string_buffer(size + 2 * MARGIN + 64)
        first = ctypes.addressof(holder)
        data = -(-(first + MARGIN) // 64) * 64
        return Block(first, data, size, first + len(holder), holder)

    def _protected(self, size: int) -> Block | None:
        inner = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        base = self._c.mmap(None, inner + 2 * mmap.PAGESIZE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if base == _FAILED:
            return None
        first = base + mmap.PAGESIZE
        if self._c.mprotect(first, inner, mmap.PROT_READ | mmap.PROT_WRITE):
            return None
        return Block(first, first if self.place == "start" else first + inner - size, size, first + inner)

    def _inner(self, block: Block) -> tuple[int, int]:
        return block.first, block.last - block.first

    def _whole(self, block: Block) -> tuple[int, int]:
        return block.first - mmap.PAGESIZE, block.last - block.first + 2 * mmap.PAGESIZE

    def _check(self, block: Block) -> None:
        end = block.data + block.size
        for side, first, last in (("before", block.first, block.data), ("behind", end, block.last)):
            found = ctypes.string_at(first, last - first)
            if found.count(CANARY) < len(found):
                places = [i for i, byte in enumerate(found) if byte != CANARY]
                nearest = len(found) - places[-1] if side == "before" else places[0] + 1
                self.touched.append(f"{len(places)} bytes {side} an array of {block.size} bytes, the nearest {nearest} from it")


def _library() -> Any:
    """Return the C library with the types of what is called."""
    library = ctypes.CDLL(None, use_errno=True)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype, library.mmap.argtypes = address, (address, size, number, number, number, ctypes.c_int64)
    library.mprotect.restype, library.mprotect.argtypes = number, (address, size, number)
    library.munmap.restype, library.munmap.argtypes = number, (address, size)
    return library
