"""Scratch of kernels: on a line of the cache, of the size that was asked for, given back, and MemoryError where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastcnn import scratch
from fastcnn.jit import kernel
from tests.processes._use import AVAILABLE, use


def _filled(dtype: Any) -> Any:
    empty = scratch.allocator(np.dtype(dtype))

    @kernel(specialisation=np.dtype(dtype).str)
    def fill(job, sizes, found):  # type: ignore[no-untyped-def]
        values = empty(sizes[job])
        for i in range(values.size):
            values[i] = i
        found[job, 0], found[job, 1], found[job, 2] = values.ctypes.data % 64, values.size, values.sum()

    return fill


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_it_begins_on_a_line(dtype: Any) -> None:
    sizes, found = np.arange(200), np.full((200, 3), -1.0)
    _filled(dtype).launch(200, sizes, found, work=0)
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] == sizes).all()
    assert (found[:, 2] == sizes * (sizes - 1) // 2).all()


def test_what_the_system_does_not_have_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        _filled(np.float64).launch(1, np.array([2**50]), np.zeros((1, 3)), work=0)


@pytest.mark.skipif(not AVAILABLE, reason="reads /proc to see what a process uses")
def test_it_is_given_back() -> None:
    fill, sizes, found = _filled(np.float64), np.full(100, 2**14), np.zeros((100, 3))
    fill.launch(100, sizes, found, work=0)
    before = use().memory
    for _ in range(20):
        fill.launch(100, sizes, found, work=0)
    assert use().memory - before < 2**24, "of 250 MiB"
