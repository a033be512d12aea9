"""Samples that were taken earlier, played to pytest-benchmark, which makes its statistics, tables and files of them.

pytest-benchmark times one test after another, and would time a competitor long after the one that it is compared with. So competitors are
sampled in turns (see `bench.sampling`), and each test then plays its own samples: the function that is "timed" only moves the hand of a
clock, and the clock is the timer of the test (a documented option of ``pytest.mark.benchmark``).
"""

from __future__ import annotations

from collections.abc import Sequence


class Tape:
    """A clock and the function that moves it on."""

    def __init__(self) -> None:
        self._now, self._samples, self._loops, self._calls = 0.0, [0.0], 1, 0

    def load(self, samples: Sequence[float], loops: int) -> None:
        """Play these samples from now on, each over `loops` calls."""
        self._samples, self._loops, self._calls = list(samples), loops, 0

    def play(self) -> None:
        """Let the time of one call pass."""
        self._now += self._samples[min(self._calls // self._loops, len(self._samples) - 1)]
        self._calls += 1

    def clock(self) -> float:
        """Return seconds."""
        return self._now


TAPE = Tape()
