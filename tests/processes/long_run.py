"""An hour of training as many short ones: each must give the same weights bit for bit, and none may take more of the system.

``python -m tests.processes.long_run --minutes 60`` trains a small network again and again with everything that has a state (dropout,
momentum, averaged weights, validation, a checkpoint, a prepared copy that answers), in threads that come and go, and prints a line now and
then. It ends with status 1 if anything drifted.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastcnn import layers, weights
from tests._killed import problem, train
from tests.processes._use import Use, use

_WARM = 2  # trainings before the first look: what is compiled, cached and kept then stays
_NOISE = 12 * 2**20  # bytes by which a process may differ from itself: pages that malloc has and gives back


class Found(NamedTuple):
    """What a long run has seen; `mistakes` are lines of text, none where all is well."""

    trainings: int
    first: Use
    last: Use
    mistakes: list[str]


def _train_once(folder: Path, seed: int) -> str:
    """Train, save, load, prepare and answer; return a digest of all that came out."""
    net, history = train(folder / "checkpoint.npz", seed=seed, epochs=2)
    weights.save(folder / "net.npz", net)
    weights.load_into(net, weights.load(folder / "net.npz"))
    images = (problem(64)[0][:, None] / 255).astype(np.float32)
    answers = layers.prepare(net)(images)
    values = [value for _, value in sorted(net.state_dict().items())]
    return hashlib.sha256(b"".join(value.tobytes() for value in [*values, answers, np.array(history.step_losses)])).hexdigest()


def run(
    seconds: float,
    between: Callable[[int], object] = lambda number: None,
    seed_of: Callable[[int], int] = lambda number: 3,
    say: Callable[[str], object] = lambda line: None,
) -> Found:
    """Train again and again for so many seconds, at least five times.

    Parameters
    ----------
    seconds : float
    between : callable
        Called with the number of every training behind it; tests put a leak there.
    seed_of : callable
        Of the number of a training; tests change it.
    say : callable
        Takes a line of text every ten seconds.
    """
    mistakes: list[str] = []
    digests: list[str] = []
    first: Use | None = None
    begin = said = time.monotonic()
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        while number < _WARM + 3 or time.monotonic() - begin < seconds:
            name = Path(folder) / "run"
            name.mkdir(exist_ok=True)
            (name / "checkpoint.npz").unlink(missing_ok=True)
            if number % 2:  # in a thread of its own, whose memory goes with it
                thread = threading.Thread(target=lambda name=name, number=number: digests.append(_train_once(name, seed_of(number))))  # type: ignore[misc]
                thread.start()
                thread.join()
            else:
                digests.append(_train_once(name, seed_of(number)))
            between(number)
            number += 1
            if len(digests) < number:
                mistakes.append(f"training {number}: raised in its thread")
                break
            if digests[-1] != digests[0]:
                mistakes.append(f"training {number}: other weights than the first: {digests[-1][:12]}, {digests[0][:12]}")
                break
            if number == _WARM:
                first = use()
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"{said - begin:6.0f} s  {number} trainings, the same bits; {_line(use())}")
    last = use()
    first = first or last
    if last.memory > first.memory + _NOISE:
        mistakes.append(f"memory: {first.memory / 2**20:.1f} MiB after {_WARM} trainings, {last.memory / 2**20:.1f} MiB after {number}")
    if last.objects > first.objects + 2_000 + number:
        mistakes.append(f"objects: {first.objects} after {_WARM} trainings, {last.objects} after {number}")
    for name in ("files", "threads"):
        if getattr(last, name) > getattr(first, name):
            mistakes.append(f"{name}: {getattr(first, name)} after {_WARM} trainings, {getattr(last, name)} after {number}")
    return Found(number, first, last, mistakes)


def _line(now: Use) -> str:
    return f"{now.memory / 2**20:.1f} MiB, {now.objects} objects, {now.files} files, {now.threads} threads"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.processes.long_run", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    found = run(60 * minutes, say=lambda line: print(line, flush=True))
    print(f"{found.trainings} trainings; at first {_line(found.first)}; at last {_line(found.last)}")
    for mistake in found.mistakes:
        print(mistake, file=sys.stderr)
    return 1 if found.mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
