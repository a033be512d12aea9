"""Files of NumPy arrays, .npz and .npy, from strangers: a claim is held against the bytes that are there before memory is spent on it.

`numpy.load` trusts more: it allocates what an array's header claims, unpacks whatever a zip promises, and keeps one of two arrays of the
same name.
"""

from __future__ import annotations

import errno
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_MAGIC = b"\x93NUMPY"
_HEADER_BYTES = 10_000  # NumPy's own limit
_KINDS = "biufcSU"  # numbers and text: no objects, which only pickle could read, and no records
# Zeros pack a thousand to one; a model's buffers and biases may be zeros, whole models are not.
_UNPACKED_FREELY, _UNPACKED_PER_BYTE = 2**26, 100
_CHUNK = 2**24
_ITEM = r"""\s*['"](descr|fortran_order|shape)['"]\s*:\s*(True|False|\([\dL, ]*\)|'[^'\\]{1,32}'|"[^"\\]{1,32}")\s*(?:,|(?=\}))"""
_ITEMS = re.compile(rf"\{{(?:{_ITEM}){{3}}\s*\}}\s*")
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OverflowError, TypeError)


class _Header(NamedTuple):
    """What an array's header claims, and how many bytes it took itself."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    length: int

    @property
    def size(self) -> int:
        """The bytes that must follow."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as .npz, stored as they are, in their order.

    Raises
    ------
    TypeError
        A name is no str, or an array holds Python objects, which only pickle could store.
    ValueError
        A zip cannot hold the name: it has a zero character, or half of a surrogate pair.
    """
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"save_arrays: names must be str; got {type(name).__name__}")
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"save_arrays: {name} holds Python objects, which only pickle could store")
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"save_arrays: a zip cannot hold the name {name!r}")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def read_npz(file: BinaryIO) -> dict[str, np.ndarray]:
    """Return the named arrays of an .npz file; ValueError where it is another one or damaged, whatever it claims."""
    if file.read(len(_MAGIC)) == _MAGIC:
        raise ValueError("it holds a single array; an .npz file was expected")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_sizes(entries, file.seek(0, io.SEEK_END))
            return {entry.filename[:-4]: _entry(archive, entry) for entry in entries}
    except _DAMAGE as error:  # RuntimeError: it is encrypted; NotImplementedError: packed in another way
        raise ValueError(f"{type(error).__name__}: {error}") from error
    except OSError as error:
        if error.errno is None or error.strerror is None or error.errno == errno.EINVAL:  # a place before the file's first byte
            raise ValueError(f"{type(error).__name__}: {error}") from error
        raise


def read_npy(file: BinaryIO) -> np.ndarray:
    """Return the array of an .npy file; ValueError where it is another one or damaged."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return _array(file, size)


def _check_sizes(entries: list[zipfile.ZipInfo], stored: int) -> None:
    """Refuse names that are there twice, and sizes that cannot be."""
    names = {entry.filename for entry in entries}
    if len(names) < len(entries):
        raise ValueError("a name is there twice")
    for entry in entries:
        if not entry.filename.endswith(".npy"):
            raise ValueError(f"expected arrays, whose names end in .npy; got {entry.filename[:80]!r}")
        if entry.comment:  # a damaged length, which swallows the next entry: `zipfile` does not count them
            raise ValueError(f"{entry.filename[:80]} has a comment; expected none")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename[:80]} is packed by method {entry.compress_type}; expected 0 or 8")
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            raise ValueError(f"{entry.filename[:80]} is not packed, but claims {entry.file_size:,} bytes in {entry.compress_size:,}")
    packed, unpacked = (sum(getattr(entry, name) for entry in entries) for name in ("compress_size", "file_size"))
    if packed > stored:  # entries that share their bytes
        raise ValueError(f"its arrays claim {packed:,} bytes of the file's {stored:,}")
    if unpacked > packed + _UNPACKED_FREELY and unpacked > _UNPACKED_PER_BYTE * packed:
        raise ValueError(f"it would unpack {packed:,} bytes to {unpacked:,}")


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        try:
            array = _array(file, entry.file_size)
        except ValueError as error:
            raise ValueError(f"{entry.filename[:80]}: {error}") from error
        if file.read(1):  # the end is where the sum of all bytes is checked
            raise ValueError(f"{entry.filename[:80]}: more bytes than it claims")
        return array


def _array(file: Any, stored: int) -> np.ndarray:
    """Return an array whose header and data are all of the `stored` bytes."""
    header = _header(file)
    if header.length + header.size != stored:
        raise ValueError(f"its header claims {header.size:,} bytes for {header.dtype} {header.shape}; got {stored - header.length:,}")
    array = np.empty(header.shape[::-1] if header.fortran else header.shape, header.dtype)
    rest = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
    while len(rest):
        some = file.readinto(rest[:_CHUNK])
        if not some:
            raise ValueError(f"it ends {len(rest):,} bytes too early")
        rest = rest[some:]
    return array.T if header.fortran else array


def _header(file: Any) -> _Header:
    """Read a header as `numpy.save` writes it, and nothing else that Python could evaluate."""
    start = file.read(8)
    if start[:6] != _MAGIC or start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError(f"expected an array in NumPy's format, of version 1 to 3; got bytes {tuple(start)}")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _HEADER_BYTES:
        raise ValueError(f"a header of at most {_HEADER_BYTES:,} bytes is read; got {length:,}")
    content = file.read(length)
    text = content.decode("utf-8" if start[6] == 3 else "latin-1").rstrip()  # spaces at the end cost `findall` their square
    found = dict(re.findall(_ITEM, text)) if len(content) == length and _ITEMS.fullmatch(text) else {}
    fortran, shape, descr = (found.get(key, "") for key in ("fortran_order", "shape", "descr"))
    if fortran not in ("True", "False") or shape[:1] != "(" or descr[:1] not in ("'", '"'):
        raise ValueError(f"expected a header of descr, fortran_order and shape, of plain numbers or text; got {text[:80]!r}")
    try:
        dtype = np.dtype(descr[1:-1])
    except TypeError as error:
        raise ValueError(f"the dtype {descr} is not known") from error
    sizes = tuple(int(size) for size in shape[1:-1].replace("L", "").split(",") if size.strip())
    if dtype.kind not in _KINDS or dtype.itemsize == 0 or len(sizes) > 64:
        raise ValueError(f"expected numbers or text (objects are refused); got {descr} of {len(sizes)} axes")
    return _Header(dtype, sizes, fortran == "True", len(start) + width + length)
