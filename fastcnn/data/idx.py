"""IDX, the file format of MNIST: two zero bytes, a type code, the rank, the lengths as big-endian uint32, the data.

Files come from strangers: a header is a claim, and memory is spent only on what a file really holds.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

_TYPES = {code: np.dtype(f">{kind}") for code, kind in ((8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8"))}
_MAX_RANK = 32  # what every NumPy version can hold
_MAX_BYTES = 2**31
_CHUNK = 2**20
_IMAGES, _LABELS = 0x803, 0x801  # uint8 of rank 3 and of rank 1
_MEANINGS = {_IMAGES: "2051: uint8 images of rank 3", _LABELS: "2049: uint8 labels of rank 1"}


class IdxError(ValueError):
    """A file is not what it should be; the message names it, what was expected and what arrived."""


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file, plain or gzip-compressed (told by its first bytes, not by its name).

    Parameters
    ----------
    path : path-like
        A regular file of at most 2 GiB of data.

    Returns
    -------
    ndarray
        uint8, int8, int16, int32, float32 or float64 in native byte order; C-contiguous and writable.

    Raises
    ------
    IdxError
        Not a regular file, not IDX, damaged, truncated, too long or too large.
    OSError
        The file cannot be opened or read.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section "File formats".
    """
    return _read(path)


def read_images_and_labels(
    images_path: str | os.PathLike[str], labels_path: str | os.PathLike[str]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read a pair of files in MNIST's format.

    Parameters
    ----------
    images_path, labels_path : path-like
        IDX files of 3 axes and of 1, packed with gzip or plain; see `read_idx`.

    Returns
    -------
    images : (N, H, W) uint8
        Grey values 0..255.
    labels : (N,) uint8
        Classes 0..9.

    Raises
    ------
    IdxError
        A file is damaged, the two are swapped, empty, of different lengths, or a label exceeds 9.
    OSError
        A file cannot be opened or read.
    """
    images, labels = _read(images_path, _IMAGES), _read(labels_path, _LABELS)
    if images.size == 0:
        raise IdxError(f"{images_path}: expected at least one image of at least one pixel; got shape {images.shape}")
    if len(images) != len(labels):
        raise IdxError(f"{labels_path}: expected {len(images)} labels, one per image in {images_path}; got {len(labels)}")
    if labels.max() > 9:
        first = int((labels > 9).argmax())
        raise IdxError(f"{labels_path}: expected labels 0..9; got {labels[first]} at index {first}")
    return images, labels


@contextlib.contextmanager
def open_content(path: str | os.PathLike[str], *, unpack: bool = True) -> Iterator[BinaryIO]:
    """Open a regular file for reading, through gzip where it starts with gzip's magic bytes and `unpack` is true.

    Raises
    ------
    IdxError
        Not a regular file; or, raised while it is read, not a whole and undamaged gzip file.
    OSError
        The file cannot be opened or read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # before opening: that would wait for a pipe's other end
        raise IdxError(f"{path}: expected a regular file; got a directory, pipe or device")
    with open(path, "rb") as file:
        packed = unpack and file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as content:
                yield cast(BinaryIO, content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise IdxError(f"{path}: expected a whole, undamaged gzip file; got: {error}") from error


def _read(path: str | os.PathLike[str], wanted: int | None = None) -> npt.NDArray[Any]:
    """Read an IDX file; `wanted` is the only magic number to accept, or None for any."""
    with open_content(path) as content:
        magic = content.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= _MAX_RANK:
            got = f"bytes {tuple(magic)}" if magic else "an empty file"
            raise IdxError(f"{path}: expected the IDX magic (0, 0, type, rank); got {got}")
        number = int.from_bytes(magic, "big")
        if wanted not in (None, number):
            swapped = ": are the two files swapped?" if number in _MEANINGS else ""
            got = _MEANINGS.get(number, str(number))
            raise IdxError(f"{path}: expected IDX magic {_MEANINGS[wanted]}; got {got}{swapped}")

        dtype, rank = _TYPES[magic[2]], magic[3]
        lengths = content.read(4 * rank)
        if len(lengths) < 4 * rank:
            raise IdxError(f"{path}: expected {rank} lengths ({4 * rank} bytes) after the magic; got {len(lengths)} bytes")
        shape = struct.unpack(f">{rank}I", lengths)
        # A zero length does not excuse the others: NumPy refuses (0, 2**32 - 1, 2**32 - 1) as too big.
        if math.prod(max(length, 1) for length in shape) * dtype.itemsize > _MAX_BYTES:
            raise IdxError(f"{path}: expected at most {_MAX_BYTES:,} bytes of data; the header claims {dtype.name} {shape}")
        size = math.prod(shape) * dtype.itemsize

        data = bytearray()  # grows with what arrives, so that a lying header costs nothing
        while chunk := content.read(min(_CHUNK, size + 1 - len(data))):
            data += chunk
            if len(data) > size:
                raise IdxError(f"{path}: expected {size:,} bytes of data for {dtype.name} {shape}; got more")
        if len(data) < size:
            raise IdxError(f"{path}: expected {size:,} bytes of data for {dtype.name} {shape}; got {len(data):,}")
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, buffer=data)
    return array.astype(dtype.newbyteorder("="), copy=False)
