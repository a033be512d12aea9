"""What training needs of MPI, and no more: who we are, sums, one rank's arrays for all, agreement on errors, and the end of the job."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from .. import machine
from ..extras import require

_NAP = 0.002  # seconds; MPI's own waiting takes a core, from a rank that compiles for all, say
_PASS_ON_SECONDS = 0.2  # in which the launcher passes on what was printed: what it has not is lost with the job
_END_SECONDS = 5.0  # in which the launcher ends a process whose job is to end


class PeerError(RuntimeError):
    """Another rank found what its own error tells; the message names the rank and repeats it."""


class Communicator:
    """The processes that train together.

    As a context manager it ends the whole job when an exception leaves the block on one rank: see `fastcnn.distributed.world`.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Duplicated, so that our messages meet no others; all of its processes must call.

    Attributes
    ----------
    rank, size : int
        Of this process, from 0; of all processes.
    host_rank, host_size : int
        The same among the processes that share this host's memory.
    threads : int
        This rank's share of the cores: see `share_of_cores`.

    Raises
    ------
    TypeError
        Not an intracommunicator of mpi4py.
    ImportError
        mpi4py is not installed.
    """

    def __init__(self, comm: Any) -> None:
        mpi = _mpi()
        if not isinstance(comm, mpi.Intracomm) or comm == mpi.COMM_NULL:
            raise TypeError(f"Communicator: comm must be an intracommunicator of mpi4py; got {type(comm).__name__}")
        self._mpi, self._comm = mpi, comm.Dup()
        self.rank, self.size = int(self._comm.rank), int(self._comm.size)
        host = self._comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.host_rank, self.host_size = int(host.rank), int(host.size)
        self._host = host
        self.threads = min(share_of_cores(machine.core_numbers(), self._cores_of_host()), machine.max_threads())

    @property
    def is_leader(self) -> bool:
        """Whether this is rank 0, which prints, saves and reports."""
        return self.rank == 0

    # --- Sums ---

    def add_up(self, values: np.ndarray) -> None:
        """Replace the values of a contiguous float32 or float64 array by their sums over all ranks; the same bits everywhere."""
        if self.size > 1:
            self._comm.Allreduce(self._mpi.IN_PLACE, values)

    def sums(self, *values: float) -> list[float]:
        """Return the sum over all ranks of each number."""
        found = np.array(values, np.float64)
        self.add_up(found)
        return list(map(float, found))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return self.sums(float(flag))[0] > 0

    def extremes(self, value: int) -> tuple[int, int]:
        """Return the least and the largest value of any rank."""
        found = np.array([value, -value], np.int64)
        self._comm.Allreduce(self._mpi.IN_PLACE, found, self._mpi.MIN)
        return int(found[0]), -int(found[1])

    # --- One rank's data for all ---

    def broadcast_text(self, text: str, root: int = 0) -> str:
        """Return the text of rank `root`."""
        content = np.frombuffer(text.encode(), np.uint8) if self.rank == root else np.empty(0, np.uint8)
        return self._bytes_of(root, content).tobytes().decode()

    def broadcast_arrays(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays of rank 0, by name: of numbers and text, never pickled."""
        if self.is_leader:
            contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
            head = json.dumps([(name, array.dtype.str, array.shape) for name, array in contiguous.items()])
            content = np.frombuffer(b"".join(array.tobytes() for array in contiguous.values()), np.uint8)
        else:
            head, content = "", np.empty(0, np.uint8)
        head, content = self.broadcast_text(head), self._bytes_of(0, content)
        found, first = {}, 0
        for name, dtype, shape in json.loads(head):
            size = np.dtype(dtype).itemsize * math.prod(shape)
            found[name] = np.frombuffer(content[first : first + size].tobytes(), dtype).reshape(shape).copy()
            first += size
        return found

    def gather_rows(self, rows: np.ndarray) -> np.ndarray | None:
        """Return on rank 0 the rows of all ranks, in their order, and None on the others; all of one dtype and one length of a row."""
        rows = np.ascontiguousarray(rows)
        counts = np.zeros(self.size, np.int64)
        self._comm.Gather(np.array([rows.size], np.int64), counts)
        found = np.empty(int(counts.sum()), rows.dtype) if self.is_leader else None
        self._comm.Gatherv(rows, None if found is None else [found, counts])
        return None if found is None else found.reshape(-1, *rows.shape[1:])

    def _bytes_of(self, root: int, content: np.ndarray) -> np.ndarray:
        size = np.array([content.size], np.int64)
        self._comm.Bcast(size, root)
        buffer = content.copy() if self.rank == root else np.empty(int(size[0]), np.uint8)
        self._comm.Bcast(buffer, root)
        return buffer

    # --- Order and agreement ---

    def barrier(self, host: bool = False) -> None:
        """Wait until all ranks, or all of this host, are here: asleep, so that a core is free for those who still work."""
        request = (self._host if host else self._comm).Ibarrier()
        while not request.Test():
            time.sleep(_NAP)

    def agree(self, error: Exception | None) -> None:
        """Raise on all ranks where one has an error: its own there, and `PeerError` on the others. All ranks must call.

        Raises
        ------
        PeerError
            The first rank's that has one, on ranks that have none.
        """
        root, _ = self.extremes(self.size if error is None else self.rank)
        if root == self.size:
            return
        told = self.broadcast_text(f"{type(error).__name__}: {error}", root)
        if error is not None:
            raise error
        raise PeerError(f"rank {root} of {self.size}: {told}")

    # --- The end ---

    def abort(self, code: int = 1) -> None:
        """End all processes of the job at once, with this exit code; does not return."""
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_PASS_ON_SECONDS)
        self._mpi.COMM_WORLD.Abort(code)  # not of a duplicate, whose other processes go on in MPICH 4.2
        time.sleep(_END_SECONDS)  # it may return, and the launcher end us later
        os._exit(code)

    def __enter__(self) -> Communicator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from .failure import end_job

        if error is not None:
            end_job(self, error)

    # --- Details ---

    def _cores_of_host(self) -> list[frozenset[int]]:
        """Return the cores that each rank of this host may use."""
        own = np.array(sorted(machine.core_numbers()), np.int64)
        counts = np.zeros(self.host_size, np.int64)
        self._host.Allgather(np.array([own.size], np.int64), counts)
        found = np.empty(int(counts.sum()), np.int64)
        self._host.Allgatherv(own, [found, counts])
        return [frozenset(map(int, part)) for part in np.split(found, np.cumsum(counts)[:-1])]

    def __deepcopy__(self, memo: Any) -> Communicator:
        """Return this communicator: a copied model (see `fastcnn.layers.prepare`) talks to the same ranks."""
        return self

    def __repr__(self) -> str:
        return f"Communicator(rank {self.rank} of {self.size}, {self.threads} thread(s))"


