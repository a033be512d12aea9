"""Problems in words: every operation's options, oneDNN's syntax, suites and sweeps."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from test_comparison_page import ROOF

from fastcnn import options
from fastcnn.agreement import check
from fastcnn.compare import onednn, problems, sweep
from fastcnn.compare.command import explanations
from fastcnn.compare.suites import SUITES
from fastcnn.ops.avg_pool2d import AvgPool2dProblem
from fastcnn.ops.conv2d import Conv2dProblem
from fastcnn.ops.max_pool2d import MaxPool2dProblem
from fastcnn.registry import operations

OPERATIONS = operations()
CONV = OPERATIONS["conv2d"]
_WORDS = {"NAME": "gelu", "INT[,INT...]": "3,4,5"}  # for options that hold no sizes


def _given(op) -> dict:
    """Return small values for the options that an operation needs, and a kernel where it has one."""
    sizes = {("N", "C", "H", "W"): (2, 3, 9, 8), ("K", "R", "S"): (4, 2, 3), ("R", "S"): (2, 3)}
    return {
        name: sizes.get(option.axes, tuple(range(3, 3 + len(option.axes)))) if option.axes else options.read(_WORDS[option.metavar])
        for name, option in op.options.items()
        if option.required or name == "kernel"
    }


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_takes_problems_of_ones_own(op) -> None:
    given = _given(op)
    case = op.case(given)
    assert type(case.problem) is type(op.problem.CASES[0].problem)
    assert case.name.startswith("x".join(map(str, np.atleast_1d(given["shape"]))))
    for direction in op.directions:
        for name, _ in op.accepted(direction, [case]):
            assert check(op, name, direction, case.problem, np.float32, np.random.default_rng(0)) <= 1


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_is_explained_from_the_command_line(op, capsys: pytest.CaptureFixture[str]) -> None:
    words = [text for name, value in _given(op).items() for text in (op.options[name].dashed, options.written(value))]
    assert explanations([op.name, *words, "--direction", "forward"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith(f"{op.name} forward ")
    assert {line.split()[0] for line in lines} == set(op.variants)


@pytest.mark.parametrize(
    ("op", "given", "problem"),
    [
        ("conv2d", {"shape": (2, 4, 9, 8), "kernel": (6, 3, 2), "stride": (2, 1), "padding": (1, 0, 2, 3), "groups": 2},
         Conv2dProblem(2, 4, 9, 8, 6, 3, 2, 2, 1, 1, 0, 2, 3, groups=2)),
        ("conv2d", {"shape": (1, 1, 7, 7), "kernel": (1, 3, 3), "padding": "same", "dilation": 2},
         Conv2dProblem(1, 1, 7, 7, 1, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2)),
        ("max_pool2d", {"shape": (1, 2, 7, 6), "kernel": (2, 2), "ceil_mode": True, "with_indices": False},
         MaxPool2dProblem(1, 2, 7, 6, 2, 2, 4, 3, 2, 2, with_indices=False)),
        ("max_pool2d", {"shape": (1, 3, 4, 3), "output_size": (7, 5)}, OPERATIONS["max_pool2d"].problem.adaptive(1, 3, 4, 3, 7, 5)),
        ("avg_pool2d", {"shape": (1, 1, 5, 5), "kernel": (3, 3), "stride": 2, "padding": 1, "count_include_pad": False},
         AvgPool2dProblem(1, 1, 5, 5, 3, 3, 3, 3, 2, 2, 1, 1, count_include_pad=False)),
        ("linear", {"shape": (64, 800), "out_features": (256,)}, (64, 800, 256)),
        ("batch_norm", {"shape": (4, 3), "relu": True}, (4, 3, 1, 1, True, True, 1e-5)),
        ("batch_norm", {"shape": (1, 3, 1, 1), "training": False, "eps": 1}, (1, 3, 1, 1, False, False, 1.0)),
        ("softmax", {"shape": (2, 21, 4, 4), "dim": 1, "log": True}, (2, 21, 16, True)),
        ("softmax", {"shape": 10}, (1, 10, 1, False)),
        ("activation", {"shape": (3, 4), "formula": "leaky_relu", "a": 0.1}, ("leaky_relu", 12, 0.1, 0.0)),
        ("layer_norm", {"shape": (6, 10), "period": 3}, (6, 10, 3, 1e-5)),
    ],
)  # fmt: skip
def test_options_mean_what_the_functions_arguments_mean(op: str, given: dict, problem: tuple) -> None:
    assert tuple(OPERATIONS[op].case(given).problem) == tuple(problem)


@pytest.mark.parametrize(
    ("op", "given", "message"),
    [
        ("relu", {}, "a relu of your own needs --shape"),
        ("relu", {"shape": 3, "dim": 1}, "relu has no option --dim; a problem of your own is --shape INT"),
        ("relu", {"shape": "many"}, "relu: shape must be an int; got str 'many'"),
        ("softmax", {"shape": (2, 3), "dmi": 0}, "did you mean --dim"),
        ("softmax", {"shape": (2, 3), "dim": 2}, "dim must be between -2 and 1 for this shape; got 2"),
        ("linear", {"shape": (2, 0), "out_features": 3}, "linear: shape's I must be between 1 and"),
        ("linear", {"shape": (2, 1.5), "out_features": 3}, "linear: shape must be N,I, each between 0 and"),
        ("max_pool2d", {"shape": (1, 1, 4, 4)}, "give --kernel R,S for windows that slide, or --output-size P,Q"),
        ("max_pool2d", {"shape": (1, 1, 4, 4), "kernel": (2, 2), "output_size": (1, 1)}, "and not both"),
        ("batch_norm", {"shape": (1, 3)}, "more than one value of each channel"),
        ("batch_norm", {"shape": (1, 3, 2)}, r"shape must be N,C\[,H,W\], each between 0 and"),
        ("layer_norm", {"shape": (7, 3), "period": 2}, "period must divide the 7 rows of shape; got 2"),
        ("activation", {"shape": 3, "formula": "rleu"}, "formula must be one of"),
    ],
)
def test_wrong_options_are_named(op: str, given: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        OPERATIONS[op].case(given)


# --- oneDNN's syntax ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mb128_ic64oc512_ih56oh56kh3ph1", Conv2dProblem(128, 64, 56, 56, 512, 3, 3, 1, 1, 1, 1, 1, 1)),
        ("ic3ih227iw227_oc96oh55ow55_kh11kw11_sh4sw4ph0pw0", Conv2dProblem(2, 3, 227, 227, 96, 11, 11, 4, 4)),
        ("g32mb1ic32ih112oc32oh112kh3ph1", Conv2dProblem(1, 32, 112, 112, 32, 3, 3, 1, 1, 1, 1, 1, 1, groups=32)),
        ("mb1ic4ih9iw7oc2kh3kw1ph1pw0", Conv2dProblem(1, 4, 9, 7, 2, 3, 1, 1, 1, 1, 1, 0, 0)),
        ("mb1ic4ih9oc2kh3dh1", Conv2dProblem(1, 4, 9, 9, 2, 3, 3, dilation_h=2, dilation_w=2)),
        ("mb1ic4ih9oh9oc2kh3dh1", Conv2dProblem(1, 4, 9, 9, 2, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2)),  # padding told by the output
        ("mb1ic1ih4oh4oc1kh2ph0", Conv2dProblem(1, 1, 4, 4, 1, 2, 2, 1, 1, 0, 1, 0, 1)),  # behind only
        ("mb8ic64ih56oh28oc64kh3sh2ph1", Conv2dProblem(8, 64, 56, 56, 64, 3, 3, 2, 2, 1, 1, 1, 1)),
    ],
)
def test_descriptors(text: str, problem: Conv2dProblem) -> None:
    case = onednn.case(CONV, text)
    assert case.problem == problem
    assert case.name == text


def test_a_descriptor_has_a_name_and_fits_other_operations() -> None:
    assert onednn.case(CONV, 'ic3ih8oc4kh3n"alexnet:conv1"').name == "alexnet:conv1"
    assert onednn.case(OPERATIONS["linear"], "mb64ic32ih5oc10").problem == (64, 800, 10)
    assert onednn.case(OPERATIONS["max_pool2d"], "mb2ic16ih12oh6kh2sh2").problem == MaxPool2dProblem(2, 16, 12, 12, 2, 2, 6, 6, 2, 2)
    assert onednn.case(OPERATIONS["im2col"], "mb2ic3ih8kh3ph1").problem.columns_shape == (2, 27, 64)


@pytest.mark.parametrize(
    ("op", "text", "message"),
    [
        ("conv2d", "mb1ih8oc4kh3", "ic is missing"),
        ("conv2d", "mb1ic3oc4kh3", "ih, the size of the input, is missing"),
        ("conv2d", "mb1ic3ih8oc4", "kh, the size of the kernel, is missing"),
        ("conv2d", "mb1ic3ih8oc4kh3zz9", "got 'zz9'"),
        ("conv2d", "mb1mb2ic3ih8oc4kh3", "mb is given twice"),
        ("conv2d", "ic3id8ih8oc4kh3", "only images of height and width"),
        ("conv2d", "ic3ih8oh3oc4kh3ph1", "an output of 3 is impossible with an input of 8"),
        ("conv2d", "g2ic3ih8oc4kh3", "groups must divide the 3 channels"),
        ("relu", "ic3ih8kh3", "relu is none"),
        ("avg_pool2d", "ic3ih8oc4kh3", "as many channels out as in"),
    ],
)
def test_wrong_descriptors_are_named(op: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        onednn.case(OPERATIONS[op], text)


# --- Suites and sweeps -------------------------------------------------------------------------------------------------


def test_a_suite_is_the_same_for_all_that_convolve() -> None:
    for name, cases in SUITES.items():
        assert problems.suite(CONV, name) == cases
    fused = problems.suite(OPERATIONS["conv2d_relu_max_pool2d"], "mnist")
    assert [case.problem.conv for case in fused] == [case.problem for case in SUITES["mnist"]]
    assert [case.name for case in problems.suite(OPERATIONS["linear"], "mnist")] == ["mnist-800-256", "mnist-256-10", "mnist-row-800-256"]


def test_a_sweep_changes_its_axes_alone() -> None:
    found = sweep.points(CONV, {"shape": (1, 8, 7, 7), "kernel": (4, 3, 3), "padding": 1}, "HW", sweep.values("8:32:*2"))
    assert [(point.value, point.case.problem.input_shape) for point in found] == [(n, (1, 8, n, n)) for n in (8, 16, 32)]
    assert len({point.case.name for point in found}) == 3
    grown = sweep.points(CONV, {"shape": (1, 8, 7, 7), "kernel": (4, 3, 3)}, "K", [5, 6])
    assert [point.case.problem.weight_shape for point in grown] == [(5, 8, 3, 3), (6, 8, 3, 3)]
    assert [p.case.problem for p in sweep.points(OPERATIONS["linear"], {"shape": (2, 3), "out_features": 4}, "O", [7])] == [(2, 3, 7)]


@pytest.mark.parametrize("text", ["", "8:", "5:3", "0:8:*2", "1:8:+0", "1:8:2:3", "a", "1,,2", "1:100000"])
def test_wrong_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="--range must"):
        sweep.values(text)


def test_a_sweep_prints_a_line_for_each_size(tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastcnn.roofline.roofline", lambda threads: ROOF)
    file, page = tmp_path / "sweep.json", tmp_path / "sweep.html"
    words = ["linear", "--shape", "2,16", "--out-features", "8", "--axis", "I", "--range", "16:64:*2", "--direction", "forward"]
    assert sweep.sweep([*words, "--seconds", "0.02", "--blocks", "2", "--json", str(file), "--html", str(page)]) == 0
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [cells[0].strip() for cells in lines] == ["I", "-:", "16", "32", "64"]
    assert sum("*" in cell for cell in lines[2]) == 1
    record = json.loads(file.read_text())
    assert list(record["values"].values()) == [16, 32, 64]
    assert {row["case"] for row in record["rows"]} == set(record["values"])
    chosen = [row for row in record["rows"] if row["chosen"]]
    text = page.read_text()
    for row, size in zip(sorted(chosen, key=lambda row: record["values"][row["case"]]), (16, 32, 64), strict=True):
        label, milliseconds = row["variant"], float(f"{row['timing']['median'] * 1e3:.3g}")
        assert re.search(rf"<title>{label}, I = {size}: {re.escape(f'{milliseconds:g}')} ms</title>", text), (label, size, milliseconds)
    assert "200 GFLOP/s" in text  # the roof
