"""The command line: what it prints, and that mistakes end in one line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from fastcnn import __version__, machine
from fastcnn.cli import main
from fastcnn.console import ends_with_its_reader
from fastcnn.registry import operations

CONV = operations()["conv2d"]
OWN = ["conv2d", "--shape", "2,4,9,9", "--kernel", "6,3,3"]


def test_compare_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    options = ["--case", "size-17", "--direction", "forward", "--dtype", "float64", "--threads", "1", "--blocks", "2", "--json", str(file)]
    assert main(["compare", "relu", *options]) == 0
    out = capsys.readouterr().out
    assert "1 thread(s)" in out
    assert "### relu forward float64" in out
    assert "direct *" in out
    record = json.loads(file.read_text())
    assert {row["variant"] for row in record["rows"]} == {"direct", "reference"}
    assert record["machine"]["versions"]["fastcnn"] == __version__


def test_explain_tells_the_choice_and_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "conv2d", "--case", "dilated", "--case", "mnist-24c5", "--direction", "backward_weight"]) == 0
    words = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert words[0] == ["conv2d", "backward_weight dilated"]
    assert ["direct", "refuses: dilation is not 1"] in words
    assert next(verdict for name, verdict in words if name == "im2col").startswith("chosen; predicted ")
    second = words.index(["conv2d", "backward_weight mnist-24c5"])
    assert sum(verdict.startswith("chosen") for _, verdict in words[second + 1 :]) == 1


def test_explain_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "conv2d", "--case", "channels-31-33", "--direction", "forward", "--precision", "highest", "--measure"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert re.search(r"chosen; predicted \d+\.\d GFLOP/s, measured \d+\.\d, \d+% of the peak", lines["direct"])
    assert "accepts, at precision 'high'; predicted" in lines["winograd"]
    assert lines["depthwise"].endswith("not the number of input channels, 31")


def test_explain_covers_every_direction_and_benchmark_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "conv2d"]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert titles == [f"conv2d {direction} {case.name}" for direction in CONV.directions for case in CONV.problem.BENCH]


@pytest.mark.parametrize(
    ("options", "variant", "verdict"),
    [
        ([], "depthwise", "refuses: groups is 1"),
        (["--stride", "2,1", "--padding", "same"], "winograd", "refuses: stride or dilation is not 1"),
        (["--padding", "1,0,2,0"], "im2col", "accepts, "),
        (["--dilation", "2,1"], "direct", "refuses: dilation is not 1"),
        (["--groups", "2"], "winograd", "refuses: groups is not 1"),
    ],
)
def test_a_convolution_of_ones_own(options: list[str], variant: str, verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *OWN, "--direction", "forward", *options]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    told = [f"-{name.strip('-')}{value.replace(',', 'x')}" for name, value in zip(options[::2], options[1::2], strict=True)]
    assert title == "conv2d forward 2x4x9x9-6x3x3" + "".join(told)
    verdicts = dict(line.split(maxsplit=1) for line in lines)
    assert verdicts[variant].startswith(verdict)
    assert sum(text.startswith("chosen") for text in verdicts.values()) == 1


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["isa"] == machine.isa().name
    assert found["threads"] == machine.get_threads()
    assert found["tiles"]["float32"]
    assert found["versions"].keys() >= {"fastcnn", "python", "numpy", "numba"}
    assert found.pop("kernel_cache")
    assert str(Path(__file__).parents[1]) not in json.dumps(found)  # results with this record are published
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "threading layer" in out
    assert f"fastcnn: {__version__}" in out


def test_train_gets_the_remaining_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    import fastcnn.train.command

    given = []
    monkeypatch.setattr(fastcnn.train.command, "main", lambda argv, program: given.append((argv, program)) or 3)
    assert main(["train", "--epochs", "1", "--help"]) == 3
    assert given == [(["--epochs", "1", "--help"], ("fastcnn", "train"))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["compare"], "required: OP"),
        (["compare", "con2d"], "unknown operation 'con2d'; did you mean conv2d"),
        (["explain", "xyz"], "unknown operation 'xyz'; expected one of " + ", ".join(operations())),
        (["compare", "conv2d", "--case", "mnist-24"], "unknown conv2d case 'mnist-24'; did you mean mnist-24c5"),
        (["explain", "relu", "--direction", "backward_weight"], "unknown relu direction 'backward_weight'; did you mean backward_input"),
        (["compare", "conv2d", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["compare", "relu", "--threads", "0"], "count must be between 1 and"),
        (["compare", "relu", "--threads", "100000"], "count must be between 1 and"),
        (["compare", "relu", "--threads", "two"], "invalid int value: 'two'"),
        (
            ["explain", "relu", "--shape", "1,1,1,1", "--kernel", "1,1,1"],
            "relu has no option --kernel; a problem of your own is --shape INT",
        ),
        (["explain", "conv2d", "--shape", "1,1,9,9"], "a conv2d of your own needs --kernel: --shape N,C,H,W --kernel K,R,S [--stride"),
        (["explain", "conv2d", "--stride", "2"], "a conv2d of your own needs --shape"),
        (
            ["explain", "conv2d", "--shape=-1,1,9,9", "--kernel", "1,1,1"],
            "conv2d: shape must be N,C,H,W, each between 0 and 2147483647; got -1,1,9,9",
        ),
        (
            ["explain", "conv2d", "--shape", "1,1,9", "--kernel", "1,1,1"],
            "conv2d: shape must be N,C,H,W, each between 0 and 2147483647; got 1,1,9",
        ),
        (["explain", *OWN, "--padding", "some"], "conv2d: padding must be 'same', 'valid', an int"),
        (["explain", *OWN, "--groups", "3"], "conv2d: groups must divide the 4 channels of shape; got 3"),
        (["explain", *OWN, "--groups", "0"], "groups must be between 1 and"),
        (["explain", *OWN, "--stride", "1,,2"], "argument --stride: expected numbers joined by commas; got '1,,2'"),
        (["explain", *OWN, "--padding", "1,2,3,4,5"], "padding must be INT, INT,INT, T,B,L,R, same or valid; got '1,2,3,4,5'"),
        (["compare", "conv2d", "--suite", "mnits"], "argument --suite: invalid choice: 'mnits'"),
        (["compare", "softmax", "--suite", "vgg16"], "suite 'vgg16' has nothing for softmax; its cases are imagenet-64x1000"),
        (["compare", "relu", "--peers", "scipi"], "--peers: expected names of naive, scipy"),
        (["compare", "relu", "--seconds", "0"], "expected a number of seconds above 0; got '0'"),
        (["compare", "relu", "--blocks", "1"], "expected a number from 2 to 1000; got '1'"),
        (["sweep", "conv2d", "--axis", "C", "--range", "1:8:*1"], "--range must grow"),
        (["sweep", "conv2d", "--axis", "C", "--range", "1-8"], "--range must be FROM:TO:*FACTOR, FROM:TO:+STEP or values joined by commas"),
        (["sweep", *OWN, "--axis", "Q", "--range", "1:8"], "--axis must be of N, C, H, W, K, R, S for conv2d; got 'Q'"),
        (["sweep", "conv2d", "--axis", "N", "--range", "1:8"], "--axis N is of --shape N,C,H,W, which is not given"),
        (["explain", *OWN, "--stride", "0"], "stride must be between 1 and"),
        (["explain", *OWN, "--dilation", "9"], "Kernel size can't be greater than actual input size"),
    ],
)
def test_misuse_is_one_line_and_code_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("fastcnn: ")
    assert message in captured.err


def test_a_problem_beyond_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "conv2d", "--shape", "1000000,1000,1000,1000", "--kernel", "1,1,1", "--direction", "forward"]) == 2
    assert capsys.readouterr().err.startswith("fastcnn: Unable to allocate")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    options = ["--case", "size-1", "--direction", "forward", "--blocks", "2", "--json", str(tmp_path / "file" / "rows.json")]
    assert main(["compare", "relu", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "fastcnn", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, f"fastcnn {__version__}")
    done = subprocess.run([sys.executable, "-m", "fastcnn", "compare", "nothing"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(select, "poll"), reason="whether a pipe is read cannot be asked here: there is no poll()")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", ["info", "train --dataset digits --epochs 0.2 --no-augment"])
def test_output_that_nobody_reads_any_more_ends_a_command_without_a_word(words: str, buffered: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    command = [sys.executable, "-m", "fastcnn", *words.split()]
    try:
        done = subprocess.run(command, env=environment, stdout=write, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_another_broken_pipe_is_told() -> None:
    @ends_with_its_reader
    def command() -> None:
        raise BrokenPipeError("of a worker")

    with pytest.raises(BrokenPipeError, match="of a worker"):
        command()
