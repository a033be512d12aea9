"""What ranks do in these tests: trainings that a single process runs too, and checks that need several. One launch does many of them.

``_worker.py FOLDER NAME ...`` runs the named functions in turn, each as name(comm, folder); rank 0 saves what each returns.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import machine
from fastcnn.data.augment import Augment
from fastcnn.distributed import Communicator, PeerError, world
from fastcnn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Dropout2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.models import digit_net
from fastcnn.optim import SGD, Adam, clip_grad_norm
from fastcnn.train import Callback, Checkpoint, EarlyStopping, History, fit

Results = dict[str, np.ndarray]


class Double(Layer):
    """Makes float64 of the inputs, which `fit` makes in float32, so that everything behind it is computed in float64."""

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return x.astype(np.float64), 1

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[None, dict[str, np.ndarray]]:
        return None, {}


class Clipped(Adam):
    """Adam on gradients whose common norm is at most 0.5."""

    def step(self, grads: Any) -> None:
        clip_grad_norm(grads, 0.5)
        super().step(grads)


def problem(count: int = 195) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 8, 8), np.uint8)
    return images, (images[:, 0, 0] // 86).astype(np.int64)


def network() -> Sequential:
    rng, f = np.random.default_rng(1), np.float64
    return Sequential(
        Double(), Conv2d(1, 4, 3, rng=rng, dtype=f), ReLU(), MaxPool2d(2), BatchNorm2d(4, dtype=f), Dropout2d(0.1, rng=rng), Flatten(),
        Dropout(0.3, rng=np.random.Generator(np.random.MT19937(5))), Linear(36, 8, rng=rng, dtype=f), BatchNorm1d(8, dtype=f), ReLU(),
        Linear(8, 3, rng=rng, dtype=f),
    )  # fmt: skip


def outcome(net: Layer, history: History) -> Results:
    epochs = np.array([[e.loss, e.accuracy, e.validation_loss or 0, e.validation_accuracy or 0] for e in history.epochs])
    return {**net.state_dict(), "losses": np.array(history.step_losses), "accuracies": np.array(history.step_accuracies), "epochs": epochs}


# --- Trainings that a single process runs too ---------------------------------------------------------------------------


def everything(comm: Communicator | None, folder: Path, **changes: Any) -> Results:
    """Take 100 steps: 25 an epoch, whose last batch is of 3 images, fewer than ranks; early stopping takes the best weights."""
    images, labels = problem()
    net = network()
    history = fit(net, images, labels, **{
        "epochs": 4, "batch_size": 6, "validation": 0.25, "optimizer": Clipped(net.params, 0.01, weight_decay=1e-3, l1=1e-5),
        "augment": Augment(shift=1, rotate=10, erase=0.3), "average": 0.9, "seed": 3, "early_stopping": EarlyStopping(4), "comm": comm,
        **changes,
    })  # fmt: skip
    return outcome(net, history)


def momentum(comm: Communicator | None, folder: Path) -> Results:
    """Train by SGD with Nesterov's momentum, drawing with replacement; validation of a single image, which is fewer than ranks."""
    images, labels = problem()
    net = network()
    history = fit(net, images, labels, epochs=3.1, batch_size=32, validation=(images[:1], labels[:1]), loss=SoftmaxCrossEntropy(0.1),
                  optimizer=SGD(net.params, 0.05, 0.9, nesterov=True, weight_decay=1e-3), sampling="replacement", comm=comm)  # fmt: skip
    return outcome(net, history)


def single_precision(comm: Communicator | None, folder: Path) -> Results:
    """Train the network of the recipe `fast`, whose layers are fused."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (150, 16, 16), np.uint8)
    net = digit_net(16, rng=0, norm=True)
    return outcome(net, fit(net, images, images[:, 0, 0] % 10, batch_size=64, epochs=2, comm=comm, optimizer=SGD(net.params, 0.01)))


# --- Ends and new beginnings --------------------------------------------------------------------------------------------


class TermAt(Callback):
    """Asks its own process to end after a step, as an operator would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run: Any) -> None:
        if run.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def interrupted(comm: Communicator, folder: Path) -> Results:
    """Ask the last rank alone to end: all do after that step, or the next one."""
    callbacks = [TermAt(40)] if comm.rank == comm.size - 1 else []
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after step 4[01] of 100") as raised:
        everything(comm, folder, checkpoint=Checkpoint(folder / f"by{comm.size}.npz", None), callbacks=callbacks)
    assert ("rank 0 tells more" in str(raised.value)) == (comm.rank > 0)
    return {}


def resumed(comm: Communicator | None, folder: Path) -> Results:
    """Go on from the checkpoint that is there, whoever wrote it. The other ranks need no path to it."""
    path = folder / "resume.npz" if comm is None or comm.is_leader else folder / "nowhere.npz"
    return everything(comm, folder, checkpoint=Checkpoint(path, None), resume=True)


# --- What needs several ranks -------------------------------------------------------------------------------------------


