"""A disk that fails: every call of the system in turn, a file that may not grow, and several processes at once."""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import files, weights
from fastcnn.layers import Linear

ROOT = Path(__file__).parents[1]


def _write_bytes(path: Path, value: int) -> None:
    with files.replacing(path) as file:
        file.write(bytes([value]) * 3000)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "replacing": _write_bytes,
    "arrays": lambda path, value: files.save_arrays(path, {"a": np.full(50_000, value)}),
    "json": lambda path, value: files.save_json(path, [value] * 3000),
    "weights": lambda path, value: weights.save(path.with_suffix(".npz"), Linear(200, 200, rng=value)),
    "safetensors": lambda path, value: weights.save(path.with_suffix(".safetensors"), Linear(200, 200, rng=value)),
}
CALLS = ("open", "fdopen", "fsync", "replace")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_call_fails_the_old_file_stays_and_nothing_else(
    writer: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = WRITERS[writer]
    write(tmp_path / "a.file", 1)
    before, real, seen = content(tmp_path), getattr(os, call), []

    def failing(*arguments: Any, **options: Any) -> Any:
        if call == "open" and str(tmp_path) not in str(arguments[0]):
            return real(*arguments, **options)
        seen.append(call)
        if call == "fdopen":
            os.close(arguments[0])
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OSError, match="Input/output error"):
            write(tmp_path / "a.file", 2)
    assert seen == [call]
    assert content(tmp_path) == before
    write(tmp_path / "a.file", 2)
    assert content(tmp_path) != before


FULL = """
import json, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1] + "/tests")
from test_disk import WRITERS
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
told = {}
for limit in (0, 1, 1000, 2500):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for name, write in WRITERS.items():
        try:
            write(Path(sys.argv[2]) / name / "a.file", 2)
        except OSError as error:
            told[f"{name} {limit}"] = error.errno
print(json.dumps(told))
"""


def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stops a write in its middle, as a full disk does."""
    for name, write in WRITERS.items():
        write(tmp_path / name / "a.file", 1)
    before = {name: content(tmp_path / name) for name in WRITERS}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(ROOT), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {f"{name} {limit}": errno.EFBIG for limit in (0, 1, 1000, 2500) for name in WRITERS}
    assert {name: content(tmp_path / name) for name in WRITERS} == before


BUSY = """
import sys, time
from pathlib import Path
import numpy as np
from fastcnn import files
path, own, end = Path(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
count = 0
while time.monotonic() < end:
    files.save_arrays(path, {"a": np.full(30_000, own), "b": np.full(5, own)})
    found = files.load_arrays(path)
    assert len(found["a"]) == 30_000 and len({*found["a"].tolist(), *found["b"].tolist()}) == 1, "a mixture"
    count += 1
print(count)
"""


def test_four_writers_and_readers_only_ever_see_whole_files(tmp_path: Path) -> None:
    command, env = [sys.executable, "-c", BUSY, str(tmp_path / "a.npz")], {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*command, str(own), "2"], env=env, **pipes) for own in range(4)]
    answers = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 4, answers
    assert all(int(out) >= 2 for out, _ in answers)
    assert os.listdir(tmp_path) == ["a.npz"]


# --- The only writers --------------------------------------------------------------------------------------------------

# Besides files.py: a download, which is checked before it gets its name; Numba's own writer of compiled code, whose digest is checked when
# it is read; an entry of a zip in a file that was given; what peers exchange in a temporary folder.
OTHERS = {
    "fastcnn/archive.py": {"open"},
    "fastcnn/data/cache.py": {"mkstemp", "replace"},
    "fastcnn/kernel_cache.py": {"_open_for_write"},
    "fastcnn/peers/truth.py": {"save"},
}
WRITES = {"write_text", "write_bytes", "savez", "savez_compressed", "save", "savetxt", "tofile", "dump", "replace", "rename", "mkstemp"}


def _written_by(path: Path) -> set[str]:
    """Return the calls of a file that write files: by their names, and `open` with a mode that writes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        owner = getattr(getattr(node.func, "value", None), "id", "")
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = [argument.value for argument in node.args[1:2] if isinstance(argument, ast.Constant)]
        if name == "_open_for_write" or (name == "open" and any(set(str(mode)) & set("wax+") for mode in modes)):
            found.add(name)
        if name in WRITES and (owner in ("np", "os", "json", "shutil", "tempfile") or name in ("write_text", "write_bytes", "tofile")):
            found.add(name)
    return found


def test_every_file_is_written_through_one_place() -> None:
    found = {str(path.relative_to(ROOT)): _written_by(path) for path in sorted((ROOT / "fastcnn").rglob("*.py"))}
    assert found.pop("fastcnn/files.py") >= {"replace"}
    found["fastcnn/data/cache.py"] -= {"open"}  # of mkstemp's handle
    assert {name: calls for name, calls in found.items() if calls} == OTHERS
