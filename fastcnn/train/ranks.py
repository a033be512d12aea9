"""The training command on several ranks: one of them speaks, an end of one is the end of all, and each predicts a part."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator

import numpy as np

from ..data.split import part
from ..distributed import Communicator, world
from ..distributed.failure import leave_the_word
from .interrupt import Interrupted


def on_ranks(run: Callable[[Communicator], int], mistakes: tuple[type[Exception], ...]) -> int:
    """Run a command on all ranks and return its exit code; rank 0 prints.

    What only some ranks meet - one of `mistakes`, in a line, or any other exception, with its traceback - ends the job at once. What all
    meet alike (Ctrl-C between two steps, a loss that is NaN) is raised on rank 0, for the command's own words, and silent on the others.

    Raises
    ------
    ImportError
        mpi4py is not installed.
    """
    with world() as comm, contextlib.ExitStack() as stack:
        if not comm.is_leader:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            return run(comm)
        except (FloatingPointError, Interrupted) as error:
            if comm.is_leader:
                raise
            return 1 if isinstance(error, FloatingPointError) else 130
        except mistakes as error:
            if comm.size == 1:
                raise
            leave_the_word(comm, error)
            print(f"error: {error}" + (f" (rank {comm.rank} of {comm.size})" if comm.rank else ""), file=sys.stderr)
            comm.abort(2)
            raise


@contextlib.contextmanager
def one_first(comm: Communicator | None) -> Iterator[None]:
    """Let one rank of each host run the `with` block before the others: it compiles, and they load what it has compiled."""
    if comm is not None and comm.host_rank:
        comm.barrier(host=True)
    yield
    if comm is not None and not comm.host_rank:
        comm.barrier(host=True)


def in_parts(comm: Communicator | None, images: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """Return compute(images), of which every rank computes a part, on rank 0, and None on the others."""
    if comm is None or comm.size == 1:
        return compute(images)
    first, last = part(len(images), comm.rank, comm.size)
    if len(images) < comm.size:  # some parts would be empty
        return compute(images) if comm.is_leader else None
    return comm.gather_rows(compute(images[first:last]))
