"""Memory of results: used again when nobody holds it, and never before."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from fastcnn import conv2d, memory

_SHAPE = (64, 1024)


def _address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


@pytest.fixture(autouse=True)
def _afresh():
    memory.release()
    yield
    memory.release()


@pytest.mark.skipif(not memory._COUNTS, reason="without the interpreter's lock nothing is kept")
def test_what_nobody_holds_is_used_again():
    first = memory.empty(_SHAPE, np.float32)
    address = _address(first)
    del first
    again = memory.empty(_SHAPE, np.float32)
    assert _address(again) == address
    assert again.shape == _SHAPE
    assert again.dtype == np.float32


@pytest.mark.parametrize(
    "hold",
    [
        lambda a: a,
        lambda a: a[3:, ::2],
        lambda a: a.T.reshape(-1)[5:] if a.T.flags.c_contiguous else a.T,
        lambda a: a.view(np.uint8)[0, 0:1],
        lambda a: memoryview(a),
        lambda a: np.asarray(memoryview(a)),
        lambda a: a.reshape(2, -1).transpose(),
    ],
    ids=["itself", "slice", "transposed", "other-dtype", "buffer", "array-on-buffer", "reshaped"],
)
def test_whoever_holds_a_view_keeps_the_values(hold):
    array = memory.empty(_SHAPE, np.float32)
    array[...] = 7
    held, address = hold(array), _address(array)
    del array
    others = [memory.empty(_SHAPE, np.float32) for _ in range(5)]
    for other in others:
        other[...] = np.nan
    assert address not in map(_address, others)
    values = np.asarray(held)
    assert (values.view(np.float32) == 7).all() if values.dtype == np.float32 else values.size == 1


def test_who_asks_while_another_looks_gets_a_block_of_his_own(monkeypatch):
    """As a signal handler may, between the moment that a block is found to be free and the moment that it is taken."""
    memory.empty(_SHAPE, np.float32)  # leaves a free block
    original, inner = memory._counted, []

    def interrupted(blocks):
        for block, references in original(blocks):
            if not inner:
                inner.append(None)  # once
                inner[0] = memory.empty(_SHAPE, np.float32)
            yield block, references

    monkeypatch.setattr(memory, "_counted", interrupted)
    outer = memory.empty(_SHAPE, np.float32)
    assert not np.shares_memory(outer, inner[0])


def test_large_arrays_begin_at_a_cache_line():
    for size in (2**14, 2**14 + 1, 99_999, 2**22 + 3):
        assert _address(memory.empty((size,), np.uint8)) % 64 == 0


def test_results_of_calls_do_not_overwrite_one_another():
    x, w = np.ones((2, 3, 40, 40), np.float32), np.ones((8, 3, 3, 3), np.float32)
    results = [conv2d(x * i, w) for i in range(4)]
    for i, result in enumerate(results):
        assert (result == 27 * i).all()


def test_no_more_is_kept_than_the_limit(monkeypatch):
    monkeypatch.setattr(memory, "_KEPT", 2**20)
    arrays = [memory.empty((300_000,), np.uint8) for _ in range(8)]
    assert len(set(map(_address, arrays))) == 8
    assert memory._kept.total <= 2**20
    del arrays
    memory.empty((900_000,), np.uint8)  # room is made by dropping what is free
    assert memory._kept.total <= 2**20
    memory.release()
    assert memory._kept.total == 0


def test_threads_share_nothing():
    mine = memory.empty(_SHAPE, np.float32)
    address = _address(mine)
    del mine
    seen = []
    other = threading.Thread(target=lambda: seen.append(memory.empty(_SHAPE, np.float32)))
    other.start()
    other.join()
    assert _address(seen[0]) != address
    seen[0][...] = 1  # outlives its thread
    assert (seen[0] == 1).all()


def test_sizes_are_rounded_up_by_a_seventh_at_most():
    for size in range(2**14, 2**14 + 5000, 7):
        assert size <= memory._size_class(size) <= size * 8 / 7


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_stored_arrays_are_copies_that_stay(dtype: type) -> None:
    originals = [np.arange(size).astype(dtype).reshape(shape) for size, shape in ((6, (2, 3)), (0, (0,)), (100_000, (100_000,)))]
    copies = [memory.stored(array) for _ in range(400) for array in originals]  # more than one store holds
    for i, copy in enumerate(copies):
        np.testing.assert_array_equal(copy, originals[i % 3])
        assert copy.ctypes.data % 64 == 0
        assert copy.flags.c_contiguous
    assert not any(np.shares_memory(one, other) for one, other in itertools.pairwise(copies))
