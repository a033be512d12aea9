"""Batches: every image once an epoch, normalised as NumPy does it, and nothing that depends on what was asked for before."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import machine
from fastcnn.data.augment import Augment
from fastcnn.data.batches import Batches

FULL = Augment(shift=2, rotate=15, scale=0.15, shear=0.2, erase=0.5)


def _data(*shape: int, dtype: Any = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, shape).astype(dtype)
    return images, np.arange(shape[0])


def _same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.parametrize("shape", [(23, 28, 28), (23, 3, 5, 7), (5, 1, 1), (7, 2, 1, 9), (1, 4, 4)])
@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
def test_an_epoch(shape: tuple[int, ...], batch_size: int) -> None:
    """Labels are positions: each comes once, with its image, normalised in float32."""
    images, labels = _data(*shape)
    batches = Batches(images, labels, batch_size, seed=3)
    assert batches.mean == pytest.approx(images.mean(), rel=1e-12)
    assert batches.deviation == pytest.approx(images.std() or 1, rel=1e-12)
    planes = images if images.ndim == 4 else images[:, None]
    seen = []
    for number in range(len(batches)):
        x, target = batches.batch(0, number)
        assert x.dtype == np.float32
        assert target.dtype == np.int64
        assert x.shape == (len(target), *planes.shape[1:])
        assert x.transpose(0, 2, 3, 1).flags.c_contiguous
        assert x.ctypes.data % 64 == 0
        expected = (planes[target] - batches.mean) / batches.deviation
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)
        seen += target.tolist()
    assert sorted(seen) == list(range(len(images)))
    assert seen == np.random.default_rng([3, 0]).permutation(len(images)).tolist()


@pytest.mark.parametrize("augment", [None, FULL])
def test_epoch_and_number_alone_decide(augment: Augment | None) -> None:
    images, labels = _data(40, 9, 8)
    batches = Batches(images, labels, 16, seed=1, augment=augment)
    first = {(e, b): [a.copy() for a in batches.batch(e, b)] for e in range(3) for b in range(len(batches))}
    resumed = Batches(images, labels, 16, seed=1, augment=augment)
    for place in [(2, 1), (0, 2), (2, 0), (1, 1)]:
        for other in (resumed, batches, copy.deepcopy(batches), pickle.loads(pickle.dumps(batches))):
            _same(other.batch(*place), first[place])
    assert (first[0, 0][1] != first[1, 0][1]).any()
    assert (Batches(images, labels, 16, seed=2).batch(0, 0)[1] != first[0, 0][1]).any()


@pytest.mark.parametrize("augment", [None, FULL])
def test_an_image_is_the_same_in_batches_of_any_size_and_order(augment: Augment | None) -> None:
    images, labels = _data(30, 2, 9, 8)

    def of_size(size: int, sampling: str) -> np.ndarray:
        batches, found = (
            Batches(images, labels, size, seed=1, augment=augment, sampling=sampling),
            np.full((30, 2, 9, 8), np.nan, np.float32),
        )
        for number in range(len(batches)):
            x, target = batches.batch(4, number)
            found[target] = x
        return found

    expected = of_size(30, "shuffled")
    for size, sampling in ((1, "shuffled"), (7, "shuffled"), (8, "ordered")):
        np.testing.assert_array_equal(of_size(size, sampling), expected)


@pytest.mark.skipif(machine.max_threads() < 2, reason="needs two threads")
@pytest.mark.parametrize("augment", [None, FULL])
def test_threads_change_nothing(augment: Augment | None) -> None:
    batches = Batches(*_data(300, 28, 28), 300, seed=0, augment=augment)
    with machine.threads(1):
        one = batches.batch(0, 0)
    with machine.threads(machine.max_threads()):
        _same(batches.batch(0, 0), one)


@pytest.mark.parametrize("augment", [None, FULL])
def test_images_of_any_memory(augment: Augment | None, tmp_path: Path) -> None:
    images, labels = _data(12, 2, 6, 5)
    expected = Batches(images, labels, 5, seed=0, augment=augment).batch(0, 1)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    read_only = images.copy()
    read_only.flags.writeable = False
    wide = np.repeat(images, 2, axis=0)[::2]
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for other in (mapped, read_only, wide, last, np.asfortranarray(images), images[::-1][::-1]):
        _same(Batches(other, labels.astype(np.uint8), 5, seed=0, augment=augment).batch(0, 1), expected)
    np.testing.assert_array_equal(read_only, images)
    del mapped


def test_float_images_are_taken_as_they_are() -> None:
    images = np.random.default_rng(0).standard_normal((6, 3, 4, 5)).astype(np.float32)
    images[2, 1, 3, 3] = np.inf
    batches = Batches(images, np.arange(6), 6, seed=0)
    x, target = batches.batch(0, 0)
    np.testing.assert_array_equal(x, images[target])
    assert (batches.mean, batches.deviation) == (0, 1)
    half = Batches(images, np.arange(6), 6, seed=0, deviation=2.0).batch(0, 0)[0]
    np.testing.assert_array_equal(half, images[target] / 2)


def test_a_batch_stays_as_long_as_anything_refers_to_it() -> None:
    batches = Batches(*_data(64, 20, 20), 16, seed=0)
    kept = [batches.batch(0, number)[0] for number in range(4)]
    part = batches.batch(0, 0)[0][3, 0, ::2]
    copies, piece = [x.copy() for x in kept], part.copy()
    for number in range(4):
        batches.batch(1, number)
    for x, expected in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(part, piece)
    del kept, part, x
    places = {batches.batch(0, number % 4)[0].ctypes.data for number in range(12)}
    assert len(places) <= 3


def test_errors() -> None:
    images, labels = _data(6, 4, 4)
    rows: list[tuple[dict[str, Any], Any, str]] = [
        ({"images": images.astype(float)}, TypeError, "uint8 or float32"),
        ({"images": images.astype(np.float32)}, ValueError, "float32 images must be"),
        ({"images": images[0]}, ValueError, r"\(N, H, W\)"),
        ({"images": images[:, :0]}, ValueError, "pixels"),
        ({"labels": labels[:5]}, ValueError, r"shape \(6,\)"),
        ({"labels": labels.astype(float)}, TypeError, "integers"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"seed": -1}, ValueError, "seed"),
        ({"deviation": 0.0}, ValueError, "deviation"),
        ({"mean": np.nan}, ValueError, "mean"),
        ({"augment": 3}, TypeError, "Augment"),
        ({"sampling": "shuffle"}, ValueError, "sampling must be one of"),
    ]
    good = {"images": images, "labels": labels, "batch_size": 4, "seed": 0}
    for changes, error, message in rows:
        with pytest.raises(error, match=message):
            Batches(**{**good, **changes})
    batches = Batches(**good)
    for number in (-1, 2):
        with pytest.raises(IndexError, match="between 0 and 1"):
            batches.batch(0, number)
    with pytest.raises(ValueError, match="epoch"):
        batches.batch(-1, 0)
    assert len(Batches(images[:0], labels[:0], 4, seed=0)) == 0


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
@pytest.mark.parametrize("sampling", ["shuffled", "replacement", "ordered"])
@pytest.mark.parametrize("augment", [None, FULL])
def test_parts_together_are_the_batch(parts: int, sampling: str, augment: Augment | None) -> None:
    """To the bit, also of the last batch, which has fewer images than there are parts."""
    images, labels = _data(19, 9, 8)
    whole = Batches(images, labels, 8, seed=2, augment=augment, sampling=sampling)
    cut = [Batches(images, labels, 8, seed=2, augment=augment, sampling=sampling, part=(i, parts)) for i in range(parts)]
    for number in range(3):
        found = [part.batch(1, number) for part in cut]
        _same([np.concatenate([x for x, _ in found]), np.concatenate([target for _, target in found])], whole.batch(1, number))
        rows = [part.rows(number) for part in cut]
        assert [count for _, count, _ in rows] == [len(target) for _, target in found]
        assert [before for before, _, _ in rows] == np.cumsum([0, *(count for _, count, _ in rows)])[:-1].tolist()
        assert {size for _, _, size in rows} == {len(whole.batch(1, number)[1])}
        assert max(count for _, count, _ in rows) - min(count for _, count, _ in rows) <= 1


def test_parts_that_are_none_are_refused() -> None:
    images, labels = _data(3, 4, 4)
    with pytest.raises(ValueError, match="part: number must be between 0 and 1; got 2"):
        Batches(images, labels, 2, seed=0, part=(2, 2))
    with pytest.raises(IndexError, match="Batches: number must be between 0 and 1; got 2"):
        Batches(images, labels, 2, seed=0).rows(2)
    with pytest.raises(IndexError, match="Batches: there are no images"):
        Batches(images[:0], labels[:0], 2, seed=0).batch(0, 0)
