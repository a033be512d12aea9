"""Room for the compiler: LLVM wants more stack than a thread may have that its maker meant for a few calls.

Kernels need next to none, and run where they are called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_ROOM = 2**24  # bytes; LLVM has crashed with 2^18
_making = threading.Lock()


class _Here(threading.local):
    has_room = False


_here = _Here()


def with_room(compute: Callable[[], Any]) -> Any:
    """Return what a function returns, called on a thread with a large stack: the calling one where that is the main thread, else a new one.

    The caller must not hold a lock that the function takes.
    """
    if _here.has_room or threading.current_thread() is threading.main_thread():
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
    with _making:  # the size is one for all threads that begin meanwhile
        before = threading.stack_size(_ROOM)
        try:
            thread.start()
        except RuntimeError:  # no new threads as the interpreter ends
            thread = None  # type: ignore[assignment]
        finally:
            threading.stack_size(before)
    if thread is None:
        return compute()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
