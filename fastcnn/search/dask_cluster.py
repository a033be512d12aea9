"""The Dask cluster of `fastcnn search --backend dask`: one that is told, or workers of this machine alone, which end with the search."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from typing import Any

from .. import extras

_SECONDS = 10  # to find the scheduler in
_ANY_PORT = "127.0.0.1:0"  # with None the scheduler's HTTP server would take 8787, of all addresses


@contextlib.contextmanager
def local(jobs: int) -> Iterator[Any]:
    """Start a scheduler in this process and `jobs` worker processes, and end them after the `with` block; a client is the active one.

    They listen on 127.0.0.1 only. Dask trusts whoever reaches a port of it: on a machine where others may log
    in that are not to run code as this user, joblib's processes are the better choice.

    Raises
    ------
    ImportError
        Dask is not installed.
    """
    distributed = extras.require("distributed", "Dask", "dask", "search(backend='dask')")
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": 0,  # `search` tries again itself
        "distributed.worker.daemon": True,  # no worker outlives this process
        "distributed.admin.tick.limit": "60s",  # no word about a trial that holds the interpreter for some seconds
    }
    with dask.config.set(settings), tempfile.TemporaryDirectory(prefix="fastcnn-dask-") as folder:
        cluster = distributed.LocalCluster(
            n_workers=jobs, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=_ANY_PORT, local_directory=folder,
            silence_logs=logging.CRITICAL,
        )  # fmt: skip
        with cluster, distributed.Client(cluster) as client:
            yield client


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a scheduler inside a `with` block; a client is the active one.

    Raises
    ------
    ImportError
        Dask is not installed.
    ValueError
        Nobody answers at the address.
    """
    distributed = extras.require("distributed", "Dask", "dask", "search(backend='dask')")
    try:
        client = distributed.Client(address, timeout=_SECONDS)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address} ({error}); start one with: dask scheduler") from error
    with client:
        yield client
