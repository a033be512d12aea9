"""Files of arrays: what NumPy writes is read and the other way round; and every way in which such a file can lie is told, at no cost."""

from __future__ import annotations

import io
import re
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastcnn import archive, files

ARRAYS = {
    "0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    "text": np.array("a word"),
    "foreign": np.arange(3, dtype=">i2"),
    "empty": np.zeros((0, 3), np.uint8),
}
any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
dtypes = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(), hnp.complex_number_dtypes(),
    hnp.byte_string_dtypes(), hnp.unicode_string_dtypes(),
)  # fmt: skip
any_array = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
any_name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["file", "allow_pickle", "arr_0", "../a", "/etc/passwd", "a\\b", "a.npy"]
)


def written(arrays: dict[str, Any], write: Callable[..., None] = np.savez) -> bytes:
    file = io.BytesIO()
    write(file, **arrays)
    return file.getvalue()


def require_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable


def read(content: bytes) -> dict[str, np.ndarray]:
    return archive.read_npz(io.BytesIO(content))


# --- What is read ------------------------------------------------------------------------------------------------------


@given(arrays=st.dictionaries(any_name, any_array, max_size=4))
@any_speed
def test_any_arrays_come_back_under_any_names(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    files.save_arrays(tmp_path / "a.npz", arrays)
    require_same(files.load_arrays(tmp_path / "a.npz"), arrays)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"], "names are names of arrays, not of files"


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_and_the_other_way_round(write: Callable[..., None], tmp_path: Path) -> None:
    require_same(read(written(ARRAYS, write)), ARRAYS)
    files.save_arrays(tmp_path / "a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        require_same(dict(found), ARRAYS)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_an_array_is_read(version: tuple[int, int]) -> None:
    for array in ARRAYS.values():
        file = io.BytesIO()
        np.lib.format.write_array(file, array, version)
        np.testing.assert_array_equal(archive.read_npy(file), array, strict=True)


@pytest.mark.parametrize("name", ["zero\0character", "half of a pair \ud800"])
def test_names_that_no_zip_can_hold_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="save_arrays: a zip cannot hold the name"):
        files.save_arrays(tmp_path / "a.npz", {name: np.zeros(1)})
    with pytest.raises(TypeError, match="save_arrays: names must be str; got int"):
        files.save_arrays(tmp_path / "a.npz", {1: np.zeros(1)})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


# --- Damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_every_cut_and_every_changed_byte_is_noticed_or_means_nothing(write: Callable[..., None]) -> None:
    content = written({"a": ARRAYS["0.weight"], "b": ARRAYS["text"]}, write)
    want = read(content)
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"."):
            read(content[:length])
    silent = 0
    for place in range(len(content)):
        for change in (0xFF, 0x01, 0x80):
            damaged = bytearray(content)
            damaged[place] ^= change
            try:
                require_same(read(bytes(damaged)), want)
                silent += 1
            except ValueError:
                continue
    assert 0 < silent < 1.5 * len(content), "dates, versions and attributes mean nothing to us, all else does"


@given(st.binary(max_size=300), st.integers(0, 700), st.booleans())
@any_speed
def test_foreign_bytes_anywhere_are_a_value_error_or_change_nothing(patch: bytes, place: int, packed: bool) -> None:
    content = written({"a": ARRAYS["0.weight"], "b": ARRAYS["text"]}, np.savez_compressed if packed else np.savez)
    want = read(content)
    try:
        require_same(read(content[:place] + patch + content[place + len(patch) :]), want)
    except ValueError:
        return


# --- Lies --------------------------------------------------------------------------------------------------------------


