"""The end of a job: what ends one rank ends all of them, with its cause, as the others wait for it in a sum that never comes."""

from __future__ import annotations

import sys
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .communicator import Communicator

_GRACE = 1.0  # seconds


def install(comm: Communicator) -> None:
    """Let exceptions that nobody catches end the job; see `end_job`. Whatever reported them before still does, on this rank."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if comm.size == 1 or _is_of_all(error):
            before(kind, error, trace)
        else:
            end_job(comm, error)

    sys.excepthook = hook


def end_job(comm: Communicator, error: BaseException) -> None:
    """Print an exception with its rank, and end all processes: with the code of a SystemExit, 130 for Ctrl-C, else 1.

    Returns for what all ranks end by alike (a training that was interrupted after the same step everywhere), a SystemExit without an
    error, and where there is a single rank.
    """
    if comm.size == 1 or _is_of_all(error):
        return
    code: Any = 130 if isinstance(error, KeyboardInterrupt) else 1
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return
        code = error.code if isinstance(error.code, int) else 1
    leave_the_word(comm, error)
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    print(f"rank {comm.rank} of {comm.size} ends the job (exit code {code}):\n{told}", end="", file=sys.stderr, flush=True)
    comm.abort(code)


def leave_the_word(comm: Communicator, error: BaseException) -> None:
    """Wait until rank 0 has told an error that all ranks have and ended the job, or the rank whose error it is; return where none did."""
    from .communicator import PeerError

    time.sleep(_GRACE * (2 * isinstance(error, PeerError) + (not comm.is_leader)))


def _is_of_all(error: BaseException) -> bool:
    from ..train.interrupt import Interrupted

    return isinstance(error, Interrupted)
