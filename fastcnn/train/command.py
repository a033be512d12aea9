"""The command behind scripts/train_mnist.py and `fastcnn train`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import data, files, machine
from ..data import Dataset, DatasetNotFound, IdxError
from ..losses import SoftmaxCrossEntropy
from ..models import digit_net
from ..optim import Adam
from ..schedules import OneCycle
from .loop import Epoch, Pixels, predict, settings, train, warm_up
from .progress import progress_for


class Recipe(NamedTuple):
    """Defaults of a data set. MNIST's were looked at on its last 5,000 training images; the others are its, with more epochs, not tuned."""

    epochs: int
    batch_size: int
    learning_rate: float


RECIPES = {"mnist": Recipe(3, 128, 0.006), "fashion-mnist": Recipe(6, 128, 0.006), "digits": Recipe(20, 32, 0.003)}
LABEL_SMOOTHING = 0.05


def parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    p = argparse.ArgumentParser(prog=prog, description="Train a small CNN on MNIST on the CPU, and report its test accuracy.")
    p.add_argument("--dataset", choices=("auto", *RECIPES), default="auto",
                   help="auto: MNIST, or scikit-learn's small digits where MNIST can neither be found nor downloaded")  # fmt: skip
    p.add_argument("--data-dir", type=Path, help="folder that holds the *-ubyte.gz files (default: $FASTCNN_DATA, the cache, a download)")
    p.add_argument("--epochs", type=_positive, help="default: " + settings(**{name: r.epochs for name, r in RECIPES.items()}))
    p.add_argument("--batch-size", type=_positive, help="default: " + settings(**{name: r.batch_size for name, r in RECIPES.items()}))
    p.add_argument("--seed", type=_seed, default=0, help="of initial weights and shuffling (default: 0)")
    p.add_argument("--threads", type=_positive, help="default: all usable cores")
    p.add_argument("--out", type=Path, metavar="DIR", help="write weights.npz, result.json and training.png there")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    return p


def main(argv: Sequence[str] | None = None, prog: str = "train_mnist.py") -> int:
    """Run the command; return its exit code: 0, 2 for what the user must mend, 130 after Ctrl-C."""
    arguments = parser(prog).parse_args(argv)
    try:
        return _run(arguments)
    except (DatasetNotFound, IdxError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    begin = time.perf_counter()
    if arguments.threads and arguments.threads > machine.max_threads():
        print(f"error: --threads {arguments.threads}: this machine lets us use {machine.max_threads()}", file=sys.stderr)
        return 2
    for path in filter(None, (arguments.json, arguments.out and arguments.out / "result.json")):
        files.require_writable(path)  # now, rather than after the training
    dataset = _load(arguments.dataset, arguments.data_dir)
    recipe = RECIPES[dataset.name]
    epochs, batch_size = arguments.epochs or recipe.epochs, arguments.batch_size or recipe.batch_size
    threads = arguments.threads or machine.get_threads()
    rng = np.random.default_rng(arguments.seed)
    size = dataset.train_images.shape[1]
    model = digit_net(size, rng)
    initial = model.state_dict()
    images, labels = dataset.train_images, dataset.train_labels
    print(f"{dataset.name}: {len(images):,} training and {len(dataset.test_images):,} test images of {size} x {size}")
    print(model.summary((1, size, size)))
    print(settings(epochs=epochs, batch_size=batch_size, learning_rate=recipe.learning_rate, seed=arguments.seed, threads=threads))

    pixels, loss = Pixels(images), SoftmaxCrossEntropy(LABEL_SMOOTHING)
    optimizer = Adam(model.params, recipe.learning_rate, betas=(0.7, 0.9))
    schedule = OneCycle(recipe.learning_rate, epochs * -(-len(images) // batch_size), warmup=0.15, anneal="linear")
    with _limited(threads):
        _compile(model, pixels(images[:batch_size]), labels[:batch_size], loss)
        progress = progress_for()
        try:
            history = train(
                model, images, labels, pixels=pixels, loss=loss, optimizer=optimizer, schedule=schedule,
                epochs=epochs, batch_size=batch_size, rng=rng, progress=progress,
            )  # fmt: skip
        finally:
            progress.close()
        logits = predict(model, dataset.test_images, pixels)
    seconds = history[-1].seconds
    accuracy = float(np.mean(logits.argmax(axis=1) == dataset.test_labels))
    result = {
        "dataset": dataset.name,
        "test_accuracy": accuracy,
        "train_images": len(images),
        "test_images": len(dataset.test_images),
        "epochs": epochs,
        "train_seconds": seconds,
        "total_seconds": time.perf_counter() - begin,
        "images_per_second": epochs * len(images) / seconds,
        "parameters": model.parameter_count,
        "threads": threads,
        "seed": arguments.seed,
    }
    print(f"test accuracy {100 * accuracy:.2f} %   {result['images_per_second']:,.0f} images/s   "
          f"training {seconds:.1f} s   in all {result['total_seconds']:.1f} s")  # fmt: skip
    if arguments.json:
        files.save_json(arguments.json, result)
    if arguments.out:
        _write_report(arguments.out, model.state_dict(), initial, result, history, logits, dataset)
    return 0


def _load(name: str, folder: Path | None) -> Dataset:
    loaders = {"mnist": data.mnist, "fashion-mnist": data.fashion_mnist}
    if name == "digits":
        return data.digits()
    try:
        return loaders["mnist" if name == "auto" else name](folder)
    except DatasetNotFound:
        if name != "auto":
            raise
        print(
            "*** MNIST is not here and cannot be downloaded: training on scikit-learn's 8 x 8 digits instead "
            "(--dataset mnist tells why, and what to do) ***",
            file=sys.stderr,
            flush=True,
        )
        return data.digits()


def _compile(model: Any, inputs: np.ndarray, labels: np.ndarray, loss: SoftmaxCrossEntropy) -> None:
    begin = time.perf_counter()
    print("preparing kernels (a first run compiles them; they are kept on disk) ... ", end="", flush=True)
    warm_up(model, inputs, labels, loss)
    print(f"ready after {time.perf_counter() - begin:.1f} s", flush=True)


@contextlib.contextmanager
def _limited(threads: int) -> Iterator[None]:
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


def _write_report(
    folder: Path,
    weights: dict[str, np.ndarray],
    initial: dict[str, np.ndarray],
    result: dict[str, Any],
    history: list[Epoch],
    logits: np.ndarray,
    dataset: Dataset,
) -> None:
    files.save_arrays(folder / "weights.npz", weights)
    files.save_json(folder / "result.json", {**result, "history": [epoch._asdict() for epoch in history]})
    try:
        from ..report.figures import training_figure
    except ImportError:
        print(f'{folder}: wrote weights.npz and result.json (pip install "fastcnn[train]" adds the picture)')
        return
    training_figure(folder / "training.png", history, initial, weights, logits, dataset.test_images, dataset.test_labels)
    print(f"{folder}: wrote weights.npz, result.json and training.png")


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
