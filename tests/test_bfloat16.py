"""The convolutions in bfloat16, on vectors and on matrix tiles, against the float64 reference within what rounding the factors allows."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np
import pytest

from fastcnn import bf16, machine
from fastcnn.engine import correlate
from fastcnn.ops.conv2d import OPERATION, Conv2dProblem, _bfloat16_correlate, _bfloat16_gradient, bfloat16
from fastcnn.registry import DIRECTIONS, Case

REASON = bf16.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def _square(N: int, C: int, H: int, K: int, R: int, stride: int = 1, pad: int = 0) -> Conv2dProblem:
    return Conv2dProblem(N, C, H, H, K, R, R, stride, stride, pad, pad, pad, pad)


# What an odd number of channels, images, rows or pixels, or of blocks and bands can break.
MORE = [
    Case("odd-channels", _square(2, 65, 9, 33, 3, 1, 1)),
    Case("one-image-odd-rows", _square(1, 12, 9, 48, 3, 1, 1)),
    Case("one-image-even-rows", _square(1, 9, 10, 17, 3, 1, 1)),
    Case("one-image-one-row", Conv2dProblem(1, 16, 3, 20, 32, 3, 3)),
    Case("three-images", _square(3, 20, 7, 5, 3, 1, 1)),
    Case("empty-batch-wide", _square(0, 32, 7, 32, 3, 1, 1)),
    Case("one-image-strided", _square(1, 16, 15, 24, 3, 2, 1)),
    Case("bands-one-image", Conv2dProblem(1, 64, 39, 41, 32, 3, 3, 1, 1, 1, 1, 1, 1)),
    Case("bands-three-images", Conv2dProblem(3, 64, 38, 41, 32, 3, 3, 1, 1, 1, 1, 1, 1)),
    Case("pixels-of-1-KiB", _square(2, 256, 5, 32, 3, 1, 1)),
    Case("pixels-of-4-KiB", _square(1, 2048, 3, 16, 1)),
    Case("small-map-many-channels", _square(2, 128, 7, 160, 3, 1, 1)),
    Case("pointwise-lines", _square(2, 40, 12, 64, 1)),
    Case("pointwise-strided-even", _square(2, 24, 10, 40, 1, 2)),
    Case("pointwise-strided-below", Conv2dProblem(2, 10, 6, 7, 9, 1, 1, 2, 3, bottom=5, right=4)),
    Case("pointwise-strided-around", Conv2dProblem(2, 10, 6, 7, 9, 1, 1, 2, 2, 2, 3, 1, 2)),
    Case("strides-2-3", Conv2dProblem(3, 11, 14, 17, 35, 3, 4, 2, 3, 0, 1, 2, 0)),
    Case("kernel-7x7", _square(1, 5, 16, 33, 7, 2, 3)),
    Case("4x4-pixels", _square(1, 130, 4, 64, 3, 1, 1)),
    Case("no-larger-than-its-kernel", _square(2, 160, 3, 40, 5, 1, 2)),
    Case("one-pixel-in-its-padding", _square(1, 96, 1, 33, 3, 1, 1)),
    Case("padding-beyond-the-kernel", Conv2dProblem(1, 150, 5, 6, 32, 3, 3, 1, 1, 4, 5, 4, 3)),
    Case("padding-on-one-side", Conv2dProblem(2, 200, 6, 5, 48, 3, 4, 1, 1, 2, 0, 0, 3)),
    Case("padding-below-and-left", Conv2dProblem(1, 170, 5, 9, 20, 2, 3, 1, 1, 0, 1, 2, 0)),
    Case("strided-with-padding", Conv2dProblem(1, 220, 9, 8, 32, 5, 5, 2, 3, 2, 2, 2, 2)),
    Case("bands-with-padding", Conv2dProblem(1, 512, 19, 15, 32, 3, 3, 1, 1, 1, 1, 1, 1)),
    Case("columns-in-pieces", Conv2dProblem(1, 512, 3, 150, 32, 3, 3, 1, 1, 1, 1, 1, 1)),
]
VARIANT = OPERATION.variants["bfloat16"]
GRID = [
    pytest.param(name, direction, case.problem, channels_last, id=f"{name}-{direction}-{case.name}-{'NHWC' if channels_last else 'NCHW'}")
    for name in ("bfloat16", "amx")
    for direction in DIRECTIONS
    for case in [*OPERATION.problem.CASES, *MORE]
    if REASON is None and OPERATION.variants[name].refuses(case.problem, direction) is None
    for channels_last in (False, True)
]
MARGIN = 64


def _placed(problem: Conv2dProblem, array: np.ndarray, channels_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (a copy of the array, channels-last in memory where it is an image and this is asked for, the memory with NaN around it)."""
    is_image = channels_last and array.shape in (problem.input_shape, problem.output_shape)
    ordered = array.transpose(0, 2, 3, 1) if is_image else array
    around = np.full(array.size + 2 * MARGIN, np.nan, array.dtype)
    inside = around[MARGIN : MARGIN + array.size].reshape(ordered.shape)
    inside[...] = ordered
    return (inside.transpose(0, 3, 1, 2) if is_image else inside), around