def npy(header: str | bytes, data: bytes = b"", claimed: int | None = None, version: int = 2) -> bytes:
    content = header.encode() if isinstance(header, str) else header
    length = len(content) if claimed is None else claimed
    return b"\x93NUMPY" + bytes((version, 0)) + length.to_bytes(2 if version == 1 else 4, "little") + content + data


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(3,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as out:
        for name, content in entries.items():
            out.writestr(name, content)
    return file.getvalue()


def patched(content: bytes, start: bytes, place: int, value: bytes) -> bytes:
    """Return a zip in which some bytes of every header that starts so are others."""
    result, at = bytearray(content), content.find(start)
    while at >= 0:
        result[at + place : at + place + len(value)] = value
        at = content.find(start, at + 1)
    return bytes(result)


CENTRAL, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"
NUMBERS = npy(described(), bytes(12))
CODE = "__import__('os').abort()"
HEADERS = {
    "terabytes": npy(described(shape="(1000000, 1000000)"), bytes(12)),
    "more bytes than a number can say": npy(described(shape=f"({2**62}, {2**62})"), bytes(12)),
    "no elements, and lengths that no array has": npy(described(shape=f"(0, {2**62}, {2**62})")),
    "one byte less": npy(described(), bytes(11)),
    "one byte more": npy(described(), bytes(13)),
    "negative": npy(described(shape="(-3,)"), bytes(12)),
    "too many axes": npy(described(shape="(" + "1, " * 65 + ")"), bytes(4)),
    "text of terabytes": npy(described("'<U9999999999999'"), bytes(12)),
    "text of no width, often": npy(described("'<U0'", shape="(1000000000000000000,)")),
    "objects": npy(described("'|O'"), bytes(24)),
    "records": npy(described("[('a', '<f4')]"), bytes(12)),
    "records of objects": npy(described("[('a', '|O')]"), bytes(24)),
    "raw bytes": npy(described("'|V4'"), bytes(12)),
    "no dtype": npy(described("'<q9'"), bytes(12)),
    "many dtypes": npy(described("'f4,f4'"), bytes(24)),
    "code for a dtype": npy(described(CODE), bytes(12)),
    "code for a shape": npy(described(shape=f"({CODE},)"), bytes(12)),
    "code for a header": npy(CODE),
    "no order": npy(described(order="0"), bytes(12)),
    "deep tuples": npy(described(shape="(" * 4000 + ")" * 4000), bytes(12)),
    "many signs": npy(described(shape=f"({'-' * 9000}3,)"), bytes(12)),
    "a long number": npy(described(shape=f"({'9' * 9000},)"), bytes(12)),
    "a missing part": npy("{'descr': '<f4', 'fortran_order': False, }", bytes(12)),
    "a part twice": npy("{'descr': '<f4', 'descr': '<f4', 'shape': (3,), }", bytes(12)),
    "no dict": npy("[1, 2]", bytes(12)),
    "bytes that are no text": npy(b"\xff\xfe{}", bytes(12), version=3),
    "a header of 4 GB": npy("", claimed=2**32 - 1),
    "a header of 100 MB of spaces": npy(described() + " " * 10**8, bytes(12)),
    "another version": npy(described(), bytes(12), version=4),
    "no array": b"text",
    "nothing": b"",
}


def refused(content: bytes) -> str:
    """Require a ValueError, within a second and hardly any memory; return what it says."""
    file, start = io.BytesIO(content), time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r".") as caught:
            archive.read_npz(file)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 1
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("lie", HEADERS)
def test_an_array_that_lies_costs_nothing(lie: str) -> None:
    method = zipfile.ZIP_DEFLATED if "100 MB" in lie else zipfile.ZIP_STORED
    message = refused(zipped({"a.npy": HEADERS[lie]}, method))
    assert "100 MB" in lie or message.startswith("a.npy: ")
    with pytest.raises(ValueError, match=r"."):
        archive.read_npy(io.BytesIO(HEADERS[lie]))


@pytest.mark.parametrize("lie", ["objects", "text of no width, often", "raw bytes", "many dtypes"])
def test_objects_and_records_are_refused_by_their_dtype(lie: str) -> None:
    """Before any memory is taken for them."""
    with pytest.raises(ValueError, match=r"expected numbers or text \(objects are refused\); got "):
        archive.read_npy(io.BytesIO(HEADERS[lie]))


def _twice(name: str) -> bytes:
    """Return a zip with two entries of this name, the second one written as another."""
    return zipped({"x" * len(name): NUMBERS, name: NUMBERS}).replace(b"x" * len(name), name.encode())


def _shared() -> bytes:
    """Return a zip of a thousand names for the same bytes."""
    content = zipped({"a.npy": npy(described(shape="(25000,)"), bytes(100_000))})
    start, end = content.index(CENTRAL), content.index(END)
    entry, names = content[start:end], [f"{i:01x}.npy".encode() for i in range(16)]
    directory = b"".join(entry.replace(b"a.npy", name) for name in names)
    tail = bytearray(content[end:])
    tail[8:12], tail[12:16] = struct.pack("<HH", len(names), len(names)), struct.pack("<I", len(directory))
    return content[:start] + directory + bytes(tail)


def _bomb(mebibytes: int) -> bytes:
    """Return zeros packed a thousand to one, with their right sum."""
    header, zeros = npy(described(shape=f"({mebibytes * 2**18},)")), bytes(2**20)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed, total = pack.compress(header), zlib.crc32(header)
    for _ in range(mebibytes):
        packed += pack.compress(zeros)
        total = zlib.crc32(zeros, total)
    packed += pack.flush()
    content = zipped({"a.npy": packed})
    for start, place in ((LOCAL, 8), (CENTRAL, 10)):
        content = patched(content, start, place, struct.pack("<H", zipfile.ZIP_DEFLATED))
        content = patched(content, start, place + 6, struct.pack("<III", total, len(packed), len(header) + mebibytes * 2**20))
    return content


