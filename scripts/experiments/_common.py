"""What the experiments share: arguments, data, tables and pictures.

An experiment is a file with a function ``main(argv)`` that prints what it finds, draws it and returns it, and ends in::

    if __name__ == "__main__":
        sys.exit(run(main))
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastcnn import files, machine
from fastcnn.data import Dataset, DatasetNotFound, IdxError, digits
from fastcnn.extras import require
from fastcnn.train.command import limited, load_dataset

# Okabe and Ito's colours, which people who are blind to some colours can tell apart; without the yellow, too pale for lines on white.
BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#222222", "#8A8A8A"
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK, GREY)
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 110,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "font.size": 10,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


# --- Arguments ---------------------------------------------------------------------------------------------------------


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every experiment takes, described by the file's docstring; add to it what one takes besides."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="seconds instead of minutes: scikit-learn's small digits, or less of what is done")
    p.add_argument("--out", type=Path, default=Path("runs/experiments"), metavar="DIR", help="where pictures go (default: %(default)s)")
    p.add_argument("--data-dir", type=Path, metavar="DIR",
                   help="folder that holds MNIST's *-ubyte.gz files (default: $FASTCNN_DATA, the cache, a download)")  # fmt: skip
    p.add_argument("--seed", type=_seed, default=0, help="of initial weights, shuffling and draws (default: 0)")
    return p


def count(text: str) -> int:
    """Return a whole number from 1: a `type` of arguments."""
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not (text.isdecimal() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}; got {text}")
    return int(text)


def run(main: Callable[[Sequence[str]], Any]) -> int:
    """Run an experiment with the command line's arguments; return 0, 2 for what the user must mend, 130 after Ctrl-C."""
    try:
        with limited(machine.get_threads()):
            main(sys.argv[1:])
    except (DatasetNotFound, IdxError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return 0


# --- Data --------------------------------------------------------------------------------------------------------------


def load(options: argparse.Namespace) -> Dataset:
    """Return MNIST - scikit-learn's 8 x 8 digits with ``--quick``, or where MNIST can neither be found nor downloaded - and tell which.

    Raises
    ------
    DatasetNotFound
        ``--data-dir`` names a folder without MNIST.
    """
    name = "mnist" if options.data_dir else "auto"  # a folder that the user names is meant: nothing else will do
    found = digits() if options.quick else load_dataset(name, options.data_dir)
    tell(f"{found.name}: {len(found.train_images):,} training and {len(found.test_images):,} test images "
         f"of {found.train_images.shape[1]} x {found.train_images.shape[2]}")  # fmt: skip
    return found


def inputs(images: np.ndarray) -> np.ndarray:
    """Return bytes (N, H, W) as what networks take: (N, 1, H, W) float32, from 0 to 1."""
    return images[:, None].astype(np.float32) / np.float32(255)


# --- What is printed ---------------------------------------------------------------------------------------------------


def tell(text: str) -> None:
    """Print a line now, also in a pipe."""
    print(text, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table: the first column to the left, the others to the right; numbers that are no integers with four digits."""
    cells = [list(head), *([f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = ["  ".join([f"{line[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))])
             for line in cells]  # fmt: skip
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


# --- Pictures ----------------------------------------------------------------------------------------------------------


def figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None, title: str = "", **options: Any) -> tuple[Any, Any]:
    """Return a figure of matplotlib and an array (rows, columns) of its axes.

    A figure by itself, without pyplot: it belongs to no window and no screen is needed.

    Parameters
    ----------
    rows, columns : int
    size : (float, float), optional
        Width and height in inches; by default 6 x 4 for a single chart, and 4.2 x 3.4 for each of several.
    title : str
        Above all of them.
    options
        Of `matplotlib.figure.Figure.subplots`, such as ``sharey=True``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "matplotlib", "experiments", "an experiment's picture")
    matplotlib.rcParams.update({**_STYLE, "axes.prop_cycle": matplotlib.cycler(color=COLOURS)})
    alone = rows == columns == 1
    drawn = importlib.import_module("matplotlib.figure").Figure(
        figsize=size or ((6.4, 4.2) if alone else (4.2 * columns, 3.4 * rows)), layout="constrained"
    )
    if title:
        drawn.suptitle(title, x=0.01, ha="left")
    return drawn, drawn.subplots(rows, columns, squeeze=False, **options)


def save(drawn: Any, options: argparse.Namespace, name: str) -> Path:
    """Write a figure as ``--out``/`name`.png, whole or not at all, tell where, and return the path."""
    path: Path = options.out / f"{name}.png"
    with files.replacing(path) as file:
        drawn.savefig(file, format="png", facecolor="white")
    tell(f"picture: {path}")
    return path


def percent(axes: Any) -> None:
    """Let the y axis of a chart of shares, 0 to 1, read in per cent."""
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
