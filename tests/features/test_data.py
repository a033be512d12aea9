"""Data sets, and what batches are made of."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from fastcnn import data
from fastcnn.data.augment import Augment
from fastcnn.data.batches import Batches
from fastcnn.layers import Flatten, Linear, Sequential
from fastcnn.train import fit, predict

from .rows import row

RNG = np.random.default_rng(0)
FILES = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
IMAGES, LABELS = RNG.integers(0, 256, (60, 28, 28)).astype(np.uint8), RNG.integers(0, 10, 60).astype(np.uint8)


def written(folder: Path, packed: bool) -> Path:
    """Write 40 images to train and 20 to test as IDX files, byte by byte as their format says."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(FILES, (IMAGES[:40], LABELS[:40], IMAGES[40:], LABELS[40:]), strict=True):
        content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(content) if packed else content)
    return folder


def assert_whole(found: data.Dataset, name: str) -> None:
    assert found.name == name
    np.testing.assert_array_equal(np.concatenate([found.train_images, found.test_images]), IMAGES)
    np.testing.assert_array_equal(np.concatenate([found.train_labels, found.test_labels]), LABELS)


@row(
    "MNIST",
    "the four IDX files, packed or plain, found in a folder or downloaded and verified",
    module="fastcnn.data.mnist",
    example="README.md#train-mnist",
)
@pytest.mark.parametrize("packed", [True, False])
def test_mnist(packed: bool, tmp_path: Path) -> None:
    assert_whole(data.mnist(written(tmp_path / "mnist", packed)), "mnist")
    assert_whole(data.mnist(tmp_path), "mnist")


@row(
    "Fashion-MNIST",
    "the same format; ten kinds of clothes, two of which 002 tells apart",
    module="fastcnn.data.mnist",
    example="README.md#train-mnist",
)
def test_fashion_mnist(tmp_path: Path) -> None:
    written(tmp_path / "fashion-mnist", True)
    found = data.fashion_mnist(tmp_path)
    assert_whole(found, "fashion-mnist")
    assert data.class_names("fashion-mnist")[found.only([1, 7]).classes[1]] == "Sneaker"


@row(
    "normalise, flatten, one-hot",
    "bytes / 255; images as rows; labels as rows with a single 1",
    module="fastcnn.data.arrays",
    example="fastcnn.data.one_hot",
)
def test_normalise_flatten_one_hot() -> None:
    images = np.array([[[0, 51], [255, 102]]], np.uint8)
    rows = data.flatten(data.normalise(images))
    np.testing.assert_allclose(rows, [[0, 0.2, 1, 0.4]], rtol=1e-6)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(data.one_hot(np.array([2, 0], np.uint8), 3), [[0, 0, 1], [1, 0, 0]])


@row(
    "standardisation per pixel",
    "(v - mean) / deviation of every pixel, from the images trained on, for the others too; pixels that never change become 0",
    module="fastcnn.data.arrays",
    example="fastcnn.data.moments",
)
def test_standardisation_per_pixel() -> None:
    images = np.array([[[0, 7, 10]], [[4, 7, 20]], [[8, 7, 60]]], np.uint8)
    net = Sequential(Flatten(), Linear(3, 2, rng=0))
    history = fit(net, images, np.array([0, 1, 0]), standardise="pixel")
    np.testing.assert_allclose(history.mean, [[[4, 7, 30]]])
    np.testing.assert_allclose(history.deviation, [[[np.sqrt(32 / 3), 1, np.sqrt(1400 / 3)]]])
    new = np.array([[[4, 9, 30]]], np.uint8)
    x = np.array([[0, 2, 0]], np.float32)  # 9 - 7, over the 1 that stands for a deviation of 0
    expected = x @ net.params["1.weight"].T + net.params["1.bias"]
    np.testing.assert_allclose(predict(net, new, history.mean, history.deviation), expected, rtol=1e-5, atol=1e-6)
    constant = data.standardise(images, *data.moments(images, "pixel"))[..., 1]
    assert not constant.any()


