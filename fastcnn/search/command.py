"""The command `fastcnn search`: settings of a recipe, tried side by side on images held out."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import joblib

from .. import files
from ..data import DatasetNotFound, IdxError
from ..train.command import load_dataset
from ..train.recipes import DEFAULT, RECIPES
from . import dask_cluster, space
from .engines import BACKENDS
from .recipe_trial import RecipeTrial
from .searching import search
from .table import display_for
from .trial import Trial, ranked

PROG = "fastcnn search"
_VALIDATION = 0.2
# What `fastcnn train` has an option for, too.
_OPTIONS = {"recipe": "--recipe", "model": "--model", "epochs": "--epochs", "batch_size": "--batch-size", "learning_rate": "--lr",
            "optimizer": "--optimizer", "label_smoothing": "--label-smoothing", "average": "--average",
            "precision": "--precision"}  # fmt: skip


class CannotSearch(ValueError):
    """What the user must mend, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CannotSearch(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    p = _Parser(
        prog=PROG,
        description="Search for the best settings of a recipe. Training images held out judge them; the test images decide nothing.",
        epilog=f"settings: {', '.join(space.KINDS)}; lr is learning_rate",
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--grid", nargs="+", metavar="NAME=VALUE,...", help="try every combination: learning_rate=0.001,0.003 batch_size=64,128"
    )
    what.add_argument("--random", nargs="+", metavar=("N", "NAME=..."),
                      help="try N candidates drawn at random from values and ranges: 20 lr=1e-4..1e-2:log batch_size=32..256")  # fmt: skip
    p.add_argument("--dataset", choices=("auto", *RECIPES), default="auto",
                   help="auto: MNIST, or scikit-learn's small digits where MNIST can neither be found nor downloaded")  # fmt: skip
    p.add_argument("--data-dir", type=Path, help="folder that holds the *-ubyte.gz files (default: $FASTCNN_DATA, the cache, a download)")
    p.add_argument("--images", type=_whole(2), metavar="N", help="use the first N training images only")
    p.add_argument("--recipe", default=DEFAULT, choices=tuple(RECIPES["mnist"]), help=f"what is changed (default: {DEFAULT})")
    judged = p.add_mutually_exclusive_group()
    judged.add_argument("--validation", type=float, default=_VALIDATION, metavar="SHARE",
                        help=f"of the training images, held out to judge by (default: {_VALIDATION})")  # fmt: skip
    judged.add_argument("--folds", type=_whole(2), metavar="K", help="cross-validation instead: K trainings of every candidate")
    p.add_argument(
        "--seed", type=_whole(0), default=0, help="of candidates, parts, initial weights, shuffling; the same in all trials (default: 0)"
    )
    p.add_argument("--jobs", type=_whole(1), metavar="N", help="trials at a time (default: as many as cores)")
    p.add_argument("--threads", type=_whole(1), metavar="N", help="of every trial (default: cores / jobs, and with --resume as it was)")
    p.add_argument("--backend", choices=BACKENDS, default="loky", help="joblib's processes or threads, or a Dask cluster (default: loky)")
    p.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster (default: workers on this machine, for this search)")
    p.add_argument("--out", type=Path, metavar="DIR", help="keep every trial there as soon as it is over, in trials.jsonl")
    p.add_argument("--resume", action="store_true", help="go on with the search in --out; what is done is not done again")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write all trials, the best first, as JSON")
    return p


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 0, 1 where every trial failed, 130 after Ctrl-C.

    Raises
    ------
    CannotSearch
        The user must mend something.
    """
    arguments = parser().parse_args(argv)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        again = shlex.join(["fastcnn", "search", *argv, *([] if arguments.resume else ["--resume"])])
        print(f"\ninterrupted; {f'go on with: {again}' if arguments.out else '--out DIR would keep what --resume needs'}", file=sys.stderr)
        return 130
    except (ImportError, OSError, ValueError, DatasetNotFound, IdxError) as error:
        raise CannotSearch(" ".join(str(error).split())) from error


def _run(arguments: argparse.Namespace) -> int:
    if arguments.resume and arguments.out is None:
        raise CannotSearch("--resume needs --out DIR, the folder of the search to go on with")
    if arguments.scheduler and arguments.backend != "dask":
        raise CannotSearch("--scheduler is of a Dask cluster, and needs --backend dask")
    candidates = _candidates(arguments)
    if arguments.json:
        files.require_writable(arguments.json)  # now, rather than after the search
    dataset = load_dataset(arguments.dataset, arguments.data_dir)
    images, labels = dataset.train_images[: arguments.images], dataset.train_labels[: arguments.images]
    trial = RecipeTrial(dataset.name, arguments.recipe, arguments.validation, arguments.folds)
    for candidate in candidates:
        trial.check(candidate, images.shape[1], len(images))
    for _ in trial.parts(labels, arguments.seed):
        pass  # which refuses what cannot be held out, now rather than in every trial
    judged = f"{arguments.folds} folds" if arguments.folds else f"{arguments.validation:g} held out"
    print(f"{dataset.name}: {len(images):,} training images of {images.shape[1]} x {images.shape[2]}, {judged}; recipe {arguments.recipe}, "
          f"seed {arguments.seed}", flush=True)  # fmt: skip
    display = display_for()
    with _backend(arguments), contextlib.closing(display):
        trials = search(
            trial, candidates, (images, labels), seed=arguments.seed, jobs=arguments.jobs, threads=arguments.threads,
            backend=arguments.backend, folder=arguments.out, resume=arguments.resume, display=display,
            about={"dataset": dataset.name, "recipe": arguments.recipe, "judged by": judged},
        )  # fmt: skip
    return _close(arguments, dataset.name, judged, ranked(trials))


def _candidates(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.grid:
        return space.grid(space.axes_of(arguments.grid))
    count, *axes = arguments.random
    if not (count.isascii() and count.isdigit()):
        raise CannotSearch(f"--random needs how many candidates to draw first: --random 20 lr=1e-4..1e-2:log; got {count!r}")
    if not axes:
        raise CannotSearch(f"--random {count} needs settings to draw, such as lr=1e-4..1e-2:log batch_size=64,128")
    return space.sample(space.axes_of(axes), int(count), arguments.seed)


@contextlib.contextmanager
def _backend(arguments: argparse.Namespace) -> Iterator[None]:
    """Connect to Dask, or start its workers, where it is asked for."""
    if arguments.backend != "dask":
        yield
    elif arguments.scheduler:
        with dask_cluster.connected(arguments.scheduler):
            yield
    else:
        with dask_cluster.local(arguments.jobs or joblib.cpu_count()):
            yield


def _close(arguments: argparse.Namespace, dataset: str, judged: str, trials: list[Trial]) -> int:
    """Tell the best, write --json, and return the exit code."""
    first = trials[0]
    if arguments.json:
        from .. import info

        about = {"dataset": dataset, "recipe": arguments.recipe, "judged by": judged, "images": arguments.images, "seed": arguments.seed}
        found = {"search": about, "trials": [trial._asdict() for trial in trials], "environment": info.describe()}
        files.save_json(arguments.json, found)
    if first.score is None:
        print(f"every trial failed; trial {first.number}: {first.error}", file=sys.stderr)
        return 1
    print(f"\nbest: {', '.join(f'{name}={value}' for name, value in first.parameters.items())}   accuracy {100 * first.score:.2f} %")
    if set(first.parameters) <= set(_OPTIONS):
        settings = {"recipe": arguments.recipe, **first.parameters}
        words = [word for name, value in settings.items() for word in (_OPTIONS[name], str(value))]
        print(f"train with it: {shlex.join(['fastcnn', 'train', '--dataset', dataset, *words])}")
    return 0


def _whole(least: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}; got {text}")
        return value

    number.__name__ = "whole number"  # argparse: invalid whole number value: 'x'
    return number
