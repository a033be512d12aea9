"""A training run for test_checkpoint.py, in a process that dies: by its parent's hand, or by its own in the middle of saving."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastcnn import archive, files
from fastcnn.layers import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from fastcnn.optim import Adam
from fastcnn.schedules import OneCycle
from fastcnn.train import Callback, Checkpoint, EarlyStopping, History, count_steps, fit

EPOCHS, BATCH = 6.5, 16


def problem(count: int = 330) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images of 6 x 6, and labels of three classes of which a third are wrong, so that early stopping has work."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count).astype(np.uint8)
    images = rng.integers(0, 150, (count, 6, 6), np.uint8)
    images[np.arange(count), 2 * labels] += 60
    return images, np.where(rng.random(count) < 0.3, rng.integers(0, 3, count), labels).astype(np.uint8)


def train(
    checkpoint: Path | Checkpoint | None, resume: bool = False, callbacks: Any = (), average: float | None = 0.9, patience: int | None = 3,
    dropout: float = 0.3, **changes: Any,
) -> tuple[Sequential, History]:  # fmt: skip
    """Train with everything that has a state: Dropout, momentum, averaged weights, early stopping."""
    images, labels = problem()
    rng = np.random.default_rng(1)
    extra = [Dropout(dropout, rng=rng), Sequential(Dropout(dropout, rng=np.random.Generator(np.random.MT19937(5))))]
    net = Sequential(Conv2d(1, 4, 3, rng=rng), ReLU(), MaxPool2d(2), Flatten(), *extra, Linear(16, 3, rng=rng))
    steps = count_steps(330 - 66, EPOCHS, BATCH)
    history = fit(net, images, labels, **{
        "epochs": EPOCHS, "batch_size": BATCH, "validation": 0.2, "optimizer": Adam(net.params, 0.03),
        "schedule": OneCycle(0.03, steps), "average": average, "seed": 3, "callbacks": callbacks,
        "early_stopping": patience and EarlyStopping(patience), "checkpoint": checkpoint, "resume": resume, **changes,
    })  # fmt: skip
    return net, history


class Slowly(Callback):
    """Says when it has begun, and gives whoever wants to kill us the time."""

    def __init__(self, step_seconds: float) -> None:
        self.step_seconds, self.begun = step_seconds, False

    def on_step(self, run: Any) -> None:
        if not self.begun:
            self.begun = True
            print("begun", run.step, flush=True)
        time.sleep(self.step_seconds)


def die_while_saving(count: int, when: str) -> None:
    """End this process, as kill -9 would, in its `count`-th saving: in the middle of the file, before it is renamed, or after."""
    done = [0]
    if when == "middle":
        write = archive.write_npz

        def half(file: Any, arrays: Any) -> None:
            done[0] += 1
            if done[0] == count:
                names = list(arrays)
                write(file, {name: arrays[name] for name in names[: len(names) // 2]})
                file.flush()
                os._exit(9)
            write(file, arrays)

        archive.write_npz = half
    else:
        replace = os.replace

        def counted(source: Any, target: Any) -> None:
            done[0] += 1
            if done[0] == count and when == "before":
                os._exit(9)
            replace(source, target)
            if done[0] == count:
                os._exit(9)

        files.os.replace = counted  # type: ignore[assignment]


def main() -> None:
    """Arguments: a JSON object of paths and of when to die."""
    options = json.loads(sys.argv[1])
    checkpoint = Path(options["checkpoint"])
    if options.get("die"):
        die_while_saving(*options["die"])
    net, history = train(Checkpoint(checkpoint, None, 4), checkpoint.exists(), [Slowly(options.get("step_seconds", 0))])
    files.save_arrays(options["out"], net.state_dict())
    Path(options["out"]).with_suffix(".json").write_text(history.to_json())


if __name__ == "__main__":
    main()
