"""Compiled kernels on the disk: found again by every process of the same CPU, versions and source, and by no other."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import stat
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import machine


class Code(NamedTuple):
    """Machine code of a kernel for arguments of certain types, all of whose `calls` have their addresses known to the linker."""

    library: Any  # Numba's; `name` is the function in it
    name: str
    returns: Any
    calls: tuple[tuple[str, Any], ...]  # (name of a kernel, types of its arguments)

    @property
    def codegen(self) -> Any:
        """Return what made the library."""
        return self.library.codegen

    @property
    def address(self) -> int:
        """Return where the function is, compiled now if it was not yet."""
        return int(self.library.get_pointer_to_function(self.name))


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


_CORE = Path(__file__).parent
# As imported: a file that is edited while the process runs must not lend its digest to code that is compiled later from the old text.
_IMPORTED = {path: _digest(path) for path in _CORE.rglob("*.py")}
_SHARED = "jit", "kernel_cache", "cores", "machine", "simd", "shuffles", "bf16", "amx", "scratch"  # what kernels are made of, anywhere


@functools.cache
def kernel_version(folder: Path) -> str | None:
    """Return a digest of every file that the kernels of a folder are made of: an edited kernel is never served stale.

    Numba itself looks only at the file that holds the cached function, not at the ones that it calls. A kernel may call what lies in
    its own folder, in the engine or in the modules below it. None where the files cannot be read (a zip, say), which means no cache.
    """
    digest = hashlib.sha256()
    try:
        own = [path for path in _IMPORTED if path.parent == folder] if folder.is_relative_to(_CORE) else folder.glob("*.py")
        shared = [_CORE / f"{name}.py" for name in _SHARED]
        shared += [path for path in _IMPORTED if path.parent.name == "engine"]
        for path in sorted({*own, *shared}):
            digest.update(path.name.encode() + (_IMPORTED[path] if path in _IMPORTED else _digest(path)))
    except OSError:
        return None
    return digest.hexdigest()


@functools.cache
def kernel_cache() -> Any:
    """Return the class of caches of functions that Numba compiles whole, as the loops over jobs."""
    machine.numba()
    from numba.core.caching import FunctionCache

    class KernelCache(FunctionCache):
        """Numba's cache with one file per kernel, signature and CPU, and no failure that reaches the caller.

        Numba's own index file can be left pointing at another signature's code when two processes fill it at once, and
        its key pickles closures, which never match again when they hold an intrinsic.
        """

        specialisation: Hashable = ()
        version = ""

        def _file(self, signature: Any, codegen: Any) -> tuple[Path, bytes]:
            numba = machine.numba()
            versions = numba.__version__, np.__version__, bool(numba.config.BOUNDSCHECK), machine.isa().name
            key = repr((str(signature), codegen.magic_tuple(), versions, self.specialisation))
            name = f"{self._impl.filename_base}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.nbc"
            return Path(self._cache_path) / name, (key + self.version).encode()

        def _load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                path, key = self._file(sig, target_context.codegen())
                content = _read_ours(path)
                digest, payload = content[:32], content[32:]
                if hashlib.sha256(key + payload).digest() != digest:
                    return None  # of an older version, truncated, damaged or planted: compile again
                return self._impl.rebuild(target_context, pickle.loads(payload))
            except Exception:  # whatever a damaged file does, compiling is the answer
                return None

        def _save_overload(self, sig: Any, data: Any) -> None:
            from numba.core.serialize import dumps

            try:
                if not self._impl.check_cachable(data):
                    return
                path, key = self._file(sig, data.codegen)
                self._impl.locator.ensure_cache_path()
                payload = dumps(self._impl.reduce(data))
                with self._cache_file._open_for_write(str(path)) as file:
                    if os.name == "posix":
                        os.fchmod(file.fileno(), 0o600)
                    file.write(hashlib.sha256(key + payload).digest() + payload)
            except Exception:  # a full or read-only disk, or another Numba: the code is in memory all the same
                return

    return KernelCache


def _read_ours(path: Path) -> bytes:
    """Return what a file holds, if it is one that nobody else can write: what is read from it is run. OSError or PermissionError if not.

    It is the open file that is judged: by its name another one could be read than was looked at. A pipe would block while it is opened.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if os.name == "posix" and (not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022):
            raise PermissionError(f"{path} is not a file of ours alone")
        return file.read()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@functools.cache
def code_cache() -> Any:
    """Return the class of caches of a kernel's `Code`."""
    from numba.core.caching import CompileResultCacheImpl

    class CodeCacheImpl(CompileResultCacheImpl):
        """Serialises a `Code` instead of Numba's result, which brings a wrapper for Python."""

        def __init__(self, function: Any) -> None:
            super().__init__(function)
            self.callees: dict[str, Any] = {}  # kernels

        def check_cachable(self, code: Code) -> bool:
            return not code.library.has_dynamic_globals

        def reduce(self, code: Code) -> Any:
            return code.library.serialize_using_object_code(), code.name, code.returns, code.calls

        def rebuild(self, target_context: Any, payload: Any) -> Code:
            library, name, returns, calls = payload
            for callee, arguments in calls:
                self.callees[callee].code(arguments)  # the linker wants its address
            return Code(target_context.codegen().unserialize_library(library), name, returns, calls)

    class CodeCache(kernel_cache()):  # type: ignore[misc]
        _impl_class = CodeCacheImpl

    return CodeCache


def cache_for(kind: Any, function: Callable[..., Any], specialisation: Hashable, version: str) -> Any:
    """Return a cache of this kind for a function, or None where there is no place for one."""
    try:
        cache = kind(function)
    except Exception:  # no writable place for a cache, or another Numba: compile in memory
        return None
    cache.specialisation, cache.version = specialisation, version
    return cache
