"""The state of a run as arrays: all that the rest of it depends on, for checkpoints, and for ranks that begin alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files, window
from .callbacks import Best
from .history import History

if TYPE_CHECKING:
    from .loop import Run

_POSITION = ("step", "total_loss", "right", "seen", "seconds", "finished")


def pack(run: Run, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the state of a run, and the settings that whoever goes on from it must share, as arrays of numbers and text."""
    best = run.best
    position = {
        **{name: getattr(run, name) for name in _POSITION},
        "best": {"value": best.value, "number": best.number, "since": best.since},
        "has_best": bool(best.weights),
    }
    history = History(run.history.epochs, [], run.history.mean, run.history.deviation)
    return {
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
    }


def _prefixed(part: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{part}/{name}": np.asarray(array) for name, array in arrays.items()}


def _generator_states(run: Run) -> dict[str, Any]:
    return {name: rng.bit_generator.state for name, rng in run.model.generators().items()}


def unpack(arrays: Mapping[str, np.ndarray], run: Run, settings: Mapping[str, Any]) -> None:
    """Put a run where `pack` was called; it is changed only where everything fits.

    Raises
    ------
    ValueError
        Something is missing, unknown or not as this run has it; or of other settings. The message names it.
    """
    arrays = dict(arrays)
    try:
        _unpack(arrays, run, settings)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"it has no {error}" if isinstance(error, KeyError) else str(error)) from error


def _unpack(arrays: dict[str, np.ndarray], run: Run, settings: Mapping[str, Any]) -> None:
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
    for name, value in position.items():
        setattr(run, name, value)
    run.history = history
    best.weights = parts["best"]
    run.best = best


def _alike(name: str, value: Any, example: Any) -> Any:
    if type(value) is not type(example):
        raise ValueError(f"{name} must be of type {type(example).__name__}; got {window.shown(value)}")
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
