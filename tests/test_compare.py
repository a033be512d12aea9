"""Agreement, timing and the comparison table: what they measure, and that a new file joins them with no other edit."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastcnn import compare as comparison
from fastcnn.agreement import Trial, check, error_share, tolerance
from fastcnn.cli import main
from fastcnn.compare import Ratio, Row, compare, contest, render, table
from fastcnn.registry import operations
from fastcnn.timing import SAMPLE_SECONDS, Timing, measure

ROOT = Path(__file__).parents[1]
CONV = operations()["conv2d"]


def _trial(case: str, direction: str = "forward", dtype=np.float32) -> Trial:
    return Trial(CONV, direction, comparison.cases_named(CONV, [case])[0].problem, dtype, np.random.default_rng(0))


# --- Agreement ---------------------------------------------------------------------------------------------------------


def test_tolerance_follows_the_rule() -> None:
    magnitude = np.array([0.0, 1.0, 8.0])
    eta = float(np.finfo(np.float32).smallest_subnormal)
    assert not tolerance(0, magnitude, np.float32).any()
    np.testing.assert_allclose(tolerance(10, magnitude, np.float32), 14 * 2.0**-24 * magnitude + 12 * eta)  # K + 4
    np.testing.assert_allclose(tolerance(10_000, magnitude, np.float32)[1:], 608 * 2.0**-24 * magnitude[1:])  # 6 sqrt(K) + 8
    np.testing.assert_allclose(tolerance(10, magnitude, np.float64)[1:], 14 * 2.0**-52 * magnitude[1:])


def test_error_share_demands_the_pattern_of_nan_and_inf() -> None:
    want, allowed = np.array([1.0, np.nan, np.inf, -np.inf, 0.0]), np.array([0.5, np.nan, np.inf, np.inf, 0.0])
    assert error_share(want, want, allowed) == 0
    assert error_share(np.array([1.25, np.nan, np.inf, -np.inf, 0.0]), want, allowed) == 0.5
    for place, wrong in [(0, np.nan), (0, np.inf), (1, 1.0), (2, 1.0), (2, -np.inf), (2, np.nan), (4, 1e-30)]:
        got = want.copy()
        got[place] = wrong
        assert error_share(got, want, allowed) == math.inf


def test_error_share_of_nothing_is_nothing() -> None:
    assert error_share(np.empty(0), np.empty(0), np.empty(0)) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_trial_separates_right_from_wrong(dtype) -> None:
    trial = _trial("channels-3-5", dtype=dtype)
    (want, allowed) = trial.expected[0]

    def off_by(share: float):
        def run(problem, x, weight, bias, y) -> None:
            y[...] = want
            y[0, 0, 0, 0] += share * allowed[0, 0, 0, 0]

        return run

    assert trial.error(off_by(0.0)) < 0.5  # rounding to the dtype
    assert trial.error(off_by(3.0)) > 1


def test_unwritten_outputs_are_wrong() -> None:
    def forgets_a_pixel(problem, x, weight, bias, y) -> None:
        kept = y[-1, -1, -1, -1]
        CONV.run("reference", "forward", problem, (x, weight, bias), (y,))
        y[-1, -1, -1, -1] = kept

    assert _trial("channels-3-5").error(forgets_a_pixel) == math.inf


def test_exact_operations_take_no_error() -> None:
    op = operations()["max_pool2d"]
    problem = op.problem.CASES[2].problem
    assert check(op, "reference", "forward", problem, np.float32, np.random.default_rng(0)) == 0
    trial = Trial(op, "forward", problem, np.float32, np.random.default_rng(0))

    def off(problem, x, y, indices) -> None:
        op.run("reference", "forward", problem, (x,), (y, indices))
        indices[0, 0, 0, 0] += 1

    assert trial.error(off) == math.inf


# --- Timing ------------------------------------------------------------------------------------------------------------


def test_functions_take_turns() -> None:
    calls: list[str] = []

    def function(name: str):
        def call() -> None:
            calls.append(name)
            time.sleep(1.5 * SAMPLE_SECONDS)

        return call

    timings = measure({"a": function("a"), "b": function("b")}, rounds=3)
    assert [timing.rounds for timing in timings.values()] == [3, 3]
    assert all(timing.low <= timing.median <= timing.high for timing in timings.values())
    assert timings["a"].median >= 1.5 * SAMPLE_SECONDS
    assert "".join(calls[-12:]) == "aabbaabbaabb"  # one call to warm, one timed


def test_a_slow_function_does_not_starve_the_others() -> None:
    timings = measure({"slow": lambda: time.sleep(0.3), "fast": lambda: None}, rounds=20, budget_seconds=0.6)
    assert timings["slow"].rounds == 1
    assert timings["fast"].rounds == 20
    assert timings["fast"].median < 1e-5


# --- Comparison --------------------------------------------------------------------------------------------------------


def test_rows_hold_rates_and_one_choice() -> None:
    op = operations()["relu"]
    case = op.problem.CASES[-1]
    rows = [row for row in compare("relu", [case], ["forward"], budget_seconds=0.2) if not row.baseline]
    assert [row.variant for row in rows] == sorted(op.variants, key=op.rank)
    assert [row.variant for row in rows if row.chosen] == [op.preference[0]]
    for row in rows:
        assert row.timing is not None
        assert row.error == 0
        assert row.gflops == pytest.approx(op.problem.work(case.problem, "forward") / row.timing.median / 1e9)
        assert row.gbytes == pytest.approx(op.problem.traffic(case.problem, "forward", np.float32) / row.timing.median / 1e9)


def test_speedup_is_over_the_first_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    def naive(problem, x, y) -> None:
        time.sleep(0.01)
        y[...] = np.maximum(x, 0)

    yardstick = comparison.Baseline("naive", naive, flops=1e9)
    hopeless = comparison.Baseline("hopeless", naive, flops=1)
    choosy = comparison.Baseline("choosy", naive, flops=1e9, refuses=lambda problem: "it is Monday")
    monkeypatch.setattr(contest, "baselines", lambda op, direction: [yardstick, hopeless, choosy])
    rows = {row.label: row for row in compare("relu", operations()["relu"].problem.CASES[-1:], ["forward"], budget_seconds=0.2)}
    assert rows["naive (baseline)"].speedup == 1
    assert (rows["direct"].speedup or 0) > 2
    assert rows["hopeless (baseline)"].note == "left out: would take more than 1 s a call"
    assert rows["choosy (baseline)"].note == "refuses: it is Monday"
    assert rows["hopeless (baseline)"].timing is rows["choosy (baseline)"].timing is None


def test_markdown_has_a_table_per_direction() -> None:
    timing = Timing(2e-3, 1.9e-3, 2.1e-3, 30)
    rows = [
        Row(
            "conv2d",
            "forward",
            "float32",
            "a",
            "direct",
            chosen=True,
            error=0.1,
            timing=timing,
            gflops=12.5,
            gbytes=1.5,
            share_of_peak=0.256,
            ratios={"naive": Ratio(7.0, 6.5, 7.14, 8), "scipy": Ratio(70.0, None, None, 1)},
        ),
        Row("conv2d", "forward", "float32", "a", "other", note="refuses: too odd"),
        Row("conv2d", "backward_input", "float32", "a", "direct", error=math.inf, note="WRONG"),
    ]
    out = io.StringIO()
    render(rows, out)
    titles = [line for line in out.getvalue().splitlines() if line.startswith("#")]
    assert titles == ["### conv2d forward float32", "### conv2d backward_input float32"]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.getvalue().splitlines() if line.startswith("|")]
    assert lines[0] == [*table.HEADINGS, "× naive", "× scipy", "note"]
    assert lines[2] == ["a", "direct *", "2 ms", "±5.0%", "12.5", "1.5", "26%", "0.1", "7 ±2.0%", "70 ±?", ""]
    assert lines[3] == ["a", "other", "", "", "", "", "", "", "", "", "refuses: too odd"]
    records = json.loads(json.dumps([row.record() for row in rows], allow_nan=False))
    assert records[2]["error"] is None
    assert records[0]["ratios"]["naive"] == {"value": 7.0, "low": 6.5, "high": 7.14, "blocks": 8}


def test_a_terminal_gets_a_drawn_table() -> None:
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    render([Row("conv2d", "forward", "float32", "a", "direct", chosen=True), Row("conv2d", "forward", "float32", "b", "direct")], out)
    assert "conv2d forward float32" in out.getvalue()
    assert "direct *" in out.getvalue()
    assert "###" not in out.getvalue()


def test_the_choice_is_told_where_it_loses() -> None:
    def row(case: str, variant: str, seconds: float, ratio: float, **more) -> Row:
        ratios = {"torch": Ratio(ratio, ratio * 0.9, ratio * 1.1, 8)}
        return Row("conv2d", "forward", "float32", case, variant, timing=Timing(seconds, seconds, seconds, 9), ratios=ratios, **more)

    rows = [
        row("a", "direct", 2e-3, 0.5, chosen=True), row("a", "winograd", 1e-3, 1.0), row("a", "bfloat16", 5e-4, 2.0, note="at precision"),
        row("b", "direct", 1e-3, 0.95, chosen=True), row("b", "im2col", 2e-3, 0.5),
        row("c", "direct", 1e-3, 3.0, chosen=True),
    ]  # fmt: skip
    assert table.verdicts(rows) == [
        "auto is faster than torch on 1 of 3 problems, slower on 2 (1 beyond the band); at worst 0.5 ±10%: forward a",
        "auto's choice is not the fastest variant on 1 of 3 problems: forward a: direct takes 2.00 times as long as winograd",
    ]


def test_an_earlier_run_is_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "a.json", tmp_path / "a.html"
    options = ["compare", "softmax", "--shape", "40,30", "--direction", "forward", "--seconds", "0.05", "--threads", "1", "--blocks", "2"]
    assert main([*options, "--json", str(file), "--html", str(page)]) == 0
    assert "40x30" in page.read_text()
    record = json.loads(file.read_text())
    assert record["load"].keys() == {"start", "end"}
    assert record["noise"]["medians"] == 3  # one in each block, one at the end
    (ratios,) = (row["ratios"] for row in record["rows"] if row["chosen"])
    (ratio,) = ratios.values()
    assert ratio["low"] < ratio["value"] < ratio["high"]
    for other in [other for row in record["rows"] for other in row["ratios"].values()]:
        other.update(low=other["value"] / 1e3, high=other["value"] * 1e3)
    file.write_text(json.dumps(record))
    assert main([*options, "--against", str(file)]) == 0
    ratio.update(low=1e-9, high=2e-9)
    file.write_text(json.dumps(record))
    capsys.readouterr()
    assert main([*options, "--against", str(file)]) == 1
    assert "within 1e-09 to 2e-09" in capsys.readouterr().out.splitlines()[-1]
    file.write_text("{}")
    assert main([*options, "--against", str(file)]) == 2
    assert "is no file that fastcnn compare --json has written" in capsys.readouterr().err


# --- A new file --------------------------------------------------------------------------------------------------------

WRONG = """
from . import reference as _exact

