"""Predictions and accuracy of a model, in evaluation mode, with weights packed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import checks, window
from ..data.arrays import checked_moments
from ..data.split import part
from ..layers import Layer, prepare
from ..losses import SoftmaxCrossEntropy
from ..optim import WeightAverage

if TYPE_CHECKING:
    from ..distributed import Communicator

_BATCH = 250  # larger ones are no faster, on one thread and two
_SHIFTS = ((0, 0),), ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # (down, right) in pixels of the copies that are averaged


def predict(
    model: Layer,
    images: np.ndarray,
    mean: float | np.ndarray | None = None,
    deviation: float | np.ndarray | None = None,
    *,
    batch_size: int = _BATCH,
    precision: str = "high",
    shifts: int = 0,
) -> np.ndarray:
    """Return a model's outputs (logits) for images, in evaluation mode; the model stays as it is.

    With ``shifts=1`` they are  log(mean over c of softmax(model(copy c of the image))),  where the copies are the image and those
    shifted by one pixel up, down, left and right, the outermost pixels repeated: steadier answers for five times the time.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) uint8, or inputs (N, C, H, W) float32
        Bytes v become (v - mean) / deviation, float inputs are taken as they are.
    mean, deviation : float, or array that broadcasts to (C, H, W)
        Of the images that the model was trained with: `History.mean` and `.deviation`. Needed for bytes only.
    batch_size : int
        Images computed at a time.
    precision : "highest", "high" or "medium"
    shifts : 0 or 1
        Pixels by which copies are shifted and averaged; their exponentials add up to 1, and they are logits as any others.

    Returns
    -------
    (N, classes) float32

    Raises
    ------
    TypeError, ValueError
        An argument is none of these; bytes came without mean and deviation.
    """
    images = checked_images("predict", images)
    batch_size = window.integer("predict", "batch_size", batch_size, 1)
    if images.dtype == np.uint8 and (mean is None or deviation is None):
        raise ValueError("predict: uint8 images need the mean and deviation of the training images: History has both")
    check_shifts("predict", shifts)
    shape = images.shape[1:] if images.ndim == 4 else (1, *images.shape[1:])
    mean, deviation = checked_moments("predict", mean, deviation, shape) if images.dtype == np.uint8 else (0.0, 1.0)
    checks.require_memory("predict", "a batch of inputs", (min(batch_size, len(images)), *shape), 4)
    return _outputs(prepare(model, precision), images, mean, deviation, batch_size, shifts)


def evaluate(
    model: Layer,
    images: np.ndarray,
    labels: np.ndarray,
    mean: float | np.ndarray | None = None,
    deviation: float | np.ndarray | None = None,
    *,
    batch_size: int = _BATCH,
    precision: str = "high",
    shifts: int = 0,
    samples: int | None = None,
    seed: int = 0,
) -> float:
    """Return the share of images, 0 to 1, whose largest output is their label's: of all images, the last partial batch included.

    Parameters
    ----------
    model, images, mean, deviation, batch_size, precision, shifts
        As of `predict`.
    labels : (N,) integers
    samples : int, optional
        Judge by so many images, drawn without replacement (by all where there are no more): a quick estimate, whose standard error is
        sqrt(a (1 - a) / samples) for an accuracy a.
    seed : int
        Of the draw.

    Raises
    ------
    TypeError, ValueError
        As of `predict`; or labels are not as many as images.
    """
    images, labels = checked_images("evaluate", images), checked_labels("evaluate", labels)
    if len(labels) != len(images):
        raise ValueError(f"evaluate: labels must be as many as images; got {len(labels)} and {len(images)}")
    if samples is not None and window.integer("evaluate", "samples", samples, 1) < len(images):
        rng = np.random.default_rng(window.integer("evaluate", "seed", seed, 0))
        chosen = np.sort(rng.choice(len(images), samples, replace=False))
        images, labels = images[chosen], labels[chosen]
    logits = predict(model, images, mean, deviation, batch_size=batch_size, precision=precision, shifts=shifts)
    return float(np.mean(logits.argmax(axis=1) == labels))


class Validation(NamedTuple):
    """Images that are not trained on, and how to judge a model by them."""

    images: np.ndarray
    labels: np.ndarray
    mean: float | np.ndarray
    deviation: float | np.ndarray
    precision: str
    comm: Communicator | None = None  # of processes each of which judges a part

    def judge(self, model: Layer, average: WeightAverage | None, loss: SoftmaxCrossEntropy) -> tuple[float, float]:
        """Return loss and accuracy of a model, with its averaged weights where there are such; the model stays as it is."""
        if self.comm is not None:
            return self._judge_together(self.comm, model, average, loss)
        logits = self._logits(model, average, slice(None))
        return float(loss.forward(logits, self.labels)), float(np.mean(logits.argmax(axis=1) == self.labels))

    def _judge_together(
        self, comm: Communicator, model: Layer, average: WeightAverage | None, loss: SoftmaxCrossEntropy
    ) -> tuple[float, float]:
        total, right = 0.0, 0
        own = slice(*part(len(self.images), comm.rank, comm.size))
        labels = self.labels[own]
        if len(labels):
            logits = self._logits(model, average, own)
            total, right = float(loss.forward(logits, labels)) * len(labels), int(np.count_nonzero(logits.argmax(axis=1) == labels))
        total, found = comm.sums(total, right)
        return total / len(self.images), found / len(self.images)

    def _logits(self, model: Layer, average: WeightAverage | None, own: slice) -> np.ndarray:
        return _outputs(_snapshot(model, average, self.precision), self.images[own], self.mean, self.deviation, _BATCH)


def judged_weights(model: Layer, average: WeightAverage | None) -> dict[str, np.ndarray]:
    """Return a copy of the weights (and buffers) that `Validation.judge` judges by."""
    trained = model.trainable_params  # what was frozen on the way stays as it is, though its mean may still follow it
    averaged = {} if average is None else {name: value.copy() for name, value in average.params.items() if name in trained}
    return {**model.state_dict(), **averaged}


def _snapshot(model: Layer, average: WeightAverage | None, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    if average is None:
        return prepare(model, precision)
    weights = model.state_dict()
    model.load_state_dict(judged_weights(model, average))
    try:
        return prepare(model, precision)  # a copy
    finally:
        model.load_state_dict(weights)


def _outputs(
    network: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    mean: float | np.ndarray,
    deviation: float | np.ndarray,
    size: int,
    shifts: int = 0,
) -> np.ndarray:
    parts = []
    mean, share = _of_memory(mean), _of_memory(1 / deviation)
    for i in range(0, len(images), size):
        few = images[i : i + size]
        parts.append(_log_mean([network(_inputs(_shifted(few, *by), mean, share)) for by in _SHIFTS[shifts]]))
    return np.concatenate(parts)


def _shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return images (..., H, W) shifted by whole pixels; what moves in from outside is the pixel at the border."""
    if not (down or right):
        return images
    H, W = images.shape[-2:]
    rows, columns = np.clip(np.arange(H) - down, 0, H - 1), np.clip(np.arange(W) - right, 0, W - 1)
    return images[..., rows[:, None], columns]


