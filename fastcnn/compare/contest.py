"""One case: who takes part, each checked against the reference first, and the samples that they took in turns."""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..agreement import Trial
from ..peers.team import Failed
from ..registry import Case, Operation
from ..timing import SAMPLE_SECONDS, Timing, lingers, settle
from .baseline import Baseline, baselines
from .row import Row

LONGEST_CALL = 1.0  # seconds; a baseline that needs more is left out of the table
_SLOW = 0.1  # seconds of a call that needs neither warming nor company in its sample
_FEWEST, _MOST_ROUNDS = 3, 30  # of a block
_PAGE, _LINE = 4096, 64  # bytes
_APART = ("accepts, by name", "accepts, at precision")  # verdicts on what the automatic choice may not take


class Pace(NamedTuple):
    """How a sample is taken.

    Attributes
    ----------
    calls : int
        So many make a sample of at least a millisecond.
    warm_up : bool
        Whether one more before it warms up caches and threads.
    lingers : bool
        Whether its threads go on for a while, on the core of who comes next: then a sample ends when they have stopped.
    """

    calls: int
    warm_up: bool
    lingers: bool = False


class Entrant(Protocol):
    """Who takes samples: a function of this process, or one of a process of its own."""

    def calibrate(self) -> Pace:
        """Warm up, and return the pace of samples."""

    def sample(self, pace: Pace) -> float:
        """Return the seconds of one call, the mean over those of a sample."""


