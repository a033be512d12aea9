"""The command behind scripts/train_mnist.py and `fastcnn train`: a recipe, `fit`, and what came of it."""

from __future__ import annotations

import argparse
import contextlib
import math
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, files, machine, warmup
from ..console import ends_with_its_reader
from ..data import Dataset, DatasetNotFound, IdxError
from ..data.split import split
from ..distributed import Communicator
from ..models import MODELS
from ..registry import PRECISIONS
from .callbacks import EarlyStopping
from .checkpoint import Checkpoint
from .evaluation import predict
from .fit import fit
from .history import History
from .interrupt import Interrupted
from .progress import progress_for
from .ranks import in_parts, on_ranks, one_first
from .recipes import DEFAULT, OPTIMIZERS, RATES, RECIPES, Recipe, build, prepare_kernels


def parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    p = argparse.ArgumentParser(prog=prog, description="Train a small CNN on MNIST on the CPU, and report its test accuracy.")
    p.add_argument("--dataset", choices=("auto", *RECIPES), default="auto",
                   help="auto: MNIST, or scikit-learn's small digits where MNIST can neither be found nor downloaded")  # fmt: skip
    p.add_argument("--data-dir", type=Path, help="folder that holds the *-ubyte.gz files (default: $FASTCNN_DATA, the cache, a download)")
    epochs = ", ".join(f"{name} {recipe.epochs:g}" for name, recipe in RECIPES["mnist"].items())
    p.add_argument("--recipe", choices=tuple(RECIPES["mnist"]), default=DEFAULT,
                   help=f"settings that go together (default: {DEFAULT}); epochs on MNIST: {epochs}")  # fmt: skip
    changes = p.add_argument_group("changes to the recipe")
    changes.add_argument("--model", choices=tuple(MODELS))
    changes.add_argument("--epochs", type=_above_zero, metavar="NUMBER", help="0.5 is half an epoch")
    changes.add_argument("--batch-size", type=_positive, metavar="INT")
    changes.add_argument("--lr", type=_above_zero, metavar="NUMBER", help="the highest learning rate of the schedule")
    changes.add_argument("--optimizer", choices=tuple(OPTIMIZERS))
    changes.add_argument("--label-smoothing", type=_share_or_zero, metavar="SHARE")
    changes.add_argument("--average", type=_share_or_zero, metavar="DECAY", help="of a moving average of the weights; 0 is none")
    changes.add_argument("--precision", choices=PRECISIONS)
    changes.add_argument("--no-augment", action="store_true", help="train on the images as they are")
    p.add_argument("--validation", type=_share, metavar="SHARE", help="share of the training images kept to judge every epoch by")
    p.add_argument("--patience", type=_positive, metavar="EPOCHS",
                   help="stop after so many epochs without a better validation loss, and go back to the best")  # fmt: skip
    p.add_argument("--seed", type=_seed, default=0, help="of initial weights, shuffling and augmentation (default: 0)")
    p.add_argument("--threads", type=_positive, help="default: all usable cores")
    p.add_argument("--checkpoint", type=Path, metavar="FILE",
                   help="keep there, now and then and at Ctrl-C, what --resume needs (with --out: DIR/checkpoint.npz)")  # fmt: skip
    p.add_argument("--checkpoint-every", type=_above_zero, default=Checkpoint.seconds, metavar="SECONDS",
                   help=f"default: {Checkpoint.seconds:g}; ends of epochs count too, where saving is quick beside them")  # fmt: skip
    p.add_argument("--resume", type=Path, nargs="?", const=Path(), metavar="FILE", help="go on from a checkpoint, with the same options")
    p.add_argument("--out", type=Path, metavar="DIR", help="write weights, history, result and a report there")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    p.add_argument("--distributed", action="store_true",
                   help="train together with the other processes that `mpiexec -n N` starts, all with these options")  # fmt: skip
    return p


