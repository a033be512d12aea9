"""The one training loop: batches, steps, epochs, and who is told about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..data.batches import Batches
from ..layers import Layer
from ..losses import SoftmaxCrossEntropy
from ..optim import Optimizer, WeightAverage
from .callbacks import Best, EarlyStopping, hooks
from .checkpoint import Saver
from .evaluation import Validation, judged_weights
from .history import Epoch, History
from .interrupt import Interrupted, Request, requests
from .progress import Progress

if TYPE_CHECKING:
    from ..distributed import Communicator


@dataclass
class Run:
    """A training run: what it is made of, and how far it has come. A checkpoint keeps all of the second part.

    Attributes
    ----------
    take_step : callable
        (x, target, learning rate) -> (mean loss of the batch, how many were right): see `fastcnn.train.step.Step`; with `comm`,
        `fastcnn.distributed.step.SharedStep`.
    schedule : callable
        Learning rate of step 0 ... steps - 1.
    steps : int
        Of the whole run.
    history : History
    step : int
        Steps done.
    total_loss, right, seen : float, int, int
        Sums over the epoch so far; `loss` and `accuracy` are their means.
    seconds : float
        Spent so far.
    best : Best
        Of early stopping.
    finished : bool
        By its last step, or by early stopping.
    comm : Communicator, optional
        The processes that train together; each has a run like this.
    """

    model: Layer
    criterion: SoftmaxCrossEntropy
    optimizer: Optimizer
    take_step: Callable[..., Any]
    batches: Batches
    schedule: Callable[[int], float]
    steps: int
    average: WeightAverage | None = None
    validation: Validation | None = None
    early_stopping: EarlyStopping | None = None
    history: History = field(default_factory=History)
    step: int = 0
    total_loss: float = 0.0
    right: int = 0
    seen: int = 0
    seconds: float = 0.0
    best: Best = field(default_factory=Best)
    finished: bool = False
    comm: Communicator | None = None

    @property
    def loss(self) -> float:
        """Mean loss over the images of the epoch so far."""
        return self.total_loss / max(self.seen, 1)

    @property
    def accuracy(self) -> float:
        """Share of the images of the epoch so far whose largest logit was their label's."""
        return self.right / max(self.seen, 1)


