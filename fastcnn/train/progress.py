"""Progress of training: a live bar on a terminal (with rich, where it is installed), plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from .history import Epoch


class Progress(Protocol):
    """What the training loop tells whoever shows it. `loss` and `accuracy` are means over the epoch so far."""

    def begin(self, steps: int, batches: int, done: int) -> None:
        """Begin a run of `steps` steps, `batches` to an epoch, of which `done` were done before an interruption."""

    def advance(self, images: int, loss: float, accuracy: float) -> None:
        """One more batch is done."""

    def end_epoch(self, epoch: Epoch) -> None:
        """Finish an epoch, or the part of one that the run ends with."""

    def close(self) -> None:
        """Training is over, or was interrupted."""


class Silence:
    """Shows nothing."""

    def begin(self, steps: int, batches: int, done: int) -> None:
        pass

    def advance(self, images: int, loss: float, accuracy: float) -> None:
        pass

    def end_epoch(self, epoch: Epoch) -> None:
        pass

    def close(self) -> None:
        pass


class _Counter:
    """Counts images and steps for both kinds of display."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.images = self.done = self.before = self.steps = 0
        self.batches = 1

    def begin(self, steps: int, batches: int, done: int) -> None:
        self.start = time.perf_counter()
        self.steps, self.batches, self.done, self.before = steps, batches, done, done

    def count(self, images: int) -> None:
        self.images += images
        self.done += 1

    @property
    def rate(self) -> float:
        """Images per second since this run began."""
        return self.images / max(time.perf_counter() - self.start, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Estimated from the steps so far."""
        return (time.perf_counter() - self.start) * (self.steps - self.done) / max(self.done - self.before, 1)

    @property
    def epoch(self) -> str:
        """The epoch of the last step, of all: 2/6; the last one of a run of 1.5 is 1.5/1.5."""
        number = -(-self.done // self.batches)
        return f"{_short(min(max(number, 1), self.steps / self.batches))}/{_short(self.steps / self.batches)}"


def _short(epochs: float) -> str:
    return f"{epochs:.2f}".rstrip("0").rstrip(".") if epochs >= 0.01 else f"{epochs:.1g}"


def _validation(epoch: Epoch) -> str:
    if epoch.validation_loss is None or epoch.validation_accuracy is None:
        return ""
    return f"  validation {epoch.validation_loss:.4f}  {100 * epoch.validation_accuracy:.2f} %"


class LineProgress(_Counter):
    """One line every few seconds, and one at the end of an epoch: for pipes, logs and terminals without rich."""

    def __init__(self, every: float = 5.0) -> None:
        super().__init__()
        self.every, self.last = every, time.perf_counter()

    def begin(self, steps: int, batches: int, done: int) -> None:
        super().begin(steps, batches, done)
        self.last = self.start

    def advance(self, images: int, loss: float, accuracy: float) -> None:
        self.count(images)
        now = time.perf_counter()
        if now - self.last >= self.every and self.done < self.steps:
            self.last = now
            share = 100 * self.done / self.steps
            print(f"  {share:3.0f} %  loss {loss:.4f}  accuracy {100 * accuracy:.2f} %  {self.rate:,.0f} images/s  "
                  f"{self.seconds_left:.0f} s left", flush=True)  # fmt: skip

    def end_epoch(self, epoch: Epoch) -> None:
        print(f"epoch {self.epoch}  loss {epoch.loss:.4f}  accuracy {100 * epoch.accuracy:.2f} %{_validation(epoch)}  "
              f"{self.rate:,.0f} images/s  {epoch.seconds:.1f} s", flush=True)  # fmt: skip

    def close(self) -> None:
        sys.stdout.flush()


class BarProgress(_Counter):
    """A bar per epoch, drawn by rich."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.bars = RichProgress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=8),  # a line has 80 columns to fit into
            MofNCompleteColumn(),
            TextColumn("loss [bold]{task.fields[loss]:.4f}[/]  accuracy [bold]{task.fields[accuracy]:.2f} %[/]{task.fields[validation]}"),
            TextColumn("[cyan]{task.fields[rate]:,.0f} images/s[/]  {task.fields[clock]}"),
            auto_refresh=False,  # rich's own thread takes a core from our kernels: 10,000 images/s became 7,500
        )
        self.task: Any = None
        self.first = 0  # step at which the epoch of the task begins
        self.drawn = 0.0

    def begin(self, steps: int, batches: int, done: int) -> None:
        super().begin(steps, batches, done)
        self.bars.start()

    def advance(self, images: int, loss: float, accuracy: float) -> None:
        self.count(images)
        if (now := time.perf_counter()) - self.drawn >= 0.25:
            self.drawn = now
            self._draw(loss, accuracy, f"{self.seconds_left:.0f} s left")

    def end_epoch(self, epoch: Epoch) -> None:
        self._draw(epoch.loss, epoch.accuracy, f"{epoch.seconds:.1f} s", _validation(epoch))
        self.task = None  # the next one gets a bar of its own

    def _draw(self, loss: float, accuracy: float, clock: str, validation: str = "") -> None:
        shown: dict[str, Any] = {"loss": loss, "accuracy": 100 * accuracy, "rate": self.rate, "clock": clock, "validation": validation}
        if self.task is None:
            self.first = (self.done - 1) // self.batches * self.batches
            self.task = self.bars.add_task("", total=min(self.batches, self.steps - self.first), epoch=self.epoch, **shown)
        self.bars.update(self.task, completed=self.done - self.first, **shown)
        self.bars.refresh()

    def close(self) -> None:
        self.bars.stop()


def progress_for(stream: Any = None) -> Progress:
    """Return a bar where `stream` (standard output) is a terminal and rich is installed, else plain lines."""
    stream = sys.stdout if stream is None else stream
    if stream is not None and stream.isatty():
        try:
            return BarProgress()
        except ImportError:
            print('(pip install "fastcnn[train]" adds a live progress bar)')
    return LineProgress()
