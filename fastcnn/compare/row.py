"""One line of a comparison: a variant, or what it is compared with, on one case; and how many times as fast as others it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..timing import Timing


class Ratio(NamedTuple):
    """How many times as fast as another function a function is: above 1 it wins.

    Another run on the same machine finds its value between `low` and `high`, as does every other ratio of the run, in nine of ten tries;
    see `statistics`. Both are None where too little was measured to tell.
    """

    value: float
    low: float | None
    high: float | None
    blocks: int

    @property
    def band(self) -> float | None:
        """Half the band's width as a share of the value, on the wider side."""
        return self.high / self.value - 1 if self.high is not None else None


class Row(NamedTuple):
    """One variant, or one baseline or peer, on one case.

    `error` is a share of the tolerance; `ratios` are by the name of what the row is compared with, `speedup` is the first of them, over the
    naive loops where they were timed; `share_of_peak` is of the multiply-adds that the threads can do; where there is no timing, `note`
    tells why.
    """

    operation: str
    direction: str
    dtype: str
    case: str
    variant: str
    chosen: bool = False
    baseline: bool = False
    error: float | None = None
    timing: Timing | None = None
    gflops: float | None = None
    gbytes: float | None = None
    share_of_peak: float | None = None
    speedup: float | None = None
    ratios: Mapping[str, Ratio] = MappingProxyType({})
    note: str = ""

    @property
    def label(self) -> str:
        """The variant's name, or the baseline's marked as one; unique on a case."""
        return f"{self.variant} (baseline)" if self.baseline else self.variant

    @property
    def problem(self) -> tuple[str, str, str, str]:
        """Operation, direction, dtype and case: what rows share that are compared with one another."""
        return self.operation, self.direction, self.dtype, self.case

    def record(self) -> dict[str, Any]:
        """Return the row as plain values for JSON, which has no infinity: an infinite error becomes null."""
        error = self.error if self.error is not None and math.isfinite(self.error) else None
        ratios = {name: ratio._asdict() for name, ratio in self.ratios.items()}
        return {**self._asdict(), "error": error, "timing": self.timing and self.timing._asdict(), "ratios": ratios}
