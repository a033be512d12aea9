"""What `fit` asks of its arguments: checked once, before anything is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from .. import checks, window
from ..data.arrays import PER, checked_moments
from ..data.augment import Augment
from ..data.batches import SAMPLINGS
from ..distributed import Communicator
from ..layers import Layer
from ..optim import Optimizer
from ..registry import PRECISIONS
from .callbacks import EarlyStopping
from .evaluation import checked_images, checked_labels


def checked_data(model: Layer, images: Any, labels: Any, which: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels that the model can be trained on, or judged by (`which`: "validation ")."""
    images, labels = checked_images("fit", images), checked_labels("fit", labels, which)
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


def checked_validation(model: Layer, images: np.ndarray, validation: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels to judge by, like those to train on."""
    if len(validation) != 2:
        raise ValueError(f"fit: validation must be a share, or a pair (images, labels); got a tuple of {len(validation)}")
    held, labels = checked_data(model, *validation, "validation ")
    if held.dtype != images.dtype or held.shape[1:] != images.shape[1:]:
        expected, got = f"{images.dtype} {images.shape[1:]}", f"{held.dtype} {held.shape[1:]}"
        raise ValueError(f"fit: validation images must be like those to train on, {expected}; got {got}")
    return held, labels


def check_settings(
    epochs: Any, batch_size: Any, average: Any, precision: Any, seed: Any, early_stopping: Any, validation: Any, augment: Any
) -> None:
    """Raise TypeError or ValueError for a setting that is out of its range, or does not go with another."""
    if isinstance(epochs, bool) or not isinstance(epochs, (int, float, np.number)) or not 0 < epochs < math.inf:
        raise ValueError(f"fit: epochs must be a number above 0; got {window.shown(epochs)}")
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"fit: {name} must be an int of at least {least}; got {window.shown(value)}")
    if average is not None and not 0 <= checks.number("fit", "average", average, finite=False) < 1:
        raise ValueError(f"fit: average is the decay of a moving average, at least 0 and below 1; got {window.shown(average)}")
    checks.choice("fit", "precision", precision, PRECISIONS)
    if augment is not None and not isinstance(augment, Augment):
        raise TypeError(f"fit: augment must be a fastcnn.data.augment.Augment; got {type(augment).__name__}")
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        raise TypeError(f"fit: early_stopping must be an EarlyStopping; got {type(early_stopping).__name__}")
    if validation is not None and not isinstance(validation, (tuple, float, int)):
        raise TypeError(f"fit: validation must be a share, or a pair (images, labels); got {type(validation).__name__}")
    if early_stopping is not None and early_stopping.monitor.startswith("validation") and validation is None:
        raise ValueError(f"fit: early stopping by {early_stopping.monitor} needs validation=, a share of the images or (images, labels)")


def check_helpers(model: Any, loss: Any, optimizer: Any, callbacks: Any, progress: Any, resume: Any) -> None:
    """Raise TypeError for an object that cannot do what training asks of it."""
    if not isinstance(model, Layer):
        raise TypeError(f"fit: model must be a Layer; got {type(model).__name__}")
    for name, value, methods in (
        ("loss", loss, ("forward", "step")),
        ("progress", None if isinstance(progress, bool) else progress, ("begin", "advance", "end_epoch", "close")),
    ):
        if value is not None and not all(callable(getattr(value, method, None)) for method in methods):
            kind = "a Progress, a bool or None" if name == "progress" else "a SoftmaxCrossEntropy, or like it"
            raise TypeError(f"fit: {name} must be {kind}; got {type(value).__name__}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit: optimizer must be an Optimizer; got {type(optimizer).__name__}")
    if not isinstance(callbacks, (tuple, list)):
        raise TypeError(f"fit: callbacks must be a sequence of Callback; got {type(callbacks).__name__}")
    checks.flag("fit", "resume", resume)


def checked_comm(comm: Any, sync_batch_norm: Any) -> Communicator | None:
    """Return what to train together with; None for a single process."""
    checks.flag("fit", "sync_batch_norm", sync_batch_norm)
    if comm is not None and not isinstance(comm, Communicator):
        raise TypeError(f"fit: comm must be a fastcnn.distributed.Communicator, as `world()` returns; got {type(comm).__name__}")
    return None if comm is None or comm.size == 1 else comm


def checked_schedule(schedule: Callable[[int], float] | None, optimizer: Optimizer, steps: int) -> Callable[[int], float]:
    """Return a schedule that knows every step; without one, the learning rate that the optimizer has."""
    if schedule is None:
        constant = float(optimizer.lr)
        return lambda step: constant
    for step in (0, steps - 1):
        try:
            rate = schedule(step)
        except Exception as error:
            raise ValueError(f"fit: the schedule must know steps 0 to {steps - 1}; step {step}: {error}") from error
        if isinstance(rate, (bool, np.bool_)) or not isinstance(rate, Real) or not 0 <= rate < math.inf:
            raise ValueError(f"fit: the schedule must give learning rates of at least 0; step {step}: {window.shown(rate)}")
    return schedule


def check_data_settings(sampling: Any, standardise: Any, images: np.ndarray) -> None:
    """Raise TypeError or ValueError unless batches of `images` can be drawn and standardised so."""
    checks.choice("fit", "sampling", sampling, SAMPLINGS)
    if isinstance(standardise, tuple) and len(standardise) == 2:
        checked_moments("fit", *standardise, images.shape[1:] if images.ndim == 4 else (1, *images.shape[1:]))
    elif not isinstance(standardise, str) or standardise not in PER:
        raise ValueError(f"fit: standardise must be one of {PER}, or (mean, deviation); got {window.shown(standardise)}")
    if images.dtype != np.uint8 and standardise != "all":
        raise ValueError("fit: standardise is for uint8 images; float32 ones are taken as they are: see fastcnn.data.standardise")


def check_optimizer(optimizer: Optimizer, model: Layer) -> None:
    """Raise ValueError unless the optimizer changes the model's own parameters, and there are some to change."""
    if model.params and not model.trainable_params:
        raise ValueError("fit: the model's layers are all frozen; `unfreeze` those to be trained")
    for name, param in model.trainable_params.items():
        own = optimizer.params.get(name)
        if own is None or own.shape != param.shape or not np.may_share_memory(own, param):
            raise ValueError(f"fit: the optimizer must be made of model.params; {name} is not the model's")
