"""A training that is killed from outside: it tells on its output what it is about, and takes its time over every file that it writes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastcnn import files
from fastcnn.train import Callback, Checkpoint
from fastcnn.train.command import main as train_command
from tests import _killed

WRITES_SECONDS = 0.0006  # before every piece of a file: there are some 300 in a checkpoint of the small problem
MOMENT_SECONDS = 0.02  # before and after a file gets its name


def tell(*words: Any) -> None:
    """Write a line in one piece: what was last told is what the process died of."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Slow:
    """A file whose bytes reach the disk at once, piece by piece, slowly."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, piece: Any) -> int:
        time.sleep(WRITES_SECONDS)
        count: int = self._file.write(piece)
        self._file.flush()
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def slow_down() -> None:
    """Make every file that `files.replacing` writes a slow one, and say where it stands."""
    replacing, fsync, replace = files.replacing, os.fsync, os.replace

    @contextlib.contextmanager
    def told(path: Any) -> Iterator[Any]:
        name = Path(path).name
        tell("opening", name)
        with replacing(path) as file:
            tell("writing", name)
            yield Slow(file)
            tell("syncing", name)
        tell("training")

    def synced(descriptor: int) -> None:
        time.sleep(MOMENT_SECONDS)
        fsync(descriptor)

    def renamed(source: Any, target: Any) -> None:
        tell("renaming", Path(target).name)
        time.sleep(MOMENT_SECONDS)
        replace(source, target)
        tell("renamed", Path(target).name)
        time.sleep(MOMENT_SECONDS)

    files.replacing, os.fsync, os.replace = told, synced, renamed


class Begun(Callback):
    """Says that training goes on."""

    def on_step(self, run: Any) -> None:
        tell("training")


def small_problem(folder: Path, resume: bool) -> None:
    """Train the small problem, which has every kind of state, and save weights and history."""
    net, history = _killed.train(Checkpoint(folder / "c.npz", None, 4), resume, [Begun()])
    files.save_arrays(folder / "weights.npz", net.state_dict())
    files.save_json(folder / "history.json", json.loads(history.to_json()))


def main() -> None:
    """Arguments: a JSON object with the folder, whether to be slow, and the words of `fastcnn train`, none for the small problem."""
    options = json.loads(sys.argv[1])
    folder = Path(options["folder"])
    resume = (folder / "c.npz").exists()
    if options["slow"]:
        slow_down()
    tell("begun")
    if options["train"]:
        words = ["--checkpoint", str(folder / "c.npz"), "--checkpoint-every", "0.05", "--out", str(folder)]
        raise SystemExit(train_command([*options["train"], *words, *(["--resume"] if resume else [])]))
    small_problem(folder, resume)


if __name__ == "__main__":
    main()
