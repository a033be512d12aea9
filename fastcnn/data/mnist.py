"""MNIST and Fashion-MNIST: found in the user's folders, or downloaded into a cache and verified; and small digits.

The user's own files are read as they are, and damage there is an error. The cache is ours, and heals itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import machine
from ..files import cache_folder
from .cache import LIMITS, File, Limits, damage, fill
from .dataset import Dataset
from .idx import IdxError, read_images_and_labels


class DatasetNotFound(FileNotFoundError):
    """A dataset is in none of the places searched; the message lists them, and says what to put where."""


class Source(NamedTuple):
    """Where a dataset comes from: train images, train labels, test images and test labels, at any of the mirrors."""

    name: str
    mirrors: tuple[str, ...]
    files: tuple[File, File, File, File]


MNIST = Source(
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    (
        File("train-images-idx3-ubyte.gz", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", "idx"),
        File("train-labels-idx1-ubyte.gz", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", "idx"),
        File("t10k-images-idx3-ubyte.gz", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", "idx"),
        File("t10k-labels-idx1-ubyte.gz", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", "idx"),
    ),
)
FASHION_MNIST = Source(
    "fashion-mnist",
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    (
        File("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", "gzip"),
        File("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", "gzip"),
        File("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", "gzip"),
        File("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", "gzip"),
    ),
)


def mnist(data_dir: str | Path | None = None, *, download: bool = True) -> Dataset:
    """Return MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28.

    Parameters
    ----------
    data_dir : path, optional
        The folder that holds the four IDX files (``.gz`` or plain), or whose subfolder ``mnist`` does. Nothing else is
        searched then. Without it: ``$FASTCNN_DATA/mnist``, then the user's cache folder, then the network.
    download : bool
        Whether files that are missing or damaged in the cache may be downloaded (11 MB); needs requests.

    Raises
    ------
    DatasetNotFound
        The files are in none of these places, and could not be downloaded.
    IdxError
        A file in the user's own folder is damaged, or not MNIST's format.
    """
    return _load(MNIST, data_dir, download)


def fashion_mnist(data_dir: str | Path | None = None, *, download: bool = True) -> Dataset:
    """Return Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 x 28 (31 MB to download).

    Parameters and errors are those of `mnist`; the subfolder is ``fashion-mnist``.
    """
    return _load(FASHION_MNIST, data_dir, download)


def digits() -> Dataset:
    """Return scikit-learn's handwritten digits, 8 x 8, from its wheel: 1,438 to train, 359 to test, always the same.

    Grey values are scaled from 0..16 to 0..255; both parts hold the classes in equal shares.

    Raises
    ------
    ImportError
        scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError('digits() needs scikit-learn: pip install "fastcnn[train]"') from error
    found = load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)
    labels = found.target.astype(np.uint8)
    parts = train_test_split(images, labels, test_size=359, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = parts
    return Dataset("digits", train_images, train_labels, test_images, test_labels)


def _load(source: Source, data_dir: str | Path | None, download: bool, limits: Limits = LIMITS) -> Dataset:
    if data_dir is not None:
        folders = [Path(data_dir), Path(data_dir) / source.name]
    else:
        shared = machine.setting("FASTCNN_DATA")
        folders = [Path(shared) / source.name] if shared else []
    looked = []
    for folder in folders:
        found = [path for file in source.files if (path := _find(folder, file.name))]
        if len(found) == len(source.files):
            return _read(source, found)
        looked.append(f"{folder}: " + (f"{len(found)} of 4 files" if folder.is_dir() else "no such folder"))

    if data_dir is not None:
        raise _not_found(source, looked, ["not tried, because data_dir was given"])
    cache = cache_folder() / source.name
    damaged = {file: reason for file in source.files if (reason := damage(cache / file.name, file, limits))}
    failures = []
    if damaged and download:
        failures = fill(source.mirrors, cache, list(damaged), limits)
    elif damaged:
        failures = ["not tried, because download=False"]
    if failures:
        raise _not_found(source, [*looked, *damaged.values()], failures)
    return _read(source, [cache / file.name for file in source.files])


def _find(folder: Path, name: str) -> Path | None:
    """Return a file of the user's under any of its usual names: ``.gz`` or plain, ``-idx3`` or ``.idx3``."""
    plain = name.removesuffix(".gz")
    dotted = plain.replace("-idx", ".idx")
    names = (name, plain, f"{dotted}.gz", dotted)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read(source: Source, paths: list[Path]) -> Dataset:
    train_images, train_labels = read_images_and_labels(paths[0], paths[1])
    test_images, test_labels = read_images_and_labels(paths[2], paths[3])
    if train_images.shape[1:] != test_images.shape[1:]:
        train, test = train_images.shape[1:], test_images.shape[1:]
        raise IdxError(f"{paths[2]}: expected images of shape {train}, as in {paths[0]}; got {test}")
    return Dataset(source.name, train_images, train_labels, test_images, test_labels)


def _not_found(source: Source, looked: list[str], failures: list[str]) -> DatasetNotFound:
    return DatasetNotFound(
        "\n  ".join(
            [
                f"{source.name}: the dataset was not found. Looked in:",
                *(f"  {line}" for line in looked),
                "Download:",
                *(f"  {line}" for line in failures),
                "To provide it, download these files into a folder and pass that as data_dir, or put them into",
                f"{source.name}/ in the folder that the environment variable FASTCNN_DATA names:",
                *(f"  {source.mirrors[0]}{file.name}" for file in source.files),
            ]
        )
    )
