"""Starts layouts of ranks and threads, each in processes of its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class NoMpi(RuntimeError):
    """mpi4py or `mpiexec` is missing; the message says what to install."""


def mpiexec() -> str:
    """Return the launcher that belongs to this Python, or one on the PATH."""
    own = Path(sys.executable).parent / "mpiexec"
    found = str(own) if own.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        raise NoMpi('needs mpi4py and mpiexec: pip install "fastcnn[mpi]"')
    return found


def layout(ranks: int, *options: object) -> dict[str, Any]:
    """Return what `bench.distributed.worker` measures on so many ranks.

    Raises
    ------
    NoMpi
    RuntimeError
        The job failed; the message is what it wrote to stderr.
    """
    command = [mpiexec(), "-n", str(ranks), sys.executable, "-m", "bench.distributed.worker", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