class Local:
    """A function of this process, ready to be called."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def warm_up(self) -> None:
        """Call once: a new process compiles and imports in its first call."""
        self._call()

    def calibrate(self) -> Pace:
        """See `Entrant`."""
        settle()  # after whoever was asked before
        calls, seconds = 1, self._time(1)
        if seconds >= _SLOW:
            return Pace(1, False, lingers())
        while self._time(calls) < SAMPLE_SECONDS:
            calls *= 2
        return Pace(calls, True, lingers())

    def sample(self, pace: Pace) -> float:
        """See `Entrant`."""
        if pace.warm_up:
            self._call()  # the others have left the caches and threads cold: without this call the noise trebles
        seconds = self._time(pace.calls) / pace.calls
        if pace.lingers:
            settle()
        return seconds

    def _time(self, calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            self._call()
        return time.perf_counter() - start


def stage(op: Operation, direction: str, problem: Any, dtype: Any, scale: float, labels: Sequence[str]) -> dict[str, Local]:
    """Return variants and baselines by their labels, ready to take samples on new arrays that all of them share."""
    arrays = _placed((*_trial(op, direction, problem, dtype, scale).arguments, *op.problem.outputs(problem, direction, dtype)))
    runs = {name: variant.directions[direction] for name, variant in op.variants.items() if direction in variant.directions}
    runs |= {f"{baseline.name} (baseline)": baseline.run for baseline in baselines(op.name, direction)}
    return {label: Local(functools.partial(runs[label], problem, *arrays)) for label in labels}


def _trial(op: Operation, direction: str, problem: Any, dtype: Any, scale: float) -> Trial:
    trial = Trial(op, direction, problem, dtype, np.random.default_rng(0))
    if scale != 1 and direction != "backward_weight":  # which has no weights among its arguments
        first, *others = trial.arguments
        scaled = ((array.astype(np.float64) * scale).astype(array.dtype) for array in others)
        trial.arguments = (first, *scaled)
    return trial


def _placed(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return copies at random places of a page.

    Loads that lie at a store's place in another page wait for it, which halves the speed of plain loops; an allocator that returns the same
    places to every block of a run, and others to the next run, would make two runs differ by more than their blocks do.

    References
    ----------
    T. Mytkowicz et al., "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009, section 5.
    """
    found = []
    for array, line in zip(arrays, np.random.default_rng().integers(_PAGE // _LINE, size=len(arrays)), strict=True):
        memory = np.empty(array.nbytes + _PAGE + _LINE, np.uint8)
        start = -memory.ctypes.data % _LINE + int(line) * _LINE
        found.append(memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape))
        found[-1][...] = array
    return found


class Contest:
    """The variants and baselines on one case and direction.

    Parameters
    ----------
    scale : float
        Of the weights and all other arguments but the first; makes subnormal products.
    wanted : collection of str, optional
        Names of baselines to compare with; all if not given.
    """

    def __init__(
        self, op: Operation, direction: str, case: Case, dtype: Any, scale: float = 1.0, wanted: Sequence[str] | None = None
    ) -> None:
        self.op, self.direction, self.case, self.dtype, self.scale = op, direction, case, np.dtype(dtype), scale
        self.rows: dict[str, Row] = {}
        self.yardsticks: dict[str, list[str]] = {}  # labels of those that others are compared with, by what the table calls them
        self.blocks: list[list[dict[str, float]]] = []
        self.local: list[str] = []  # labels of the functions of this package and its baselines that were right
        self._paces: dict[str, Pace] = {}
        self._left: set[str] = set()
        self._wanted = wanted
        self._enter()

    # --- Who takes part

    def _enter(self) -> None:
        """Check everyone against the reference."""
        trial = self.trial()
        for row, run in self._candidates():
            if run is not None:
                error = trial.error(run)
                row = row._replace(
                    error=error, note=row.note if error <= 1 else f"WRONG: error is {error:.3g} times the tolerance; not timed"
                )
                if error <= 1:
                    self.local.append(row.label)
                    if row.baseline:
                        self.yardsticks[row.variant] = [row.label]
            self.rows[row.label] = row
        if not self.yardsticks and "reference" in self.local:
            self.yardsticks["reference"] = ["reference"]

    def _candidates(self) -> Iterator[tuple[Row, Callable[..., None] | None]]:
        """Yield every variant and baseline; without its function, but with a note, where it is not to be run."""
        op, problem = self.op, self.case.problem
        row = Row(op.name, self.direction, str(self.dtype), self.case.name, "")
        for name, verdict in op.explain(problem, self.direction):
            if verdict.startswith("refuses"):
                yield row._replace(variant=name, note=verdict), None
            else:
                apart = verdict.removeprefix("accepts, ") if verdict.startswith(_APART) else ""
                run = op.variants[name].directions[self.direction]
                yield row._replace(variant=name, chosen=verdict.startswith("chosen"), note=apart), run
        for baseline in self._baselines():
            note = baseline.leaves_out(op, self.direction, problem, LONGEST_CALL)
            yield row._replace(variant=baseline.name, baseline=True, note=note or ""), None if note else baseline.run

    def _baselines(self) -> list[Baseline]:
        return [b for b in baselines(self.op.name, self.direction) if self._wanted is None or b.name in self._wanted]

    def trial(self) -> Trial:
        """Return the inputs, the same ones each time, in new memory."""
        return _trial(self.op, self.direction, self.case.problem, self.dtype, self.scale)

    # --- Samples

    def block(self, seconds: float, local: Mapping[str, Entrant] | None = None, others: Mapping[str, Entrant] | None = None) -> None:
        """Let everyone take samples in turns for about so many seconds, on new arrays: those of `local` (if not given: here), and `others`.

        A slow one that has used up its equal share sits out the later rounds, and later blocks once it has used up theirs; but those
        that all others are compared with take at least one sample in each block.
        """
        mine = local if local is not None else stage(self.op, self.direction, self.case.problem, self.dtype, self.scale, self.local)
        entrants: dict[str, Entrant] = {**mine, **(others or {})}
        share = seconds / max(len(entrants), 1)
        yardsticks = {label for labels in self.yardsticks.values() for label in labels}
        number = len(self.blocks)
        here = {
            name: e
            for name, e in entrants.items()
            if name not in self._left and (name in yardsticks or self._spent(name) < (number + 1) * share)
        }
        for name, entrant in here.items():
            if name not in self._paces:
                with self._may_fail(name):
                    self._paces[name] = entrant.calibrate()
        rounds: list[dict[str, float]] = []
        self.blocks.append(rounds)
        spent = dict.fromkeys(here, 0.0)
        order = list(here)
        for turn in range(_MOST_ROUNDS):
            random.Random(number * _MOST_ROUNDS + turn).shuffle(order)  # nobody always follows the same neighbour
            taken: dict[str, float] = {}
            for name in order:
                if name not in self._left and self._wants(name, turn, spent[name] < share):
                    self._sample(name, here[name], taken, spent)
            if not taken:
                break
            rounds.append(taken)

    def _wants(self, name: str, turn: int, in_time: bool) -> bool:
        """Whether one takes another sample in a block: while it has time, but three in any case, of which the median is no spike."""
        return turn == 0 or in_time or (turn < _FEWEST and self._paces[name].warm_up)

    def _sample(self, name: str, entrant: Entrant, taken: dict[str, float], spent: dict[str, float]) -> None:
        with self._may_fail(name):
            taken[name] = entrant.sample(self._paces[name])
            spent[name] += self._cost(name, taken[name])

    @contextlib.contextmanager
    def _may_fail(self, name: str) -> Iterator[None]:
        """Let one whose process dies leave."""
        try:
            yield
        except Failed as reason:
            self.leave(name, f"failed: {reason}")

    def leave(self, name: str, note: str) -> None:
        """Take no more samples of one, forget those that it has taken, and note why."""
        self._left.add(name)
        self.rows[name] = self.rows[name]._replace(note=note)
        for rounds in self.blocks:
            for taken in rounds:
                taken.pop(name, None)

    def has_left(self, name: str) -> bool:
        """Whether one takes no more samples."""
        return name in self._left

    def _spent(self, name: str) -> float:
        return sum(self._cost(name, taken[name]) for rounds in self.blocks for taken in rounds if name in taken)

    def _cost(self, name: str, seconds: float) -> float:
        """Return what a sample took, with the call before it."""
        pace = self._paces[name]
        return seconds * (pace.calls + pace.warm_up)

    def timing(self, name: str) -> Timing | None:
        """Return the median of one's samples and their quartiles; None where it has taken none."""
        samples = [taken[name] for rounds in self.blocks for taken in rounds if name in taken]
        if not samples:
            return None
        low, middle, high = np.percentile(samples, (25, 50, 75))
        return Timing(float(middle), float(low), float(high), len(samples))

    def yardstick(self, name: str) -> str | None:
        """Return the label of the fastest of those that a name of `yardsticks` stands for; None where none was timed."""
        times = {label: timing.median for label in self.yardsticks[name] if (timing := self.timing(label)) is not None}
        return min(times, key=lambda label: times[label]) if times else None
