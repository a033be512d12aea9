"""The page of a run: one HTML file that loads nothing, in light and dark, on paper and on a phone."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..data import class_names
from . import confusion, curves, features, sections
from .charts import number
from .document import document

WORST = 24  # mistakes shown
# Shown elsewhere, or, as `history`, too long: not among the settings.
_RESULTS = ("test_accuracy", "accuracy", "train_seconds", "total_seconds", "seconds", "images_per_second", "history", "environment")


class Run(NamedTuple):
    """What a run folder holds.

    Attributes
    ----------
    result : dict
        Settings, figures and environment, as JSON has them.
    history : dict
        ``epochs`` and ``step_losses``, as `fastcnn.train.History` writes them.
    weights, initial : dict of str to ndarray
        After and before training.
    logits : (N, classes) float32
    labels : (N,) uint8
    images : (M, H, W) uint8
    shown : (M,)
        The positions of `images` in the test set.
    """

    result: dict[str, Any]
    history: dict[str, Any]
    weights: dict[str, np.ndarray]
    initial: dict[str, np.ndarray]
    logits: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    shown: np.ndarray


def page(run: Run) -> str:
    """Return the report of a run as HTML."""
    names = class_names(str(run.result.get("dataset", "")), run.logits.shape[1])
    predictions = run.logits.argmax(axis=1)
    settings = {name: value for name, value in run.result.items() if name not in _RESULTS}
    title = f"{run.result.get('dataset', 'training')}: {_accuracy(run)}"
    parts = [
        _header(run, predictions),
        sections.section("Training", _CURVES, _charts(run)),
        _filters(run),
        _features(run, names),
        '<div class="columns">',
        sections.section("Confusion matrix", _MATRIX, sections.matrix(run.labels, predictions, names)),
        sections.section("Classes", "", sections.classes(run.labels, predictions, names)),
        "</div>",
        _mistakes(run, names),
        '<div class="columns">',
        sections.section("Settings", "", sections.values(settings)),
        sections.section("Environment", "", sections.values(run.result.get("environment") or {"environment": "not recorded"})),
        "</div>",
    ]
    return document(title, parts, "Made by fastcnn from the files of the run alone.")


_CURVES = (
    "The loss of the training batches, smoothed, above the range of the single steps (a logarithmic scale). "
    "Training values are means over an epoch while the network changes; validation values are taken after it."
)
_MATRIX = "Rows are true classes, columns the network's answers. What is right is grey; the redder, the more mistakes of that kind."


def _accuracy(run: Run) -> str:
    return f"{100 * float(np.mean(run.logits.argmax(axis=1) == run.labels)):.2f} %"


def _header(run: Run, predictions: np.ndarray) -> str:
    result = run.result
    wrong = int((predictions != run.labels).sum())
    seconds = result.get("train_seconds", result.get("seconds"))
    pairs = [
        ("training time", None if seconds is None else f"{_rounded(seconds)} s"),
        ("images per second", _figure(result.get("images_per_second"))),
        ("recipe", result.get("recipe")),
        ("epochs", _figure(result.get("epochs"))),
        ("parameters", _figure(result.get("parameters", sum(w.size for w in run.weights.values())))),
        ("threads", _figure(result.get("threads"))),
    ]
    told = sections.facts([(name, _plain(value)) for name, value in pairs if value is not None])
    dataset, count = escape(str(result.get("dataset", "test set"))), len(run.labels)
    line = f"{wrong:,} of {count:,} test images wrong"
    return f"<header><p>{dataset}</p><h1>{_accuracy(run)} <small>test accuracy, {line}</small></h1>{told}</header>"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):  # a recipe with its settings, which stand below
        return str(value.get("name", "custom"))
    return str(value)


def _rounded(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _figure(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}" if abs(value) >= 100 else number(value)
    return None if value is None else str(value)


def _charts(run: Run) -> str:
    epochs = run.result.get("epochs")
    found = curves.charts(run.history, float(epochs) if isinstance(epochs, int | float) else None)
    return f'<div class="charts">{"".join(found)}</div>' if found else "<p>The history is empty.</p>"


def _filters(run: Run) -> str:
    name = next((name for name, weight in run.weights.items() if weight.ndim == 4 and name in run.initial), None)
    if name is None or run.initial[name].shape != run.weights[name].shape:
        return sections.section("Filters of the first layer", "The network has no filters that were there before training.", "")
    count, channels, height, width = run.weights[name].shape
    note = f"{name}: {count} filters of {height} × {width}; red is positive, blue negative; the fainter, the nearer to zero."
    if channels not in (1, 3):
        note += f" The first of {channels} channels."
    elif channels == 3:
        note = f"{name}: {count} filters of {height} × {width}, in the colours that they look for."
    return sections.section("Filters of the first layer", note, sections.filters(run.initial[name], run.weights[name]))


def _features(run: Run, names: tuple[str, ...]) -> str:
    title = "Through the layers"
    right = run.logits.argmax(axis=1)[run.shown] == run.labels[run.shown]
    chosen = int(np.flatnonzero(right)[0]) if right.any() else 0
    try:
        if not len(run.images):
            raise features.Unknown("the folder holds no pictures")
        image = run.images[chosen]
        model = features.rebuild(run.result.get("model"), image.shape[0], run.weights)
        maps = features.feature_maps(model, _normalised(run, image))
    except features.Unknown as reason:
        return sections.section(title, f"Left out: {reason}.", "")
    label = names[run.labels[run.shown[chosen]]]
    note = (
        f"What the layers make of test image {run.shown[chosen]}, a {label}: "
        "the stronger, the larger; red and blue where values have signs."
    )
    return sections.section(title, note, sections.feature_maps(image, maps, names))


def _normalised(run: Run, image: np.ndarray) -> np.ndarray:
    """Return an image as the network's input: with the training set's mean and deviation, or, of an old history, those of the pictures."""
    mean, deviation = run.history.get("mean"), run.history.get("deviation")
    if mean is None or deviation is None:
        mean, deviation = run.images.mean(), run.images.std()
    return ((image[None, None] - np.float32(mean)) / np.float32(deviation or 1)).astype(np.float32)


def _mistakes(run: Run, names: tuple[str, ...]) -> str:
    pictures = {int(position): image for position, image in zip(run.shown, run.images, strict=True)}
    found = [m for m in confusion.worst_mistakes(run.logits, run.labels, WORST) if m.position in pictures]
    if not found:
        return sections.section("Worst mistakes", "There are none.", "")
    note = "The true class, the answer, and how sure the network was of it (its softmax); the surest first."
    return sections.section("Worst mistakes", note, sections.mistakes(found, pictures, names))
