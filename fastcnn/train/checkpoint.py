"""Checkpoints: everything that the rest of a run depends on, in one .npz file without pickle.

A resumed run takes the same steps, to the bit, as one that was never interrupted (on the same machine with as many threads): weights,
buffers, the optimiser's memory, averaged weights, random generators of layers, the position in the epoch with its running sums, the
history, and the best epoch of early stopping. Batches need no state: they follow from seed and position.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from .callbacks import Best
from .history import History

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
        if self.seconds is not None and not self.seconds >= 0:
            raise ValueError(f"Checkpoint: seconds must not be negative; got {self.seconds}")
        if self.steps is not None and not self.steps >= 1:
            raise ValueError(f"Checkpoint: steps must be at least 1; got {self.steps}")


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
    best = run.best
    position = {
        **{name: getattr(run, name) for name in _POSITION},
        "best": {"value": best.value, "number": best.number, "since": best.since},
        "has_best": bool(best.weights),
    }
    history = History(run.history.epochs, [], run.history.mean, run.history.deviation)
    files.save_arrays(
        path,
        {
            "format": np.array(FORMAT),
            "settings": np.array(json.dumps(settings)),
            "position": np.array(json.dumps(position)),
            "generators": np.array(json.dumps(_generator_states(run), default=np.ndarray.tolist)),
            "history": np.array(history.to_json()),
            "step_losses": np.array(run.history.step_losses, np.float64),
            "step_accuracies": np.array(run.history.step_accuracies, np.float64),
            **_prefixed("model", run.model.state_dict()),
            **_prefixed("optimizer", run.optimizer.state_dict()),
            **_prefixed("average", run.average.state_dict() if run.average else {}),
            **_prefixed("best", best.weights),
        },
    )


_POSITION = ("step", "total_loss", "right", "seen", "seconds", "finished")


def _prefixed(part: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{part}/{name}": np.asarray(array) for name, array in arrays.items()}


def _generator_states(run: Run) -> dict[str, Any]:
    return {name: rng.bit_generator.state for name, rng in run.model.generators().items()}


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
        texts = {name: files.parse_json(str(arrays.pop(name))) for name in ("settings", "position", "generators")}
        history = History.from_json(str(arrays.pop("history")))
        history.step_losses = arrays.pop("step_losses").astype(float).tolist()
        history.step_accuracies = arrays.pop("step_accuracies").astype(float).tolist()
        position = {name: _alike(name, texts["position"][name], getattr(run, name)) for name in _POSITION}
        best = Best(**texts["position"]["best"])
        has_best = texts["position"]["has_best"]
        _require_same(texts["settings"], json.loads(json.dumps(settings)))
        parts = _parts(arrays)
        counts = len(history.step_losses), len(history.step_accuracies)
        if not 0 <= position["step"] <= run.steps or set(counts) != {position["step"]}:
            raise ValueError(f"step {position['step']} of {run.steps}, with the losses of {counts[0]} and the accuracies of {counts[1]}")
        weights = run.model.state_dict()
        _require_shapes("model", parts["model"], weights)
        _require_shapes("average", parts["average"], run.average.state_dict() if run.average else {})
        _require_shapes("best", parts["best"], weights if has_best else {})
        states = texts["generators"]
        _require_generators(states, _generator_states(run))
        _apply(run, parts, states)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: cannot go on from this checkpoint: {reason}") from error
    for name, value in position.items():
        setattr(run, name, value)
    run.history = history
    best.weights = parts["best"]
    run.best = best


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


def _alike(name: str, value: Any, example: Any) -> Any:
    if type(value) is not type(example):
        raise ValueError(f"{name} must be of type {type(example).__name__}; got {value!r}")
    return value


def _require_same(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    names = [*now, *(name for name in saved if name not in now)]
    others = [f"{name} was {saved.get(name)}, now {now.get(name)}" for name in names if saved.get(name) != now.get(name)]
    if others:
        raise ValueError("its settings are others: " + "; ".join(others))


def _parts(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}, "average": {}, "best": {}}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        if part not in parts:
            raise ValueError(f"unknown entry {key!r}")
        parts[part][name] = array
    return parts


def _require_shapes(part: str, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    if set(found) != set(expected):
        missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        raise ValueError(f"{part}: misses {missing} and has unknown {unknown}")
    for name, array in expected.items():
        if (found[name].shape, found[name].dtype) != (array.shape, array.dtype):
            raise ValueError(f"{part}: {name} must be {array.dtype} {array.shape}; got {found[name].dtype} {found[name].shape}")


def _require_generators(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    kinds = [{name: state["bit_generator"] for name, state in states.items()} for states in (saved, now)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"random generators of layers must be {kinds[1]}; got {kinds[0]}")


def _apply(run: Run, parts: Mapping[str, dict[str, np.ndarray]], states: Mapping[str, Any]) -> None:
    """Load every part, or none: what was there comes back where one refuses."""
    loads: list[tuple[Callable[[Any], None], Any, Any]] = [
        (run.optimizer.load_state_dict, parts["optimizer"], run.optimizer.state_dict()),
        (run.model.load_state_dict, parts["model"], run.model.state_dict()),
        (lambda saved: _set_generators(run, saved), states, _generator_states(run)),
    ]
    if run.average is not None:
        loads.append((run.average.load_state_dict, parts["average"], run.average.state_dict()))
    done = []
    try:
        for call, new, old in loads:
            done.append((call, old))
            call(new)
    except Exception:
        for call, old in done:
            call(old)
        raise


def _set_generators(run: Run, states: Mapping[str, Any]) -> None:
    for name, rng in run.model.generators().items():
        rng.bit_generator.state = states[name]


def as_checkpoint(value: str | os.PathLike[str] | Checkpoint) -> Checkpoint:
    """Return where and when to save, from a path or as it is."""
    return value if isinstance(value, Checkpoint) else Checkpoint(value)


def describe(value: Any) -> Any:
    """Return a dataclass as JSON can hold it, None as None."""
    return None if value is None else {"kind": type(value).__name__, **asdict(value)}
