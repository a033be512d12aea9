"""Which weights read the drawings: those of a run folder or of a file, or ones trained now and kept for the next time."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, files, machine, warmup, weights
from ..data import SIZES, Dataset
from ..layers import Layer, Sequential
from ..models import MODELS
from ..report.features import Unknown, rebuild
from ..report.run_folder import RunFolderError, read_run
from ..train import evaluate, fit
from ..train.command import limited, load_dataset
from ..train.progress import progress_for
from ..train.recipes import DEFAULT, RECIPES, Recipe, build, prepare_kernels
from .reader import Reader

# (mean, deviation) of the training images, for files of weights alone, which do not tell; test_draw.py compares them with the data.
NORMALS = {"mnist": (33.318421449829934, 78.56748998339798), "digits": (77.8813021557719, 95.86973290122361)}
_NAMES = {"mnist": "MNIST", "digits": "scikit-learn's digits"}
_SEED = 0
_FORMAT = "fastcnn drawing network 1"


class NoReader(ValueError):
    """No network can be had of what was named; the message says why."""


def reader_of(path: Path) -> Reader:
    """Return the network of a run folder of `fastcnn train --out`, or of a file of weights.

    A file beside a ``result.json`` is its run's. Any other one (``.npz`` or ``.safetensors``) must fit a network of `fastcnn.models`, and
    its images are taken to have been normalised as that data set's training images are.

    Raises
    ------
    NoReader
        There is no such file or folder, it is damaged, or does not fit.
    """
    path = Path(path)
    if not path.exists():
        raise NoReader(f"--weights {path}: there is no such file or folder")
    if path.is_dir():
        return _reader_of_run(path)
    if path.name == "weights.npz" and (path.parent / "result.json").is_file():
        return _reader_of_run(path.parent)
    return _reader_of_file(path)


def _reader_of_run(folder: Path) -> Reader:
    try:
        run = read_run(folder)
    except RunFolderError as error:
        raise NoReader(f"--weights: {error}") from error
    dataset, name = run.result.get("dataset"), run.result.get("model")
    mean, deviation = run.history.get("mean"), run.history.get("deviation")
    if not isinstance(dataset, str) or dataset not in NORMALS:
        raise NoReader(f"--weights {folder}: a network that reads digits was expected; its data set is {dataset}")
    if mean is None or not deviation:
        raise NoReader(f"--weights {folder}: its history.json does not tell the mean and deviation of the training images")
    size = SIZES[dataset].pixels
    try:
        model = rebuild(name, size, run.weights)
    except Unknown as error:
        raise NoReader(f"--weights {folder}: {error}") from error
    if not _reads_digits(model, size):
        raise NoReader(f"--weights {folder}: {name} does not tell ten digits apart in grey images of {size} x {size}")
    return Reader(model, size, mean, deviation, dataset, f"{name} from {folder}", _accuracy(run.result))


def _accuracy(result: dict[str, Any]) -> float | None:
    found = result.get("test_accuracy", result.get("accuracy"))
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None


def _reader_of_file(path: Path) -> Reader:
    try:
        found = weights.load(path)
    except (ValueError, ImportError, OSError) as error:
        raise NoReader(f"--weights {path}: {_first_line(error)}") from error
    for dataset in NORMALS:
        size = SIZES[dataset].pixels
        for name in MODELS:
            try:
                model = rebuild(name, size, found)
            except Unknown:
                continue  # the next one may fit
            if _reads_digits(model, size):
                return Reader(model, size, *NORMALS[dataset], dataset, f"{name} from {path}")
    raise NoReader(f"--weights {path}: its arrays fit none of the networks {', '.join(MODELS)}, which `fastcnn train` makes")


def _reads_digits(model: Layer, size: int) -> bool:
    try:
        return model.output_shape((1, size, size)) == (10,)
    except (TypeError, ValueError):  # images of colour, say
        return False


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# --- Trained now, or before --------------------------------------------------------------------------------------------


def trained_reader(recipe: str = DEFAULT, dataset: str = "auto", data_dir: Path | None = None) -> Reader:
    """Return a network trained by a recipe, from the cache folder where an earlier start has put it; prints progress.

    Parameters
    ----------
    recipe, dataset, data_dir
        As of `fastcnn train`: MNIST, or scikit-learn's digits where it can neither be found nor downloaded.

    Raises
    ------
    DatasetNotFound, IdxError, ImportError, OSError
        As of `fastcnn train`.
    KeyboardInterrupt
        Ctrl-C during the training.
    """
    data = load_dataset(dataset, data_dir)
    settings = RECIPES[data.name][recipe]
    size = data.train_images.shape[1]
    source = f"{settings.model}, trained on {_NAMES[data.name]} (recipe {recipe})"
    path = files.cache_folder() / "draw" / f"{data.name}-{recipe}-{_key(settings, data)}.npz"
    kept = _kept(path, settings, size)
    if kept is None:
        print(f"Training a network on {_NAMES[data.name]} (recipe {recipe}), once: it is kept for the next time.", flush=True)
        kept = _train(settings, data)
        _keep(path, *kept)
    model, about = kept
    return Reader(model.eval(), size, about["mean"], about["deviation"], data.name, source, about["accuracy"])


def _key(recipe: Recipe, data: Dataset) -> str:
    """Return a name for everything that the trained weights depend on."""
    settings = json.dumps([__version__, asdict(recipe), _SEED, repr(MODELS[recipe.model](data.train_images.shape[1], _SEED))])
    digest = hashlib.blake2b(settings.encode(), digest_size=8)
    for array in (data.train_images, data.train_labels):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _train(recipe: Recipe, data: Dataset) -> tuple[Sequential, dict[str, float]]:
    images, labels = data.train_images, data.train_labels
    parts = build(recipe, images.shape[1], len(images), _SEED)
    with limited(machine.get_threads()):
        with warmup.compiling_line():
            prepare_kernels(recipe, images.shape[1:], len(images), _SEED)
        history = fit(
            parts.model, images, labels, epochs=recipe.epochs, batch_size=recipe.batch_size, loss=parts.loss, optimizer=parts.optimizer,
            schedule=parts.schedule, augment=parts.augment, average=recipe.average, precision=recipe.precision, progress=progress_for(),
            seed=_SEED,
        )  # fmt: skip
        accuracy = evaluate(parts.model, data.test_images, data.test_labels, history.mean, history.deviation, shifts=recipe.shifts)
    return parts.model, {"mean": float(history.mean), "deviation": float(history.deviation), "accuracy": accuracy}


def _keep(path: Path, model: Sequential, about: dict[str, float]) -> None:
    """Write a trained network into the cache; where that fails, the next start trains again."""
    arrays = {f"model/{name}": array for name, array in model.state_dict().items()}
    try:
        files.save_arrays(path, {"format": np.array(_FORMAT), "about": np.array(json.dumps(about)), **arrays})
    except OSError as error:
        print(f"The network cannot be kept for the next time: {error}", file=sys.stderr, flush=True)


def _kept(path: Path, recipe: Recipe, size: int) -> tuple[Sequential, dict[str, float]] | None:
    """Return what `_keep` has written, or None where there is nothing, or a damaged file, which training will replace."""
    try:
        arrays = files.load_arrays(path)
        if str(arrays.pop("format")) != _FORMAT:
            return None
        about = files.parse_json(str(arrays.pop("about")))
        numbers = {name: float(about[name]) for name in ("mean", "deviation", "accuracy")}
        if not np.isfinite(list(numbers.values())).all() or numbers["deviation"] <= 0:
            return None
        model = MODELS[recipe.model](size, _SEED)
        model.load_state_dict({name.removeprefix("model/"): array for name, array in arrays.items()})
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return model, numbers