class Loop:
    """Takes a run from where it is to its end; see `__call__`.

    Parameters
    ----------
    run : Run
    progress : Progress
    callbacks : sequence
        See `fastcnn.train.Callback`.
    saver : Saver, optional
        Saves checkpoints.
    """

    def __init__(self, run: Run, progress: Progress, callbacks: Sequence[Any] = (), saver: Saver | None = None) -> None:
        self.run, self.progress, self.saver = run, progress, saver
        self.on_step, self.on_epoch, self.on_end = (hooks(callbacks, name) for name in ("on_step", "on_epoch", "on_end"))
        self.batches = len(run.batches)
        self.stopped = False
        self.asked = False  # on some rank, by a signal
        # Whether any rank has hooks, which then all ranks hear of; a callback may be rank 0's alone.
        self.hears_steps, self.hears_epochs = (run.comm is not None and run.comm.any(bool(own)) for own in (self.on_step, self.on_epoch))
        self.begin = 0.0

    def __call__(self) -> History:
        """Train; return the history.

        Raises
        ------
        FloatingPointError
            The loss became NaN or infinite: the message says at which step. The parameters are those before the step.
        Interrupted
            Ctrl-C, or SIGTERM: a KeyboardInterrupt after a whole step, and after the checkpoint was saved.
        """
        run = self.run
        self.begin = time.perf_counter() - run.seconds
        self.progress.begin(run.steps, self.batches, run.step)
        with requests() as request:
            while not (run.finished or self.stopped):
                self._epoch(request)
        self._take_final_weights()
        for hook in self.on_end:
            hook(run)
        return run.history

    def _epoch(self, request: Request) -> None:
        run, progress, saver = self.run, self.progress, self.saver
        number, first = divmod(run.step, self.batches)
        last = min(self.batches, run.steps - number * self.batches)
        losses, shares, average = run.history.step_losses, run.history.step_accuracies, run.average
        rate = 0.0
        for position in range(first, last):
            x, target = run.batches.batch(number, position)
            rate = run.schedule(run.step)
            try:
                if run.comm is None:
                    (value, right), count = run.take_step(x, target, rate), len(target)
                else:
                    rows = run.batches.rows(position)
                    value, right, self.asked = run.take_step(x, target, rate, rows, bool(request.signal))
                    count = rows[2]
            except FloatingPointError as error:
                raise FloatingPointError(self._failure(number, position, error)) from None
            if average is not None:
                average.update()
            losses.append(value)
            shares.append(right / count)
            run.total_loss += value * count
            run.right += right
            run.seen += count
            run.step += 1
            progress.advance(count, run.total_loss / run.seen, run.right / run.seen)
            self._call(self.on_step, self.hears_steps)
            if position + 1 == last:
                break  # what follows belongs after the end of the epoch
            if self._is_asked(request):
                self._interrupt()
            if saver is not None and (self.stopped or saver.due(run.step)):
                self._save()
            if self.stopped:
                break
        self._end_epoch(number, rate)
        if self._is_asked(request):
            self._interrupt()

    def _is_asked(self, request: Request) -> bool:
        """Whether a signal asked us to end; with other ranks, one that all of them know of, so that all end after the same step."""
        return self.asked if self.run.comm is not None else bool(request.signal)

    def _call(self, hooks: Sequence[Callable[[Run], Any]], heard: bool) -> None:
        """Call hooks; where one of them, with `heard` on any rank, wants training to stop, it stops."""
        stop = False
        for hook in hooks:
            stop |= hook(self.run) is True
        if heard and self.run.comm is not None:
            stop = self.run.comm.any(stop)
        self.stopped |= stop

    def _end_epoch(self, number: int, rate: float) -> None:
        """Record the epoch that has ended (or was stopped: then a checkpoint already holds its middle)."""
        run, whole = self.run, self.run.step in ((number + 1) * self.batches, self.run.steps)
        judged = run.validation.judge(run.model, run.average, run.criterion) if run.validation else (None, None)
        epoch = Epoch(number + 1, run.loss, run.accuracy, self._clock(), rate, *judged)
        run.history.epochs.append(epoch)
        run.finished = run.step == run.steps
        if run.early_stopping:
            self._watch(run.early_stopping, epoch)
        self.progress.end_epoch(epoch)
        run.total_loss, run.right, run.seen = 0.0, 0, 0
        self._call(self.on_epoch, self.hears_epochs)
        if run.comm is not None:
            from ..distributed.alike import require_alike

            require_alike(run.comm, {**run.model.params, **run.model.buffers})
        if whole and self.saver is not None and (run.finished or self.stopped or self.saver.epoch_is_due()):
            self._save()

    def _watch(self, early_stopping: EarlyStopping, epoch: Epoch) -> None:
        run, best = self.run, self.run.best
        if early_stopping.improves(epoch, best.value):
            run.best = Best(getattr(epoch, early_stopping.monitor), epoch.number, 0, judged_weights(run.model, run.average))
        else:
            best.since += 1
            run.finished |= best.since >= early_stopping.patience

    def _take_final_weights(self) -> None:
        """Load the best epoch's weights, or the averaged ones, where there are such."""
        run = self.run
        if run.best.weights:
            run.model.load_state_dict(run.best.weights)
        elif run.average is not None:
            run.model.load_state_dict(judged_weights(run.model, run.average))

    def _clock(self) -> float:
        self.run.seconds = time.perf_counter() - self.begin
        return self.run.seconds

    def _save(self) -> None:
        assert self.saver is not None
        self._clock()
        self.saver.save(self.run)

    def _interrupt(self) -> None:
        where = f"interrupted after step {self.run.step} of {self.run.steps}"
        if self.saver is None:
            comm = self.run.comm
            raise Interrupted(f"{where}; " + ("no checkpoint was asked for" if comm is None or comm.is_leader else "rank 0 tells more"))
        if self.saver.saved != self.run.step:
            self._save()
        raise Interrupted(f"{where}, saved in {self.saver.path}")

    def _failure(self, number: int, position: int, error: Exception) -> str:
        run = self.run
        kept = f"; {self.saver.path} holds step {self.saver.saved}" if self.saver and self.saver.saved is not None else ""
        return f"step {run.step + 1} of {run.steps} (epoch {number + 1}, batch {position + 1} of {self.batches}): {error}{kept}"
