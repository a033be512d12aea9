"""Checkpoints: everything that the rest of a run depends on, in one .npz file without pickle.

A resumed run takes the same steps, to the bit, as one that was never interrupted (on the same machine with as many threads): weights,
buffers, the optimiser's memory, averaged weights, random generators of layers, the position in the epoch with its running sums, the
history, and the best epoch of early stopping. Batches need no state: they follow from seed and position.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, files, window
from .state import pack, unpack

if TYPE_CHECKING:
    from .loop import Run

FORMAT = "fastcnn checkpoint 2"
_SHARE = 0.01  # of the time that epochs may spend on checkpoints nobody asked for by the clock
_STALE = 60.0  # seconds after which a half-written file was left by a process that is dead


@dataclass(frozen=True)
class Checkpoint:
    """Where checkpoints go, and when: at the end of training, at Ctrl-C, at the end of epochs, and in between as told here.

    Ends of epochs are left out while saving would take more than a hundredth of the time; the end of training never is.

    Attributes
    ----------
    path : path-like
        Of an .npz file; one that is there is replaced, whole or not at all.
    seconds : float or None
        Save when so much time has passed since the last time.
    steps : int or None
        Save after every so many steps.
    """

    path: str | os.PathLike[str]
    seconds: float | None = 10.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)):
            raise TypeError(f"Checkpoint: path must be a path; got {type(self.path).__name__}")
        if not os.fspath(self.path):
            raise ValueError("Checkpoint: path must be that of a file; got ''")
        if self.seconds is not None and not checks.number("Checkpoint", "seconds", self.seconds, finite=False) >= 0:
            raise ValueError(f"Checkpoint: seconds must not be negative; got {self.seconds}")
        if self.steps is not None:
            window.integer("Checkpoint", "steps", self.steps, 1)


class Saver:
    """Knows when a checkpoint is due, and saves it.

    Attributes
    ----------
    path : Path
    saved : int or None
        The step that the file holds; None before the first time.

    Raises
    ------
    OSError
        The file could not be written.
    """

    def __init__(self, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
        self.path = Path(checkpoint.path)
        files.require_writable(self.path)
        files.remove_stale_parts(self.path, _STALE)
        self.saved: int | None = None
        self._every, self._steps, self._settings = checkpoint.seconds, checkpoint.steps, settings
        self._begin = self._last = time.perf_counter()
        self._spent = self._longest = 0.0

    def due(self, step: int) -> bool:
        """Whether to save after this step."""
        if self._steps is not None and step % self._steps == 0:
            return True
        return self._every is not None and time.perf_counter() - self._last >= self._every

    def epoch_is_due(self) -> bool:
        """Whether to save after an epoch: where saving has taken, and would take, a small share of the time."""
        return self._spent + self._longest <= _SHARE * (time.perf_counter() - self._begin)

    def save(self, run: Run) -> None:
        """Save; the file before it stays where this fails."""
        begin = time.perf_counter()
        save(self.path, run, self._settings)
        self.saved, self._last = run.step, time.perf_counter()
        self._spent += self._last - begin
        self._longest = max(self._longest, self._last - begin)


# --- Saving ------------------------------------------------------------------------------------------------------------


def save(path: str | os.PathLike[str], run: Run, settings: Mapping[str, Any]) -> None:
    """Write the state of a run, and the settings that whoever resumes it must share."""
    files.save_arrays(path, {"format": np.array(FORMAT), **pack(run, settings)})


# --- Loading -----------------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], run: Run, settings: Mapping[str, Any]) -> None:
    """Put a run where a checkpoint was saved; it is changed only where everything fits.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no checkpoint, or damaged, or of another model, data set or settings; the message names the file and the difference.
    """
    arrays = _read(Path(path))
    try:
        unpack(arrays, run, settings)
    except ValueError as error:
        raise ValueError(f"{path}: cannot go on from this checkpoint: {error}") from error


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = files.load_arrays(path)
        if str(arrays.pop("format")) == FORMAT:
            return arrays
        reason = f"its format is not {FORMAT!r}"
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no checkpoint to resume from; leave out `resume` to begin anew") from None
    except (ValueError, KeyError) as error:  # a folder, or a file that is not ours to read, is an OSError that names it
        reason = f"{type(error).__name__}: {error}"
    raise ValueError(f"{path}: not a checkpoint of fastcnn, or a damaged one: {reason}")


def as_checkpoint(value: str | os.PathLike[str] | Checkpoint) -> Checkpoint:
    """Return where and when to save, from a path or as it is."""
    if not isinstance(value, (str, os.PathLike, Checkpoint)):
        raise TypeError(f"fit: checkpoint must be a path or a Checkpoint; got {type(value).__name__}")
    return value if isinstance(value, Checkpoint) else Checkpoint(value)


def describe(value: Any) -> Any:
    """Return a dataclass as JSON can hold it, None as None."""
    return None if value is None else {"kind": type(value).__name__, **asdict(value)}
