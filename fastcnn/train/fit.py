"""`fit`: training as one call. It checks its arguments, puts a run together and leaves it to the loop."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import checks, machine, window
from ..data.arrays import moments
from ..data.augment import Augment
from ..data.batches import Batches
from ..data.split import split
from ..distributed import Communicator
from ..distributed.step import SharedStep
from ..layers import Layer
from ..losses import SoftmaxCrossEntropy
from ..optim import Adam, Optimizer, WeightAverage
from ..schedules import OneCycle
from . import arguments
from . import checkpoint as checkpoints
from .callbacks import EarlyStopping
from .checkpoint import Checkpoint, Saver
from .evaluation import Validation
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
    sampling: str = "shuffled",
    standardise: str | tuple[Any, Any] = "all",
    average: float | None = None,
    precision: str = "high",
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Any] = (),
    progress: Progress | bool | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: bool = False,
    comm: Communicator | None = None,
    sync_batch_norm: bool = True,
) -> History:
    """Train a classifier in place, and return its history.

    Parameters
    ----------
    model : Layer
        Takes (n, C, H, W) and gives logits (n, classes). Its frozen layers stay as they are (see `Layer.freeze`). Its final weights are
        those of the best epoch with `early_stopping`, else the averaged ones with `average`, else those of the last step.
    images : (N, H, W) or (N, C, H, W) uint8, or normalised inputs (N, C, H, W) float32
        Bytes are standardised (see `standardise`) by numbers that the history keeps for `predict`.
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
    sampling : "shuffled", "replacement" or "ordered"
        An epoch is every image once in random order; as many random draws, which may repeat; or the images as they come.
    standardise : "all", "channel" or "pixel", or (mean, deviation)
        What bytes v become (v - mean) / deviation by: moments of the images trained on (those held out for validation are not among
        them), one for all pixels, one per channel, or one per pixel, as of `fastcnn.data.moments`; or given ones.
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
    comm : fastcnn.distributed.Communicator, optional
        The processes that train together, all of which call with the same arguments: each takes a part of every batch of `batch_size`, and
        all come to the weights of a single process, within rounding. Rank 0 shows progress and saves; its state is everybody's at the
        start. Our kernels use this process's share of the cores where no limit is set. (A layer of your own that draws random numbers
        must draw those of the whole batch: give it an attribute ``rows``, as `Dropout` has.)
    sync_batch_norm : bool
        With `comm`: normalise by statistics of the whole batch, as a single process does. Without it every rank normalises its part by
        itself, which saves two small messages for each such layer and step, and makes results depend on the number of ranks.

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
    RuntimeError
        With `comm`: another rank found a mistake (`fastcnn.distributed.PeerError`), or ranks no longer hold the same weights.

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
    arguments.check_helpers(model, loss, optimizer, callbacks, progress, resume)
    images, labels = arguments.checked_data(model, images, labels, "")
    arguments.check_settings(epochs, batch_size, average, precision, seed, early_stopping, validation, augment)
    arguments.check_data_settings(sampling, standardise, images)
    comm = arguments.checked_comm(comm, sync_batch_norm)
    data = _digest(images, labels) if checkpoint is not None or comm is not None else ""
    judges, share = None, None
    if isinstance(validation, tuple):
        judges = arguments.checked_validation(model, images, validation)
    elif validation is not None:
        share = checks.number("fit", "validation", validation, finite=False)
        kept, held = split(labels, share, seed)
        judges = images[held], labels[held]
        images, labels = images[kept], labels[kept]

    mean, deviation = None, None  # of float inputs 0 and 1
    if images.dtype == np.uint8:
        mean, deviation = standardise if isinstance(standardise, tuple) else moments(images, standardise)
    part = (0, 1) if comm is None else (comm.rank, comm.size)
    batches = Batches(images, labels, batch_size, seed=seed, mean=mean, deviation=deviation, augment=augment, sampling=sampling, part=part)
    steps = count_steps(len(images), epochs, batch_size)
    if optimizer is None:
        optimizer = Adam(model.params, DEFAULT_RATE, betas=DEFAULT_BETAS)
        if schedule is None:
            schedule = OneCycle(DEFAULT_RATE, steps, warmup=DEFAULT_WARMUP, anneal="linear")
    schedule = arguments.checked_schedule(schedule, optimizer, steps)
    arguments.check_optimizer(optimizer, model)
    loss = SoftmaxCrossEntropy() if loss is None else loss
    history = History(mean=batches.mean, deviation=batches.deviation)
    held_out = None
    if judges is not None:
        held_out = Validation(judges[0], judges[1].astype(np.int64), batches.mean, batches.deviation, precision, comm)
    take_step: Step | SharedStep = Step(model, loss, optimizer, precision)
    if comm is not None:
        take_step = SharedStep(model, loss, optimizer, precision, comm, sync_batch_norm)
    run = Run(
        model=model, criterion=loss, optimizer=optimizer, take_step=take_step, batches=batches,
        schedule=schedule, steps=steps, average=None if average is None else WeightAverage(model.params, average),
        validation=held_out, early_stopping=early_stopping, history=history, comm=comm,
    )  # fmt: skip
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the file to go on from")
    saver = None
    if checkpoint is not None or comm is not None:
        settings = {
            "epochs": epochs, "batch_size": batch_size, "seed": seed, "precision": precision, "average": average,
            "model": " ".join(repr(model).split()), "loss": _constructor(loss), "optimizer": _constructor(optimizer),
            "learning_rates": _rates(schedule, steps), "augment": checkpoints.describe(augment),
            "early_stopping": checkpoints.describe(early_stopping), "sampling": sampling,
            "standardise": standardise if isinstance(standardise, str) else _digest(*map(np.asarray, standardise)),
            "validation": share if share is not None or judges is None else _digest(*judges), "data": data,
        }  # fmt: skip
        saver = _begin(run, settings, checkpoint, resume)
    return _trained(run, progress, callbacks, saver)