def forward(problem, x, weight, bias, y):
    _exact.forward(problem, x, weight, bias, y)
    y += 1e-3
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict]:
    """Return the rows, by case and variant, of a copy of the package that got two more files."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "fastcnn", copy / "fastcnn", ignore=shutil.ignore_patterns("__pycache__"))
    folder = copy / "fastcnn" / "ops" / "conv2d"
    shutil.copy(folder / "direct.py", folder / "copy_of_direct.py")
    (folder / "slightly_off.py").write_text(WRONG)
    command = [sys.executable, "-m", "fastcnn", "compare", "conv2d", "--case", "channels-3-5", "--case", "dilated"]
    options = ["--direction", "forward", "--blocks", "2", "--json", str(copy / "rows.json")]
    done = subprocess.run(
        [*command, *options], cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "slightly_off" in done.stdout
    found = json.loads((copy / "rows.json").read_text())["rows"]
    return {(row["case"], row["variant"]): row for row in found}


def test_a_copied_variant_is_compared_with_no_other_edit(rows) -> None:
    assert {variant for _, variant in rows} == {*CONV.variants, "copy_of_direct", "slightly_off"}
    row = rows["channels-3-5", "copy_of_direct"]
    assert row["timing"]["median"] > 0
    assert row["error"] <= 1
    assert not row["chosen"]  # adding is not promoting
    assert sum(other["chosen"] for (case, _), other in rows.items() if case == "channels-3-5") == 1


def test_a_refusal_is_shown_with_its_reason(rows) -> None:
    for variant in ("direct", "copy_of_direct"):
        assert rows["dilated", variant]["note"] == "refuses: dilation is not 1"
        assert rows["dilated", variant]["timing"] is None
    assert rows["dilated", "im2col"]["chosen"]


def test_a_wrong_variant_is_reported_and_not_timed(rows) -> None:
    for case in ("channels-3-5", "dilated"):
        row = rows[case, "slightly_off"]
        assert row["note"].startswith("WRONG: error is ")
        assert row["error"] > 1
        assert row["timing"] is None