@ends_with_its_reader
def main(argv: Sequence[str] | None = None, program: Sequence[str] = ("train_mnist.py",)) -> int:
    """Run the command, which the user calls by the words of `program`.

    Returns the exit code: 0, 1 where the loss became NaN, 2 for what the user must mend, 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parser(" ".join(program)).parse_args(argv)
    ranks = 0

    def on_rank(comm: Communicator) -> int:
        nonlocal ranks
        ranks = comm.size
        return _run(arguments, comm)

    try:
        return on_ranks(on_rank, _MISTAKES) if arguments.distributed else _run(arguments)
    except BrokenPipeError:  # an OSError, but no mistake
        raise
    except _MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        again = [*(["mpiexec", "-n", str(ranks)] if ranks else []), *program, *argv, *([] if arguments.resume else ["--resume"])]
        kept = _checkpoint(arguments)
        advice = f"go on with: {shlex.join(again)}" if kept else "--checkpoint FILE would keep what --resume needs"
        print(f"\n{interrupted}\n{advice}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


class _Mistake(ValueError):
    """What the user must mend, in one line."""


_MISTAKES = (DatasetNotFound, IdxError, ImportError, OSError, _Mistake)


def _run(arguments: argparse.Namespace, comm: Communicator | None = None) -> int:
    begin = time.perf_counter()
    leads = comm is None or comm.is_leader
    if arguments.threads and arguments.threads > machine.max_threads():
        raise _Mistake(f"--threads {arguments.threads}: this machine lets us use {machine.max_threads()}")
    if arguments.patience and not arguments.validation:
        raise _Mistake("--patience needs --validation SHARE, images to judge the epochs by")
    checkpoint = _checkpoint(arguments)
    if leads and arguments.resume is not None and (checkpoint is None or not checkpoint.is_file()):
        raise _Mistake(
            f"--resume: there is no checkpoint {checkpoint}" if checkpoint else "--resume FILE: name the checkpoint to go on from"
        )
    for path in filter(None, (arguments.json, arguments.out and arguments.out / "result.json", checkpoint)) if leads else ():
        files.require_writable(path)  # now, rather than after the training
    dataset = load_dataset(arguments.dataset, arguments.data_dir)
    recipe = _recipe(arguments, dataset.name)
    kept, judges = _split(dataset, arguments.validation, arguments.seed)
    threads = arguments.threads or (machine.get_threads() if comm is None else comm.threads)
    ranks = 1 if comm is None else comm.size
    size = dataset.train_images.shape[1]
    parts = build(recipe, size, len(kept[0]), arguments.seed)
    initial = parts.model.state_dict()
    print(f"{dataset.name}: {len(dataset.train_images):,} training and {len(dataset.test_images):,} test images of {size} x {size}"
          + (f", {len(judges[0]):,} of the former for validation" if judges else ""))  # fmt: skip
    print(parts.model.summary((1, size, size)))
    print(_settings(arguments.recipe, recipe, arguments.seed, threads, ranks), flush=True)
    with limited(threads):
        with warmup.compiling_line(), one_first(comm):
            own = replace(recipe, batch_size=-(-recipe.batch_size // ranks))
            prepare_kernels(own, (size, size), -(-len(kept[0]) // ranks), arguments.seed)
        ready = time.perf_counter() - begin
        try:
            history = fit(
                parts.model, *kept, epochs=recipe.epochs, batch_size=recipe.batch_size, validation=judges, loss=parts.loss,
                optimizer=parts.optimizer, schedule=parts.schedule, augment=parts.augment, average=recipe.average,
                precision=recipe.precision, early_stopping=EarlyStopping(arguments.patience) if arguments.patience else None,
                progress=progress_for(), seed=arguments.seed, checkpoint=checkpoint and Checkpoint(checkpoint, arguments.checkpoint_every),
                resume=arguments.resume is not None, comm=comm,
            )  # fmt: skip
        except ValueError as error:
            raise _Mistake(error) from error
        normal = history.mean, history.deviation
        logits = in_parts(
            comm,
            dataset.test_images,
            lambda images: predict(parts.model, images, *normal, precision=recipe.precision, shifts=recipe.shifts),
        )
    if logits is None:
        return 0  # rank 0 tells
    accuracy = float(np.mean(logits.argmax(axis=1) == dataset.test_labels))
    seconds = history.epochs[-1].seconds
    rate = _images_seen(history, len(kept[0]), recipe.batch_size) / seconds
    result = {
        "dataset": dataset.name,
        "model": recipe.model,
        "mean": history.mean,
        "deviation": history.deviation,
        "test_accuracy": accuracy,
        "validation_accuracy": history.epochs[-1].validation_accuracy,
        "train_images": len(kept[0]),
        "test_images": len(dataset.test_images),
        "epochs": recipe.epochs,
        "train_seconds": seconds,
        "ready_seconds": ready,
        "total_seconds": time.perf_counter() - begin,
        "images_per_second": rate,
        "parameters": parts.model.parameter_count,
        "threads": threads,
        **({} if comm is None else {"ranks": ranks}),
        "seed": arguments.seed,
        "recipe": arguments.recipe,
        "settings": asdict(recipe),
    }
    print(f"test accuracy {100 * accuracy:.2f} %   {rate:,.0f} images/s   "
          f"training {seconds:.1f} s   in all {result['total_seconds']:.1f} s", flush=True)  # fmt: skip
    if arguments.json or arguments.out:
        from .. import info

        result["environment"] = info.describe()
    if arguments.json:
        files.save_json(arguments.json, result)
    if arguments.out:
        _write_run(arguments.out, parts.model, initial, history, result, logits, dataset)
    return 0


def _checkpoint(arguments: argparse.Namespace) -> Path | None:
    """Return the file that --resume FILE, --checkpoint or --out name, in this order."""
    if arguments.resume is not None and arguments.resume != Path():
        return Path(arguments.resume)
    return arguments.checkpoint or (arguments.out and arguments.out / "checkpoint.npz")


def _recipe(arguments: argparse.Namespace, dataset: str) -> Recipe:
    recipe = RECIPES[dataset][arguments.recipe]
    optimizer = arguments.optimizer or recipe.optimizer
    changes = {
        "model": arguments.model,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.lr or recipe.learning_rate * RATES[optimizer] / RATES[recipe.optimizer],
        "optimizer": optimizer,
        "label_smoothing": arguments.label_smoothing,
        "precision": arguments.precision,
    }
    recipe = replace(recipe, **{name: value for name, value in changes.items() if value is not None})
    if arguments.average is not None:
        recipe = replace(recipe, average=arguments.average or None)
    return replace(recipe, augment=None) if arguments.no_augment else recipe


def _settings(name: str, recipe: Recipe, seed: int, threads: int, ranks: int) -> str:
    """Return a line of what the recipe says, without what it leaves out."""
    values = {"epochs": f"{recipe.epochs:g}", "batch_size": recipe.batch_size, "optimizer": recipe.optimizer,
              "lr": f"{recipe.learning_rate:g} {recipe.schedule}", "label_smoothing": recipe.label_smoothing,
              "weight_decay": recipe.weight_decay, "average": recipe.average, "precision": recipe.precision,
              "shifts": recipe.shifts}  # fmt: skip
    changes = (
        {name: value for name, value in asdict(recipe.augment).items() if name not in ("erase_size", "elastic_sigma")}
        if recipe.augment
        else {}
    )
    values["augment"] = " ".join(f"{name} {value:g}" for name, value in changes.items() if value)
    shown = {key: value for key, value in values.items() if value} | {"seed": seed, "threads": threads}
    if ranks > 1:
        shown |= {"threads": f"{threads} on each of {ranks} ranks"}
    return f"recipe {name}: " + ", ".join(f"{key}={value}" for key, value in shown.items())


def _split(dataset: Dataset, share: float | None, seed: int) -> tuple[tuple[Any, Any], tuple[Any, Any] | None]:
    images, labels = dataset.train_images, dataset.train_labels
    if share is None:
        return (images, labels), None
    try:
        kept, held = split(labels, share, seed)
    except ValueError as error:
        raise _Mistake(error) from error
    return (images[kept], labels[kept]), (images[held], labels[held])


def _images_seen(history: History, images: int, batch_size: int) -> int:
    epochs, steps = divmod(len(history.step_losses), -(-images // batch_size))
    return epochs * images + steps * batch_size


# --- Before training ---------------------------------------------------------------------------------------------------


def _beside(load: Callable[[], Dataset], other: Callable[[], Any]) -> Dataset:
    """Return what `load` returns, or raise what it raises, with `other` run meanwhile."""
    found: list[Dataset] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(load())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)  # a daemon: Ctrl-C does not wait for a download
    thread.start()
    other()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]


def _start_numba() -> None:
    """Import Numba, and what it loads at its first kernel: 0.3 s, in which a second core unpacks the data set.

    A fresh process spares itself SciPy, in which Numba looks for a BLAS that no kernel of ours calls: 0.17 s.
    """
    fresh = not {"numba", "scipy"} & set(sys.modules)
    if fresh:
        sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        machine.numba()
        from numba.core.registry import cpu_target

        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()
    finally:
        if fresh:
            del sys.modules["scipy"]


def load_dataset(name: str, folder: Path | None) -> Dataset:
    """Return the data set, with Numba started too."""
    if name == "digits":
        _start_numba()
        return data.digits()  # after it: scikit-learn needs SciPy
    load = data.fashion_mnist if name == "fashion-mnist" else data.mnist
    try:
        return _beside(lambda: load(folder), _start_numba)
    except DatasetNotFound:
        if name != "auto":
            raise
        print(
            "*** MNIST is not here and cannot be downloaded: training on scikit-learn's 8 x 8 digits instead "
            "(fastcnn train --dataset mnist tells why, and what to do) ***",
            file=sys.stderr,
            flush=True,
        )
        return data.digits()


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Limit our kernels to so many threads, and NumPy's BLAS to one, where threadpoolctl can reach it.

    OpenBLAS's idle workers spin on the cores that our kernels need: with two of each a step took 27 ms, with one of its 16 ms.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(machine.threads(threads))
        try:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(1, user_api="blas"))
        except ImportError:
            pass  # comes with the extra "train"; without it BLAS uses all cores
        yield


# --- After training ----------------------------------------------------------------------------------------------------


def _write_run(folder: Path, model: Any, initial: Any, history: History, result: Any, logits: np.ndarray, dataset: Dataset) -> None:
    from ..report.run_folder import write_run

    write_run(folder, model, initial, history, result, logits, dataset)
    print(f"{folder / 'report.html'}: the run in pictures")


# --- Arguments ---------------------------------------------------------------------------------------------------------


def _number(text: str, low: float, high: float, closed: bool, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (low <= value < high if closed else low < value < high):
        raise argparse.ArgumentTypeError(f"must be {expected}; got {text}")
    return value


def _above_zero(text: str) -> float:
    return _number(text, 0, math.inf, False, "a number above 0")


def _share(text: str) -> float:
    return _number(text, 0, 1, False, "between 0 and 1")


def _share_or_zero(text: str) -> float:
    return _number(text, 0, 1, True, "at least 0 and below 1")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {text}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative; got {text}")
    return value
