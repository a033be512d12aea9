"""Where the compiler runs: on a thread of its own, with room for LLVM and out of reach of Ctrl-C.

LLVM wants more stack than a thread may have that its maker meant for a few calls. And Python raises KeyboardInterrupt in the main thread,
in whatever runs there: in a function that LLVM calls back it would be lost, elsewhere in the compiler it might leave things half-made. So
whoever needs a kernel waits for it, and may stop waiting; what was begun is compiled to its end, and is there when it is asked for again.

Kernels need next to no stack, and run where they are called.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import forks

_ROOM = 2**24  # bytes; LLVM has crashed with 2^17


class _Here(threading.local):
    has_room = False


_here = _Here()


def _importing() -> bool:
    """Whether a module is being imported, on any thread.

    Modules are not asked for their attributes: a lazy one would be imported by that, and what stands in for a module may raise.
    """
    modules = [module for module in list(sys.modules.values()) if issubclass(type(module), ModuleType)]
    specs = [object.__getattribute__(module, "__dict__").get("__spec__") for module in modules]
    return any(getattr(spec, "_initializing", False) for spec in specs)


def with_room(compute: Callable[[], Any]) -> Any:
    """Return what a function returns, called on a new thread with a large stack; or on the calling one, if that is such a thread.

    The caller must not hold a lock that the function takes. One such is the lock of a module that is being imported, which Numba asks for
    when a function of that module is compiled: meanwhile the main thread, which has room, compiles itself.
    """
    if _here.has_room or (threading.current_thread() is threading.main_thread() and _importing()):
        return compute()
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        _here.has_room = True
        try:
            results.append(compute())
        except BaseException as error:  # the caller's
            errors.append(error)

    thread = threading.Thread(target=run, name="fastcnn compiler", daemon=True)
    try:
        with forks.beginning:  # the size is one for all threads that begin meanwhile
            before = threading.stack_size(_ROOM)
            try:
                thread.start()
            finally:
                threading.stack_size(before)
    except RuntimeError:  # no new threads as the interpreter ends
        return compute()
    thread.join()
    if errors:
        try:
            raise errors.pop()
        finally:
            del errors  # or the error would hold this frame, and this frame the error
    return results[0]
