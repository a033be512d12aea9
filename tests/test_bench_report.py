"""`fastcnn bench-report`: what it prints and writes, its exit code, and that damaged files are told in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from _bench_runs import Mood, simulated_run, write_run
from _browser import Browser, Page, find_browser

from fastcnn.bench_report.record import NoRun, read_bench
from fastcnn.cli import main

QUIET = Mood()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Return two runs: in the second, row 2 is slower and row 4 faster, row 0 is missing and one is new."""
    before, after = simulated_run(0, QUIET, rows=12), simulated_run(1, QUIET, {2: 1.1, 4: 0.8}, rows=13)
    del after.rows["op-forward-variant-0"]
    before.machine["load"] = {"start": 0.5, "end": 1.5}
    return str(write_run(tmp_path / "a.json", before)), str(write_run(tmp_path / "b.json", after))


def test_a_run_is_a_table_per_group(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-report", pair[0]]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a.json: 2026-01-01 00:00:00, simulated, load 0.5 to 1.5\n")
    assert "### op-forward-3\n" in out
    cells = [cell.strip() for cell in re.search(r"### op-forward-0\n\n.*\n.*\n\| (.*) \|", out)[1].split("|")]
    assert cells[0] == "variant"
    value, unit = cells[1].split()
    assert float(value) * {"ms": 1e-3, "us": 1e-6}[unit] == pytest.approx(1e-3, rel=0.02)
    assert cells[3:] == ["1", "1", "2", "0.1"]


def test_two_runs_have_verdicts_and_code_1(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["bench-report", *pair, "--html", str(page)]) == 1
    out = capsys.readouterr().out
    assert "**11 rows: 1 worse, 1 better, 0 unclear, 9 same; our times changed by" in out
    assert "Missing from the later run: op-forward-variant-0." in out
    assert "Missing from the earlier run: op-forward-variant-12." in out
    lines = [line for line in out.splitlines() if line.startswith("| op-")]
    assert re.match(r"\| op-forward-variant-2 +\| worse ", lines[0])
    assert float(re.search(r"\+(\d+\.\d) %", lines[0])[1]) == pytest.approx(10, abs=1.5)
    assert re.match(r"\| op-forward-variant-4 +\| better ", lines[1])
    assert "Warning" not in out
    html = page.read_text()
    assert html.count('<td class="word worse">') == html.count('<td class="word better">') == 1
    assert "<h1>1 regression</h1>" in html
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")


def test_runs_of_one_version_must_agree(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lucky = write_run(tmp_path / "c.json", simulated_run(2, QUIET, {2: 1.1}, rows=12))
    assert main(["bench-report", pair[0], f"{pair[1]},{lucky}"]) == 1
    out = capsys.readouterr().out
    assert "11 rows: 1 worse, 0 better, 1 unclear, 9 same" in out
    assert "better or same, by the pair of runs" in out
    assert "2 pairs of runs had to agree" in out
    assert main(["bench-report", pair[0], f"{pair[1]},{pair[0]}"]) == 0
    assert main(["bench-report", ",".join(pair)]) == 2
    assert "one run is reported at a time; got 2" in capsys.readouterr().err


def test_the_threshold_decides(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-report", *pair, "--threshold", "15%"]) == 0
    assert main(["bench-report", *pair, "--threshold", "0.04"]) == 1
    assert main(["bench-report", pair[0], pair[0]]) == 0
    assert "12 rows: 0 worse, 0 better, 0 unclear, 12 same; our times changed by 0.0 % on average" in capsys.readouterr().out


def test_other_machines_and_swapped_files_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = simulated_run(0, QUIET, rows=2), simulated_run(1, QUIET, rows=2)._replace(date="2025-01-01", machine={"cpu": "other"})
    assert main(["bench-report", str(write_run(tmp_path / "a", before)), str(write_run(tmp_path / "b", after))]) == 0
    out = capsys.readouterr().out
    assert "Warning: the runs are not comparable, their machines differ (cpu: simulated, then other)." in out
    assert "Warning: the first file is the later run" in out


def test_texts_of_a_run_are_escaped(tmp_path: Path) -> None:
    run = simulated_run(0, QUIET, rows=1)
    path = write_run(tmp_path / "a.json", run._replace(machine={"cpu": "<script>x</script>"}))
    assert main(["bench-report", str(path), "--html", str(tmp_path / "a.html")]) == 0
    assert "<script>" not in (tmp_path / "a.html").read_text()


@pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome is installed")
def test_the_page_in_a_browser(pair: tuple[str, str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    main(["bench-report", *pair, "--html", str(page)])
    with Browser(tmp_path) as browser:
        for width, phone in ((1280, False), (390, True)):
            tab = Page(browser, width, 800, phone)
            tab.open(page.as_uri())
            assert tab.complaints() == []
            assert [url for url in tab.requests() if not url.startswith(("file:", "data:"))] == []
            assert tab.evaluate("document.documentElement.scrollWidth") <= width  # wide tables scroll by themselves
            assert tab.evaluate("document.querySelectorAll('tbody svg').length") == 11


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "is no JSON"),
        ("[]", "holds no benchmarks"),
        ('{"benchmarks": []}', "holds no benchmarks"),
        ('{"benchmarks": [{"name": "x"}]}', "a benchmark is damaged (KeyError: 'stats')"),
        ('{"benchmarks": [7]}', "a benchmark is damaged"),
        ('{"benchmarks": [{"name": "x", "stats": {"median": -1}}]}', "expected seconds; got -1"),
        ('{"benchmarks": [{"name": "x", "stats": {"median": 1}}, {"name": "x", "stats": {"median": 1}}]}', "x is there twice"),
        ('{"benchmarks": [{"name": "x", "stats": {"median": 1}, "extra_info": {"blocks": [[1]]}}]}', "its yardsticks are missing"),
    ],
)
def test_damaged_files_are_one_line_and_code_2(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    assert main(["bench-report", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err
    with pytest.raises(NoRun, match=str(path)):
        read_bench(path)


def test_misuse_is_one_line_and_code_2(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = simulated_run(0, QUIET, rows=1)
    other.rows["elsewhere"] = other.rows.pop("op-forward-variant-0")._replace(name="elsewhere")
    for arguments, message in (
        ([pair[0], str(write_run(tmp_path / "c.json", other))], "have no row in common"),
        ([*pair, "--threshold", "0"], "threshold must be between 0 % and 100 %; got 0"),
        ([*pair, "--threshold", "five"], "invalid share value: 'five'"),
        ([pair[0], "--html", str(Path(pair[0]) / "page.html")], "cannot write --html"),
        ([], "A.json"),
    ):
        assert main(["bench-report", *arguments]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert message in err


def test_runs_of_pytest_benchmark_alone_are_shown_but_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"benchmarks": [{"name": "x", "stats": {"median": 1e-3, "data": [1e-3, 2e-3, 3e-3]}}]}))
    assert main(["bench-report", str(path)]) == 0
    assert "2 ms" in capsys.readouterr().out
    assert main(["bench-report", str(path), str(path)]) == 0
    assert "a run kept no samples" in capsys.readouterr().out
