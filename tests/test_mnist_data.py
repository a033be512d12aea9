"""The datasets: where their files are looked for, what is said where they are missing, and the real data."""

import gzip
import hashlib
import importlib
import os
import struct
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fastcnn import data
from fastcnn.data import DatasetNotFound, IdxError
from fastcnn.data.cache import LIMITS, File, damage

module = importlib.import_module("fastcnn.data.mnist")  # `fastcnn.data.mnist` is the function
NAMES = [file.name for file in module.MNIST.files]


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


RNG = np.random.default_rng(0)
TINY = data.Dataset(
    "tiny",
    RNG.integers(0, 256, (20, 4, 5), np.uint8),
    RNG.integers(0, 10, 20, np.uint8),
    RNG.integers(0, 256, (7, 4, 5), np.uint8),
    RNG.integers(0, 10, 7, np.uint8),
)
CONTENTS = dict(zip(NAMES, (idx(array) for array in TINY[1:5]), strict=True))
FILES = tuple(File(name, hashlib.sha256(content).hexdigest(), "idx") for name, content in CONTENTS.items())


def load(mirror, data_dir=None, download=True):
    limits = LIMITS._replace(content=50_000)
    return module._load(module.Source("tiny", (mirror,), FILES), data_dir, download, limits)


def assert_tiny(dataset, name="tiny"):
    assert dataset.name == name
    for got, want in zip(dataset[1:5], TINY[1:5], strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == np.uint8


def put_files(folder, rename=lambda name: name):
    """Put the tiny dataset's files there, packed where the name ends in .gz."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        new = rename(name)
        (folder / new).write_bytes(gzip.compress(content) if new.endswith(".gz") else content)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return the cache's folder for the tiny dataset; no test sees the user's own folders and proxies."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("FASTCNN_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache" / "tiny"


class Mirror(ThreadingHTTPServer):
    """Serves the tiny dataset's files and records which were asked for."""

    def __init__(self, folder):
        asked = self.asked = []

        class Handler(SimpleHTTPRequestHandler):
            def log_request(self, *args):
                asked.append(self.path[1:])

        super().__init__(("127.0.0.1", 0), partial(Handler, directory=put_files(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def mirror(tmp_path):
    server = Mirror(tmp_path / "served")
    yield server
    server.shutdown()
    server.server_close()


# --- The cache, through the loader (test_data_cache.py has the servers that lie) --------------------------------------


def test_a_download_is_used_again_without_the_network(mirror):
    assert_tiny(load(mirror.url))
    assert_tiny(load(mirror.url, download=False))
    assert_tiny(load("http://fastcnn.invalid/"))
    assert mirror.asked == NAMES


POISONS = {
    "empty": (b"", "expected SHA-256"),
    "cut off": (gzip.compress(CONTENTS[NAMES[0]])[:-5], "expected a whole, undamaged gzip file"),
    "other images": (gzip.compress(idx(np.zeros_like(TINY.train_images))), "expected SHA-256"),
    "another file": (gzip.compress(CONTENTS[NAMES[2]]), "expected SHA-256"),
    "bomb": (gzip.compress(bytes(10**6)), "more than 50,000 bytes"),
    "missing": (None, "no such file"),
}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_cache_is_noticed_and_healed(mirror, cache, poison):
    content, message = POISONS[poison]
    load(mirror.url)
    victim = cache / NAMES[0]
    victim.unlink()
    if content is not None:
        victim.write_bytes(content)

    with pytest.raises(DatasetNotFound) as caught:
        load(mirror.url, download=False)
    assert f"{victim}: {message}" in str(caught.value)
    assert "not tried, because download=False" in str(caught.value)
    assert_tiny(load(mirror.url))
    assert mirror.asked == [*NAMES, NAMES[0]]
    assert_tiny(load(mirror.url, download=False))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_cache_is_replaced_without_waiting(mirror, cache):
    cache.mkdir(parents=True)
    os.mkfifo(cache / NAMES[0])
    assert_tiny(load(mirror.url))


def test_a_dataset_that_is_nowhere_says_where_it_was_looked_for_and_what_to_do(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("FASTCNN_DATA", str(tmp_path / "shared"))
    with pytest.raises(DatasetNotFound) as caught:
        load("http://fastcnn.invalid/")
    looked, rest = str(caught.value).split("Download:")
    failures, advice = rest.split("To provide it")
    assert isinstance(caught.value, FileNotFoundError)
    assert looked.startswith("tiny: the dataset was not found. Looked in:\n")
    assert f"    {tmp_path / 'shared' / 'tiny'}: no such folder\n" in looked
    for name in NAMES:
        assert f"    {cache / name}: no such file\n" in looked
        assert f"    http://fastcnn.invalid/{name}" in advice
    assert failures.startswith("\n    http://fastcnn.invalid/: ConnectionError: ")
    assert failures.strip().count("\n") == 0
    assert "data_dir" in advice
    assert "FASTCNN_DATA" in advice


# --- The user's own folders -------------------------------------------------------------------------------------------

SPELLINGS = {
    "packed": lambda name: name,
    "plain": lambda name: name.removesuffix(".gz"),
    "dotted": lambda name: name.removesuffix(".gz").replace("-idx", ".idx"),
    "dotted and packed": lambda name: name.replace("-idx", ".idx"),
    "mixed": lambda name: name if "train" in name else name.removesuffix(".gz"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("folder", [".", "tiny"])
def test_data_dir_holds_the_files_or_a_subfolder_with_them(mirror, tmp_path, folder, spelling):
    put_files(tmp_path / "own" / folder, SPELLINGS[spelling])
    assert_tiny(load(mirror.url, tmp_path / "own"))
    assert_tiny(load(mirror.url, str(tmp_path / "own")))
    assert mirror.asked == []


def test_folders_named_like_files_are_passed_over(tmp_path):
    own = put_files(tmp_path / "own", SPELLINGS["dotted"])
    (own / NAMES[0].removesuffix(".gz")).mkdir()  # what unpacking on some systems leaves
    assert_tiny(load("http://fastcnn.invalid/", own))


def test_the_public_functions_read_their_own_subfolders(tmp_path, monkeypatch):
    own = tmp_path / "own"
    put_files(own / "mnist")
    put_files(own / "fashion-mnist")
    assert_tiny(data.mnist(own), "mnist")
    assert_tiny(data.fashion_mnist(own), "fashion-mnist")
    monkeypatch.setenv("FASTCNN_DATA", str(own))
    assert_tiny(data.mnist(download=False), "mnist")
    assert_tiny(data.fashion_mnist(download=False), "fashion-mnist")


def test_nothing_else_is_searched_when_data_dir_is_given(mirror, tmp_path, monkeypatch):
    load(mirror.url)
    monkeypatch.setenv("FASTCNN_DATA", str(put_files(tmp_path / "shared" / "tiny").parent))
    own = put_files(tmp_path / "own")
    (own / NAMES[1]).unlink()
    with pytest.raises(DatasetNotFound) as caught:
        load(mirror.url, own)
    assert f"    {own}: 3 of 4 files\n" in str(caught.value)
    assert f"    {own / 'tiny'}: no such folder\n" in str(caught.value)
    assert "not tried, because data_dir was given" in str(caught.value)
    assert "cache" not in str(caught.value)
    assert mirror.asked == NAMES


def test_the_variable_comes_before_the_cache_and_the_cache_before_the_network(mirror, cache, tmp_path, monkeypatch):
    shared = put_files(tmp_path / "shared" / "tiny")
    monkeypatch.setenv("FASTCNN_DATA", str(shared.parent))
    assert_tiny(load(mirror.url))
    assert not cache.exists()
    (shared / NAMES[3]).unlink()
    assert_tiny(load(mirror.url))
    assert_tiny(load("http://fastcnn.invalid/"))
    assert mirror.asked == NAMES
    (cache / NAMES[0]).unlink()
    with pytest.raises(DatasetNotFound, match="tiny: 3 of 4 files"):
        load(mirror.url, download=False)


@pytest.mark.parametrize("variable", [True, False])
def test_damage_in_the_users_own_files_is_an_error(mirror, tmp_path, monkeypatch, variable):
    own = put_files(tmp_path / "own" / "tiny")
    (own / NAMES[2]).write_bytes(gzip.compress(CONTENTS[NAMES[2]])[:-1])
    if variable:
        monkeypatch.setenv("FASTCNN_DATA", str(own.parent))
    with pytest.raises(IdxError) as caught:
        load(mirror.url, None if variable else own)
    assert str(caught.value).startswith(f"{own / NAMES[2]}: expected a whole, undamaged gzip file")
    assert mirror.asked == []


def test_training_and_test_images_must_have_one_size(tmp_path):
    own = put_files(tmp_path / "own")
    (own / NAMES[2]).write_bytes(idx(np.zeros((7, 5, 5), np.uint8)))
    with pytest.raises(IdxError, match=r"images of shape \(4, 5\), as in .*; got \(5, 5\)"):
        load("http://fastcnn.invalid/", own)


# --- The real data ----------------------------------------------------------------------------------------------------


def test_digits_are_split_the_same_way_every_time():
    digits = data.digits()
    assert digits.name == "digits"
    assert digits.train_images.shape == (1438, 8, 8)
    assert digits.test_images.shape == (359, 8, 8)
    for array in digits[1:5]:
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
    assert np.unique(digits.train_images).tolist() == [round(grey * 255 / 16) for grey in range(17)]
    np.testing.assert_allclose(np.bincount(digits.train_labels) / 4, np.bincount(digits.test_labels), atol=1)
    joined = b"".join(array.tobytes() for array in digits[1:5])
    assert hashlib.sha256(joined).hexdigest() == "4e8b48726990775fb274b528258596507ccded2bab1a725b22378e41ea83f16e"
    images = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, 64)
    assert len(np.unique(images, axis=0)) == 1797  # none is in both parts


def test_a_missing_scikit_learn_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'^digits\(\) needs scikit-learn: pip install "fastcnn\[train\]"$'):
        data.digits()


def test_importing_loads_nothing_heavy():
    code = "import sys, fastcnn.data; print([m for m in ('requests', 'sklearn', 'scipy', 'rich') if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": str(Path(data.__file__).parents[2])}
    child = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"


REAL = os.environ.get("FASTCNN_DATA")
MD5 = {  # of the decompressed files, as published
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.mark.skipif(not REAL, reason="FASTCNN_DATA does not name a folder with the real MNIST")
def test_the_real_mnist_is_what_was_published_and_pinned(monkeypatch):
    monkeypatch.setenv("FASTCNN_DATA", REAL)
    got = data.mnist(download=False)
    assert (got.train_images.shape, got.train_labels.shape) == ((60_000, 28, 28), (60_000,))
    assert (got.test_images.shape, got.test_labels.shape) == ((10_000, 28, 28), (10_000,))
    assert np.bincount(got.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(got.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for array, file in zip(got[1:5], module.MNIST.files, strict=True):
        assert hashlib.md5(idx(array), usedforsecurity=False).hexdigest() == MD5[file.name]
        assert damage(module._find(Path(REAL) / "mnist", file.name), file, LIMITS) is None
