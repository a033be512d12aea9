"""Code in a fresh interpreter, on one of Numba's threading layers."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("tbb", "omp", "workqueue")
CONV = """
    import numpy as np, fastcnn
    rng = np.random.default_rng(0)
    x, w = rng.integers(-4, 5, (16, 8, 20, 20)).astype(np.float32), rng.integers(-4, 5, (32, 8, 3, 3)).astype(np.float32)
    def conv(): return fastcnn.conv2d(x, w, algorithm="direct")
"""  # work for several threads, and whole numbers: every right result has the same bits


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a process that imports this working tree and may use two threads."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "2", **changes}


def program(*parts: str) -> str:
    """Return pieces of indented code as one program."""
    return "\n".join(map(textwrap.dedent, parts))


def python(*code: str, fails: bool = False, timeout: float = 60, prefix: tuple[str, ...] = (), **env: str) -> str:
    """Run code and return what it prints; it has to end, with status 0 unless it `fails`."""
    with tempfile.TemporaryDirectory() as elsewhere:
        path = Path(elsewhere) / "program.py"  # a file, which processes that are spawned can import
        path.write_text(program(*code))
        command = [*prefix, sys.executable, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(**env), cwd=elsewhere, timeout=timeout)
    assert fails == (done.returncode != 0), (done.returncode, done.stdout + done.stderr)
    return done.stdout + done.stderr


@functools.cache
def has_layer(layer: str) -> bool:
    """Whether Numba can start a threading layer here."""
    code = """
        from fastcnn import machine
        machine.load_threading_library()
        from numba.np.ufunc import parallel
        try:
            parallel._launch_threads()
            print("here")
        except ValueError as error:
            assert "No threading layer could be loaded" in str(error), error
    """
    return python(code, NUMBA_THREADING_LAYER=layer) == "here\n"


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> str:
    """Return a threading layer that is installed."""
    if not has_layer(request.param):
        pytest.skip(f"Numba has no threading layer {request.param} here")
    name: str = request.param
    return name


def on_layer(layer: str, *code: str, **options: object) -> str:
    """Run code after which that layer must have been in use, and return what it printed."""
    check = f"""
        if __name__ == "__main__":
            import numba
            assert numba.threading_layer() == {layer!r}, numba.threading_layer()
    """
    return python(*code, check, NUMBA_THREADING_LAYER=layer, **options)  # type: ignore[arg-type]
