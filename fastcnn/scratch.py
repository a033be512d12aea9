"""Scratch of kernels that begins on a line of the cache, as results do: elsewhere every vector lies across two lines.

Numba's own arrays begin at multiples of 32 bytes: by chance a kernel with vectors of 64 bytes was fast in one call and slower in the next.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import machine

_LINE = 64  # bytes of a cache line, and of the widest vector


@functools.cache
def allocator(dtype: np.dtype) -> Any:
    """Return an intrinsic ``empty(count)``: what ``np.empty(count, dtype)`` is to a kernel, MemoryError included, on a line."""
    machine.numba()
    from numba.core import cgutils, types
    from numba.extending import intrinsic
    from numba.np.arrayobj import make_array, populate_array
    from numba.np.numpy_support import from_dtype

    array = types.Array(from_dtype(dtype), 1, "C")

    @intrinsic
    def empty_on_line(typingctx: Any, count: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            itemsize = context.get_constant(types.intp, dtype.itemsize)
            block = context.nrt.meminfo_alloc_aligned(b, b.mul(args[0], itemsize), _LINE)
            result = make_array(array)(context, b)
            populate_array(
                result,
                data=b.bitcast(context.nrt.meminfo_data(b, block), result.data.type),
                shape=cgutils.pack_array(b, [args[0]]),
                strides=cgutils.pack_array(b, [itemsize]),
                itemsize=itemsize,
                meminfo=block,
            )
            return result._getvalue()

        return array(types.intp), codegen

    return empty_on_line
