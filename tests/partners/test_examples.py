"""The examples of scripts/examples, each run as people run it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS = {"pytorch_digits.py": "torch", "autograd_digits.py": "autograd", "jax_digits.py": "jax"}


def test_every_example_is_known() -> None:
    assert {path.name for path in (ROOT / "scripts" / "examples").glob("*.py")} >= set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_example_learns(name: str) -> None:
    for module in (NEEDS[name], "sklearn"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (extras 'partners' and 'train')")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "examples" / name], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    accuracies = [float(number) for number in re.findall(r"0\.\d{4}|1\.0000", done.stdout)]
    assert len(accuracies) == (2 if name == "pytorch_digits.py" else 1)
    assert min(accuracies) > 0.95
    assert len(set(accuracies)) == 1
