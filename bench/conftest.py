"""The option --suite, the parametrisation over the grid, and what is reported beside the times. See the package for how to run it."""

from __future__ import annotations

from typing import Any

import pytest

from fastcnn.info import describe

from .grid import SUITES, Entry, grid

_LEFT_OUT: pytest.StashKey[list[Entry]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --suite."""
    parser.addoption("--suite", choices=sorted(SUITES), default="full", help="which benchmarks to run (default: full)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep tables narrow enough to read side by side, unless --benchmark-columns asks otherwise."""
    config.option.benchmark_columns = config.option.benchmark_columns or ["median", "iqr", "min", "rounds", "iterations"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `entry` every benchmark of the suite."""
    if "entry" in metafunc.fixturenames:
        entries = grid(SUITES[metafunc.config.getoption("--suite")])
        metafunc.config.stash[_LEFT_OUT] = [entry for entry in entries if entry.left_out]
        timed = [entry for entry in entries if not entry.left_out]
        metafunc.parametrize("entry", timed, ids=[entry.id for entry in timed])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which baselines were left out, and why."""
    cases: dict[tuple[str, str | None], list[str]] = {}
    for entry in config.stash.get(_LEFT_OUT, []):
        cases.setdefault((f"{entry.op.name}-{entry.direction}-{entry.name}", entry.left_out), []).append(entry.case.name)
    for (name, reason), names in cases.items():
        terminalreporter.write_line(f"{name} {reason} ({', '.join(names)})")


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add what the kernels' speed depends on."""
    machine_info["fastcnn"] = describe()
