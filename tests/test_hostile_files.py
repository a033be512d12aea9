"""Files of JSON, and whatever is no file: every reader of the library gives one clear error, soon, and what it keeps counts as missing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import files, tuning, weights
from fastcnn.bench_report.record import read_bench
from fastcnn.compare import earlier
from fastcnn.report.run_folder import RunFolderError, read_run
from fastcnn.roofline.ceilings import restored
from fastcnn.train import History


def _run_folder(path: Path) -> Any:
    path.replace(path.with_name("result.json"))
    return read_run(path.parent)


READERS: dict[str, Callable[[Path], Any]] = {
    "json": files.load_json,
    "comparison": earlier.load,
    "benchmarks": read_bench,
    "run folder": _run_folder,
    "roofline": lambda path: restored(files.load_json(path)),
}
CONTENTS = {
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep rows": b'{"rows": ' + b"[" * 100_000,
    "a long number": b"9" * 100_000,
    "no text": b"\xff\xfe\x00",
    "half": b'{"rows": [',
    "nothing": b"",
}


def refused(read: Callable[[Path], Any], path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"."):
        read(path)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("reader", READERS)
def test_json_of_strangers_is_refused_with_a_value_error(reader: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(CONTENTS[content])
    refused(READERS[reader], tmp_path / "a.json")


@pytest.mark.parametrize("reader", [*READERS, "npz", "safetensors"])
def test_pipes_are_refused_without_waiting(reader: str, tmp_path: Path) -> None:
    ending = reader if reader in ("npz", "safetensors") else "json"
    os.mkfifo(tmp_path / f"a.{ending}")
    refused(READERS.get(reader, weights.load), tmp_path / f"a.{ending}")


def test_devices_folders_and_links(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="/dev/zero: expected a regular file; got a pipe, device or socket"):
        files.load_json(Path("/dev/zero"))  # which need not be endless to be no file
    with pytest.raises(IsADirectoryError):
        files.load_json(tmp_path)
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "link").symlink_to("a.json")
    (tmp_path / "circle").symlink_to("circle")
    assert files.load_json(tmp_path / "link") == [1]
    with pytest.raises(OSError, match="circle"):
        files.load_json(tmp_path / "circle")


def test_json_beyond_64_mib_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(2**26 + 1)  # takes no place on the disk
    with pytest.raises(ValueError, match="more than 67,108,864 bytes of JSON"):
        files.load_json(tmp_path / "a.json")


HUGE = 10**400  # JSON has whole numbers that no float can hold


def test_numbers_beyond_floats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    benchmark = {"name": "a", "group": "a", "stats": {"median": HUGE}}
    path.write_text(json.dumps({"benchmarks": [benchmark]}))
    refused(read_bench, path)
    with pytest.raises(ValueError, match="not a history: OverflowError"):
        History.from_json(json.dumps({"epochs": [], "step_losses": [HUGE], "mean": 0, "deviation": 1}))
    with pytest.raises(ValueError, match="roofline: the record does not hold what it should: OverflowError"):
        restored({"format": 1, "machine": {}, "caches": [{"name": "L1", "bytes": float("inf"), "sharers": 1}]})
    files.save_json(tmp_path / "result.json", {})
    for loss in (HUGE, float("nan"), True, "1"):
        (tmp_path / "history.json").write_text(json.dumps({"epochs": [], "step_losses": [loss]}))
        with pytest.raises(RunFolderError, match="of numbers"):
            read_run(tmp_path)


@pytest.mark.parametrize("ratios", [[1], {"naive": 1}, {"naive": {"value": "1", "low": None, "high": None, "blocks": 1}}, {"naive": {}}])
def test_ratios_of_an_earlier_comparison_are_numbers(ratios: Any, tmp_path: Path) -> None:
    row = {**dict.fromkeys(("operation", "direction", "dtype", "case", "variant"), "a"), "baseline": False, "ratios": ratios}
    files.save_json(tmp_path / "a.json", {"rows": [row]})
    with pytest.raises(ValueError, match="is no file that fastcnn compare --json has written"):
        earlier.load(tmp_path / "a.json")


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_file_of_tuning_counts_as_missing(content: str, tmp_path: Path) -> None:
    path = tmp_path / f"{content}.json"
    path.write_bytes(CONTENTS[content])
    assert tuning._tables(path) == {}
    os.mkfifo(tmp_path / "pipe.json")
    assert tuning._tables(tmp_path / "pipe.json") == {}


def test_what_is_loaded_is_never_written(tmp_path: Path) -> None:
    """Names in a file of arrays are names of arrays, wherever they point."""
    files.save_arrays(tmp_path / "in" / "a.npz", {"../../escaped": np.arange(3), "/tmp/escaped": np.arange(2)})
    assert sorted(files.load_arrays(tmp_path / "in" / "a.npz")) == ["../../escaped", "/tmp/escaped"]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["in", "in/a.npz"]
