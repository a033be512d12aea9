"""The IDX parser: every element type, and every way in which a file can lie."""

import gzip
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastcnn.data import IdxError, read_idx, read_images_and_labels

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
IMAGES = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
LABELS = np.array([0, 9, 3, 3, 1], np.uint8)
any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines may be busy


def header(kind, shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, CODES[kind], len(shape), *shape)


def idx(array, kind="u1"):
    """Write an array in the IDX format."""
    return header(kind, array.shape) + array.astype(kind).tobytes()


@pytest.fixture
def put(tmp_path):
    def write(content, name="file"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def error_of(path):
    """Return the message of the IdxError that reading must raise; it names the file."""
    with pytest.raises(IdxError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    return str(caught.value)


# --- What is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", CODES)
def test_every_type_becomes_a_native_writable_array(put, kind, pack):
    want = np.array([[0, 1, 127], [2, 100, 5]]).astype(kind)
    if kind != "u1":
        want[1, 2] = -5
    got = read_idx(put(pack(idx(want, kind))))
    np.testing.assert_array_equal(got, want)
    assert got.dtype == want.dtype.newbyteorder("=")
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    assert got.flags.aligned
    got[:] = 1


@pytest.mark.parametrize("name", ["plain.gz", "packed"])
def test_the_first_bytes_tell_gzip_not_the_name(put, name):
    pack = gzip.compress if name == "packed" else bytes
    np.testing.assert_array_equal(read_idx(put(pack(idx(IMAGES)), name)), IMAGES)
    np.testing.assert_array_equal(read_idx(str(put(pack(idx(IMAGES)), name))), IMAGES)


def test_gzip_files_of_several_members_are_read_whole(put):
    content = idx(IMAGES)
    np.testing.assert_array_equal(read_idx(put(gzip.compress(content[:30]) + gzip.compress(content[30:]))), IMAGES)


def test_more_than_one_chunk_is_read(put):
    want = np.random.default_rng(0).integers(0, 256, (3, 2**20 - 1), np.uint8)
    np.testing.assert_array_equal(read_idx(put(idx(want))), want)


def test_zero_lengths_give_empty_arrays(put):
    assert read_idx(put(header("u1", (0, 28, 28)))).shape == (0, 28, 28)


@any_speed
@given(hnp.arrays(np.int16, hnp.array_shapes(max_dims=5, min_side=0, max_side=4)), st.booleans())
def test_any_array_survives_the_round_trip(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "file"
    content = idx(array, ">i2")
    path.write_bytes(gzip.compress(content) if packed else content)
    got = read_idx(path)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


# --- What is refused --------------------------------------------------------------------------------------------------


@any_speed
@given(st.binary(max_size=40), st.sampled_from([b"", b"\0\0\x08\x03", b"\0\0\x0d\x02", b"\x1f\x8b", b"\x1f\x8b\x08\0"]))
def test_random_bytes_are_a_whole_array_or_an_idx_error(tmp_path_factory, rest, start):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(start + rest)
    try:
        array = read_idx(path)
    except IdxError:
        return
    assert 4 + 4 * array.ndim + array.nbytes == len(start + rest)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the IDX magic (0, 0, type, rank); got an empty file"),
        (b"\0\0\x08", "got bytes (0, 0, 8)"),
        (b"\0\1\x08\3" + bytes(100), "got bytes (0, 1, 8, 3)"),
        (b"\x89PNG\r\n", "got bytes (137, 80, 78, 71)"),
        (b"\0\0\x0a\1" + bytes(100), "got bytes (0, 0, 10, 1)"),
        (b"\0\0\x08\0\0", "got bytes (0, 0, 8, 0)"),
        (b"\0\0\x08\xff" + bytes(2000), "got bytes (0, 0, 8, 255)"),
        (idx(IMAGES)[:13], "3 lengths (12 bytes) after the magic; got 9 bytes"),
        (idx(IMAGES)[:-1], "60 bytes of data for uint8 (5, 3, 4); got 59"),
        (idx(IMAGES)[:16], "60 bytes of data for uint8 (5, 3, 4); got 0"),
        (idx(IMAGES) + b"\0", "60 bytes of data for uint8 (5, 3, 4); got more"),
        (header("u1", (0, 2, 2)) + b"\0", "0 bytes of data for uint8 (0, 2, 2); got more"),
        (header(">f8", (3,)) + bytes(23), "24 bytes of data for float64 (3,); got 23"),
    ],
)
def test_wrong_content_is_refused_with_what_arrived(put, pack, content, message):
    assert message in error_of(put(pack(content)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "shape",
    [
        (2**31 + 1,),
        (2**32 - 1,) * 3,
        (2**32 - 1,) * 32,
        (0, 2**32 - 1, 2**32 - 1),
        (2**16, 2**16, 2**32 - 1, 2**32 - 1),
    ],
)
def test_a_header_that_claims_terabytes_is_refused(put, pack, shape):
    assert f"at most 2,147,483,648 bytes of data; the header claims uint8 {shape}" in error_of(put(pack(header("u1", shape))))


def peak_bytes(call):
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_claim_below_the_cap_costs_no_memory_either(put, pack):
    path = put(pack(header("u1", (2**31,)) + bytes(1000)))
    assert peak_bytes(lambda: error_of(path)) < 8 * 2**20
    assert "2,147,483,648 bytes of data for uint8 (2147483648,); got 1,000" in error_of(path)


def test_a_gzip_bomb_is_not_unpacked(put):
    member = gzip.compress(bytes(2**24), 1)
    path = put(gzip.compress(header("u1", (100,))) + member * 256)  # 4 GiB in under 20 MB
    start = time.perf_counter()
    assert peak_bytes(lambda: error_of(path)) < 2**20
    assert time.perf_counter() - start < 1.0
    assert "100 bytes of data for uint8 (100,); got more" in error_of(path)


def test_every_cut_of_a_gzip_file_is_noticed(put):
    packed = gzip.compress(idx(IMAGES), mtime=0)
    for length in range(len(packed)):
        error_of(put(packed[:length]))
    assert "a whole, undamaged gzip file; got: " in error_of(put(packed[:-1]))


def test_no_flipped_bit_of_a_gzip_file_changes_the_array(put):
    packed = gzip.compress(idx(IMAGES), mtime=0)
    refused = 0
    for position in range(len(packed) * 8):
        broken = bytearray(packed)
        broken[position // 8] ^= 1 << position % 8
        try:  # flags like the file's time carry no data
            np.testing.assert_array_equal(read_idx(put(broken)), IMAGES)
        except IdxError:
            refused += 1
    assert refused > 0.8 * len(packed) * 8


def test_bytes_after_a_gzip_file_are_refused(put):
    assert "gzip" in error_of(put(gzip.compress(idx(IMAGES)) + b"trailing"))


def test_a_folder_is_refused(tmp_path):
    assert "a regular file; got a directory, pipe or device" in error_of(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "a regular file" in error_of(tmp_path / "pipe")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no /dev/zero")
def test_a_device_is_refused():
    assert "a regular file" in error_of("/dev/zero")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "absent")


# --- Images with their labels -----------------------------------------------------------------------------------------


IS_IMAGES, IS_LABELS = "2051: uint8 images of rank 3", "2049: uint8 labels of rank 1"


def pair(put, images, labels):
    return put(idx(images), "images"), put(gzip.compress(idx(labels)), "labels")


def test_images_and_labels_are_read_together(put):
    images, labels = read_images_and_labels(*pair(put, IMAGES, LABELS))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert (images.dtype, labels.dtype) == (np.uint8, np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "wrong", "message"),
    [
        (LABELS, IMAGES, "images", f"magic {IS_IMAGES}; got {IS_LABELS}: are the two files swapped?"),
        (IMAGES, IMAGES, "labels", f"magic {IS_LABELS}; got {IS_IMAGES}: are the two files swapped?"),
        (IMAGES[None], LABELS, "images", f"magic {IS_IMAGES}; got 2052"),
        (IMAGES, LABELS[:4], "labels", "5 labels, one per image in {images}; got 4"),
        (IMAGES[:0], LABELS[:0], "images", "at least one image of at least one pixel; got shape (0, 3, 4)"),
        (IMAGES[:, :0], LABELS, "images", "at least one image of at least one pixel; got shape (5, 0, 4)"),
        (IMAGES, np.array([0, 1, 10, 2, 200]), "labels", "labels 0..9; got 10 at index 2"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(put, images, labels, wrong, message):
    paths = dict(zip(("images", "labels"), pair(put, images, labels), strict=True))
    with pytest.raises(IdxError) as caught:
        read_images_and_labels(paths["images"], paths["labels"])
    assert str(caught.value).startswith(f"{paths[wrong]}: expected ")
    assert message.format(**paths) in str(caught.value)


def test_labels_of_another_type_are_refused(put):
    images, labels = put(idx(IMAGES), "images"), put(idx(LABELS, ">i4"), "labels")
    with pytest.raises(IdxError, match=rf"magic {IS_LABELS}; got 3073$"):
        read_images_and_labels(images, labels)
