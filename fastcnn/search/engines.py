"""Who runs the trials: joblib's processes or threads, or the workers of a Dask cluster. Each tells which trials its workers died with.

joblib's own way to Dask is not taken here: it waits for ever for a task whose worker died too often (as of joblib 1.6 its `_dask.py` does
not call back then), and Dask's futures tell.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from .. import machine

BACKENDS = "loky", "threading", "dask"
_SECONDS = 30  # in which Dask starts a worker anew


class Lost(NamedTuple):
    """A task whose worker died, or at least may have been the one that did."""

    cause: str


class Workers(NamedTuple):
    """Where trials run.

    Attributes
    ----------
    backend : str
        One of BACKENDS.
    jobs : int
        Trials at a time.
    cores : int
        For each of so many trials.
    client : distributed.Client or None
        Of Dask.
    """

    backend: str
    jobs: int
    cores: int
    client: Any = None

    @property
    def here(self) -> bool:
        """Whether trials run in this process."""
        return self.backend == "threading" or (self.backend == "loky" and self.jobs == 1)


def workers(backend: str | None, jobs: int | None) -> Workers:
    """Return where trials are to run; a backend of None is what `joblib.parallel_config` says here, or loky.

    Raises
    ------
    ValueError
        Dask is asked for, and there is no client.
    """
    active, client = _active()
    backend = backend or ("dask" if client else "threading" if active == "ThreadingBackend" else "loky")
    if backend == "dask":
        return _dask_workers(client, jobs)
    jobs = jobs or joblib.cpu_count()
    place = Workers(backend, jobs, 1)
    cores = machine.max_threads() if place.here else joblib.cpu_count()
    return place._replace(cores=max(cores // jobs, 1))


def _active() -> tuple[str, Any]:
    """Return the class of joblib's backend here, and its client where that is Dask's."""
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    return type(backend).__name__, getattr(backend, "client", None)


def _dask_workers(client: Any, jobs: int | None) -> Workers:
    from ..extras import require

    distributed = require("distributed", "Dask", "dask", "search(backend='dask')")
    try:
        client = client or distributed.get_client()
    except ValueError:
        raise ValueError(
            "search: backend 'dask' needs a client: with distributed.Client(...): search(...), or fastcnn search --scheduler ADDRESS"
        ) from None
    try:
        client.wait_for_workers(1, timeout=_SECONDS)
    except (TimeoutError, distributed.TimeoutError):  # of asyncio, which are two up to Python 3.10
        raise ValueError(f"search: the Dask cluster at {client.scheduler.address} has no workers; start some, and try again") from None
    slots: dict[str, int] = client.nthreads()
    cores: dict[str, int] = client.run(machine.usable_cores)
    hosts = [address.rpartition(":")[0] for address in cores]
    sharing = {host: sum(slots.get(address, 1) for address in cores if address.rpartition(":")[0] == host) for host in hosts}
    limits: dict[str, str | None] = client.run(machine.setting, "NUMBA_NUM_THREADS")
    least = min(_share(cores[address], sharing[host], limits.get(address)) for address, host in zip(cores, hosts, strict=True))
    return Workers("dask", jobs or sum(slots.values()), least, client)


def _share(cores: int, trials: int, limit: str | None) -> int:
    """Return how many threads a trial has: its share of the cores, and no more than NUMBA_NUM_THREADS allows the process it runs in."""
    share = max(cores // trials, 1)
    return min(share, max(int(limit), 1)) if limit and limit.isdecimal() else share


def run(place: Workers, calls: Sequence[Callable[..., Any]], threads: int, data: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield the place of every call, as soon as it is over, with what call(threads, *data) returned or what it was `Lost` to."""
    return (_on_dask if place.backend == "dask" else _on_joblib)(place, calls, threads, data)


def _on_joblib(place: Workers, calls: Sequence[Callable[..., Any]], threads: int, data: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    waiting = iter(range(len(calls)))
    inner = {} if place.here else {"inner_max_num_threads": threads}
    while True:
        under_way: set[int] = set()

        def handed_out(under_way: set[int] = under_way) -> Iterator[Any]:
            for number in waiting:
                under_way.add(number)
                yield joblib.delayed(_numbered)(number, calls[number], threads, *data)

        try:
            with joblib.parallel_config(place.backend, n_jobs=place.jobs, **inner):
                parallel = joblib.Parallel(pre_dispatch=place.jobs, batch_size=1, return_as="generator_unordered")
            for number, outcome in parallel(handed_out()):
                under_way.remove(number)
                yield number, outcome
            return
        except TerminatedWorkerError as error:
            # The pool is gone, with all that was under way in it or done since joblib last looked, every 10 ms; the next one is new.
            for number in sorted(under_way):
                yield number, Lost(_words(error))


def _numbered(number: int, call: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    return number, call(*arguments)


def _on_dask(place: Workers, calls: Sequence[Callable[..., Any]], threads: int, data: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    import dask
    from distributed import as_completed

    client, waiting = place.client, iter(range(len(calls)))
    under_way: dict[Any, int] = {}

    def submit(call: Callable[..., Any], *arguments: Any) -> Any:
        return client.submit(call, *arguments, pure=False, key=f"search-{secrets.token_hex(8)}")

    def submitted(count: int) -> list[Any]:
        new = {submit(calls[number], threads, *copies): number for number in itertools.islice(waiting, count)}
        under_way.update(new)
        return list(new)

    # Data are the results of tasks, and not scattered: what was scattered is lost with the worker that has it, and cannot be sent while one
    # is dying; a task is done again elsewhere.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        copies = [submit(_itself, array) for array in data]
    finished = as_completed(submitted(place.jobs), raise_errors=False)
    try:
        for future in finished:
            number = under_way.pop(future)
            if future.status == "finished":
                outcome = future.result()
            else:
                outcome = Lost(_words(future.exception()) if future.status == "error" else f"its result is {future.status}")
            finished.update(submitted(1))
            yield number, outcome
    finally:
        client.cancel([*under_way, *copies])


def _itself(array: Any) -> Any:
    return array


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
