"""Runs of experiments in this process, and a look at the pictures they leave."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_FEWEST = 40  # pixels of a colour that count as drawn: a sample in a legend alone has some 30
_NEAR = 4  # of 255: matplotlib 3.8 draws letters that are nowhere of their colour altogether


def quick(name: str, folder: Path, *arguments: str) -> Any:
    """Run ``scripts/experiments/<name>.py --quick --out folder`` with more arguments, and return what it found."""
    return importlib.import_module(name).main(["--quick", "--out", str(folder), *arguments])


def pixels(path: Path) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def assert_drawn(path: Path, colours: Iterable[str] = (), least: int = 30) -> None:
    """Assert that a picture is not blank: at least so many different colours, and enough pixels of each of `colours` ("#0072B2")."""
    found, counts = np.unique(pixels(path).reshape(-1, 3), axis=0, return_counts=True)
    assert len(found) >= least, f"{path.name} has {len(found)} colours"
    assert counts.max() < 0.99 * counts.sum(), f"{path.name} is nearly all of one colour"
    for colour in colours:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        count = counts[(np.abs(found.astype(int) - wanted) <= _NEAR).all(axis=1)].sum()
        assert count >= _FEWEST, f"{path.name} has {count} pixels of {colour}"
