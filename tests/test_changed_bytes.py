"""Files of which one byte is another: an error that names the file, or what was there before; never other numbers unnoticed.

Where a format has no sum of its bytes (safetensors, JSON) a changed byte of the data is a changed number, and that one alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _killed
import numpy as np
import pytest

from fastcnn import files, weights
from fastcnn.data import Dataset
from fastcnn.data.cache import LIMITS, File, damage
from fastcnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, Sequential
from fastcnn.report.run_folder import read_run, write_report, write_run
from fastcnn.train import History, state
from fastcnn.train import checkpoint as checkpoints
from fastcnn.train.loop import Run

CHANGES = (0x01, 0x80, 0xFF)


def changed(path: Path, places: range | list[int], changes: tuple[int, ...] = CHANGES) -> Iterator[tuple[int, int]]:
    """Change bytes of a file, one at a time, and yield its place and the bits that were turned; the file is as before at the end."""
    content = path.read_bytes()
    for place in places:
        for change in changes:
            damaged = bytearray(content)
            damaged[place] ^= change
            path.write_bytes(damaged)
            yield place, change
    path.write_bytes(content)


def some(path: Path, count: int) -> list[int]:
    """Return so many places of a file, the same ones every time."""
    size = path.stat().st_size
    return random.Random(0).sample(range(size), min(count, size))


def as_bytes(arrays: dict[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}


def refusal(call: Callable[[], Any], *kinds: type[Exception]) -> str:
    """Make a call; return what its error says, of these kinds or a ValueError, or nothing where it has none."""
    try:
        call()
    except (ValueError, *kinds) as error:
        return f"{type(error).__name__}: {error}"
    return ""


# --- Weights -----------------------------------------------------------------------------------------------------------


def net(seed: int) -> Sequential:
    return Sequential(Conv2d(1, 2, 2, rng=seed), BatchNorm2d(2), Flatten(), Linear(8, 3, rng=seed))


def test_a_changed_byte_of_npz_is_told_and_loads_nothing(tmp_path: Path) -> None:
    path, other, told = tmp_path / "net.npz", net(2), 0
    weights.save(path, net(1))
    fresh, saved = other.state_dict(), as_bytes(net(1).state_dict())
    before = as_bytes(fresh)
    for _ in changed(path, some(path, 300), (0x01, 0xFF)):
        said = refusal(lambda: weights.load_into(other, path))
        told += bool(said)
        assert not said or f"{path} is no .npz file of arrays, or a damaged one" in said
        assert as_bytes(other.state_dict()) == (before if said else saved), "only dates and the like mean nothing"
        other.load_state_dict(fresh)
    assert told > 300


def test_a_changed_byte_of_the_header_of_safetensors_is_told_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    weights.save(path, Linear(2, 3, rng=1))
    length, other, told = 8 + int.from_bytes(path.read_bytes()[:8], "little"), Linear(2, 3, rng=2), 0
    fresh, saved = other.state_dict(), as_bytes(Linear(2, 3, rng=1).state_dict())
    before = as_bytes(fresh)
    for _ in changed(path, range(length), (*(1 << bit for bit in range(8)), 0xFF)):
        said = refusal(lambda: weights.load_into(other, path), TypeError)  # float32 may have become another dtype
        told += bool(said)
        assert as_bytes(other.state_dict()) == (before if said else saved)
        other.load_state_dict(fresh)
    assert told > 8 * length, "only what stands between the parts may be another: a space for a line's end"


def test_a_changed_byte_of_the_data_of_safetensors_changes_one_number(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    weights.save(path, net(1))
    size, want = path.stat().st_size, weights.load(path)
    for _ in changed(path, range(size - sum(array.nbytes for array in want.values()), size), (0x01, 0x80)):
        found = weights.load(path)
        assert [(name, array.shape, array.dtype) for name, array in found.items()] == [(n, a.shape, a.dtype) for n, a in want.items()]
        pairs = zip(b"".join(map(np.ndarray.tobytes, found.values())), b"".join(map(np.ndarray.tobytes, want.values())), strict=True)
        assert sum(one != other for one, other in pairs) == 1


# --- Checkpoints -------------------------------------------------------------------------------------------------------


class Enough(Exception):
    """The run has been loaded into as often as it had to be."""


def test_a_changed_byte_of_a_checkpoint_is_told_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, counts, load = tmp_path / "c.npz", {"told": 0, "whole": 0}, checkpoints.load
    _killed.train(path, epochs=2)

    def often(path: Any, run: Run, settings: Any) -> None:
        fresh = state.pack(run, settings)
        load(path, run, settings)
        saved = as_bytes(state.pack(run, settings))
        state.unpack(fresh, run, settings)
        assert as_bytes(fresh) == as_bytes(state.pack(run, settings)) != saved
        for _ in changed(Path(path), some(Path(path), 300), (0x01, 0xFF)):
            said = refusal(lambda: load(path, run, settings))
            counts["told" if said else "whole"] += 1
            assert not said or said.startswith(f"ValueError: {path}: ")
            assert as_bytes(state.pack(run, settings)) == (as_bytes(fresh) if said else saved)
            state.unpack(fresh, run, settings)
        raise Enough

    monkeypatch.setattr(checkpoints, "load", often)
    with pytest.raises(Enough):
        _killed.train(path, epochs=2, resume=True)
    assert counts["told"] > 4 * counts["whole"] > 0


# --- Run folders -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run, as small as one can be."""
    path, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (6, 4, 4), np.uint8), np.arange(6, dtype=np.uint8) % 3
    epochs = [{"number": 1, "loss": 0.5, "accuracy": 0.75, "seconds": 1.0, "learning_rate": 0.1}]
    history = History.from_json(json.dumps({"epochs": epochs, "step_losses": [2.5, 1.25, 1e-7], "mean": 33.0, "deviation": 78.0}))
    result = {"model": "own", "train_seconds": 12.5, "images_per_second": 31_234.5, "epochs": 1, "environment": {"a": [1, None]}}
    logits = rng.standard_normal((6, 3)).astype(np.float32)
    write_run(path, net(1), net(2).state_dict(), history, result, logits, Dataset("digits", images[:0], labels[:0], images, labels))
    return path


