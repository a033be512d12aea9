"""Remembered calls: the same results as checked ones, and never for arguments that were not checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastcnn
from fastcnn import checks, functional, machine, plans
from fastcnn.ops import conv2d, conv2d_relu
from fastcnn.registry import operations

CASES = [case for case in operations()["conv2d"].problem.CASES if case.problem.N * case.problem.P * case.problem.Q]
DIRECTIONS = ("forward", "relu", "backward_input", "backward_weight")
MODULES = {"forward": conv2d._FORWARD, "relu": conv2d_relu._FORWARD, "backward_input": conv2d._INPUT, "backward_weight": conv2d._WEIGHT}


def _call(direction: str, problem: Any, dtype: type, layout: str) -> tuple[Callable[..., np.ndarray], list[np.ndarray]]:
    """Return a function of arrays that computes a direction, and such arrays, C-contiguous in `layout`."""
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(shape).astype(dtype) for shape in (problem.input_shape, problem.weight_shape, problem.output_shape))
    if layout == "NHWC":
        x, dy = (np.ascontiguousarray(image.transpose(0, 2, 3, 1)) for image in (x, dy))
    p = problem
    window = {
        "stride": (p.stride_h, p.stride_w), "padding": ((p.top, p.bottom), (p.left, p.right)), "dilation": (p.dilation_h, p.dilation_w),
        "groups": p.groups, "layout": layout,
    }  # fmt: skip
    if direction in ("forward", "relu"):
        function = fastcnn.conv2d if direction == "forward" else fastcnn.conv2d_relu
        return lambda x, w, b: function(x, w, b, **window), [x, w, rng.standard_normal(p.K).astype(dtype)]
    if direction == "backward_input":
        return lambda w, dy: fastcnn.conv2d_input(x.shape, w, dy, **window), [w, dy]
    return lambda x, dy: fastcnn.conv2d_weight(x, w.shape, dy, **window), [x, dy]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_remembered_call_gives_what_a_checked_one_does(case: Any, direction: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only arrays are checked every time; plain ones at the first call only. Outputs begin as NaN, so that unwritten cells show."""
    allocator = checks.allocator
    monkeypatch.setattr(checks, "allocator", lambda *of: lambda: np.copyto(y := allocator(*of)(), np.nan) or y)
    call, arrays = _call(direction, case.problem, np.float32, layout)
    frozen = [array.copy() for array in arrays]
    for array in frozen:
        array.flags.writeable = False
    known = MODULES[direction]._known
    known.clear()
    expected = call(*frozen)
    assert not known
    call(*arrays)
    assert len(known) == 1, "not remembered"
    for _ in range(2):
        got = call(*arrays)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        assert got.flags.carray
        np.testing.assert_array_equal(got, expected)
    assert len(known) == 1


