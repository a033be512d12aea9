"""How the R x (S*C) elements that one gradient of a sparse map meets are cut into register tiles of `gathered_tile`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import machine
from .sparse_simd import GatherShape

# Measured, by the bytes of a whole vector. Where that is 64, half of it is half the work on some CPUs (Zen 4), as much of it on others.
_HALF = {64: 0.6, 32: 0.9, 16: 0.9}  # the cost of half a vector as an operand of a multiply-add, in vectors
# The costs of a vector, of half and of a quarter of one, loaded and stored as well, in multiply-adds of a whole one: a store a cycle where
# there are two multiply-adds, however many bytes it has up to 32; and 64 bytes, if not aligned, lie over the end of a line of the cache.
_STORED = {64: (2.2, 1.0, 0.8), 32: (2.2, 2.0, 1.8), 16: (2.2, 2.0, 1.8)}
_ENTRY = 1.5  # vectors that reading a number and its place, and broadcasting it, costs
_MOST_ROWS = 7  # each has a pointer of its own in the inner loop
_ENOUGH_SUMS = 8  # that hide the latency of a multiply-add: 4 cycles, two of them at a time


class Tiling(NamedTuple):
    """R lines of `reach` elements in tiles: `tiles` to a line, which is `pitch` long where it is padded."""

    effort: float  # of one number, in vector multiply-adds
    tile: GatherShape
    tiles: int
    reach: int

    @property
    def width(self) -> int:
        """Elements of a tile's line."""
        return self.tile.vectors * self.tile.lanes

    @property
    def pitch(self) -> int:
        """Elements of a line in whole tiles."""
        return self.tiles * self.width


def tiling(R: int, reach: int, itemsize: int) -> Tiling:
    """Return the tiling of R lines of `reach` elements with the least effort."""
    return min(_tilings(R, reach, itemsize))


def _tilings(R: int, reach: int, itemsize: int) -> Iterator[Tiling]:
    """Yield all tilings whose sums, one number and one operand fit into the registers."""
    level = machine.isa()
    registers = level.registers - 3
    for lanes, share in ((level.lanes(itemsize), 1.0), (level.lanes(itemsize) // 2, _HALF[level.vector_bytes])):
        if lanes < 2:
            continue
        columns = -(-reach // lanes)
        for rows in {R, 1} if R <= _MOST_ROWS else {1}:
            for vectors in {-(-columns // tiles) for tiles in range(1, columns + 1)}:
                if rows * vectors > registers:
                    continue
                tiles, copies = -(-columns // vectors), 1
                while copies < 4 and rows * vectors * copies < _ENOUGH_SUMS and 2 * rows * vectors * copies <= registers:
                    copies *= 2
                wait = max(1.0, _ENOUGH_SUMS / 2 / (rows * vectors * copies))
                effort = R // rows * tiles * (rows * vectors * share * wait + _ENTRY)
                yield Tiling(effort, GatherShape(rows, vectors, lanes, copies), tiles, reach)


class BlockTiling(NamedTuple):
    """R x S pixels of C channels in tiles of `rows` x `columns` pixels and `vectors` vectors of `lanes` channels, which are a block."""

    effort: float  # of one number, in vector multiply-adds
    rows: int
    columns: int
    vectors: int
    lanes: int
    blocks: int  # of channels

    @property
    def channels(self) -> int:
        """Channels of a block."""
        return self.vectors * self.lanes


def block_tiling(R: int, S: int, C: int, itemsize: int) -> BlockTiling:
    """Return the tiling of R x S pixels of C channels with the least effort."""
    return min(_block_tilings(R, S, C, itemsize))


def _block_tilings(R: int, S: int, C: int, itemsize: int) -> Iterator[BlockTiling]:
    """Yield all tilings whose tiles fit into the registers."""
    level = machine.isa()
    for part, share in enumerate(_STORED[level.vector_bytes]):
        if (lanes := level.lanes(itemsize) >> part) < 2:
            continue
        whole = -(-C // lanes)
        for rows in (rows for rows in range(1, min(R, _MOST_ROWS) + 1) if R % rows == 0):
            for columns in (columns for columns in range(1, S + 1) if S % columns == 0):
                for vectors in range(1, min(whole, (level.registers - 3) // (rows * columns)) + 1):
                    blocks = -(-whole // vectors)
                    tiles = R // rows * (S // columns) * blocks
                    yield BlockTiling(tiles * (rows * columns * vectors * share + _ENTRY), rows, columns, vectors, lanes, blocks)
