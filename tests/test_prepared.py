"""`prepare_conv2d`: the same results as plain calls, weights of its own, and errors when it is made rather than when it is called."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastcnn
from fastcnn import amx, bf16, machine, registry

OP = registry.operations()["conv2d"]
CASES = [case for case in OP.problem.CASES if case.problem.N]


def _window(p) -> dict:
    return {
        "stride": (p.stride_h, p.stride_w),
        "padding": ((p.top, p.bottom), (p.left, p.right)),
        "dilation": (p.dilation_h, p.dilation_w),
        "groups": p.groups,
    }


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_as_a_plain_call(case, layout: str) -> None:
    x, weight, bias = OP.problem.arguments(case.problem, "forward", np.float32, np.random.default_rng(0))
    prepared = fastcnn.prepare_conv2d(weight, bias, **_window(case.problem))
    image = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    want = fastcnn.conv2d(
        image.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64), **_window(case.problem), layout=layout
    )
    for _ in range(2):  # the second call finds the packed weights
        got = prepared(image, layout=layout)
        assert got.flags.c_contiguous
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("algorithm", ["direct", "winograd", "bfloat16", "im2col", "reference"])
def test_each_variant_and_float64(algorithm: str) -> None:
    if algorithm == "bfloat16" and bf16.unavailable():
        pytest.skip(str(bf16.unavailable()))
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, 5, 9, 10)), rng.standard_normal((7, 5, 3, 3))
    prepared = fastcnn.prepare_conv2d(weight, padding=1, algorithm=algorithm)
    np.testing.assert_allclose(prepared(x), fastcnn.conv2d(x, weight, padding=1, algorithm="reference"), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(prepared(x[0]), prepared(x)[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ["direct", "winograd", "bfloat16", "im2col", "reference"])
@pytest.mark.parametrize("channels", [(5, 7), (160, 32)])
def test_relu_is_the_plain_result_raised_to_0(channels: tuple[int, int], algorithm: str, layout: str) -> None:
    if algorithm == "bfloat16" and bf16.unavailable():
        pytest.skip(str(bf16.unavailable()))
    rng = np.random.default_rng(1)
    shape = (2, channels[0], 5, 6) if layout == "NCHW" else (2, 5, 6, channels[0])
    x, weight = rng.standard_normal(shape).astype(np.float32), rng.standard_normal((*channels[::-1], 3, 3)).astype(np.float32)
    x.reshape(-1)[7] = np.nan
    bias = rng.standard_normal(channels[1]).astype(np.float32)
    plain, raised = (
        fastcnn.prepare_conv2d(weight, bias, padding=1, algorithm=algorithm, relu=relu)(x, layout=layout) for relu in (False, True)
    )
    np.testing.assert_array_equal(raised, np.maximum(plain, 0))
    assert np.isnan(raised).any()


def test_a_depthwise_relu_is_the_plain_result_raised_to_0() -> None:
    for case in CASES:
        p = case.problem
        if OP.variants["depthwise"].refuses(p, "forward") is None:
            x, weight, bias = OP.problem.arguments(p, "forward", np.float32, np.random.default_rng(2))
            x.reshape(-1)[5] = np.nan
            for layout in ("NCHW", "NHWC"):
                image = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
                plain, raised = (
                    fastcnn.prepare_conv2d(weight, bias, **_window(p), algorithm="depthwise", relu=relu)(image, layout=layout)
                    for relu in (False, True)
                )
                np.testing.assert_array_equal(raised, np.maximum(plain, 0), err_msg=f"{case.name} {layout}")


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("algorithm", "case"), list(OP.accepted("forward", CASES)), ids=lambda value: getattr(value, "name", value))
def test_a_residual_is_added_before_the_relu(algorithm: str, case, layout: str, relu: bool) -> None:
    x, weight, bias = OP.problem.arguments(case.problem, "forward", np.float32, np.random.default_rng(0))
    more = np.random.default_rng(1).standard_normal(case.problem.output_shape).astype(np.float32)
    more.reshape(-1)[-1] = np.nan
    want = np.full(case.problem.output_shape, np.nan)
    OP.run("reference", "forward", case.problem, (x, weight, bias), (want,))
    want += more
    prepared = fastcnn.prepare_conv2d(weight, bias, **_window(case.problem), algorithm=algorithm, relu=relu)
    if layout == "NHWC":
        x, more, want = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, more, want))
    tolerance = 2e-2 if OP.variants[algorithm].precision == "medium" else 1e-4
    before = more.copy()
    for _ in range(2):  # the second call is a remembered one
        got = prepared(x, layout=layout, residual=more)
        np.testing.assert_allclose(got, np.maximum(want, 0) if relu else want, rtol=tolerance, atol=tolerance * np.abs(weight).sum())
        assert np.isnan(got.reshape(-1)[-1])
    np.testing.assert_array_equal(more, before)
    np.testing.assert_array_equal(prepared(x[0], layout=layout, residual=more[0]), prepared(x[:1], layout=layout, residual=more[:1])[0])


def test_residuals_of_any_memory_and_on_threads() -> None:
    rng = np.random.default_rng(6)
    x, more = rng.standard_normal((2, 30, 31, 64)).astype(np.float32), rng.standard_normal((2, 30, 31, 64)).astype(np.float32)
    prepared = fastcnn.prepare_conv2d(rng.standard_normal((64, 64, 3, 3)).astype(np.float32) / 24, padding=1, relu=True)
    want = np.maximum(fastcnn.conv2d(x, prepared.weight, padding=1, layout="NHWC") + more, 0)
    strided, read_only = np.repeat(more, 2, axis=2)[:, :, ::2], more.copy()
    read_only.flags.writeable = False
    for threads in (1, machine.max_threads()):
        with machine.threads(threads):
            for term in (more, strided, read_only, more.astype(">f4")):
                np.testing.assert_allclose(prepared(x, layout="NHWC", residual=term), want, rtol=1e-4, atol=1e-4)
    planes = prepared(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), residual=more.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(planes.transpose(0, 2, 3, 1), want, rtol=1e-4, atol=1e-4)
    views = prepared(x.transpose(0, 3, 1, 2), residual=np.ascontiguousarray(more.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(views.transpose(0, 2, 3, 1), want, rtol=1e-4, atol=1e-4)


def test_weights_are_its_own() -> None:
    rng = np.random.default_rng(2)
    x, weight, bias = rng.standard_normal((1, 8, 6, 6)), rng.standard_normal((8, 8, 3, 3)), rng.standard_normal(8)
    prepared = fastcnn.prepare_conv2d(weight, bias)
    want = prepared(x)
    weight[...] = 0
    bias[...] = 0
    np.testing.assert_array_equal(prepared(x), want)
    np.testing.assert_array_equal(fastcnn.prepare_conv2d(prepared.weight, prepared.bias)(x), want)
    with pytest.raises(ValueError, match="read-only"):
        prepared.weight[...] = 1


def test_packs_once_for_many_sizes() -> None:
    rng = np.random.default_rng(3)
    prepared = fastcnn.prepare_conv2d(rng.standard_normal((32, 16, 3, 3)).astype(np.float32), algorithm="direct")
    for size in (5, 9, 12, 40):
        prepared(rng.standard_normal((1, 16, size, size)).astype(np.float32))
    assert len(prepared._packed) == 1
    assert "direct" in repr(prepared)


def test_highest_precision_never_takes_winograd() -> None:
    weight = np.ones((64, 64, 3, 3), np.float32)
    problem = OP.problem.checked_problem("", (8, 64, 56, 56), weight.shape, 1, 1, 1, 1)
    assert fastcnn.prepare_conv2d(weight, padding=1).variant(problem) == "winograd"
    assert fastcnn.prepare_conv2d(weight, padding=1, precision="highest").variant(problem) in ("direct", "im2col")


def test_medium_precision_packs_bfloat16_once_and_counts_no_packing() -> None:
    if bf16.unavailable() or (bf16.speed() < 1 and amx.unavailable()):
        pytest.skip(f"bfloat16 is not chosen here: {bf16.unavailable() or 'no faster on this CPU'}")
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((512, 512, 3, 3)).astype(np.float32)
    prepared = fastcnn.prepare_conv2d(weight, padding=1, precision="medium")
    for size in (4, 7):
        x = rng.standard_normal((1, size, size, 512)).astype(np.float32)
        got = prepared(x, layout="NHWC")
        want = fastcnn.conv2d(x, weight, padding=1, layout="NHWC")
        assert np.linalg.norm(got - want) < 3e-3 * np.linalg.norm(want)
        assert prepared.variant(OP.problem.checked_problem("", (1, 512, size, size), weight.shape, 1, 1, 1, 1)) in ("bfloat16", "amx")
    assert len(prepared._packed) == 1
    assert prepared.variant(OP.problem.checked_problem("", (8, 512, 28, 28), weight.shape, 1, 1, 1, 1)) in ("winograd", "amx")


def test_calls_from_threads() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 16, 20, 20)).astype(np.float32)
    prepared = fastcnn.prepare_conv2d(rng.standard_normal((32, 16, 3, 3)).astype(np.float32))
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(prepared(x))) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 6
    for result in results:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"stride": 0}, ValueError, "prepare_conv2d: non-positive stride is not supported: stride must be between 1"),
        ({"padding": "some"}, ValueError, "prepare_conv2d: padding must be"),
        ({"groups": 0}, ValueError, "prepare_conv2d: groups must be between 1"),
        ({"groups": 3}, ValueError, "expected weight to be divisible by 3"),
        ({"algorithm": "fast"}, ValueError, "prepare_conv2d: algorithm must be 'auto' or one of"),
        ({"relu": 1}, TypeError, "prepare_conv2d: relu must be a bool"),
        ({"precision": "low"}, ValueError, "prepare_conv2d: precision must be one of"),
        ({"bias": np.zeros(3, np.float32)}, ValueError, "prepare_conv2d: bias must have shape"),
        ({"bias": np.zeros(4)}, TypeError, "prepare_conv2d: expected arrays of one dtype"),
        ({"weight": [1.0]}, TypeError, "prepare_conv2d: weight must be a NumPy array"),
    ],
)
def test_mistakes_show_when_it_is_made(change: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fastcnn.prepare_conv2d(**{"weight": np.ones((4, 2, 3, 3), np.float32), **change})


@pytest.mark.parametrize(
    ("x", "layout", "error", "message"),
    [
        (np.ones((1, 3, 5, 5), np.float32), "NCHW", ValueError, "expected input.* to have 2 channels, but got 3 channels"),
        (np.ones((1, 2, 5, 5)), "NCHW", TypeError, "prepared conv2d: expected arrays of one dtype"),
        (np.ones((1, 2, 5, 5), np.float32), "CHWN", ValueError, "prepared conv2d: layout must be one of"),
        (np.ones((2, 2), np.float32), "NCHW", ValueError, "prepared conv2d: input must be"),
        (np.ones((1, 2, 2, 2), np.float32), "NCHW", ValueError, "Kernel size can't be greater than actual input size"),
    ],
)
def test_mistakes_of_a_call(x: np.ndarray, layout: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fastcnn.prepare_conv2d(np.ones((4, 2, 3, 3), np.float32))(x, layout=layout)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("algorithm", "sizes", "groups"),
    [
        ("direct", (5, 7, 3), 1),
        ("direct", (64, 96, 1), 1),
        ("direct", (32, 64, 3), 2),
        ("direct", (640, 32, 3), 1),  # sums in parts
        ("winograd", (5, 7, 3), 1),
        ("depthwise", (24, 24, 3), 24),
        ("depthwise", (24, 48, 5), 24),
        ("depthwise", (19, 19, 9), 19),
        ("im2col", (5, 7, 3), 1),
        ("bfloat16", (32, 64, 3), 1),
    ],
)
def test_residual_and_limits_are_those_of_the_plain_result(algorithm: str, sizes: tuple[int, int, int], groups: int, layout: str) -> None:
    if algorithm == "bfloat16" and bf16.unavailable():
        pytest.skip(str(bf16.unavailable()))
    rng = np.random.default_rng(2)
    C, K, R = sizes
    shapes = [(2, channels, 7, 9) if layout == "NCHW" else (2, 7, 9, channels) for channels in (C, K)]
    x, residual = (8 * rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((K, C // groups, R, R), (K,)))
    x.reshape(-1)[7], residual.reshape(-1)[11] = np.nan, np.nan
    options = {"padding": R // 2, "groups": groups, "algorithm": algorithm}
    plain = fastcnn.prepare_conv2d(weight, bias, **options)(x, layout=layout)
    for limits in ({}, {"relu": True}, {"relu6": True}):
        low, high = (0 if limits else -np.inf), (6 if "relu6" in limits else np.inf)
        prepared = fastcnn.prepare_conv2d(weight, bias, **options, **limits)
        np.testing.assert_array_equal(prepared(x, layout=layout), np.minimum(np.maximum(plain, low), high))
        before = residual.copy()
        got = prepared(x, layout=layout, residual=residual)
        np.testing.assert_allclose(got, np.minimum(np.maximum(plain + residual, low), high), rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(residual, before)
        alone = prepared(x[1:], layout=layout, residual=residual[1:])[0]  # not got[1]: Winograd's tiles are chosen for a batch
        np.testing.assert_array_equal(prepared(x[1], layout=layout, residual=residual[1]), alone)


@pytest.mark.parametrize(
    ("residual", "error", "words"),
    [
        (np.zeros((1, 4, 3, 3), np.float32), ValueError, r"residual must have shape \(1, 4, 4, 4\)"),
        (np.zeros((1, 4, 4, 4)), TypeError, "expected arrays of one dtype"),
        (np.zeros((4, 4, 4), np.float32), ValueError, r"residual must be \(N, C, H, W\)"),
        (1.0, TypeError, "residual must be a NumPy array"),
    ],
)
def test_wrong_residuals_are_refused(residual: object, error: type[Exception], words: str) -> None:
    prepared = fastcnn.prepare_conv2d(np.ones((4, 2, 3, 3), np.float32))
    with pytest.raises(error, match=words):
        prepared(np.ones((1, 2, 6, 6), np.float32), residual=residual)
