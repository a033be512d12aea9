"""Any number of ranks comes to the weights of a single process; and what ranks must agree on, they do."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from . import _worker
from ._launch import WORKER, launch

SHARED = ["everything", "momentum", "single_precision"]
TOGETHER = ["communicator", "statistics_of_parts", "not_a_number", "mistakes", "stopped"]


@cache
def alone(name: str) -> dict[str, np.ndarray]:
    return getattr(_worker, name)(None, Path())


def _compare(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    """Every array, relative to its largest value."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        difference = np.abs(np.asarray(found[name], float) - array).max()
        assert difference <= tolerance * np.abs(array).max(), f"{name}: {difference / np.abs(array).max():.1e}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


def _run(ranks: int, folder: Path, *names: str) -> None:
    done = launch(ranks, WORKER, folder, *names)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def two(folder: Path) -> Path:
    _run(2, folder, *SHARED, *TOGETHER, "interrupted")
    return folder


@pytest.fixture(scope="module")
def four(folder: Path, two: Path) -> Path:
    """Four ranks go on from what two have left."""
    shutil.copy(folder / "by2.npz", folder / "resume.npz")
    _run(4, folder, "everything", "single_precision", "communicator", "resumed", "interrupted")
    return folder


@pytest.mark.parametrize("name", SHARED)
def test_two_ranks(name: str, two: Path) -> None:
    """100 steps in float64 within 1e-12; in float32 within its rounding."""
    _compare(dict(np.load(two / f"{name}-2.npz")), alone(name), 1e-12 if name != "single_precision" else 1e-4)
    if name == "everything":
        assert len(alone(name)["losses"]) == 100
        assert alone(name)["epochs"][:, 2].argmin() < 3, "early stopping goes back to an earlier epoch's weights"


@pytest.mark.parametrize("name", ["everything", "single_precision"])
def test_four_ranks(name: str, four: Path) -> None:
    """The last batch of an epoch has three images: one rank has none."""
    _compare(dict(np.load(four / f"{name}-4.npz")), alone(name), 1e-12 if name != "single_precision" else 1e-4)


@pytest.mark.parametrize("name", TOGETHER)
def test_what_two_ranks_agree_on(name: str, two: Path) -> None:
    assert (two / f"{name}-2.npz").exists()


def test_checkpoints_are_for_any_number_of_ranks(four: Path) -> None:
    """Interrupted on two and resumed on four; interrupted on four and resumed alone: as if nothing had happened."""
    _compare(dict(np.load(four / "resumed-4.npz")), alone("everything"), 1e-12)
    with np.load(four / "by4.npz") as saved:
        assert '"step": 4' in str(saved["position"])
    shutil.copy(four / "by4.npz", four / "resume.npz")
    _compare(_worker.resumed(None, four), alone("everything"), 1e-12)