def _log_mean(logits: list[np.ndarray]) -> np.ndarray:
    """Return the logarithm of the mean of their softmax over axis 1; a single array as it is."""
    if len(logits) == 1:
        return logits[0]
    values = np.stack(logits).astype(np.float64)
    logs = values - np.logaddexp.reduce(values, axis=2, keepdims=True)
    return (np.logaddexp.reduce(logs, axis=0) - np.log(len(logits))).astype(logits[0].dtype)


def _of_memory(value: float | np.ndarray) -> Any:
    """Return a number, or one for each place (C, H, W), in float32 and in the order of channels-last memory."""
    return np.float32(value) if isinstance(value, float) else np.asarray(value, np.float32).transpose(1, 2, 0)


def _inputs(images: np.ndarray, mean: Any, share: Any) -> np.ndarray:
    """Return network inputs (N, C, H, W) float32 whose memory is channels-last."""
    pixels = images[..., None] if images.ndim == 3 else images.transpose(0, 2, 3, 1)
    if images.dtype == np.uint8:
        pixels = pixels.astype(np.float32)  # in one go with the subtraction it is half as fast
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are data
            pixels -= mean
            pixels *= share
    return np.ascontiguousarray(pixels).transpose(0, 3, 1, 2)


def checked_images(operation: str, images: Any) -> np.ndarray:
    """Return images that training and prediction take: uint8 of rank 3 or 4, or float32 of rank 4; at least one of at least one pixel."""
    if not isinstance(images, np.ndarray) or isinstance(images, np.ma.MaskedArray):
        raise TypeError(f"{operation}: images must be a NumPy array; got {type(images).__name__}")
    if images.dtype not in (np.uint8, np.float32):
        raise TypeError(
            f"{operation}: images must be uint8 (N, H, W) or (N, C, H, W), or normalised inputs (N, C, H, W) in float32; got {images.dtype}"
        )
    ranks = (3, 4) if images.dtype == np.uint8 else (4,)
    if images.ndim not in ranks or images.size == 0:
        expected = "(N, H, W) or (N, C, H, W)" if len(ranks) == 2 else "(N, C, H, W) (add the channel: images[:, None])"
        raise ValueError(f"{operation}: {images.dtype} images must be {expected}, and not empty; got shape {images.shape}")
    if not images.flags.c_contiguous:
        checks.require_memory(operation, "images", images.shape, images.itemsize)  # a broadcast view may stand for more than fits
    return np.asarray(images)  # a subclass has arithmetic of its own


def checked_labels(operation: str, labels: Any, which: str = "") -> np.ndarray:
    """Return labels (N,) of any integer type, from an array or a list; `which` ("validation ") stands before the word in errors."""
    if isinstance(labels, np.ma.MaskedArray) or not isinstance(labels, (np.ndarray, list, tuple)):
        raise TypeError(f"{operation}: {which}labels must be an array of integers; got {type(labels).__name__}")
    try:
        found = np.asarray(labels)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{operation}: {which}labels must be (N,) integers, one class per image: {error}") from error
    if found.ndim != 1 or found.dtype.kind not in "iu":
        hint = "; argmax(axis=1) makes them of one-hot rows" if found.ndim == 2 else ""
        raise ValueError(f"{operation}: {which}labels must be (N,) integers, one class per image; got {found.dtype} {found.shape}{hint}")
    return found


def check_shifts(operation: str, shifts: Any) -> None:
    """Raise ValueError unless `shifts` says which copies `predict` averages."""
    if isinstance(shifts, bool) or not isinstance(shifts, (int, np.integer)) or not 0 <= shifts < len(_SHIFTS):
        raise ValueError(f"{operation}: shifts must be 0 or 1; got {window.shown(shifts)}")
