"""Where NumPy and compiled kernels get their memory from: guarded pages, instead of malloc.

NumPy takes functions for it (NEP 49). Numba's arrays, the scratch that a kernel allocates as it runs, come from a function that machine
code calls by name: another one is put under that name before kernels are loaded. So the machine code under test is the released one,
from the same cache. What the library keeps and cuts from larger blocks (`workspace`, `memory`) is allocated exactly here.

What a kernel itself cuts from one block still borders on its neighbours: the factors of Winograd's gradient, the scratch of matrix tiles
(AMX), which begins at a cache line.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastcnn import amx, jit, machine, memory, workspace

from .pages import Pages

_Address, _Size = ctypes.c_void_p, ctypes.c_size_t
_MALLOC = ctypes.CFUNCTYPE(_Address, _Address, _Size)
_CALLOC = ctypes.CFUNCTYPE(_Address, _Address, _Size, _Size)
_REALLOC = ctypes.CFUNCTYPE(_Address, _Address, _Address, _Size)
_FREE = ctypes.CFUNCTYPE(None, _Address, _Address, _Size)
_SET_HANDLER = 304  # the place of PyDataMem_SetHandler in NumPy's table of functions, the same since 1.22


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler, version 1."""

    _fields_ = (
        ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8),
        ("context", _Address), ("malloc", _MALLOC), ("calloc", _CALLOC), ("realloc", _REALLOC), ("free", _FREE),
    )  # fmt: skip


class Allocators:
    """Puts NumPy and kernels on `pages`. Only one may be made in a process, before the first kernel is loaded; nothing is undone."""

    def __init__(self, pages: Pages) -> None:
        self._pages, self.in_kernels = pages, 0  # blocks that kernels asked for
        self._handler = self._numpy_handler()
        self._callbacks = self._guard_kernels()
        _cut_nothing()

    @contextlib.contextmanager
    def numpy(self) -> Iterator[None]:
        """Let NumPy's arrays lie on pages inside a `with` block."""
        before = self._set(self._handler)
        try:
            yield
        finally:
            self._set(before)

    def _numpy_handler(self) -> Any:
        pages = self._pages

        def reallocate(_: int, old: int | None, size: int) -> int:
            new = pages.allocate(size)
            if old and new:
                ctypes.memmove(new, old, min(size, pages.blocks[old].size))
                pages.free(old)
            return new

        self._functions = _Handler(
            b"guarded pages", 1, None, _MALLOC(lambda _, size: pages.allocate(size)),
            _CALLOC(lambda _, count, size: pages.allocate(count * size, clear=True)), _REALLOC(reallocate),
            _FREE(lambda _, address, size: pages.free(address or 0)),
        )  # fmt: skip
        new, get = ctypes.pythonapi.PyCapsule_New, ctypes.pythonapi.PyCapsule_GetPointer
        new.restype, new.argtypes = ctypes.py_object, (_Address, ctypes.c_char_p, _Address)
        get.restype, get.argtypes = _Address, (ctypes.py_object, ctypes.c_char_p)
        core = importlib.import_module(f"numpy.{'_core' if np.__version__ >= '2' else 'core'}._multiarray_umath")
        table = (_Address * (_SET_HANDLER + 1)).from_address(get(core._ARRAY_API, None))
        self._set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])
        self._name = b"mem_handler"  # the capsule keeps its address
        return new(ctypes.addressof(self._functions), self._name, None)

    def _guard_kernels(self) -> tuple[Any, ...]:
        machine.numba()
        import llvmlite.binding as llvm
        from numba.core.registry import cpu_target
        from numba.core.runtime import _nrt_python, rtsys

        rtsys.initialize(cpu_target.target_context)  # names its own functions, once
        functions = ctypes.CFUNCTYPE(_Address)(_nrt_python.c_helpers["get_api"])()
        manage_at = (_Address * 3).from_address(functions)[2]
        manage = ctypes.CFUNCTYPE(_Address, _Address, _Address)(manage_at)
        pages = self._pages

        free = ctypes.CFUNCTYPE(None, _Address)(pages.free)

        def allocate(size: int, alignment: int) -> int | None:
            data = pages.allocate(size)
            self.in_kernels += 1
            return manage(data, ctypes.cast(free, _Address)) if data else None

        allocate_aligned = ctypes.CFUNCTYPE(_Address, _Size, ctypes.c_uint)(allocate)
        llvm.add_symbol("NRT_MemInfo_alloc_aligned", ctypes.cast(allocate_aligned, _Address).value)
        return free, allocate_aligned


def _cut_nothing() -> None:
    """Let the library allocate what it asks for and no more, and run every launch on as many threads as it may."""
    workspace._LARGEST = -1
    memory._KEPT_FROM = 2**63
    memory._stores.copy = np.copy
    amx.empty = lambda words: np.empty(words, np.int32)
    jit.SERIAL_BELOW = 0
