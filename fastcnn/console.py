"""What a command owes to whoever reads its output."""

from __future__ import annotations

import functools
import os
import select
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def ends_with_its_reader(main: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that it ends without a word when nobody reads its output any more, as in ``fastcnn info | head -3``.

    Parameters
    ----------
    main : callable
        The command.

    Returns
    -------
    callable
        The same, which raises SystemExit(1) in that case.

    Notes
    -----
    Python ignores SIGPIPE, and its own advice is followed: standard output goes nowhere from then on, as the interpreter writes what is
    left in the buffer when it ends (https://docs.python.org/3/library/signal.html#note-on-sigpipe).
    """

    @functools.wraps(main)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            code = main(*args, **kwargs)
            if sys.stdout is not None:  # there is none under pythonw.exe
                sys.stdout.flush()
            return code
        except BrokenPipeError:
            if not _reader_is_gone():  # another pipe has broken
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            raise SystemExit(1) from None

    return command


def _reader_is_gone() -> bool:
    """Tell whether standard output is a pipe or a socket that nobody reads; False where that cannot be asked, as on Windows."""
    if not hasattr(select, "poll"):
        return False
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError):  # there is none, or it is no file
        return False
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
