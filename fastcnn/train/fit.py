"""`fit`: training as one call. It checks its arguments, puts a run together and leaves it to the loop."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..data.augment import Augment
from ..data.batches import Batches
from ..layers import Layer
from ..losses import SoftmaxCrossEntropy
from ..optim import Adam, Optimizer, WeightAverage
from ..registry import PRECISIONS
from ..schedules import OneCycle
from . import checkpoint as checkpoints
from .callbacks import EarlyStopping
from .checkpoint import Checkpoint, Saver
from .evaluation import Validation, checked_images
from .history import History
from .loop import Loop, Run
from .progress import Progress, Silence, progress_for
from .step import Step

DEFAULT_RATE, DEFAULT_BETAS, DEFAULT_WARMUP = 0.006, (0.7, 0.9), 0.15  # looked at on MNIST's last 5,000 training images


def fit(
    model: Layer,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: float = 1.0,
    batch_size: int = 128,
    validation: float | tuple[np.ndarray, np.ndarray] | None = None,
    loss: SoftmaxCrossEntropy | None = None,
    optimizer: Optimizer | None = None,
    schedule: Callable[[int], float] | None = None,
    augment: Augment | None = None,
    average: float | None = None,
    precision: str = "high",
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Any] = (),
    progress: Progress | bool | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: bool = False,
) -> History:
    """Train a classifier in place, and return its history.

    Parameters
    ----------
    model : Layer
        Takes (n, C, H, W) and gives logits (n, classes). Its frozen layers stay as they are (see `Layer.freeze`). Its final weights are
        those of the best epoch with `early_stopping`, else the averaged ones with `average`, else those of the last step.
    images : (N, H, W) or (N, C, H, W) uint8, or normalised inputs (N, C, H, W) float32
        Bytes are normalised by their mean and deviation, which the history keeps for `predict`.
    labels : (N,) integers
        0 to classes - 1.
    epochs : float
        Passes over the images; ceil(epochs * batches) steps in all, so 0.5 trains on half of them.
    batch_size : int
        The last batch of an epoch may be smaller.
    validation : float, or (images, labels), optional
        To judge the model by after each epoch, in evaluation mode, with averaged weights where `average` is set. A share between 0 and 1
        is taken from the images: see `split`.
    loss : optional
        Cross-entropy without label smoothing by default.
    optimizer : Optimizer, optional
        Of this model's parameters, at least of those that are not frozen. By default Adam with betas (0.7, 0.9).
    schedule : callable, optional
        From the step, 0 ... steps - 1 (see `count_steps`), to the learning rate. By default the optimiser's `lr` throughout, or, for the
        default optimiser, one cycle up to 0.006 and down.
    augment : Augment, optional
    average : float, optional
        Decay of an exponential moving average of the weights, e.g. 0.99.
    precision : "highest", "high" or "medium"
        As of `fastcnn.conv2d`; the model keeps it, until its `use` says otherwise.
    early_stopping : EarlyStopping, optional
    callbacks : sequence of Callback
    progress : Progress or bool, optional
        True shows a bar on a terminal and lines in a pipe; by default nothing is shown.
    seed : int
        Of order, augmentation and split. (Initial weights and Dropout have generators of their own: pass `rng` to the layers.)
    checkpoint : path or Checkpoint, optional
        Where to save what `resume` needs: a path means every 10 seconds, after epochs, at Ctrl-C and at the end.
    resume : bool
        Go on from `checkpoint`: model (with the same layers frozen), optimiser and settings must be made as before, and come to the same
        weights as without interruption. What a callback froze on the way it must freeze again. A run that had finished is only loaded.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; or the checkpoint is damaged, or of other settings or data.
    FileNotFoundError
        `resume` without a checkpoint to resume from.
    FloatingPointError
        The loss became NaN or infinite; parameters and checkpoint are as before that step.
    KeyboardInterrupt
        Ctrl-C (or SIGTERM), after a whole step and after saving; a second one interrupts at once.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.models import digit_net
    >>> from fastcnn.train import fit
    >>> images = np.random.default_rng(0).integers(0, 256, (64, 8, 8), np.uint8)
    >>> history = fit(digit_net(8, rng=0), images, images[:, 0, 0] // 128, epochs=1.5, batch_size=16)
    >>> [epoch.number for epoch in history.epochs], len(history.step_losses)
    ([1, 2], 6)
    """
    if not isinstance(model, Layer):
        raise TypeError(f"fit: model must be a Layer; got {type(model).__name__}")
    images, labels = _checked_data(model, images, labels, "")
    _check_settings(epochs, batch_size, average, precision, seed, early_stopping, validation, augment)
    data = _digest(images, labels) if checkpoint is not None else ""
    judges, share = None, None
    if isinstance(validation, tuple):
        judges = _checked_validation(model, images, validation)
    elif validation is not None:
        share = float(validation)
        kept, held = split(labels, share, seed)
        judges = images[held], labels[held]
        images, labels = images[kept], labels[kept]

    batches = Batches(images, labels, batch_size, seed=seed, augment=augment)
    steps = count_steps(len(images), epochs, batch_size)
    if optimizer is None:
        optimizer = Adam(model.params, DEFAULT_RATE, betas=DEFAULT_BETAS)
        schedule = schedule or OneCycle(DEFAULT_RATE, steps, warmup=DEFAULT_WARMUP, anneal="linear")
    schedule = _checked_schedule(schedule, optimizer, steps)
    _check_optimizer(optimizer, model)
    loss = SoftmaxCrossEntropy() if loss is None else loss
    history = History(mean=batches.mean, deviation=batches.deviation)
    held_out = None if judges is None else Validation(judges[0], judges[1].astype(np.int64), batches.mean, batches.deviation, precision)
    run = Run(
        model=model, criterion=loss, optimizer=optimizer, take_step=Step(model, loss, optimizer, precision), batches=batches,
        schedule=schedule, steps=steps, average=None if average is None else WeightAverage(model.params, average),
        validation=held_out, early_stopping=early_stopping, history=history,
    )  # fmt: skip
    saver = None
    if checkpoint is not None:
        settings = {
            "epochs": epochs, "batch_size": batch_size, "seed": seed, "precision": precision, "average": average,
            "model": " ".join(repr(model).split()), "loss": _constructor(loss), "optimizer": _constructor(optimizer),
            "learning_rates": _rates(schedule, steps), "augment": checkpoints.describe(augment),
            "early_stopping": checkpoints.describe(early_stopping),
            "validation": share if share is not None or judges is None else _digest(*judges), "data": data,
        }  # fmt: skip
        where = checkpoints.as_checkpoint(checkpoint)
        if resume:
            checkpoints.load(where.path, run, settings)
        saver = Saver(where, settings)
    elif resume:
        raise ValueError("fit: resume=True needs checkpoint=, the file to go on from")
    return _trained(run, progress, callbacks, saver)


def _trained(run: Run, progress: Progress | bool | None, callbacks: Sequence[Any], saver: Saver | None) -> History:
    shown = (progress_for() if progress else Silence()) if progress is None or isinstance(progress, bool) else progress
    mode = run.model.training
    loop = Loop(run, shown, callbacks, saver)
    run.model.train()
    try:
        return loop()
    finally:
        run.model.train(mode)
        shown.close()


def count_steps(images: int, epochs: float, batch_size: int) -> int:
    """Return the steps of a run, ceil(epochs * ceil(images / batch_size)): what a schedule wants to know."""
    return max(1, math.ceil(epochs * -(-images // batch_size) - 1e-6))  # 0.7 of 10 batches are 7, though 0.7 * 10 > 7


def split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions to train on and those to validate with, both in rising order.

    A random floor(share * N) images, of every class within one of its share (stratified), always the same for a seed.

    Raises
    ------
    ValueError
        `share` is not between 0 and 1, or leaves one of the parts empty.
    """
    count = math.floor(len(labels) * share + 1e-6) if 0 < share < 1 else 0
    if not 0 < count < len(labels):
        raise ValueError(
            f"fit: a validation share must be between 0 and 1, and leave images on both sides; got {share} of {len(labels)} images"
        )
    shuffled = np.random.default_rng([seed, 0x5917]).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    marks = np.floor(np.arange(len(labels) + 1) * (count / len(labels)) + 1e-9)  # evenly spread over the classes, one after the other
    held = np.diff(marks) > 0
    return np.sort(by_class[~held]), np.sort(by_class[held])


# --- Checks ------------------------------------------------------------------------------------------------------------


def _checked_data(model: Layer, images: Any, labels: Any, which: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = checked_images("fit", images), np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        hint = "; argmax(axis=1) makes them of one-hot rows" if labels.ndim == 2 else ""
        raise ValueError(f"fit: {which}labels must be (N,) integers, one class per image; got {labels.dtype} {labels.shape}{hint}")
    if len(labels) != len(images):
        raise ValueError(f"fit: {which}labels must be as many as images, {len(images)}; got {len(labels)}")
    shape = images.shape[1:] if images.ndim == 4 else (1, *images.shape[1:])
    try:
        output = model.output_shape(shape)
    except ValueError as error:
        raise ValueError(f"fit: the model does not take {which}images of shape {shape}: {error}") from error
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (len(output) == 1 and high >= output[0]):
        wrong = int(np.flatnonzero((labels < 0) | (labels >= (output[0] if len(output) == 1 else high + 1)))[0])
        raise ValueError(
            f"fit: {which}labels must lie between 0 and {output[0] - 1 if len(output) == 1 else 'the number of classes'}, "
            f"as the model has that many outputs; got {labels[wrong]} at position {wrong}"
        )
    return images, labels


def _checked_validation(model: Layer, images: np.ndarray, validation: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray]:
    if len(validation) != 2:
        raise ValueError(f"fit: validation must be a share, or a pair (images, labels); got a tuple of {len(validation)}")
    held, labels = _checked_data(model, *validation, "validation ")
    if held.dtype != images.dtype or held.shape[1:] != images.shape[1:]:
        expected, got = f"{images.dtype} {images.shape[1:]}", f"{held.dtype} {held.shape[1:]}"
        raise ValueError(f"fit: validation images must be like those to train on, {expected}; got {got}")
    return held, labels


def _check_settings(
    epochs: Any, batch_size: Any, average: Any, precision: Any, seed: Any, early_stopping: Any, validation: Any, augment: Any
) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, (int, float, np.number)) or not 0 < epochs < math.inf:
        raise ValueError(f"fit: epochs must be a number above 0; got {epochs!r}")
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"fit: {name} must be an int of at least {least}; got {value!r}")
    if average is not None and not 0 <= average < 1:
        raise ValueError(f"fit: average is the decay of a moving average, at least 0 and below 1; got {average!r}")
    checks.choice("fit", "precision", precision, PRECISIONS)
    if augment is not None and not isinstance(augment, Augment):
        raise TypeError(f"fit: augment must be a fastcnn.data.augment.Augment; got {type(augment).__name__}")
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        raise TypeError(f"fit: early_stopping must be an EarlyStopping; got {type(early_stopping).__name__}")
    if validation is not None and not isinstance(validation, (tuple, float, int)):
        raise TypeError(f"fit: validation must be a share, or a pair (images, labels); got {type(validation).__name__}")
    if early_stopping is not None and early_stopping.monitor.startswith("validation") and validation is None:
        raise ValueError(f"fit: early stopping by {early_stopping.monitor} needs validation=, a share of the images or (images, labels)")