def _begin(run: Run, settings: dict[str, Any], checkpoint: str | os.PathLike[str] | Checkpoint | None, resume: bool) -> Saver | None:
    """Put the run where it begins, on all ranks alike, and return what saves it: on rank 0."""
    if run.comm is None:
        assert checkpoint is not None
        where = checkpoints.as_checkpoint(checkpoint)
        if resume:
            checkpoints.load(where.path, run, settings)
        return Saver(where, settings)
    from ..distributed.alike import begin_alike

    saver = None

    def open_checkpoint() -> None:
        nonlocal saver
        if checkpoint is not None:
            where = checkpoints.as_checkpoint(checkpoint)
            if resume:
                checkpoints.load(where.path, run, settings)
            saver = Saver(where, settings)

    begin_alike(run.comm, run, settings, open_checkpoint)
    return saver


def _trained(run: Run, progress: Progress | bool | None, callbacks: Sequence[Any], saver: Saver | None) -> History:
    shown = (progress_for() if progress else Silence()) if progress is None or isinstance(progress, bool) else progress
    if run.comm is not None and not run.comm.is_leader:
        shown = Silence()
    mode = run.model.training
    loop = Loop(run, shown, callbacks, saver)
    run.model.train()
    try:
        with contextlib.ExitStack() as stack:
            if run.comm is not None and isinstance(run.take_step, SharedStep):
                stack.enter_context(run.take_step.sharing())
                stack.enter_context(machine.threads(machine.thread_limit() or run.comm.threads))
            return loop()
    finally:
        run.model.train(mode)
        shown.close()


def count_steps(images: int, epochs: float, batch_size: int) -> int:
    """Return the steps of a run, ceil(epochs * ceil(images / batch_size)): what a schedule wants to know.

    Raises
    ------
    TypeError, ValueError
        A number is of another kind, or out of its range.
    """
    op = "count_steps"
    images, batch_size = window.integer(op, "images", images, 0), window.integer(op, "batch_size", batch_size, 1)
    epochs = checks.number(op, "epochs", epochs)
    return max(1, math.ceil(epochs * -(-images // batch_size) - 1e-6))  # 0.7 of 10 batches are 7, though 0.7 * 10 > 7


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
