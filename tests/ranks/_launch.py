"""Starts a Python script on several ranks of this machine."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("_worker.py")


def mpiexec() -> str:
    """Return the launcher: that of the environment this Python runs in, or one on the PATH; skip where MPI is missing."""
    own = Path(sys.executable).parent / "mpiexec"
    found = str(own) if own.exists() else shutil.which("mpiexec")
    if importlib.util.find_spec("mpi4py") is None or found is None:
        pytest.skip('needs mpi4py and mpiexec: pip install "fastcnn[mpi]"')
    return found


def command(ranks: int, *arguments: object) -> list[str]:
    return [mpiexec(), "-n", str(ranks), sys.executable, *map(str, arguments)]


def launch(ranks: int, *arguments: object, seconds: float = 100) -> subprocess.CompletedProcess[str]:
    """Run a script on so many ranks, more than there are cores if need be, to its end."""
    return subprocess.run(command(ranks, *arguments), capture_output=True, text=True, cwd=ROOT, timeout=seconds, env=environment())


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
