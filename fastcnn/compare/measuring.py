"""A comparison as a whole: every case checked, then blocks of rounds over all of them in turn, so that those of one are far apart."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import machine
from ..checks import FLOATS
from ..peak import peak_gflops
from ..registry import Case, Operation
from .contest import Contest
from .host import host, hosted
from .noise import Noise, NoiseMeter, load
from .peers import Company, nobody
from .problems import directions_named, operation
from .row import Ratio, Row
from .statistics import bands, block_ratio
from .suites import WEIGHT_SCALE

BLOCKS = 8


class Comparison(NamedTuple):
    """What a comparison found, and the state of the machine meanwhile.

    `peak` is in GFLOP/s of the dtype on the threads used, `ratios` how many there are, and all their bands hold together.
    """

    rows: list[Row]
    peak: float
    noise: Noise
    load: dict[str, list[float] | None]
    ratios: int

    def record(self) -> dict[str, Any]:
        """Return all as plain values, for JSON."""
        return {
            "peak_gflops": self.peak,
            "noise": self.noise._asdict(),
            "load": self.load,
            "ratios": self.ratios,
            "rows": [row.record() for row in self.rows],
        }


def compare(
    op: str | Operation,
    cases: Sequence[Case] | None = None,
    directions: Sequence[str] | None = None,
    dtype: Any = np.float32,
    threads: int | None = None,
    budget_seconds: float = 3.0,
) -> list[Row]:
    """Check and time every variant of an operation, and the baselines, on every case.

    Parameters
    ----------
    op : str or Operation
    cases : sequence of Case, optional
        The operation's benchmark cases if not given.
    directions : sequence of str, optional
        All if not given.
    dtype : float32 or float64
    threads : int, optional
        For fastcnn and, where threadpoolctl is installed, for BLAS.
    budget_seconds : float
        For the timing of one case; variants too slow for their share of it get fewer rounds.

    Returns
    -------
    list of Row
        By direction and case, the fastest first; also for variants that refuse a case, or compute it wrongly and are not timed.

    Raises
    ------
    ValueError
        Unknown operation or direction, or more threads than there are.
    """
    return run(op, cases, directions, dtype, threads, budget_seconds).rows


def run(
    op: str | Operation,
    cases: Sequence[Case] | None = None,
    directions: Sequence[str] | None = None,
    dtype: Any = np.float32,
    threads: int | None = None,
    budget_seconds: float = 3.0,
    wanted: Sequence[str] | None = None,
    company: Company | None = None,
    progress: Callable[[str], None] = lambda text: None,
    blocks: int = BLOCKS,
    apart: bool = False,
) -> Comparison:
    """Compare as `compare` does, and return also what is known of the machine meanwhile.

    Parameters
    ----------
    wanted : sequence of str, optional
        Names of the baselines; all if not given.
    company : Company, optional
        Other libraries, in processes of their own.
    progress : callable
        Told in a few words what is being done.
    blocks : int
        How many times all cases are gone through.
    apart : bool
        Give every block a process of its own, so that bands also hold what differs between processes; see `host`.
    """
    found = operation(op) if isinstance(op, str) else op
    if np.dtype(dtype) not in FLOATS:
        raise ValueError(f"compare: dtype must be one of {', '.join(map(str, FLOATS))}; got {np.dtype(dtype)}")
    company = company or nobody()
    before = load()
    meter = NoiseMeter()
    with _limit(threads):
        peak = _peak(dtype)
        contests = []
        for direction in directions_named(found, directions):
            for case in found.problem.BENCH if cases is None else cases:
                progress(f"checking {direction} {case.name}")
                contest = Contest(found, direction, case, dtype, WEIGHT_SCALE.get(case.name, 1.0), wanted)
                company.enter(contest)
                contests.append(contest)
        for number in range(blocks):
            started = time.perf_counter()
            with host() if apart else contextlib.nullcontext() as process:
                for contest in contests:
                    progress(f"block {number + 1} of {blocks}: {contest.direction} {contest.case.name}")
                    meter.listen()
                    mine = hosted(process, contest) if process else None
                    with company.entrants(contest) as others:
                        contest.block(budget_seconds / blocks, mine, others)
            # blocks that follow one another at once see the same spell of the machine: those of a single case are made to wait
            time.sleep(max(0.0, 1.5 * budget_seconds / blocks - (time.perf_counter() - started)) if number + 1 < blocks else 0.0)
        meter.listen()
        peak = max(peak, _peak(dtype))
    ratios = _ratios(contests)
    rows = [row for number, contest in enumerate(contests) for row in _rows(contest, peak, ratios, number)]
    return Comparison(rows, peak, meter.result(), {"start": before, "end": load()}, sum(len(of) for of in ratios.values()))


@contextlib.contextmanager
def _limit(threads: int | None) -> Iterator[None]:
    with contextlib.ExitStack() as limits:
        if threads is not None:
            limits.enter_context(machine.threads(threads))
            with contextlib.suppress(ImportError):
                import threadpoolctl

                limits.enter_context(threadpoolctl.threadpool_limits(threads, "blas"))
        yield


def _peak(dtype: Any) -> float:
    """Return the peak of the caller's threads; half as many float64 as float32 fit a vector."""
    return peak_gflops(machine.get_threads()) * 4 / np.dtype(dtype).itemsize


def _ratios(contests: Sequence[Contest]) -> Mapping[tuple[int, str], dict[str, Ratio]]:
    """Return everyone's ratios by (number of the contest, label): their bands hold for all of them together."""
    blocks: dict[tuple[int, str, str], list[float]] = {}
    for number, contest in enumerate(contests):
        for name in contest.yardsticks:
            other = contest.yardstick(name)
            for label in contest.rows:
                if other is not None and label != other:
                    values = [block_ratio(rounds, label, other) for rounds in contest.blocks]
                    blocks[number, label, name] = [value for value in values if value is not None]
    found: dict[tuple[int, str], dict[str, Ratio]] = {}
    for (number, label, name), ratio in bands(blocks).items():
        found.setdefault((number, label), {})[name] = ratio
    return found


def _rows(contest: Contest, peak: float, ratios: Mapping[tuple[int, str], dict[str, Ratio]], number: int) -> list[Row]:
    """Return the rows of a contest, those that were timed first, by time."""
    problem, direction, module = contest.case.problem, contest.direction, contest.op.problem
    work, traffic = module.work(problem, direction) / 1e9, module.traffic(problem, direction, contest.dtype) / 1e9
    first = next((other for name in contest.yardsticks if (other := contest.yardstick(name))), None)

    def rated(row: Row) -> Row:
        timing = contest.timing(row.label)
        if timing is None:
            return row
        mine = ratios.get((number, row.label), {})
        rate = work / timing.median
        speedup = 1.0 if row.label == first else next((ratio.value for ratio in mine.values()), None)
        return row._replace(
            timing=timing, gflops=rate, gbytes=traffic / timing.median, share_of_peak=rate / peak, speedup=speedup, ratios=mine
        )

    rows = [rated(row) for row in contest.rows.values()]
    return sorted(rows, key=lambda row: row.timing.median if row.timing else np.inf)
