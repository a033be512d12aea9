"""Keras's NumPy backend with our kernels, in a process of its own: the backend is chosen when Keras is imported."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

if importlib.util.find_spec("keras") is None:  # importing it here would choose a backend
    pytest.skip("Keras is not installed: pip install keras (extra 'partners')", allow_module_level=True)
pytest.importorskip("jax", reason="JAX, which Keras's NumPy backend needs, is not installed: pip install jax (extra 'partners')")

HERE = Path(__file__).parent


def _run(home: Path, *command: str, backend: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(home), "PYTHONPATH": str(HERE.parents[1])}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)


def test_models_predict_the_same(tmp_path: Path) -> None:
    done = _run(tmp_path, str(HERE / "_keras_models.py"), backend="numpy")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith(("float32", "float64", "float16")) for line in lines) == 39
    refusals = [line for line in lines if line.startswith("refused: ")]
    assert len(refusals) == 3
    assert "Kernel size can't be greater" in refusals[0]
    assert "evenly divisible" in refusals[1]
    assert "written for Keras 3.15.x; got 3.99.0" in refusals[2]


def test_example(tmp_path: Path) -> None:
    text = (HERE.parents[1] / "fastcnn" / "adapters" / "keras.py").read_text("utf-8")
    (tmp_path / "example.py").write_text(textwrap.dedent(text.split("in the environment::\n", 1)[1].split('"""', 1)[0]))
    done = _run(tmp_path, str(tmp_path / "example.py"), backend="numpy")
    assert done.stdout.strip() == "(2, 12, 12, 8)", done.stderr


def test_another_backend_is_refused(tmp_path: Path) -> None:
    done = _run(tmp_path, "-c", "from fastcnn.adapters import keras; keras.install()", backend="jax")
    assert "install: Keras must run on its NumPy backend (KERAS_BACKEND=numpy); got 'jax'" in done.stderr