@pytest.fixture
def known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return arrays of a call that is remembered."""
    x, w, b = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32), np.ones(4, np.float32)
    for _ in range(2):
        fastcnn.conv2d(x, w, b)
    return x, w, b


@pytest.mark.parametrize(
    "wrong",
    [{"stride": True}, {"stride": 1.0}, {"stride": (True, 1)}, {"groups": True}, {"padding": False},
     {"algorithm": "fast"}, {"algorithm": []}, {"precision": "higher"}, {"layout": "nchw"}],
    ids=str,
)  # fmt: skip
def test_equal_is_not_the_same(known: tuple[np.ndarray, ...], wrong: dict[str, Any]) -> None:
    """What equals a remembered argument, like True and 1, or cannot even be a key, is refused as if nothing were remembered."""
    with pytest.raises((TypeError, ValueError), match="conv2d: "):
        fastcnn.conv2d(*known, **wrong)


@pytest.mark.parametrize("argument", range(3))
@pytest.mark.parametrize("form", ["dtype", "shape", "rank", "list"])
def test_wrong_arrays_are_refused(known: tuple[np.ndarray, ...], argument: int, form: str) -> None:
    arrays: list[Any] = list(known)
    array = known[argument]
    arrays[argument] = {
        "dtype": array.astype(np.float64), "shape": np.concatenate([array, array], 1 if argument < 2 else 0), "rank": array[None, None],
        "list": array.tolist(),
    }[form]  # fmt: skip
    with pytest.raises((TypeError, ValueError), match="conv2d: "):
        fastcnn.conv2d(*arrays)


@pytest.mark.parametrize("argument", range(3))
@pytest.mark.parametrize("form", ["swapped", "strided", "unaligned", "frozen", "fortran", "matrix-like"])
def test_other_forms_of_the_same_array(known: tuple[np.ndarray, ...], argument: int, form: str) -> None:
    """Twice each: a call in such a form must not be remembered as one that needs no conversion."""

    class Own(np.ndarray):
        pass

    array = known[argument]
    bytes_ = np.zeros(array.nbytes + 1, np.uint8)
    bytes_[1:] = np.frombuffer(array.tobytes(), np.uint8)
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
    wide[..., ::2] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    other = {
        "swapped": array.astype(array.dtype.newbyteorder()), "strided": wide[..., ::2], "frozen": frozen,
        "unaligned": bytes_[1:].view(array.dtype).reshape(array.shape), "fortran": np.asfortranarray(array), "matrix-like": array.view(Own),
    }[form]  # fmt: skip
    expected, arrays = fastcnn.conv2d(*known), [other if i == argument else a for i, a in enumerate(known)]
    for _ in range(2):
        np.testing.assert_array_equal(fastcnn.conv2d(*arrays), expected)


def test_contents_and_bias_are_of_the_call(known: tuple[np.ndarray, ...]) -> None:
    x, w, b = known
    assert fastcnn.conv2d(x, w, b)[0, 0, 0, 0] == 28
    assert fastcnn.conv2d(x, w)[0, 0, 0, 0] == 27
    w *= 2
    b += 1
    assert fastcnn.conv2d(x, w, b)[0, 0, 0, 0] == 56
    assert fastcnn.conv2d(x, w)[0, 0, 0, 0] == 54
    first, second = fastcnn.conv2d(x, w, b), fastcnn.conv2d(x, w, b)
    assert not np.shares_memory(first, second)


def test_another_limit_of_threads_is_another_plan(known: tuple[np.ndarray, ...]) -> None:
    before = len(conv2d._FORWARD._known)
    with machine.threads(1):
        fastcnn.conv2d(*known)
    assert len(conv2d._FORWARD._known) == before + 1


def test_plans_are_bounded(known: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_REMEMBERED", 3)
    conv2d._FORWARD._known.clear()
    for height in range(4, 12):
        assert fastcnn.conv2d(np.ones((1, 3, height, 8), np.float32), known[1]).shape == (1, 4, height - 2, 6)
        assert len(conv2d._FORWARD._known) <= 3


POOLED: dict[str, Any] = {"padding": 1, "layout": "NHWC"}


def _pooled_arrays() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 9, 9, 8), (16, 8, 3, 3), (16,)))
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, b, return_winners=True, **POOLED)
    return x, w, b, y, winners, rng.standard_normal(y.shape).astype(np.float32)


def _others() -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(1)
    x, w, b, y, winners, dy = _pooled_arrays()
    numbers, bias_of_40 = rng.uniform(1, 2, (2, 8)), rng.standard_normal(40).astype(np.float32)
    rows, matrix, bias, errors = (rng.standard_normal(shape).astype(np.float32) for shape in ((5, 40), (24, 40), (24,), (5, 24)))
    return {
        "pooled": lambda: fastcnn.conv2d_relu_max_pool2d(x, w, b, **POOLED),
        "pooled-winners": lambda: fastcnn.conv2d_relu_max_pool2d(x, w, None, return_winners=True, **POOLED),
        "pooled-backward": lambda: fastcnn.conv2d_relu_max_pool2d_backward(dy, winners, y, x, w, **POOLED),
        "pooled-backward-weight": lambda: fastcnn.conv2d_relu_max_pool2d_backward(dy, winners, y, x, w, input_gradient=False, **POOLED)[1:],
        "linear": lambda: fastcnn.linear(rows, matrix, bias),
        "linear-backward": lambda: fastcnn.linear_backward(errors, rows, matrix),
        "max-pool": lambda: fastcnn.max_pool2d(x, 3, 2, 1, layout="NHWC"),
        "max-pool-indices": lambda: fastcnn.max_pool2d(x, 3, return_indices=True),
        "max-pool-single": lambda: fastcnn.max_pool2d(x[0], (2, 3), ceil_mode=True, layout="NHWC", algorithm="reference"),
        "max-pool-backward": lambda: fastcnn.max_pool2d_backward(dy, winners.astype(np.int64), (3, 9, 8, 16), 2, layout="NHWC"),
        "avg-pool": lambda: fastcnn.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        "avg-pool-backward": lambda: fastcnn.avg_pool2d_backward(x, (3, 18, 17, 8), 2, layout="NHWC", divisor_override=3, ceil_mode=True),
        "adaptive-avg-pool": lambda: functional.adaptive_avg_pool2d(x, (None, 2), layout="NHWC"),
        "adaptive-max-pool": lambda: functional.adaptive_max_pool2d(x, (2, 3)),
        "adaptive-max-pool-indices": lambda: functional.adaptive_max_pool2d(x, (2, 3), True, layout="NHWC"),
        "relu": lambda: fastcnn.relu(rows),
        "relu-backward": lambda: fastcnn.relu_backward(rows, -rows),
        "batch-norm": lambda: fastcnn.batch_norm(x, np.zeros(8, np.float32), b[:8].copy(), b[8:], None, True, layout="NHWC"),
        "batch-norm-evaluation": lambda: fastcnn.batch_norm(rows, bias_of_40, bias_of_40**2, relu=True, return_saved=True),
        "batch-norm-backward": lambda: fastcnn.batch_norm_backward(-x, x, *numbers, b[8:], b[:8], True, relu=True, layout="NHWC"),
    }


@pytest.mark.parametrize("name", _others())
def test_other_operations_repeat_a_call_from_its_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = _others()[name]
    with monkeypatch.context() as nothing_known:
        nothing_known.setattr(plans.Plans, "find", lambda self, key: None)
        expected = call()
    call()
    with monkeypatch.context() as unchecked:
        unchecked.setattr(checks, "array", lambda *of: pytest.fail("checked again"))
        got = call()
    for one, other in zip(*(result if isinstance(result, tuple) else (result,) for result in (expected, got)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_plan_of_the_pooled_gradient_still_looks_at_the_winners() -> None:
    x, w, _, y, winners, dy = _pooled_arrays()
    for _ in range(2):
        fastcnn.conv2d_relu_max_pool2d_backward(dy, winners, y, x, w, **POOLED)
    winners[0, 0, 0, 0] = 4
    with pytest.raises(ValueError, match="winners must be between 0 and 3"):
        fastcnn.conv2d_relu_max_pool2d_backward(dy, winners, y, x, w, **POOLED)


def test_a_plan_of_the_max_pooling_gradient_still_looks_at_the_indices() -> None:
    x = np.ones((1, 8, 4, 4))
    y, indices = fastcnn.max_pool2d(x, 2, return_indices=True)
    for _ in range(2):
        fastcnn.max_pool2d_backward(y, indices, x.shape, 2)
    for wrong in (16, -2, 2**62):
        indices[0, 7, 1, 1] = wrong
        with pytest.raises(ValueError, match=r"max_pool2d_backward: indices must be between -1 and H\*W - 1 = 15; got "):
            fastcnn.max_pool2d_backward(y, indices, x.shape, 2)


def test_a_plan_is_not_found_for_flags_that_are_none() -> None:
    x, w, b, *_ = _pooled_arrays()
    for _ in range(2):
        fastcnn.conv2d_relu_max_pool2d(x, w, b, **POOLED)
    for flags in ({"pool_ceil_mode": 0}, {"return_winners": 1}, {"return_winners": None}):
        with pytest.raises(TypeError, match="must be a bool"):
            fastcnn.conv2d_relu_max_pool2d(x, w, b, **flags, **POOLED)


@pytest.mark.parametrize("flag", [0, 1, None, "yes"])
def test_a_plan_of_a_pooling_is_not_found_for_flags_that_are_none(flag: Any) -> None:
    x = np.ones((1, 8, 4, 4), np.float32)
    for value in (False, True):
        fastcnn.max_pool2d(x, 2, ceil_mode=value, return_indices=value)
        fastcnn.avg_pool2d(x, 2, ceil_mode=value, count_include_pad=value)
        functional.adaptive_max_pool2d(x, 2, value)
    for function, name in (
        (fastcnn.max_pool2d, "ceil_mode"), (fastcnn.max_pool2d, "return_indices"), (fastcnn.avg_pool2d, "ceil_mode"),
        (fastcnn.avg_pool2d, "count_include_pad"), (functional.adaptive_max_pool2d, "return_indices"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=f"{name} must be a bool"):
            function(x, 2, **{name: flag})


@pytest.mark.parametrize(
    "wrong",
    [{"momentum": float("nan")}, {"momentum": float("inf")}, {"momentum": True}, {"eps": float("nan")}, {"eps": True}, {"training": 1},
     {"relu": 0}, {"return_saved": None}, {"layout": "nchw"}],
    ids=str,
)  # fmt: skip
def test_a_plan_of_batch_norm_is_not_found_for_wrong_numbers_and_flags(wrong: dict[str, Any]) -> None:
    x, running = np.ones((4, 3), np.float32), (np.zeros(3, np.float32), np.ones(3, np.float32))
    right: dict[str, Any] = {"training": True, "momentum": 1.0, "eps": 1.0}
    for _ in range(2):
        fastcnn.batch_norm(x, *running, **right)
    with pytest.raises((TypeError, ValueError), match="batch_norm: "):
        fastcnn.batch_norm(x, *running, **{**right, **wrong})


def test_a_plan_of_batch_norm_moves_the_statistics_that_it_is_given() -> None:
    x = np.array([[1.0], [3.0]])
    for momentum in (0.5, 0.25):
        running = np.zeros(1), np.ones(1)
        fastcnn.batch_norm(x, *running, training=True, momentum=momentum)
        assert (running[0][0], running[1][0]) == (2 * momentum, 1 + momentum)