def _checked_schedule(schedule: Callable[[int], float] | None, optimizer: Optimizer, steps: int) -> Callable[[int], float]:
    if schedule is None:
        constant = float(optimizer.lr)
        return lambda step: constant
    for step in (0, steps - 1):
        try:
            rate = schedule(step)
        except Exception as error:
            raise ValueError(f"fit: the schedule must know steps 0 to {steps - 1}; step {step}: {error}") from error
        if not 0 <= rate < math.inf:
            raise ValueError(f"fit: the schedule must give learning rates of at least 0; step {step}: {rate!r}")
    return schedule


def _check_optimizer(optimizer: Optimizer, model: Layer) -> None:
    if model.params and not model.trainable_params:
        raise ValueError("fit: the model's layers are all frozen; `unfreeze` those to be trained")
    for name, param in model.trainable_params.items():
        own = optimizer.params.get(name)
        if own is None or own.shape != param.shape or not np.may_share_memory(own, param):
            raise ValueError(f"fit: the optimizer must be made of model.params; {name} is not the model's")


# --- Fingerprints ------------------------------------------------------------------------------------------------------


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    """Return what tells data sets apart: counts, shape, and a hash of every byte."""
    found = hashlib.sha256(repr((images.shape, images.dtype.str, labels.dtype.str)).encode())
    for array in (images, labels):
        found.update(np.ascontiguousarray(array).data)
    return f"{len(images)} images {images.shape[1:]} {found.hexdigest()[:16]}"


def _constructor(thing: Any) -> dict[str, Any]:
    """Return the class of an object and what it was made with, as far as it shows that under the names of its arguments."""
    values = {"kind": type(thing).__name__}
    for name in inspect.signature(type(thing)).parameters:
        value = getattr(thing, name, None)
        if name not in ("params", "lr") and isinstance(value, (bool, int, float, str, tuple)):
            values[name] = json.loads(json.dumps(value))
    return values


def _rates(schedule: Callable[[int], float], steps: int) -> str:
    """Return what tells schedules apart: their length and up to 1,000 of their learning rates."""
    rates = [float(schedule(step)) for step in sorted({round(share * (steps - 1) / 999) for share in range(1000)})]
    digest = hashlib.sha256(np.array(rates).tobytes()).hexdigest()[:16]
    return f"{steps} steps from {rates[0]:g}, up to {max(rates):g}, to {rates[-1]:g} ({digest})"
