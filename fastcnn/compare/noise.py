"""How quiet the machine is: the load, and how much the time of one fixed piece of work differs from moment to moment."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import numpy as np

_SIZE = 30_000  # elements: 0.2 ms of exponentials, within a core's own caches
_CALLS = 7
NOISY = 0.05


class Noise(NamedTuple):
    """The spread of a fixed work's medians over a run: half the distance of the 10th and 90th percentile, as a share of the median."""

    spread: float
    medians: int

    @property
    def warning(self) -> str | None:
        """What to tell where differences of a few percent mean nothing; None on a quiet machine."""
        if self.spread <= NOISY:
            return None
        return (
            f"the machine is noisy: one fixed piece of work took ±{self.spread:.0%} from moment to moment (half the range of eight in ten "
            f"of {self.medians} medians). Differences within the bands mean nothing; compare again when nothing else runs"
        )


class NoiseMeter:
    """Times the same exponentials whenever it is asked to."""

    def __init__(self) -> None:
        self._input = np.linspace(-1, 1, _SIZE)
        self._output = np.empty(_SIZE)
        self._medians: list[float] = []

    def listen(self) -> None:
        """Take one median; 2 ms on a quiet machine."""
        taken = []
        for _ in range(_CALLS):
            start = time.perf_counter()
            np.exp(self._input, out=self._output)
            taken.append(time.perf_counter() - start)
        self._medians.append(float(np.median(taken)))

    def result(self) -> Noise:
        """Return the spread of the medians so far."""
        low, middle, high = np.percentile(self._medians, (10, 50, 90)) if self._medians else (0.0, 1.0, 0.0)
        return Noise(float((high - low) / 2 / middle), len(self._medians))


def load() -> list[float] | None:
    """Return the system's load averages over 1, 5 and 15 minutes; None where it has none."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