def share_of_cores(own: frozenset[int], ranks: list[frozenset[int]]) -> int:
    """Return how many threads a rank should have: of every core that it may use an equal share with the others that may, at least one.

    So two ranks that may both use cores 0 to 3 get two threads each, as do two that are bound to a half of them.

    Parameters
    ----------
    own : the numbers of cores that this rank may use
    ranks : those of every rank on this host, this one among them

    Examples
    --------
    >>> from fastcnn.distributed.communicator import share_of_cores
    >>> both = frozenset(range(4))
    >>> share_of_cores(both, [both, both]), share_of_cores(frozenset({0, 1}), [frozenset({0, 1}), frozenset({2, 3})])
    (2, 2)
    """
    share = sum(1 / sum(core in other for other in ranks) for core in own)
    return max(1, math.floor(share + 1e-9))


def world() -> Communicator:
    """Return the communicator of all processes that `mpiexec` has started; of this one alone where there was no `mpiexec`.

    From now on an exception that ends the program on one rank ends it on all of them, with the rank and the traceback on stderr and exit
    code 1: without that the others would wait for ever. ``sys.exit(code)`` is such an end only inside ``with world() as comm:``. NumPy's
    BLAS is limited to this rank's share of the cores.

    Raises
    ------
    ImportError
        mpi4py, or the MPI library that it needs, is not installed.

    Examples
    --------
    >>> from fastcnn.distributed import world  # doctest: +SKIP
    >>> with world() as comm:  # doctest: +SKIP
    ...     history = fit(net, images, labels, batch_size=512, comm=comm)
    """
    from .failure import install

    comm = Communicator(_mpi().COMM_WORLD)
    install(comm)
    if comm.size > 1:
        _limit_blas(comm.threads)
    return comm


def _limit_blas(threads: int) -> None:
    """Let NumPy's BLAS use no more than this rank's share of the cores, where threadpoolctl can reach it."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return  # comes with the extra "bench"; without it OPENBLAS_NUM_THREADS is the user's
    threadpool_limits(threads, user_api="blas")


def _mpi() -> Any:
    try:
        return require("mpi4py.MPI", "mpi4py", "mpi", "fastcnn.distributed")
    except RuntimeError as error:  # "cannot load MPI library"
        raise ImportError(f'fastcnn.distributed needs an MPI library: pip install "fastcnn[mpi]" ({error})') from error
