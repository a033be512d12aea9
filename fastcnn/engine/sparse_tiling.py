"""How the R x (S*C) elements that one gradient of a sparse map meets are cut into register tiles of `gathered_tile`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import machine
from .sparse_simd import GatherShape

_HALF = 0.6  # the cost of half a vector, in vectors: half the work on some CPUs, as much of it on others
_ENTRY = 1.5  # vectors that reading a number and its place, and broadcasting it, costs
_MOST_ROWS = 7  # each has a pointer of its own in the inner loop
_ENOUGH_SUMS = 8  # that hide the latency of a multiply-add: 4 cycles, two of them at a time


class Tiling(NamedTuple):
    """R lines of `reach` elements in tiles: `tiles` to a line, `pitch` long where it is padded; `effort` is the cost of a number."""

    effort: float  # in vector multiply-adds
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


def tiling(R: int, reach: int, itemsize: int, most: int | None = None) -> Tiling:
    """Return the tiling of R lines of `reach` elements with the least effort; its tiles have `most` elements, where any are so small."""
    candidates = list(_tilings(R, reach, itemsize))
    if most is not None:
        small = [t for t in candidates if t.tile.rows * t.width <= most]
        candidates = small or [min(candidates, key=lambda t: t.tile.rows * t.width)]
    return min(candidates)


def _tilings(R: int, reach: int, itemsize: int) -> Iterator[Tiling]:
    """Yield all tilings whose sums, one number and one operand fit into the registers."""
    level = machine.isa()
    registers = level.registers - 3
    for lanes, share in ((level.vector_bytes // itemsize, 1.0), (level.vector_bytes // itemsize // 2, _HALF)):
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