def _packed_forward(variant: str, problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """Forward with weights that are packed first."""
    packing, forward_packed = OPERATION.variants[variant].packing, OPERATION.variants[variant].forward_packed
    assert packing is not None
    assert forward_packed is not None
    _, pack = packing(problem, weight.dtype)
    forward_packed(problem, x, pack(weight.reshape(-1)), bias, y)


def _run(direction: str, problem: Conv2dProblem, arguments, channels_last: bool = True, variant: str = "bfloat16") -> np.ndarray:
    """Return the result of a variant, written over NaN; nothing around it may change, nor any input."""
    inputs = [_placed(problem, a, channels_last)[0] for a in arguments]
    (shape,) = OPERATION.problem.outputs(problem, direction, arguments[0].dtype)
    output, around = _placed(problem, np.full_like(shape, np.nan), channels_last)
    if variant.startswith("packed-"):
        _packed_forward(variant.removeprefix("packed-"), problem, *inputs, output)
    else:
        OPERATION.run(variant, direction, problem, inputs, [output])
    assert np.isnan(around[:MARGIN]).all()
    assert np.isnan(around[-MARGIN:]).all()
    for after, before in zip(inputs, arguments, strict=True):
        np.testing.assert_array_equal(after, before, err_msg="an input was changed")
    return output


def _reference(direction: str, problem: Conv2dProblem, arguments) -> np.ndarray:
    (want,) = OPERATION.problem.outputs(problem, direction, np.float64)
    OPERATION.run("reference", direction, problem, [a.astype(np.float64) for a in arguments], [want])
    return want


@functools.cache
def _trial(direction: str, problem: Conv2dProblem) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return (random arguments, the reference's result, the same sums of absolute values)."""
    arguments = list(OPERATION.problem.arguments(problem, direction, np.float32, np.random.default_rng(1)))
    return arguments, _reference(direction, problem, arguments), _reference(direction, problem, [np.abs(a) for a in arguments])


@functools.cache
def _integer_trial(direction: str, problem: Conv2dProblem) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(2)
    shapes = [a.shape for a in OPERATION.problem.arguments(problem, direction, np.float32, rng)]
    arguments = [rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes]
    return arguments, _reference(direction, problem, arguments)


def _assert_close(got: np.ndarray, want: np.ndarray, sums: np.ndarray) -> None:
    """Every element within the rounding of its factors, and all together within 3e-3."""
    assert (np.abs(got - want) <= 2.02 * bfloat16.ROUNDOFF * sums).all()
    if want.size > 500:
        assert np.linalg.norm(got - want) <= 3e-3 * np.linalg.norm(want)


@pytest.mark.parametrize(("name", "direction", "problem", "channels_last"), GRID)
def test_agrees_with_reference(name: str, direction: str, problem: Conv2dProblem, channels_last: bool) -> None:
    arguments, want, sums = _trial(direction, problem)
    _assert_close(_run(direction, problem, arguments, channels_last, name), want, sums)


@pytest.mark.parametrize(("name", "direction", "problem", "channels_last"), GRID)
def test_small_integers_are_exact(name: str, direction: str, problem: Conv2dProblem, channels_last: bool) -> None:
    arguments, want = _integer_trial(direction, problem)
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            np.testing.assert_array_equal(_run(direction, problem, arguments, channels_last, name), want)


FORWARD = [pytest.param(param.values[0], *param.values[2:], id=param.id) for param in GRID if param.values[1] == "forward"]
PACKED_GRID = [pytest.param(*param.values[1:], id=param.id) for param in FORWARD if param.values[0] == "bfloat16"]


@pytest.mark.parametrize(("name", "problem", "channels_last"), FORWARD)
def test_packed_weights_agree_with_reference(name: str, problem: Conv2dProblem, channels_last: bool) -> None:
    arguments, want, sums = _trial("forward", problem)
    _assert_close(_run("forward", problem, arguments, channels_last, f"packed-{name}"), want, sums)
    arguments, want = _integer_trial("forward", problem)
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            np.testing.assert_array_equal(_run("forward", problem, arguments, channels_last, f"packed-{name}"), want)


@pytest.mark.parametrize(("problem", "channels_last"), PACKED_GRID)
def test_every_problem_with_taps_left_out(problem: Conv2dProblem, channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bfloat16_correlate, "_CALL", -(10**9))  # calls are for nothing
    bfloat16._forward.cache_clear()
    arguments, want = _integer_trial("forward", problem)
    np.testing.assert_array_equal(_run("forward", problem, arguments, channels_last, "packed-bfloat16"), want)
    bfloat16._forward.cache_clear()


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("problem", [_square(1, 260, 4, 32, 3, 1, 1), _square(2, 6, 5, 33, 3, 2, 1)])
def test_packed_infinite_weights_meet_the_padding(problem: Conv2dProblem, value: float) -> None:
    """0 times Inf is NaN, as in the definition: taps outside of the image are left out of finite weights only."""
    x, weight, bias = OPERATION.problem.arguments(problem, "forward", np.float32, np.random.default_rng(8))
    weight[3, 2, 0, 1] = weight[5, 1, 1, 2] = value
    got = _run("forward", problem, [x, weight, bias], variant="packed-bfloat16")
    with np.errstate(invalid="ignore"):
        want = _run("forward", problem, [x, weight, bias], variant="direct")
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(got[np.isinf(want)], want[np.isinf(want)])


def test_packed_float64_is_left_to_direct() -> None:
    problem = _square(2, 9, 8, 10, 3, 1, 1)
    arguments = OPERATION.problem.arguments(problem, "forward", np.float64, np.random.default_rng(6))
    got, want = (_run("forward", problem, arguments, True, variant) for variant in ("packed-bfloat16", "direct"))
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize(("spared", "problem"), [(True, _square(1, 512, 7, 64, 3, 1, 1)), (False, _square(1, 64, 56, 64, 3, 1, 1))])
def test_taps_are_left_out_where_it_pays(spared: bool, problem: Conv2dProblem) -> None:
    p = problem
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    geometry = correlate.geometry_of(sizes, (p.input_shape, True), (p.output_shape, True))
    assert _bfloat16_correlate._trims(geometry, 14) == spared
    assert _bfloat16_correlate.share_inside(7, 3, 1, 1, 7) == 19 / 21


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("problem", [_square(4, 64, 28, 64, 3, 1, 1), _square(1, 128, 14, 160, 3, 1, 1), _square(5, 33, 30, 40, 3, 2, 1)])
def test_large_enough_for_threads(direction: str, problem: Conv2dProblem) -> None:
    """Within the bounds, and the same bits run after run."""
    arguments, want, sums = _trial(direction, problem)
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            got = _run(direction, problem, arguments)
            _assert_close(got, want, sums)
            np.testing.assert_array_equal(got, _run(direction, problem, arguments))


@pytest.mark.parametrize("gradient_bytes", [0, 2**40])
@pytest.mark.parametrize("units_bytes", [0, 2**40])
@pytest.mark.parametrize("batch_bytes", [0, 2**17, 2**40])
def test_every_order_of_a_gradient(batch_bytes: int, units_bytes: int, gradient_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units one by one, several at once, and all of them for one block of channels after the other."""
    for name, value in (("_BATCH_BYTES", batch_bytes), ("_UNITS_BYTES", units_bytes), ("_GRADIENT_BYTES", gradient_bytes)):
        monkeypatch.setattr(_bfloat16_gradient, name, value)
    monkeypatch.setattr(_bfloat16_gradient, "_BAND_BYTES", 2**15)
    for problem in (_square(5, 40, 13, 70, 3, 1, 1), _square(1, 40, 13, 33, 3, 2, 1)):
        arguments, want = _integer_trial("backward_weight", problem)
        np.testing.assert_array_equal(_run("backward_weight", problem, arguments), want)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "problem", [_square(3, 5, 7, 9, 3, 1, 1), _square(1, 6, 9, 33, 3, 2, 1), _square(2, 1, 12, 9, 5), _square(1, 35, 6, 17, 3, 1, 1)]
)
@pytest.mark.parametrize("name", ["bfloat16", "amx"])
def test_infinities_and_nan_come_out_where_direct_has_them(name: str, problem: Conv2dProblem, direction: str, channels_last: bool) -> None:
    if OPERATION.variants[name].refuses(problem, direction):
        pytest.skip("refuses")
    rng = np.random.default_rng(5)
    for place in range(2):
        arguments = OPERATION.problem.arguments(problem, direction, np.float32, rng)
        flat = arguments[place].reshape(-1)
        for value in (np.nan, np.inf, -np.inf):
            flat[rng.integers(flat.size)] = value
        got = _run(direction, problem, arguments, channels_last, name)
        with np.errstate(invalid="ignore"):
            want = _run(direction, problem, arguments, channels_last, "direct")
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_array_equal(got[np.isinf(want)], want[np.isinf(want)])
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_float64_is_left_to_direct(direction: str) -> None:
    problem = _square(2, 9, 8, 10, 3, 1, 1)
    arguments = OPERATION.problem.arguments(problem, direction, np.float64, np.random.default_rng(6))
    got, want = (_run(direction, problem, arguments, True, variant) for variant in ("bfloat16", "direct"))
    np.testing.assert_array_equal(got, want)


@numba.njit
def _round_neighbours(x, count, y):
    neighbours(x, 0, count, y, 1)


@numba.njit
def _round_pairs(x, count, y):
    pairs(x, 0, x, count, count, y, 1)


if REASON is None:
    neighbours, pairs = bf16.neighbours(), bf16.pairs()


def _rounded(x: np.ndarray) -> np.ndarray:
    """Return the upper halves of float32 numbers, rounded to nearest, ties to even."""
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 500])
def test_conversions_round_to_nearest_even_and_write_no_further(count: int) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal(2 * count).astype(np.float32)
    x.view(np.uint32)[::3] &= 0xFFFF8000  # half of these are ties
    cases: list[tuple[Callable[..., None], int, np.ndarray]] = [
        (_round_neighbours, count, np.append(_rounded(x[:count]), [np.uint16(0)] * (count % 2))),
        (_round_pairs, count, np.stack([_rounded(x[:count]), _rounded(x[count:])], axis=1).reshape(-1)),
    ]
    for convert, number, want in cases:
        words = np.full(number + MARGIN, -1, np.int32)
        convert(x, number, words)
        written = len(want) // 2
        np.testing.assert_array_equal(words[1 : 1 + written].view(np.uint16), want)
        assert words[0] == -1
        assert (words[1 + written :] == -1).all()


def test_conversions_of_special_values() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 3.4e38, 1e-40, -0.0], np.float32)
    words = np.zeros(4, np.int32)
    _round_neighbours(x, x.size, words)
    got = (words[1:].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(got, np.array([np.nan, np.inf, -np.inf, np.inf, 0, 0], np.float32))


def test_refuses_without_the_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _square(1, 8, 8, 8, 3)
    assert VARIANT.refuses(problem, "forward") is None
    monkeypatch.setattr(machine, "isa", lambda: machine.ISAS["avx2"])
    assert VARIANT.refuses(problem, "forward") == "FASTCNN_ISA is avx2, and bfloat16 products need avx512"
    monkeypatch.setattr(machine, "cpu_features", lambda: frozenset({"avx512f"}))
    assert VARIANT.refuses(problem, "forward") == "this CPU has no AVX512_BF16"
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert "NUMBA_DISABLE_JIT" in str(VARIANT.refuses(problem, "forward"))
