"""Writing files so that a reader, or a crash, never meets a half-written one; and where the user's caches lie."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import archive, machine

_JSON_BYTES = 2**26


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its name when the block ends without an exception.

    The folder is made where it is missing; on an exception the old file stays as it was. What processes that were killed an hour ago or
    earlier have left of the same file is removed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(target)
    name = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)  # less the umask
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def remove_stale_parts(path: Path, seconds: float = 3600.0) -> None:
    """Remove what processes that were killed while they wrote a file have left beside it, where so many seconds have passed."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        try:
            if time.time() - part.stat().st_mtime > seconds:
                part.unlink()
        except OSError:
            continue  # another process was faster, or it is not ours to remove: it harms nobody


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError where `path` could not be written; makes its folder, and leaves the file as it is."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; a file was expected")
    target.parent.mkdir(parents=True, exist_ok=True)
    probe = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    probe.touch()
    probe.unlink()


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading.

    Raises
    ------
    ValueError
        It is a pipe, a device or the like, which may have no end, or wait for one that never writes.
    OSError
        It cannot be opened, as a folder cannot.
    """
    mode = os.stat(path).st_mode  # before opening: that would wait for a pipe's other end
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{path}: expected a regular file; got a pipe, device or socket")
    return open(path, "rb")


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as .npz, without pickle; TypeError for an array of objects, ValueError for a name that no zip can hold."""
    with replacing(path) as file:
        archive.write_npz(file, arrays)


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the named arrays of an .npz file; ValueError where it is another or a damaged one, whatever it claims; nothing is executed."""
    with open_regular(path) as file:
        return archive.read_npz(file)


def save_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def load_json(path: str | os.PathLike[str]) -> Any:
    """Return the value of a file of JSON; ValueError where it is none, has more than 64 MiB or is nested too deeply."""
    with open_regular(path) as file:
        content = file.read(_JSON_BYTES + 1)
    if len(content) > _JSON_BYTES:
        raise ValueError(f"more than {_JSON_BYTES:,} bytes of JSON")
    return parse_json(content.decode())


def parse_json(text: str) -> Any:
    """Return the value of a text of JSON; ValueError where it is none or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def cache_folder() -> Path:
    """Return the user's cache folder for fastcnn, by the convention of the operating system; it need not exist."""
    if sys.platform == "win32":
        local = machine.setting("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "fastcnn" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastcnn"
    xdg = machine.setting("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "fastcnn"
