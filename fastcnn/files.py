"""Writing files so that a reader, or a crash, never meets a half-written one; and where the user's caches lie."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import machine


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its name when the block ends without an exception.

    The folder is made where it is missing; on an exception the old file stays as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
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


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError where `path` could not be written; makes its folder, and leaves the file as it is."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; a file was expected")
    target.parent.mkdir(parents=True, exist_ok=True)
    probe = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    probe.touch()
    probe.unlink()


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as .npz, without pickle; TypeError for an array of objects."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"save_arrays: {name} holds Python objects, which only pickle could store")
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the named arrays of an .npz file; pickled content is refused with a ValueError."""
    with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:  # np.load leaves a damaged file open
        return {name: file[name] for name in file.files}


def save_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def cache_folder() -> Path:
    """Return the user's cache folder for fastcnn, by the convention of the operating system; it need not exist."""
    if sys.platform == "win32":
        local = machine.setting("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "fastcnn" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastcnn"
    xdg = machine.setting("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "fastcnn"
