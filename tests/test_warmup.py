"""Warming up: what was compiled and what was loaded is told, counted and shown; the recipes leave nothing to compile."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fastcnn import builds, machine, warmup
from fastcnn.builds import Build
from fastcnn.cli import main
from fastcnn.jit import Kernel, kernel
from fastcnn.registry import operations

ROOT = Path(__file__).parents[1]
needs_compiler = pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is compiled")


def _fresh_kernels() -> tuple[Kernel, Kernel]:
    """Return a kernel that calls another, new to this process and, as their version is unknown, to the cache."""

    @kernel
    def doubled(x, i):  # type: ignore[no-untyped-def]
        x[i] *= 2

    @kernel
    def all_doubled(job, x):  # type: ignore[no-untyped-def]
        doubled(x, job)

    doubled.version = all_doubled.version = None
    return doubled, all_doubled


@needs_compiler
def test_builds_are_told_with_their_own_seconds() -> None:
    told: list[Build] = []
    x = np.arange(4.0)
    _, outer = _fresh_kernels()
    with builds.watching(told.append):
        outer.launch(4, x, work=1)
    assert x.tolist() == [0, 2, 4, 6]
    kernels = [b for b in told if b.name in ("doubled", "all_doubled")]
    assert [(b.name, b.state) for b in kernels] == [
        ("all_doubled", "compiling"), ("doubled", "compiling"), ("doubled", "compiled"), ("all_doubled", "compiled"),
    ]  # fmt: skip
    assert all(b.seconds > 0 for b in told if b.state != "compiling")
    assert all(b.folder is None for b in kernels)
    with builds.watching(told.append):
        outer.launch(4, x, work=1)
    assert told.count(kernels[-1]) == 1, "neither compiled nor loaded again"


def test_seconds_leave_out_the_builds_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 9.0])  # outer begins, inner begins, inner ends, outer ends
    monkeypatch.setattr(builds.time, "perf_counter", lambda: next(clock))
    told: list[Build] = []
    with builds.watching(told.append), builds.build("outer", "here") as outer:
        outer.compiling()
        with builds.build("inner", None):
            pass
    assert told == [Build("outer", "compiling", 0, "here"), Build("inner", "loaded", 3), Build("outer", "compiled", 6, "here")]


def test_a_failed_build_is_not_told_and_leaves_no_trace() -> None:
    told: list[Build] = []
    with builds.watching(told.append), pytest.raises(RuntimeError), builds.build("broken", None):
        raise RuntimeError
    with builds.watching(told.append), builds.build("whole", None):
        pass
    assert [b.name for b in told] == ["whole"]
    assert builds._seconds_within == []


def test_watchers_end_with_their_block() -> None:
    told: list[Build] = []
    with pytest.raises(RuntimeError), builds.watching(told.append):
        raise RuntimeError
    with builds.build("unseen", None):
        pass
    assert told == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _build(name: str, compiled: bool) -> None:
    with builds.build(name, None) as opened:
        if compiled:
            opened.compiling()


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["pipe", "terminal"])
def test_no_line_where_all_comes_from_the_cache(stream: io.StringIO) -> None:
    with warmup.compiling_line(stream) as tally:
        _build("a", False)
        _build("b", False)
    assert stream.getvalue() == ""
    assert (len(tally.compiled), len(tally.loaded)) == (0, 2)


def test_one_line_in_a_pipe() -> None:
    stream = io.StringIO()
    with warmup.compiling_line(stream):
        _build("a", False)
        assert stream.getvalue() == ""
        with builds.build("b", None) as opened:
            opened.compiling()
            assert stream.getvalue() == "compiling kernels, first run only ... ", "while it waits, not afterwards"
        _build("c", True)
    assert re.fullmatch(r"compiling kernels, first run only \.\.\. 2 done, 0\.\d s\n", stream.getvalue())


def test_one_line_on_a_terminal_counts_on() -> None:
    stream = Terminal()
    with warmup.compiling_line(stream):
        for name in "abc":
            _build(name, True)
    lines = stream.getvalue().split("\n")
    assert len(lines) == 2
    shown = [part for part in lines[0].split("\r") if "done" in part]
    assert [re.fullmatch(r"compiling kernels, first run only: (\d) done, 0 s", part)[1] for part in dict.fromkeys(shown)] == list("0123")


def test_the_line_ends_after_an_interruption() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), warmup.compiling_line(stream):
        _build("a", True)
        raise KeyboardInterrupt
    assert stream.getvalue().endswith("1 done, 0.0 s\n")


@needs_compiler
def test_other_threads_are_watched_too() -> None:
    _, outer = _fresh_kernels()
    with warmup.compiling_line(io.StringIO()) as tally:
        thread = threading.Thread(target=lambda: outer.launch(2, np.zeros(2, np.float32), work=1))
        thread.start()
        thread.join()
    assert "all_doubled" in [b.name for b in tally.compiled]


# --- The command --------------------------------------------------------------------------------------------------------


def test_tasks_run_in_turn_with_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "a.nbc").write_bytes(bytes(1_500_000))
    (tmp_path / "other").write_bytes(bytes(10))

    def compiles() -> None:
        with builds.build("slow", str(tmp_path)) as opened:
            opened.compiling()

    stream = io.StringIO()
    tasks = [warmup.Task("first", compiles), warmup.Task("second", lambda: _build("b", False))]
    warmup.warm_up(tasks, stream)
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"first: 1 compiled, 0 from the cache, 0\.\d s", lines[0])
    assert re.fullmatch(r"second: 0 compiled, 1 from the cache, 0\.\d s", lines[1])
    assert lines[2:4] == ["longest to compile:", "   0.00 s  slow"]
    assert re.fullmatch(r"1 compiled, 1 from the cache, 0\.\d s", lines[4])
    assert lines[5:] == [f"cache: {tmp_path}: 1 files, 1.5 MB"]


def test_a_terminal_gets_a_bar() -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    warmup.warm_up([warmup.Task("[first]", lambda: _build("kernel [x]", True))], stream)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "[first]: kernel [x]" in shown
    assert "1/1" in shown
    assert "[first]: 1 compiled, 0 from the cache" in shown


def test_a_terminal_without_rich_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    stream = Terminal()
    warmup.warm_up([warmup.Task("first", lambda: None)], stream)
    assert stream.getvalue().startswith("first: 0 compiled, 0 from the cache, 0.0 s\n")


def test_no_cache_is_said() -> None:
    assert warmup.cache_line([]).startswith("cache: none")


def test_every_benchmark_case_has_a_task_and_runs() -> None:
    ops = list(operations().values())
    names = [task.name for task in warmup.operation_tasks()]
    assert names == [f"{op.name} {direction} {case.name}" for op in ops for direction in op.directions for case in op.problem.BENCH]
    small = next(task for task in warmup.operation_tasks([operations()["relu"]]) if task.name.startswith("relu forward"))
    small.run()


@needs_compiler
def test_the_command_leaves_nothing_to_compile_for_training(tmp_path: Path) -> None:
    """A recipe is warmed up in one process; training it in a second one, and the command again in a third, compile nothing.

    In the cache that is there already: from an empty one the first takes half a minute.
    """
    pytest.importorskip("sklearn")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", _CHILD, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first = run("warmup", "--recipe", "digits")
    built = re.search(r"^(\d+) compiled, (\d+) from the cache, \d+\.\d s$", first, re.M)
    assert int(built[1]) + int(built[2]) > 20
    files, size = re.search(r"^cache: .*: (\d+) files, (\d+\.\d) MB$", first, re.M).groups()
    assert int(files) >= int(built[1])
    assert float(size) > 0.5
    trained = run("train", "--dataset", "digits", "--epochs", "1", "--threads", "1")
    assert json.loads(trained.splitlines()[-1]) == [], "nothing was left to compile"
    assert "test accuracy" in trained
    assert re.search(r"^0 compiled, \d+ from the cache", run("warmup", "--recipe", "digits"), re.M)


_CHILD = """
import json, sys
from fastcnn import builds, cli
compiled = []
with builds.watching(lambda b: compiled.append(b.name) if b.state == "compiled" else None):
    code = cli.main(sys.argv[1:])
print(json.dumps(compiled))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "cifar"], "warmup: unknown recipe 'cifar'; expected one of accurate, "),
        (["--threads", "0"], "warmup: threads: count must be between 1 and "),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