@row(
    "class subsets",
    "the images of some classes, their labels 0, 1, ... and which class each stands for",
    module="fastcnn.data.dataset",
    example="fastcnn.data.Dataset",
)
def test_class_subsets() -> None:
    labels = np.array([3, 1, 2, 1, 3, 0], np.uint8)
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1)
    pair = data.Dataset("six", images, labels, images[:2], labels[:2]).only([1, 3])
    assert pair.train_images.ravel().tolist() == [0, 1, 3, 4]
    assert pair.train_labels.tolist() == [1, 0, 0, 1]
    assert pair.test_labels.tolist() == [1, 0]
    assert pair.classes == (1, 3)


@row(
    "validation split",
    "a share of the training images, of every class alike, kept from training; the test images stay unseen",
    module="fastcnn.data.split",
    example="fastcnn.data.Dataset",
)
def test_validation_split() -> None:
    labels = np.repeat(np.array([0, 1], np.uint8), [80, 20])
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1)
    whole = data.Dataset("hundred", images, labels, images[:1], labels[:1])
    part = whole.validation_split(0.2, seed=1)
    assert np.bincount(part.test_labels).tolist() == [16, 4]
    assert sorted([*part.train_images.ravel(), *part.test_images.ravel()]) == list(range(100))
    np.testing.assert_array_equal(part.train_labels, labels[part.train_images.ravel()])
    assert part.test_images.ravel().tolist() != whole.validation_split(0.2, seed=2).test_images.ravel().tolist()


@row(
    "shuffled epochs",
    "every image once an epoch, in an order that seed and epoch decide; the last batch may be smaller",
    module="fastcnn.data.batches",
    example="fastcnn.train.fit",
)
def test_shuffled_epochs() -> None:
    batches = Batches(IMAGES, np.arange(60), 16, seed=0)
    epochs = [[batches.batch(epoch, number)[1].tolist() for number in range(4)] for epoch in (0, 1, 0)]
    assert [len(batch) for batch in epochs[0]] == [16, 16, 16, 12]
    for epoch in epochs:
        assert sorted(position for part in epoch for position in part) == list(range(60))
    assert epochs[0] == epochs[2] != epochs[1]


@row(
    "sampling with replacement",
    "as many independent draws as images: an epoch holds some 1 - 1/e of them",
    module="fastcnn.data.batches",
    example="fastcnn.train.fit",
)
def test_sampling_with_replacement() -> None:
    batches = Batches(np.zeros((4000, 1, 1), np.uint8), np.arange(4000), 4000, seed=0, sampling="replacement")
    counts = np.bincount(batches.batch(0, 0)[1], minlength=4000)
    # Poisson's distribution of mean 1: 36.8 % never, 36.8 % once, 18.4 % twice; 5 deviations of a count are below 5 sqrt(1000)
    for times, share in enumerate(np.exp(-1) / np.array([1, 1, 2, 6])):
        assert abs((counts == times).sum() - 4000 * share) < 5 * np.sqrt(4000 * share)


@row(
    "augmentation",
    "images shifted and turned at random (scaled, sheared, bent and erased, too), anew in every epoch",
    module="fastcnn.data.augment",
    example="fastcnn.data.Augment",
)
def test_augmentation() -> None:
    image = np.zeros((1, 9, 9), np.uint8)
    image[0, 4, 6] = 200  # two pixels right of the centre

    def place(augment: Augment, epoch: int) -> tuple[float, float]:
        x = Batches(image, np.zeros(1, int), 1, seed=0, mean=0.0, deviation=200.0, augment=augment).batch(epoch, 0)[0][0, 0]
        grid = np.arange(9) - 4
        return float((x * grid).sum() / x.sum()), float((x * grid[:, None]).sum() / x.sum())

    shifts = np.array([place(Augment(shift=1.5), epoch) for epoch in range(40)]) - [2, 0]
    assert np.abs(shifts).max() <= 1.5 + 1e-5
    assert np.abs(shifts).max(axis=0).min() > 1
    turned = np.array([place(Augment(rotate=90), epoch) for epoch in range(40)])
    np.testing.assert_allclose(np.hypot(*turned.T), 2, atol=0.25)  # as far from the centre as before, but for the interpolation
    assert turned[:, 1].min() < -1
    assert turned[:, 1].max() > 1
    bent = np.array([place(Augment(elastic=1), epoch) for epoch in range(40)])
    assert bent.std(axis=0).min() > 0.3
