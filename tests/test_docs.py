"""What the README and the docstrings show works as shown."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "fastcnn").rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)
PARTNERS = "fastcnn.adapters."  # whose examples run where the partner is: in tests/partners


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_docstring_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if not (name.startswith(PARTNERS) and "needs" in str(error)):
            raise
        pytest.skip(str(error))
    tried = doctest.testmod(module, raise_on_error=False)
    assert tried.attempted > 0
    assert tried.failed == 0


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"^\w.*$", block, re.M)[-1][:40])
def test_readme_examples(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "README.md", "exec"), {})  # every block stands alone
    printed = capsys.readouterr().out.strip()
    for expected in re.findall(r"^print\(.*# (.*)$", block, re.M):
        assert expected in printed
    if "loss" in block:
        assert float(printed.split()[-1]) < 0.5


def test_readme_has_its_examples() -> None:
    lines = [sum(bool(line.strip()) for line in block.splitlines()) for block in BLOCKS]
    assert len(BLOCKS) == 5
    assert lines[0] <= 5
    assert max(lines[1:3]) <= 10


def test_commands_of_the_readme_are_complete() -> None:
    for kind, runs in (("train", "scripts/train_mnist.py"), ("test", "-m pytest")):
        command = re.search(rf"<!-- {kind} command -->\n```sh\n(.*?)\n```", README, re.S)[1]
        steps = command.split(" && ")
        assert len(steps) == 3
        assert steps[0] == "python3 -m venv .venv"
        assert runs in steps[2]


def test_files_named_in_the_readme_exist() -> None:
    for name in re.findall(r"`((?:fastcnn|tests|bench|scripts)/[\w./]+)`", README):
        assert (ROOT / name).exists() or name.endswith("mine.py"), name


def test_script_has_help() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/train_mnist.py", "--help"], capture_output=True, text=True, cwd=ROOT, env=_environment()
    )
    assert done.returncode == 0
    for option in ("--dataset", "--data-dir", "--epochs", "--batch-size", "--seed", "--threads", "--out", "--json"):
        assert option in done.stdout


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
