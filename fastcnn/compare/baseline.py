"""Code from outside the library that variants are compared with in the same process; it lies in a checkout's bench/baselines.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ..registry import Operation


class Baseline(NamedTuple):
    """Code from outside the library that variants are compared with.

    `run` has the parameters of the operation's reference; `flops`, its rough speed in FLOP/s, tells which problems are
    too large for it; ``refuses(problem)`` returns the reason where it computes only some problems.
    """

    name: str
    run: Callable[..., None]
    flops: float
    refuses: Callable[[Any], str | None] = lambda problem: None

    def leaves_out(self, op: Operation, direction: str, problem: Any, longest_call: float) -> str | None:
        """Return why this baseline is not timed on a problem, where a call may take `longest_call` seconds; None where it is."""
        if op.problem.work(problem, direction) > longest_call * self.flops:
            return f"left out: would take more than {longest_call:g} s a call"
        reason = self.refuses(problem)
        return f"refuses: {reason}" if reason else None


def baselines(op: str, direction: str) -> list[Baseline]:
    """Return the baselines of a checkout's bench/baselines.py; none where fastcnn is installed without it."""
    module = module_of_checkout()
    return module.baselines(op, direction) if module else []


def baseline_names() -> list[str]:
    """Return the names of all baselines of all operations, in order of their appearance."""
    module = module_of_checkout()
    return module.names() if module else []


@functools.cache
def module_of_checkout() -> ModuleType | None:
    """Return bench/baselines.py as a module; None where there is no checkout around this package."""
    root = Path(__file__).parents[2]
    path = root / "bench" / "baselines.py"
    if not path.is_file() or not (root / "pyproject.toml").is_file():  # an installed package must not run a stranger's bench/
        return None
    loader = SourceFileLoader("fastcnn_baselines", str(path))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    return module
