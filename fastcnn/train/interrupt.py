"""Ctrl-C between two steps, never within one: what training changes stays whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was interrupted after a whole step; the message says which, and where its checkpoint lies."""


class Request:
    """Whether somebody asked training to end: `signal` is the number of the signal, 0 at first."""

    signal = 0


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Turn the first SIGINT or SIGTERM into a request inside the block; the second acts as it would have before.

    Only in the main thread, where Python allows it, and only in place of the usual reactions: a program that handles or ignores these
    signals (a shell's background job ignores SIGINT) goes on to do so.
    """
    request = Request()
    before: dict[int, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):  # Windows has both names, and delivers the first
            handler = signal.getsignal(number)
            if handler in (signal.default_int_handler, signal.SIG_DFL):
                before[number] = handler
                signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()
