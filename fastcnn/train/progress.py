"""Progress of training: a live bar on a terminal (with rich, where it is installed), plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol


class Progress(Protocol):
    """What the training loop tells whoever shows it. `loss` and `accuracy` are means over the epoch so far."""

    def begin_epoch(self, number: int, epochs: int, batches: int) -> None:
        """Begin an epoch of so many batches."""

    def advance(self, images: int, loss: float, accuracy: float) -> None:
        """One more batch is done."""

    def end_epoch(self, loss: float, accuracy: float, seconds: float) -> None:
        """Finish the epoch; `seconds` counts from the beginning of training."""

    def close(self) -> None:
        """Training is over, or was interrupted."""


class _Counter:
    """Counts images and batches for both kinds of display."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.images = self.done = self.total = self.batches = 0
        self.number = self.epochs = 0

    def begin_epoch(self, number: int, epochs: int, batches: int) -> None:
        if number == 1:
            self.begin = time.perf_counter()
        self.number, self.epochs, self.batches, self.total = number, epochs, batches, epochs * batches

    def count(self, images: int) -> None:
        self.images += images
        self.done += 1

    @property
    def rate(self) -> float:
        """Images per second since training began."""
        return self.images / max(time.perf_counter() - self.begin, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Estimated from the batches so far."""
        return (time.perf_counter() - self.begin) * (self.total - self.done) / max(self.done, 1)


class LineProgress(_Counter):
    """One line every few seconds, and one at the end of an epoch: for pipes, logs and terminals without rich."""

    def __init__(self, every: float = 5.0) -> None:
        super().__init__()
        self.every, self.last = every, time.perf_counter()

    def advance(self, images: int, loss: float, accuracy: float) -> None:
        self.count(images)
        now = time.perf_counter()
        if now - self.last >= self.every:
            self.last = now
            share = 100 * self.done / self.total
            print(f"  {share:3.0f} %  loss {loss:.4f}  accuracy {100 * accuracy:.2f} %  {self.rate:,.0f} images/s  "
                  f"{self.seconds_left:.0f} s left", flush=True)  # fmt: skip

    def end_epoch(self, loss: float, accuracy: float, seconds: float) -> None:
        print(f"epoch {self.number}/{self.epochs}  loss {loss:.4f}  accuracy {100 * accuracy:.2f} %  {self.rate:,.0f} images/s  "
              f"{seconds:.1f} s", flush=True)  # fmt: skip

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
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss [bold]{task.fields[loss]:.4f}[/]  accuracy [bold]{task.fields[accuracy]:.2f} %[/]"),
            TextColumn("[cyan]{task.fields[rate]:,.0f} images/s[/]  {task.fields[clock]}"),
            auto_refresh=False,  # rich's own thread takes a core from our kernels: 10,000 images/s became 7,500
        )
        self.task: Any = None
        self.drawn = 0.0

    def begin_epoch(self, number: int, epochs: int, batches: int) -> None:
        super().begin_epoch(number, epochs, batches)
        self.bars.start()
        self.task = self.bars.add_task("", total=batches, epoch=f"{number}/{epochs}", loss=float("nan"), accuracy=0.0, rate=0.0, clock="")

    def advance(self, images: int, loss: float, accuracy: float) -> None:
        self.count(images)
        if (now := time.perf_counter()) - self.drawn >= 0.25:
            self.drawn = now
            self._draw(loss, accuracy, f"{self.seconds_left:.0f} s left")

    def end_epoch(self, loss: float, accuracy: float, seconds: float) -> None:
        self._draw(loss, accuracy, f"{seconds:.1f} s")

    def _draw(self, loss: float, accuracy: float, clock: str) -> None:
        done = self.done - (self.number - 1) * self.batches
        self.bars.update(self.task, completed=done, loss=loss, accuracy=100 * accuracy, rate=self.rate, clock=clock)
        self.bars.refresh()

    def close(self) -> None:
        self.bars.stop()


def progress_for(stream: Any = None) -> Progress:
    """Return a bar where `stream` (standard output) is a terminal and rich is installed, else plain lines."""
    stream = sys.stdout if stream is None else stream
    if stream.isatty():
        try:
            return BarProgress()
        except ImportError:
            print('(pip install "fastcnn[train]" adds a live progress bar)')
    return LineProgress()
