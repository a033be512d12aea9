"""The option --suite, the parametrisation over the grid, and what is reported beside the times. See the package for how to run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fastcnn import machine
from fastcnn.info import describe, load

from .grid import SUITES, Entry, grid
from .group import Group
from .processes import sample
from .sampling import Samples
from .yardsticks import MEMORY_BYTES

_LEFT_OUT: pytest.StashKey[list[Entry]] = pytest.StashKey()
_GROUPS: pytest.StashKey[dict[str, Group]] = pytest.StashKey()
_LOAD: pytest.StashKey[float | None] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --suite."""
    parser.addoption("--suite", choices=sorted(SUITES), default="full", help="which benchmarks to run (default: full)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep tables narrow enough to read side by side, unless --benchmark-columns asks otherwise."""
    config.stash[_LOAD] = load()
    config.option.benchmark_columns = config.option.benchmark_columns or ["median", "iqr", "min", "rounds", "iterations"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `entry` every benchmark of the suite."""
    if "entry" in metafunc.fixturenames:
        entries = grid(SUITES[metafunc.config.getoption("--suite")])
        metafunc.config.stash[_LEFT_OUT] = [entry for entry in entries if entry.left_out]
        timed = [entry for entry in entries if not entry.left_out]
        metafunc.parametrize("entry", timed, ids=[entry.id for entry in timed])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the groups of the entries that were selected: only they are timed, in turns."""
    entries: dict[str, dict[str, Entry]] = {}
    for item in session.items:
        entry = item.callspec.params.get("entry") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
        if isinstance(entry, Entry):
            entries.setdefault(entry.group, {})[entry.id] = entry
    session.config.stash[_GROUPS] = {name: Group(list(found.values())) for name, found in entries.items()}


@pytest.fixture
def group(entry: Entry, pytestconfig: pytest.Config) -> Group:
    """Return the competitors of `entry`."""
    return pytestconfig.stash[_GROUPS][entry.group]


@pytest.fixture(scope="session")
def sampled(pytestconfig: pytest.Config) -> Callable[[Entry], Samples] | None:
    """Return what has the samples of an entry, all taken now.

    None where nothing is timed: under --benchmark-disable, and by pytest-xdist, whose workers would time one another.
    """
    option = pytestconfig.option
    disabled = option.benchmark_disable and not option.benchmark_enable
    if disabled or option.benchmark_skip or hasattr(pytestconfig, "workerinput"):
        return None
    groups = [group.right for group in pytestconfig.stash[_GROUPS].values()]
    terminal = pytestconfig.pluginmanager.get_plugin("terminalreporter")

    def progress(text: str) -> None:
        if terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(text)

    found = sample(groups, pytestconfig.getoption("--suite"), progress)

    def samples_of(entry: Entry) -> Samples:
        samples = found[entry.id]
        if isinstance(samples, Exception):
            pytest.fail(f"{entry.id} was not timed: {samples}")
        return samples

    return samples_of


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which baselines were left out, and why."""
    cases: dict[tuple[str, str | None], list[str]] = {}
    for entry in config.stash.get(_LEFT_OUT, []):
        cases.setdefault((f"{entry.op.name}-{entry.direction}-{entry.name}", entry.left_out), []).append(entry.case.name)
    for (name, reason), names in cases.items():
        terminalreporter.write_line(f"{name} {reason} ({', '.join(names)})")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add what the kernels' speed depends on."""
    machine_info["fastcnn"] = {
        **describe(),
        "features": sorted(machine.cpu_features()),
        "load": {"start": config.stash[_LOAD], "end": load()},
        "yardsticks": {"memory_bytes": MEMORY_BYTES},
    }