def communicator(comm: Communicator, folder: Path) -> Results:
    rank, size = comm.rank, comm.size
    assert comm.sums(1, rank) == [size, size * (size - 1) / 2]
    assert comm.any(rank == size - 1)
    assert not comm.any(False)
    assert comm.extremes(5 - rank) == (6 - size, 5)
    assert comm.broadcast_text(f"ä{rank}", 1) == "ä1"
    sent = {
        "text": np.array("settings"),
        "x": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "empty": np.empty((0, 2)),
        "one": np.array(7),
    }
    for name, array in comm.broadcast_arrays(sent if comm.is_leader else {}).items():
        np.testing.assert_array_equal(array, sent[name])
        assert array.dtype == sent[name].dtype
    rows = comm.gather_rows(np.full((rank, 2), rank, np.float32))
    if comm.is_leader:
        np.testing.assert_array_equal(rows, np.repeat(np.arange(size), np.arange(size))[:, None] * np.ones(2))
    comm.agree(None)
    kind, told = (ValueError, "no such thing") if rank == 1 else (PeerError, r"rank 1 of .: ValueError: no such thing")
    with pytest.raises(kind, match=told):
        comm.agree(ValueError("no such thing") if rank == 1 else None)
    assert comm.host_size == size
    assert comm.threads == max(1, machine.usable_cores() // size), "cores are divided among the ranks of a host"
    return {}


def hosts(comm: Communicator, folder: Path) -> Results:
    """Return the number of ranks, and of those on this host."""
    return {"sizes": np.array([comm.size, comm.host_size])}


def statistics_of_parts(comm: Communicator, folder: Path) -> Results:
    """Without `sync_batch_norm` running statistics are the means of the ranks', weighted by their images."""
    images = problem(11)[0].astype(np.float32)[:, None]
    net = Sequential(BatchNorm2d(1), Flatten(), Linear(64, 2, rng=0))
    fit(
        net, images, np.arange(11) % 2, batch_size=11, sampling="ordered", optimizer=SGD(net.params, 0.01), comm=comm, sync_batch_norm=False
    )
    parts = [images[11 * i // comm.size : 11 * (i + 1) // comm.size] for i in range(comm.size)]
    variance = sum(len(part) / 11 * part.var(ddof=1, dtype=np.float64) for part in parts)
    np.testing.assert_allclose(net.buffers["0.running_mean"], 0.1 * images.mean(), rtol=1e-5)
    np.testing.assert_allclose(net.buffers["0.running_var"], 0.9 + 0.1 * variance, rtol=1e-5)
    assert all(layer.add_up is None for layer in net.layers if isinstance(layer, BatchNorm2d))
    return {}


def not_a_number(comm: Communicator, folder: Path) -> Results:
    """One image of infinite brightness, which a single rank sees: the loss is NaN for all, and weights stay."""
    images = np.ones((8, 1, 4, 4), np.float32)
    images[-1] = np.inf
    net = Sequential(Flatten(), Linear(16, 2, rng=0))
    before = net.state_dict()
    with pytest.raises(FloatingPointError, match=r"step 1 of 1 \(epoch 1, batch 1 of 1\): the loss became"):
        fit(net, images, np.arange(8) % 2, batch_size=8, sampling="ordered", comm=comm)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    return {}


def mistakes(comm: Communicator, folder: Path) -> Results:
    """Make mistakes on one rank: all hear of them, before any step."""
    images, labels = problem(20)

    def attempt(error: type[Exception], match: str, **changes: Any) -> None:
        net = Sequential(Flatten(), Linear(64, 3, rng=0))
        with pytest.raises(error, match=match):
            fit(net, images, labels, comm=comm, **changes)

    mine = comm.rank == 1
    attempt(
        ValueError if mine else PeerError, "rank 1 cannot train with rank 0: its settings are others: seed was 0, now 1", seed=int(mine)
    )
    attempt(FileNotFoundError if comm.is_leader else PeerError, "there is no checkpoint", checkpoint=folder / "no.npz", resume=True)
    attempt(OSError if comm.is_leader else PeerError, "", checkpoint=folder / "everything-2.npz" / "in a file.npz")

    class Meddler(Callback):
        def on_epoch(self, run: Any) -> None:
            run.model.params["1.bias"][0] += comm.rank

    attempt(RuntimeError, "ranks no longer hold the same weights", callbacks=[Meddler()])
    return {}


def stopped(comm: Communicator, folder: Path) -> Results:
    """Stop by a callback of rank 0 alone: all ranks do after the same step."""

    class Stop(Callback):
        def on_step(self, run: Any) -> bool:
            return run.step == 2

    images, labels = problem(50)
    net = Sequential(Flatten(), Linear(64, 3))  # initial weights of fresh entropy: those of rank 0 count
    history = fit(net, images, labels, batch_size=5, callbacks=[Stop()] if comm.is_leader else [], comm=comm)
    assert len(history.step_losses) == 2
    assert machine.thread_limit() is None, "the limit ends with the training"
    return {}


# --- Ends of one rank ---------------------------------------------------------------------------------------------------


def die(comm: Communicator, folder: Path) -> Results:
    """End the last rank in the middle of training, in the way that a file tells, while the others wait for its sums."""
    how = (folder / "how").read_text()

    class End(Callback):
        def on_step(self, run: Any) -> None:
            if comm.rank == comm.size - 1 and run.step == 3:
                (folder / "dead").write_text(str(time.time()))
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if how == "exit":
                    sys.exit(7)
                raise KeyError("a callback's mistake")

    return everything(comm, folder, callbacks=[End()], checkpoint=Checkpoint(folder / "resume.npz", None, 2))


def main() -> None:
    """Run the functions that the arguments name."""
    folder = Path(sys.argv[1])
    with world() as comm:
        for name in sys.argv[2:]:
            work: Callable[[Communicator, Path], Results] = globals()[name]
            found = work(comm, folder)
            if comm.is_leader:
                np.savez(folder / f"{name}-{comm.size}.npz", **found)


if __name__ == "__main__":
    main()
