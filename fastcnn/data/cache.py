"""The cache of downloaded files.

A file is checked against a pinned SHA-256 before it gets its name there, and whenever it is used; one that is missing
or damaged is downloaded again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from ..files import remove_stale_parts
from .idx import IdxError, open_content


class File(NamedTuple):
    """A file to download, and the SHA-256 of the gzip file itself or of the IDX file in it (mirrors may pack anew)."""

    name: str
    sha256: str
    of: Literal["gzip", "idx"]


class Limits(NamedTuple):
    """Bounds of one file's download."""

    connect: float = 3.0  # seconds until a connection stands
    silence: float = 10.0  # seconds between two packets
    total: float = 600.0  # seconds for all of the body
    body: int = 32 * 2**20  # bytes as served
    content: int = 64 * 2**20  # bytes decompressed


LIMITS = Limits()


def damage(path: Path, file: File, limits: Limits) -> str | None:
    """Return what is wrong with a file of the cache, or None where its bytes are the pinned ones."""
    digest, size = hashlib.sha256(), 0
    try:
        with open_content(path, unpack=file.of == "idx") as content:
            while chunk := content.read(2**20):
                size += len(chunk)
                if size > limits.content:
                    return f"{path}: more than {limits.content:,} bytes"
                digest.update(chunk)
    except FileNotFoundError:
        return f"{path}: no such file"
    except (OSError, IdxError) as error:
        return str(error)
    if digest.hexdigest() != file.sha256:
        return f"{path}: expected SHA-256 {file.sha256} of the {file.of} bytes; got {digest.hexdigest()}"
    return None


def fill(mirrors: tuple[str, ...], folder: Path, files: list[File], limits: Limits) -> list[str]:
    """Download `files` into `folder`; return why that failed, a line per mirror, or an empty list where all arrived.

    A mirror that fails once is left for the next one, without a retry: with no network the answer comes at once.
    """
    failures = []
    remaining = list(files)  # those that one mirror delivered are not asked of the next
    for mirror in mirrors:
        try:
            while remaining:
                _download(mirror, folder, remaining[0], limits)
                del remaining[0]
            return []
        except ImportError:
            return ['needs requests: pip install "fastcnn[train]"']
        except Exception as error:
            nested = error.args[0] if error.args else None
            cause = getattr(nested, "reason", None) or error  # what urllib3 met, without "Max retries exceeded"
            failures.append(" ".join(f"{mirror}: {type(error).__name__}: {cause}".split()))
    return failures


def _download(mirror: str, folder: Path, file: File, limits: Limits) -> None:
    """Download one file; under its name it appears whole and verified, or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(folder / file.name)  # of downloads that were killed
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=folder)
    part, target = Path(name), folder / file.name
    try:
        with open(handle, "wb") as out:
            _copy_body(mirror + file.name, out, limits)
            out.flush()
            os.fsync(out.fileno())
        if reason := damage(part, file, limits):
            raise ValueError(reason)
        try:
            os.replace(part, target)
        except PermissionError:  # Windows, while another process reads the file that it has just put there
            if damage(target, file, limits):
                raise
    finally:
        part.unlink(missing_ok=True)


def _copy_body(url: str, out: BinaryIO, limits: Limits) -> None:
    """Write what `url` serves to `out`, showing progress on a terminal; refuse a body that is too long or too slow."""
    # requests follows redirects to http and https only. pooch wraps it, but sets no size limit and leaves sockets open.
    import requests

    received, deadline = 0, time.monotonic() + limits.total
    timeout, headers = (limits.connect, limits.silence), {"Accept-Encoding": "identity"}
    _show(f"Downloading {url}")
    try:
        with requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
            response.raise_for_status()
            response.raw.enforce_content_length = True  # urllib3 1 takes a body that ends early for the whole
            for chunk in response.iter_content(1024):  # small: a body that drips is noticed between two chunks
                received += len(chunk)
                if received > limits.body:
                    raise ValueError(f"{url}: more than {limits.body:,} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{url}: not complete after {limits.total:g} s")
                out.write(chunk)
                if received % 2**18 < len(chunk):  # every 256 KiB
                    _show(f"\rDownloading {url}: {received / 2**20:.1f} MiB")
    finally:
        _show("\n")


def _show(text: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)