@pytest.mark.parametrize("name", ["weights.npz", "initial.npz", "evaluation.npz"])
def test_a_changed_byte_of_the_arrays_of_a_run_is_told(name: str, folder: Path) -> None:
    want, told = as_bytes(files.load_arrays(folder / name)), 0
    for _ in changed(folder / name, some(folder / name, 250), (0x01, 0xFF)):
        if said := refusal(lambda: read_run(folder)):
            told += 1
            assert said.startswith(f"RunFolderError: {folder / name} cannot be read: ")
            continue
        parts = read_run(folder)._asdict()
        assert as_bytes(parts.get(Path(name).stem) or {part: parts[part] for part in want}) == want
    assert told > 250


@pytest.mark.parametrize("name", ["result.json", "history.json"])
def test_a_changed_byte_of_the_json_of_a_run_is_told_or_makes_a_whole_page(name: str, folder: Path) -> None:
    report, told, size = folder / "report.html", 0, (folder / name).stat().st_size
    for _ in changed(folder / name, some(folder / name, 250), (0x01,)):
        report.unlink(missing_ok=True)
        if said := refusal(lambda: write_report(folder)):
            told += 1
            assert said.startswith(f"RunFolderError: {folder / name}")
            assert not report.exists()
        else:
            assert report.read_text("utf-8").endswith("</html>\n")
    assert told > min(250, size) // 4


# --- The cache of data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["gzip", "idx"])
def test_a_changed_byte_of_a_download_is_told_wherever_it_means_something(of: Any, tmp_path: Path) -> None:
    content, path = random.Random(0).randbytes(300), tmp_path / "a.gz"
    path.write_bytes(gzip.compress(content, mtime=0))
    file = File("a.gz", hashlib.sha256(content if of == "idx" else path.read_bytes()).hexdigest(), of)
    assert damage(path, file, LIMITS) is None
    size, silent = path.stat().st_size, []
    for place, _ in changed(path, range(size)):
        reason = damage(path, file, LIMITS)
        assert reason is None or reason.startswith(f"{path}: ")
        silent += [] if reason else [place]
    wrapper = range(3, 11)  # flags, the time, how it was packed and on what system; bits that fill up the byte before what is not packed
    assert set(silent) <= set(wrapper if of == "idx" else ())