def _zip64(size: int) -> bytes:
    """Return a zip whose central directory tells the size of its entry in the form for large files."""
    content = zipped({"a.npy": NUMBERS})
    start, end = content.index(CENTRAL), content.index(END)
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    entry = bytearray(content[start:end] + extra)
    entry[20:28], entry[30:32] = b"\xff" * 8, struct.pack("<H", len(extra))
    return content[:start] + bytes(entry) + content[end : end + 12] + struct.pack("<I", len(entry)) + content[end + 16 :]


def _before() -> bytes:
    """Return a zip whose central directory says that it begins later than it does, so that its entries begin before the file."""
    content = bytearray(zipped({"a.npy": NUMBERS}))
    end = content.index(END)
    content[end + 16 : end + 20] = struct.pack("<I", content.index(CENTRAL) + 100)
    return bytes(content)


SIZES = struct.pack("<II", 2**31, 2**31)
ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb": (lambda: _bomb(80), "it would unpack"),
    "two of a name": (lambda: _twice("a.npy"), "a name is there twice"),
    "many names for the same bytes": (_shared, "of the file's|Overlapped"),
    "no array": (lambda: zipped({"a.txt": b"text"}), "whose names end in .npy; got 'a.txt'"),
    "a folder": (lambda: zipped({"a/": b""}), "got 'a/'"),
    "an encrypted entry": (lambda: patched(patched(zipped({"a.npy": NUMBERS}), CENTRAL, 8, b"\1"), LOCAL, 6, b"\1"), "encrypted"),
    "packed by LZMA": (lambda: zipped({"a.npy": NUMBERS}, zipfile.ZIP_LZMA), "packed by method 14; expected 0 or 8"),
    "a name that differs from its header's": (lambda: zipped({"a.npy": NUMBERS}).replace(b"a.npy", b"b.npy", 1), "differ"),
    "an entry that claims 2 GB": (lambda: patched(zipped({"a.npy": NUMBERS}), CENTRAL, 20, SIZES), "of the file's|Overlapped"),
    "not packed, and two sizes": (lambda: patched(zipped({"a.npy": NUMBERS}), CENTRAL, 24, SIZES[:4]), "is not packed, but claims"),
    "a size of 64 bits": (lambda: _zip64(2**63), "of the file's|Overlapped|Corrupt"),
    "an entry beyond the end": (lambda: patched(zipped({"a.npy": NUMBERS}), CENTRAL, 42, b"\xff\xff\xff\x7f"), r"."),
    "an entry before the start": (_before, "Invalid argument|negative seek|Bad|Overlapped"),
    "a directory before the start": (lambda: patched(zipped({"a.npy": NUMBERS}), END, 12, b"\xff\xff\xff\x7f"), r"."),
    "a zip in a zip": (lambda: zipped({"a.npy": zipped({"a.npy": NUMBERS})}), "expected an array in NumPy's format"),
    "a single array": (lambda: NUMBERS, "it holds a single array"),
    "nothing": (lambda: b"", "not a zip"),
}


@pytest.mark.parametrize("lie", ZIPS)
def test_a_zip_that_lies_costs_nothing(lie: str) -> None:
    make, message = ZIPS[lie]
    content = make()
    told = refused(content)
    assert re.search(message, told), told


@pytest.mark.parametrize("lie", ZIPS)
def test_a_zip_that_lies_is_refused_on_a_disk_too(lie: str, tmp_path: Path) -> None:
    """Where to go to a place before the first byte is an error of the system."""
    make, message = ZIPS[lie]
    (tmp_path / "a.npz").write_bytes(make())
    with pytest.raises(ValueError, match=message):
        files.load_arrays(tmp_path / "a.npz")


def test_spaces_in_headers_cost_no_more_than_their_number() -> None:
    content, start = zipped({f"{i}.npy": npy(described() + " " * 9000, bytes(12)) for i in range(30)}), time.perf_counter()
    assert len(read(content)) == 30
    assert time.perf_counter() - start < 1


def test_a_thing_may_pack_well_where_it_is_small() -> None:
    """Zeros of 60 MiB pack a thousand to one, and are read."""
    (found,) = read(_bomb(60)).values()
    assert found.shape == (60 * 2**18,)
    assert not found.any()
