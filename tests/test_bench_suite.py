"""The benchmark suite: its grid is the registry's, baselines are right, and what it times it has checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from bench.baselines import baselines
from bench.grid import SUITES, Suite, grid
from fastcnn.agreement import Trial
from fastcnn.bench_report.record import read_bench
from fastcnn.registry import operations

ROOT = Path(__file__).parents[1]
OPERATIONS = operations()
BASELINES = [
    pytest.param(op, direction, baseline, id=f"{op.name}-{direction}-{baseline.name}")
    for op in OPERATIONS.values()
    for direction in op.directions
    for baseline in baselines(op.name, direction)
]
WRONG = """
from . import reference as _exact

def forward(problem, x, y):
    _exact.forward(problem, x, y)
    y += 1e-3
"""


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_grid_is_the_registrys(suite: Suite) -> None:
    entries = grid(suite)
    assert len({entry.id for entry in entries}) == len(entries)
    for op in OPERATIONS.values():
        for direction in op.directions:
            mine = [entry for entry in entries if (entry.op, entry.direction) == (op, direction)]
            variants = {(e.name, e.case.name) for e in mine if e.run in [v.directions.get(direction) for v in op.variants.values()]}
            assert variants == {(name, case.name) for name, case in op.accepted(direction, op.problem.BENCH[: suite.cases])}
            assert not any(entry.left_out for entry in mine if (entry.name, entry.case.name) in variants)


def test_a_group_is_in_one_piece() -> None:
    groups = [entry.group for entry in grid(SUITES["full"])]
    starts = [group for previous, group in zip([None, *groups], groups, strict=False) if group != previous]
    assert len(set(starts)) == len(starts)


@pytest.mark.parametrize(("op", "direction", "baseline"), BASELINES)
def test_baselines_agree_with_the_reference(op, direction: str, baseline) -> None:
    checked = 0
    for case in op.problem.CASES:
        if op.problem.work(case.problem, direction) <= 2e5 and baseline.leaves_out(op, direction, case.problem, 1.0) is None:
            assert Trial(op, direction, case.problem, np.float32, np.random.default_rng(0)).error(baseline.run) <= 1, case.name
            checked += 1
    assert checked >= 5


def test_slow_baselines_are_left_out_with_a_reason() -> None:
    python = {entry.id: entry.left_out for entry in grid(SUITES["quick"]) if entry.name == "python"}
    assert python["conv2d-forward-python-mnist-24c5"] == "left out: would take more than 0.2 s a call"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the library and its benchmarks with a copied variant and a wrong one."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("fastcnn", "bench"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    ops = root / "fastcnn" / "ops"
    shutil.copy(ops / "conv2d" / "direct.py", ops / "conv2d" / "copy_of_direct.py")
    (ops / "relu" / "slightly_off.py").write_text(WRONG)
    return root


def _pytest(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "bench", "-p", "no:cacheprovider", "--suite", "quick", *options]
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}, "PYTHONPATH": str(root)}  # a run of its own
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=120)


def test_a_copied_variant_is_benchmarked_with_no_other_edit(copy: Path) -> None:
    done = _pytest(copy, "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    for direction in OPERATIONS["conv2d"].directions:
        assert f"test_bench[conv2d-{direction}-copy_of_direct-mnist-24c5]" in done.stdout
    assert "conv2d-forward-python left out: would take more than 0.2 s a call" in done.stdout


def test_a_run_times_what_is_right_and_fails_what_is_wrong(copy: Path) -> None:
    file = copy / "bench.json"
    done = _pytest(copy, "-k", "relu-forward and resnet-64", f"--benchmark-json={file}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "relu-forward-slightly_off-resnet-64 is wrong: its error is inf times the tolerance; not timed" in done.stdout
    record = json.loads(file.read_text())
    assert record["machine_info"]["fastcnn"]["versions"]["numba"]
    assert {b["params"] and b["name"] for b in record["benchmarks"]} == {
        "test_bench[relu-forward-direct-resnet-64]",
        "test_bench[relu-forward-reference-resnet-64]",
    }
    for benchmark in record["benchmarks"]:
        assert benchmark["group"] == "relu-forward-resnet-64"
        assert benchmark["extra_info"]["GFLOP/s"] > 0
        assert benchmark["extra_info"]["GB/s"] > benchmark["extra_info"]["GFLOP/s"]
        assert benchmark["extra_info"]["error_share"] == 0
        assert benchmark["extra_info"]["baseline"] is ("reference" in benchmark["name"])
        samples = [seconds for block in benchmark["extra_info"]["blocks"] for seconds in block]
        assert benchmark["stats"]["data"] == pytest.approx(samples, rel=1e-6)
        assert len(benchmark["extra_info"]["yardsticks"]["clock"]) == len(benchmark["extra_info"]["blocks"])
    machine = record["machine_info"]["fastcnn"]
    assert machine["load"].keys() == {"start", "end"}
    assert machine["features"] == sorted(machine["features"])
    assert read_bench(file).rows["relu-forward-direct-resnet-64"].variant == "direct"
