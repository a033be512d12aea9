"""What must come out of a problem, written where the processes of all libraries can read it, and how far a result may be from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..agreement import error_share

# May be bfloat16: no float32 peers, and checked by what that can do.
LOOSE = dict.fromkeys(("openvino default", "fastcnn medium NHWC", "fastcnn prepared medium NHWC"), 1e-2)
_FROBENIUS = 1e-5  # of float32: a single wrong pixel among millions is above it, Winograd's rounding far below


class Truth(NamedTuple):
    """The float32 inputs of a direction, its result in float64 and the error allowed for every element."""

    arguments: tuple[np.ndarray, ...]
    want: np.ndarray
    allowed: np.ndarray

    def save(self, folder: Path) -> None:
        """Write it where workers map it into their memory."""
        save_arguments(folder, self.arguments)
        np.save(folder / "want.npy", self.want)
        np.save(folder / "allowed.npy", self.allowed)

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """Map what `save` wrote; the arguments are copied, so that they are memory like any other."""
        want, allowed = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ("want", "allowed"))
        return cls(load_arguments(folder), want, allowed)


def save_arguments(folder: Path, arguments: Sequence[np.ndarray]) -> None:
    """Write the inputs alone into a new folder."""
    folder.mkdir(parents=True)
    for number, array in enumerate(arguments):
        np.save(folder / f"argument{number}.npy", array)


def load_arguments(folder: Path) -> tuple[np.ndarray, ...]:
    """Return the inputs that a folder holds, in order."""
    return tuple(np.load(file) for file in sorted(folder.glob("argument*.npy")))


class Errors(NamedTuple):
    """How far a result is from the truth."""

    share: float  # the largest error as a share of the error allowed; above 1 is more than rounding explains
    frobenius: float  # of the whole difference, relative to the truth


def errors(got: np.ndarray, want: np.ndarray, allowed: np.ndarray) -> Errors:
    """Compare a result with the truth; a wrong shape is infinitely wrong."""
    if got.shape != want.shape:
        return Errors(np.inf, np.inf)
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(want))
        difference = float(np.linalg.norm(got.astype(np.float64) - want))
    frobenius = difference / size if size else difference
    return Errors(error_share(got, want, allowed), frobenius if np.isfinite(frobenius) else np.inf)


def rejected(name: str, share: float, frobenius: float) -> str | None:
    """Return why a result is wrong; None where its error is within rounding, elementwise or (Winograd, bfloat16) as a whole."""
    limit = LOOSE.get(name, _FROBENIUS)
    if share <= 1 or frobenius <= limit:
        return None
    return f"wrong: error {share:.3g} times the tolerance, {frobenius:.2g} of the result's norm (at most {limit:g}); not timed"
