"""One row of the comparison: what was measured, and the ratios that follow from it."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastcnn.peers.truth import LOOSE


class Speed(NamedTuple):
    """GFLOP/s at the median time of some rounds and at its quartiles, and how far the result was from float64."""

    gflops: float
    low: float
    high: float
    rounds: int
    quiet: int  # of the rounds, in which the system did not interrupt us; the others count only where there is none
    error_share: float
    frobenius: float


class Row(NamedTuple):
    """What all libraries did on one case, direction and number of threads."""

    suite: str
    case: str
    problem: dict[str, int]
    direction: str
    threads: int
    variant: str
    gflop: float
    speeds: dict[str, Speed]
    failed: dict[str, str]

    def best(self, *beginnings: str) -> float | None:
        """Return the GFLOP/s of the fastest float32 contender whose name begins so; None where none was timed."""
        speeds = [s.gflops for name, s in self.speeds.items() if name.startswith(beginnings) and name not in LOOSE]
        return max(speeds, default=None)

    @property
    def ours(self) -> float | None:
        """GFLOP/s of our best, prepared weights included."""
        return self.best("fastcnn")

    @property
    def plain(self) -> float | None:
        """GFLOP/s of our best plain call, which packs the weights each time, as PyTorch's does."""
        return self.best("fastcnn N")

    @property
    def torch(self) -> float | None:
        """GFLOP/s of PyTorch in its better layout."""
        return self.best("torch")

    @property
    def peer(self) -> float | None:
        """GFLOP/s of the best float32 peer, PyTorch among them."""
        return max((s.gflops for name, s in self.speeds.items() if not name.startswith("fastcnn") and name not in LOOSE), default=None)

    def ratios(self) -> dict[str, float | None]:
        """Return how many times faster we are; above 1 is a win."""
        return {
            "best / best peer": _ratio(self.ours, self.peer),
            "best / torch": _ratio(self.plain, self.torch),
            "prepared / torch": _ratio(self.best("fastcnn prepared"), self.torch),
            "medium / openvino default": _ratio(self._of("fastcnn medium NHWC"), self._of("openvino default")),
            "prepared medium / openvino default": _ratio(self._of("fastcnn prepared medium NHWC"), self._of("openvino default")),
            "NHWC / torch": _ratio(self.best("fastcnn NHWC"), self.torch),
            "NCHW / torch": _ratio(self.best("fastcnn NCHW"), self.torch),
        }

    def _of(self, name: str) -> float | None:
        return self.speeds[name].gflops if name in self.speeds else None

    def record(self, peak: float | None) -> dict[str, Any]:
        """Return plain values for JSON, with the ratios and our share of the peak of so many threads."""
        return {
            **self._asdict(),
            "speeds": {name: speed._asdict() for name, speed in self.speeds.items()},
            "ratios": self.ratios(),
            "share_of_peak": _ratio(self.ours, peak),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Row:
        """Return what `record` was made from."""
        speeds = {name: Speed(**speed) for name, speed in record["speeds"].items()}
        return cls(**{name: record[name] for name in cls._fields if name != "speeds"}, speeds=speeds)


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None
