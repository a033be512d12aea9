"""The folder of a training run: its files, written once, and the report that can be made of them at any time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import files, info
from . import confusion
from .html import WORST, Run, page

REPORT = "report.html"


class RunFolderError(ValueError):
    """A folder holds no run, or a damaged one; the message names the file and what is wrong with it."""


class _Model(Protocol):
    def state_dict(self) -> dict[str, np.ndarray]: ...


class _History(Protocol):
    def to_json(self) -> str: ...


class _Dataset(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def test_images(self) -> np.ndarray: ...
    @property
    def test_labels(self) -> np.ndarray: ...


def write_run(
    folder: Path,
    model: _Model,
    initial: Mapping[str, np.ndarray],
    history: _History,
    result: Mapping[str, Any],
    logits: np.ndarray,
    dataset: _Dataset,
) -> list[Path]:
    """Write all files of a run, and its report; return their paths.

    Parameters
    ----------
    folder : path
        Made where it is missing; files of an earlier run are replaced.
    model : Layer
        As trained.
    initial : dict of str to ndarray
        Its `state_dict` before training.
    history : History
        Whose `to_json` is written as it is.
    result : dict
        Plain values: settings and figures. ``model``, the name of the function in `fastcnn.models`, lets the report show feature maps;
        ``dataset``, ``accuracy`` and ``environment`` are added where they are missing.
    logits : (N, classes)
        Of the test images.
    dataset : Dataset

    Raises
    ------
    ValueError
        Logits and test images differ in number.
    OSError
        A file cannot be written.
    """
    labels, count = dataset.test_labels, len(dataset.test_images)
    if logits.ndim != 2 or len(logits) != count or len(labels) != count:
        raise ValueError(f"write_run: logits must be ({count}, classes), as there are {count} test images; got shape {logits.shape}")
    logits = np.asarray(logits, np.float32)
    worst = [mistake.position for mistake in confusion.worst_mistakes(logits, labels, WORST)]
    shown = np.array([*worst, *confusion.examples(logits, labels, logits.shape[1])], np.int64)
    added: dict[str, Any] = {"dataset": dataset.name, "accuracy": float(np.mean(logits.argmax(axis=1) == labels))}
    if "environment" not in result:
        added["environment"] = info.describe()
    folder = Path(folder)
    files.save_arrays(folder / "weights.npz", model.state_dict())
    files.save_arrays(folder / "initial.npz", initial)
    with files.replacing(folder / "history.json") as file:
        file.write(history.to_json().encode())
    evaluation = {"logits": logits, "labels": labels.astype(np.uint8), "images": dataset.test_images[shown], "shown": shown}
    files.save_arrays(folder / "evaluation.npz", evaluation)
    files.save_json(folder / "result.json", {**added, **result})
    write_report(folder)
    return [folder / name for name in ("weights.npz", "initial.npz", "history.json", "result.json", "evaluation.npz", REPORT)]


def write_report(folder: Path) -> Path:
    """Write report.html from the other files of a run folder; return its path.

    Raises
    ------
    RunFolderError
        The folder holds no run, or a damaged file.
    OSError
        The report cannot be written.
    """
    text = page(read_run(folder))
    path = Path(folder) / REPORT
    with files.replacing(path) as file:
        file.write(text.encode())
    return path


def read_run(folder: Path) -> Run:
    """Return what a run folder holds, checked.

    Raises
    ------
    RunFolderError
        A file is missing, cannot be read, or holds something else than `write_run` writes.
    """
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise RunFolderError(f"{folder} holds no run: there is no result.json (`fastcnn train --out DIR` writes one)")
    result, history = _json(folder / "result.json"), _json(folder / "history.json")
    _check_figures(folder / "result.json", result)
    _check_history(folder / "history.json", history)
    evaluation = _arrays(folder / "evaluation.npz")
    _check_evaluation(folder / "evaluation.npz", evaluation)
    _check_moments(folder / "history.json", history, (1, *evaluation["images"].shape[1:]))
    return Run(result, history, _arrays(folder / "weights.npz"), _arrays(folder / "initial.npz"), **evaluation)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = files.load_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(found, dict):
        raise RunFolderError(f"{path}: expected a JSON object; got {type(found).__name__}")
    return found


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return files.load_arrays(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RunFolderError:
    if isinstance(error, FileNotFoundError):
        return RunFolderError(f"{path} is missing")
    return RunFolderError(f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}")


_LARGEST = 1e100  # of any number that is drawn or rounded: beyond it lie the ends of floats, and no measurement


def _check_figures(path: Path, result: dict[str, Any]) -> None:
    for name, value in result.items():
        if isinstance(value, int | float) and not abs(value) <= _LARGEST:
            raise RunFolderError(f"{path}: {name[:80]} must be a number of at most {_LARGEST:g}; got {str(value)[:80]}")


_EPOCH = ("number", "loss", "accuracy", "learning_rate")


def _check_history(path: Path, history: dict[str, Any]) -> None:
    epochs, losses = history.get("epochs"), history.get("step_losses")
    if not isinstance(epochs, list) or not isinstance(losses, list) or not all(map(_is_number, losses)):
        raise RunFolderError(f"{path}: expected lists `epochs` and `step_losses`, of numbers")
    for epoch in epochs:
        if not isinstance(epoch, dict) or not all(_is_number(epoch.get(name)) for name in _EPOCH):
            raise RunFolderError(f"{path}: expected {', '.join(_EPOCH)} in every epoch; got {str(epoch)[:80]}")
        for name in ("validation_loss", "validation_accuracy"):
            if epoch.get(name) is not None and not _is_number(epoch[name]):
                raise RunFolderError(f"{path}: {name} must be a number or null; got {str(epoch[name])[:80]}")
    for name in ("mean", "deviation"):
        value = history.get(name)
        if value is not None and not _is_number(value) and not isinstance(value, list):
            raise RunFolderError(f"{path}: {name} must be a number, or an array of them; got {str(value)[:80]}")


_PIXEL_SHARE = 1e-6  # of moments of 256 greys; smaller, or larger the other way, are none, and overflow in a network


def _check_moments(path: Path, history: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Check means and deviations of pixels, which must broadcast to an image's shape."""
    for name in ("mean", "deviation"):
        value = history.get(name)
        try:
            numbers = np.array(0.0 if value is None else value, np.float64)
            least = _PIXEL_SHARE if name == "deviation" else 0.0
            sizes = np.abs(numbers[numbers != 0])
            fits = np.broadcast_shapes(numbers.shape, shape) == shape and bool(((least <= sizes) & (sizes <= 1 / _PIXEL_SHARE)).all())
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise RunFolderError(f"{path}: {name} must hold numbers that broadcast to an image's shape {shape}; got {str(value)[:80]}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _check_evaluation(path: Path, found: dict[str, np.ndarray]) -> None:
    if set(found) != {"logits", "labels", "images", "shown"}:
        raise RunFolderError(f"{path}: expected logits, labels, images and shown; got {', '.join(sorted(found)) or 'nothing'}")
    logits, labels, images, shown = found["logits"], found["labels"], found["images"], found["shown"]
    for name, rank, kind in (("logits", 2, "f"), ("labels", 1, "u"), ("images", 3, "u"), ("shown", 1, "i")):
        if found[name].ndim != rank or found[name].dtype.kind != kind:
            raise RunFolderError(
                f"{path}: {name} must have {rank} axes and dtype kind {kind!r}; got {found[name].shape} {found[name].dtype}"
            )
    fits = len(logits) == len(labels) > 0 and len(images) == len(shown) and logits.shape[1] > 0 and images.dtype == np.uint8
    if not fits or int(labels.max()) >= logits.shape[1] or (shown.size and not 0 <= shown.min() <= shown.max() < len(labels)):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in found.items())
        raise RunFolderError(f"{path}: its arrays do not fit together: {shapes}")
    if not np.isfinite(logits).all():
        raise RunFolderError(f"{path}: logits must be finite")
