"""Calls of the system about cores, for compiled code: which one a thread is on, to leave it to another thread.

Linux may wake a thread on the core of the one that calls it, though others are idle, and moves one of the two after some milliseconds. What
is computed after a pause is through by then, with half a core for each. So a thread that finds itself on the core of the one that called it
goes elsewhere. MobileNet on two cores, one image after a pause of 50 ms: 5.9 ms without it, 4.3 with it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import machine

_WORDS = 16  # int64 of a set of cores
_LINUX = {"current": "sched_getcpu", "self": "pthread_self", "ask": "sched_getaffinity", "tell": "sched_setaffinity"}


@functools.cache
def can_move() -> bool:
    """Whether threads can tell and choose the core that they run on."""
    return sys.platform == "linux" and all(hasattr(_system(), name) for name in _LINUX.values())


@functools.cache
def _system() -> Any:
    return ctypes.CDLL("kernel32" if os.name == "nt" else None)


@functools.cache
def _name_calls() -> None:
    """Give the system's functions names that compiled code knows, also code that comes from the disk."""
    import llvmlite.binding as llvm

    names = {"give_way": "SwitchToThread" if os.name == "nt" else "sched_yield", **(_LINUX if can_move() else {})}
    for name, own in names.items():
        llvm.add_symbol(f"fastcnn_{name}", ctypes.cast(getattr(_system(), own), ctypes.c_void_p).value)


@functools.cache
def system_call(name: str) -> Any:
    """Return an intrinsic that calls a function of the system.

    ``give_way()`` lets another thread have the core. Where `can_move`, ``current()`` is the number of the core and ``self()`` one of the
    thread; ``ask(mask)`` and ``tell(mask)`` read and set the cores that it may run on, bits of 16 int64, and are below 0 on failure.
    """
    machine.numba()
    _name_calls()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    i32, i64 = ir.IntType(32), ir.IntType(64)

    def call(builder: Any, result: Any, kinds: list[Any], *arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, kinds), f"fastcnn_{name}")
        value = builder.call(function, arguments)
        return value if result == i64 else builder.sext(value, i64)

    @intrinsic
    def plain(typingctx: Any) -> Any:
        return types.int64(), lambda context, builder, signature, values: call(builder, i64 if name == "self" else i32, [])

    @intrinsic
    def on_mask(typingctx: Any, mask: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, values[0]).data
            kinds = [i32, i64, i64.as_pointer()]
            return call(builder, i32, kinds, ir.Constant(i32, 0), ir.Constant(i64, 8 * _WORDS), data)

        return types.int64(mask), emit

    return on_mask if name in ("ask", "tell") else plain


def mover() -> Callable[[int], None]:
    """Return ``move(core)``, to be compiled: the calling thread goes elsewhere if it is on this core and may leave it.

    What it may run on stays as it was. Only where `can_move`.
    """
    current, ask, tell, words = system_call("current"), system_call("ask"), system_call("tell"), _WORDS

    def move(core: int) -> None:
        if current() != core or core < 0 or core >= 64 * words:
            return
        allowed = np.zeros(words, np.int64)
        if ask(allowed) < 0:
            return
        others = allowed.copy()
        others[core // 64] &= ~(np.int64(1) << np.int64(core % 64))
        if np.any(others) and tell(others) == 0:
            tell(allowed)

    return move
