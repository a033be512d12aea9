"""The file of a search: a line that says which search it is, then a line for every trial that is over, on the disk at once.

A line is written in one piece and synchronised; of one that kill -9, a power cut or a full disk has cut short the rest is dropped, and its
trial done again. Lines are JSON: nothing is executed when they are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import files

_FORMAT = 1
_NAME = "trials.jsonl"
_FIELDS: dict[str, Any] = {"key": str, "parameters": dict, "score": (float, int, type(None)), "result": dict, "seconds": (float, int),
                           "attempts": int, "error": (str, type(None))}  # fmt: skip


class JournalError(ValueError):
    """A folder holds another search, a damaged one, or one that somebody else goes on with; the message says what to do."""


class Journal:
    """An open journal; `opened` makes one.

    Attributes
    ----------
    path : Path
    records : dict of str to dict
        The lines that were there, by the key of their trial.
    dropped : bool
        Whether the last line had been cut short.
    """

    def __init__(self, path: Path, handle: int, records: dict[str, dict[str, Any]], dropped: bool) -> None:
        self.path, self.records, self.dropped = path, records, dropped
        self._handle = handle

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a line, and return when it is on the disk; OSError where it cannot be, and then nothing of it is left."""
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        end = os.fstat(self._handle).st_size
        try:
            written = os.write(self._handle, line)
            while written < len(line):
                written += os.write(self._handle, line[written:])
            os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, end)
            raise


def about(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the search in a folder is about; JournalError where there is none, or its first line is damaged."""
    path = Path(folder) / _NAME
    if not path.is_file():
        raise JournalError(f"{path.parent} holds no search to go on with; leave --resume (resume=True) out to begin one")
    return _header(path, _lines(path)[0])


@contextlib.contextmanager
def opened(folder: str | os.PathLike[str], header: Mapping[str, Any], resume: bool) -> Iterator[Journal]:
    """Begin a journal, or go on with one, inside a `with` block; no other process can meanwhile.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    header : mapping
        Of JSON: what decides the results. Going on with a journal that has another is refused.
    resume : bool

    Raises
    ------
    JournalError
        There is a journal, and `resume` is False; or there is none, another search's, a damaged one, or one in use.
    OSError
        The folder cannot be written.
    """
    path = Path(folder) / _NAME
    if not resume:
        if path.exists():
            raise JournalError(f"{path.parent} holds a search already; go on with it by --resume (resume=True), or name another folder")
        with files.replacing(path) as file:
            file.write((json.dumps({"format": _FORMAT, "search": dict(header)}, allow_nan=False) + "\n").encode())
    elif (before := about(folder)) != dict(header):
        names = [name for name in {**before, **header} if before.get(name) != header.get(name)]
        told = "; ".join(f"{name} was {_short(before.get(name))}, and is {_short(header.get(name))} now" for name in names)
        raise JournalError(f"{path.parent} holds another search: {told}. Search as before, or name another folder")
    handle = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))
    try:
        _lock(handle, path)
        lines = _lines(path)
        whole = sum(len(line) + 1 for line in lines)
        if dropped := os.fstat(handle).st_size > whole:
            os.ftruncate(handle, whole)
        yield Journal(path, handle, _records(path, lines[1:]), dropped)
    finally:
        os.close(handle)


def digest(arrays: Iterable[Any]) -> str:
    """Return a hash of the shapes, dtypes and elements of arrays."""
    found = hashlib.sha256()
    for array in map(np.asarray, arrays):
        found.update(f"{array.shape}{array.dtype.str}".encode())
        found.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return found.hexdigest()[:16]


def key_of(header: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Return the name of a trial: a hash of its parameters, and of the search's data, seed and whatever else decides its result."""
    text = json.dumps([dict(header), dict(parameters)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- Reading -----------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> list[bytes]:
    """Return the lines of a journal that end; at least one."""
    try:
        with files.open_regular(path) as file:
            *lines, _ = file.read().split(b"\n")
    except ValueError as error:
        raise JournalError(str(error)) from error
    if not lines:
        raise _damaged(path, 1)
    return lines


def _header(path: Path, line: bytes) -> dict[str, Any]:
    first = _parsed(path, 1, line)
    if first.get("format") != _FORMAT or not isinstance(first.get("search"), dict):
        raise JournalError(f"{path} is no search of this version; name another folder")
    return first["search"]


def _records(path: Path, lines: Iterable[bytes]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 2):
        record = _parsed(path, number, line)
        if not all(isinstance(record.get(name), kind) for name, kind in _FIELDS.items()):
            raise _damaged(path, number)
        found.setdefault(record["key"], record)
    return found


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = files.parse_json(line.decode())
    except ValueError:
        raise _damaged(path, number) from None
    if not isinstance(value, dict):
        raise _damaged(path, number)
    return value


def _damaged(path: Path, number: int) -> JournalError:
    advice = "remove it (its trial is then done again), or name another folder" if number > 1 else "name another folder"
    return JournalError(f"{path}: line {number} is damaged; {advice}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _lock(handle: int, path: Path) -> None:
    """Let nobody else write the file until it is closed, or its process ends; on Windows nothing hinders that."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"{path.parent}: another process goes on with this search; wait for its end, or name another folder") from None
