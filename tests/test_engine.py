"""The engine's loops for planes and for few pixels, also where automatic choice takes none of them, against the float64 reference."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastcnn import machine
from fastcnn.engine import column_gradient, correlate, packing, phases, planar, planar_gradient
from fastcnn.engine.correlate import geometry_of
from fastcnn.engine.filters import all_taps
from fastcnn.ops.conv2d import reference
from fastcnn.ops.conv2d.problem import Conv2dProblem
from fastcnn.workspace import workspace

pytestmark = pytest.mark.skipif(machine.jit_is_disabled(), reason="register tiles need the JIT")

MARGIN = 64
CASES = {
    "line-of-9": Conv2dProblem(2, 3, 3, 3, 5, 1, 1),
    "line-of-49": Conv2dProblem(2, 20, 7, 7, 33, 1, 1),
    "line-of-256-channels": Conv2dProblem(1, 256, 5, 7, 16, 1, 1),
    "long-line": Conv2dProblem(1, 2, 131, 61, 3, 1, 1),
    "line-of-strided-rows": Conv2dProblem(2, 5, 9, 29, 18, 1, 1, 2, 2),
    "line-of-rows-3-apart": Conv2dProblem(1, 4, 10, 31, 6, 1, 1, 1, 3),
    "line-of-groups": Conv2dProblem(2, 12, 4, 6, 10, 1, 1, groups=2),
    "line-with-padding-below": Conv2dProblem(1, 3, 8, 8, 4, 1, 1, bottom=1),
    "line-with-padding-right": Conv2dProblem(1, 16, 8, 8, 16, 1, 1, right=1),
    "rows-of-26": Conv2dProblem(3, 1, 28, 28, 17, 3, 3),
    "rows-of-28-padded": Conv2dProblem(1, 1, 28, 28, 6, 5, 5, 1, 1, 2, 2, 2, 2),
    "rows-of-40-channels-3": Conv2dProblem(2, 3, 19, 40, 31, 3, 3, 1, 1, 1, 1, 1, 1),
    "rows-2-apart": Conv2dProblem(1, 3, 21, 37, 9, 4, 3, 2, 1, 0, 3, 2, 1),
    "padding-beyond-kernel": Conv2dProblem(1, 2, 2, 33, 3, 2, 2, 1, 1, 5, 5, 5, 5),
    "rows-of-groups": Conv2dProblem(2, 6, 9, 32, 8, 3, 2, 1, 1, 1, 0, 0, 1, groups=2),
    "kernel-1x7": Conv2dProblem(1, 3, 4, 30, 5, 1, 7, 1, 1, 0, 0, 3, 3),
}


def _hosted(array: np.ndarray, channels_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (the array's values amid NaN, in one axis; all of that memory)."""
    values = (array.transpose(0, 2, 3, 1) if channels_last else array).reshape(-1)
    memory = np.full(values.size + 2 * MARGIN, np.nan, array.dtype)
    inside = memory[MARGIN:-MARGIN]
    inside[:] = values
    return inside, memory


def _image(values: np.ndarray, shape: tuple[int, ...], channels_last: bool) -> np.ndarray:
    n, c, h, w = shape
    return values.reshape(n, h, w, c).transpose(0, 3, 1, 2) if channels_last else values.reshape(shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("p", CASES.values(), ids=CASES)
def test_forward_is_exact_for_integers(p: Conv2dProblem, threads: int, channels_last: bool, dtype) -> None:
    rng = np.random.default_rng(3)
    x, weight, bias = (rng.integers(-4, 5, shape).astype(dtype) for shape in (p.input_shape, p.weight_shape, p.K))
    expected = np.empty(p.output_shape, dtype)
    reference.forward(p, x, weight, bias, expected)
    (inside_x, _), (inside_w, _), (inside_b, _) = (
        _hosted(x, channels_last),
        _hosted(weight, False),
        _hosted(bias.reshape(1, -1, 1, 1), False),
    )
    out, memory = _hosted(np.full(p.output_shape, np.nan, dtype), channels_last)
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    shape = geometry_of(sizes, (p.input_shape, channels_last), (p.output_shape, channels_last), p.groups)
    with machine.threads(min(threads, machine.max_threads())):
        planar.correlation(shape, False, np.dtype(dtype))(inside_x, inside_w, inside_b, out)
    np.testing.assert_array_equal(_image(out, p.output_shape, channels_last), expected)
    assert np.isnan(memory[:MARGIN]).all()
    assert np.isnan(memory[-MARGIN:]).all()


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("p", [p for p in CASES.values() if p.R == p.S == p.stride_w == p.stride_h == 1 == 1 + p.bottom + p.right], ids=str)
def test_backward_input_of_one_tap(p: Conv2dProblem, channels_last: bool) -> None:
    rng = np.random.default_rng(4)
    dy, weight = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (p.output_shape, p.weight_shape))
    expected = np.empty(p.input_shape, np.float32)
    reference.backward_input(p, dy, weight, expected)
    (inside_dy, _), (inside_w, _) = _hosted(dy, channels_last), _hosted(weight, False)
    out, memory = _hosted(np.full(p.input_shape, np.nan, np.float32), channels_last)
    shape = geometry_of((1, 1, 1, 1, 0, 0), (p.output_shape, channels_last), (p.input_shape, channels_last), p.groups)
    planar.correlation(shape, True, np.dtype(np.float32))(inside_dy, inside_w, None, out)
    np.testing.assert_array_equal(_image(out, p.input_shape, channels_last), expected)
    assert np.isnan(memory[:MARGIN]).all()
    assert np.isnan(memory[-MARGIN:]).all()


GRADIENTS = {
    "mnist-6": Conv2dProblem(5, 1, 28, 28, 6, 5, 5, 1, 1, 2, 2, 2, 2),
    "a-vector-exactly": Conv2dProblem(2, 1, 10, 10, 17, 3, 3),
    "less-than-a-vector": Conv2dProblem(3, 2, 3, 5, 4, 3, 3),
    "bands": Conv2dProblem(2, 3, 131, 61, 19, 3, 3, 1, 1, 1, 1, 1, 1),
    "padding-one-side": Conv2dProblem(1, 3, 6, 7, 5, 3, 4, top=2, right=1),
    "padding-beyond-kernel": Conv2dProblem(2, 1, 3, 4, 9, 2, 3, 1, 1, 5, 5, 6, 6),
    "cropped": Conv2dProblem(1, 2, 12, 13, 3, 1, 8, 1, 1, 0, 0, 0, 0),
    "one-tap": Conv2dProblem(2, 4, 5, 7, 9, 1, 1),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("p", GRADIENTS.values(), ids=GRADIENTS)
def test_gradient_is_exact_for_integers(p: Conv2dProblem, threads: int, channels_last: bool, dtype) -> None:
    rng = np.random.default_rng(5)
    x, dy = (rng.integers(-4, 5, shape).astype(dtype) for shape in (p.input_shape, p.output_shape))
    expected, out = np.empty(p.weight_shape, dtype), np.full(p.weight_shape, np.nan, dtype)
    reference.backward_weight(p, x, dy, expected)
    (inside_x, _), (inside_dy, _) = _hosted(x, channels_last), _hosted(dy, channels_last)
    sizes = p.R, p.S, 1, 1, p.top, p.left
    shape = geometry_of(sizes, (p.input_shape, channels_last), (p.output_shape, channels_last))
    with machine.threads(min(threads, machine.max_threads())):
        planar_gradient.weight_gradient(shape, np.dtype(dtype))(inside_x, inside_dy, out)
    np.testing.assert_array_equal(out, expected)


COLUMNS = {
    "one-pixel": Conv2dProblem(1, 8, 3, 3, 20, 3, 3),
    "few-pixels-padded": Conv2dProblem(2, 19, 4, 5, 33, 3, 3, 1, 1, 1, 1, 1, 1),
    "strided": Conv2dProblem(1, 40, 7, 6, 5, 3, 2, 2, 3, 1, 0, 2, 1),
    "padding-beyond-kernel": Conv2dProblem(1, 16, 2, 2, 3, 2, 2, 1, 1, 5, 5, 5, 5),
    "many-blocks": Conv2dProblem(3, 67, 5, 5, 15, 3, 3, 1, 1, 1, 1, 1, 1),
    "one-tap": Conv2dProblem(2, 50, 3, 4, 9, 1, 1),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("p", COLUMNS.values(), ids=COLUMNS)
def test_gradient_by_columns_is_exact_for_integers(p: Conv2dProblem, threads: int, channels_last: bool, dtype) -> None:
    rng = np.random.default_rng(7)
    x, dy = (rng.integers(-4, 5, shape).astype(dtype) for shape in (p.input_shape, p.output_shape))
    expected = np.empty(p.weight_shape, dtype)
    reference.backward_weight(p, x, dy, expected)
    out, memory = _hosted(np.full((1, 1, 1, expected.size), np.nan, dtype), False)
    (inside_x, _), (inside_dy, _) = _hosted(x, channels_last), _hosted(dy, channels_last)
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    shape = geometry_of(sizes, (p.input_shape, channels_last), (p.output_shape, channels_last))
    with machine.threads(min(threads, machine.max_threads())):
        column_gradient.weight_gradient(shape, np.dtype(dtype))(inside_x, inside_dy, out.reshape(p.weight_shape))
    np.testing.assert_array_equal(out.reshape(p.weight_shape), expected)
    assert np.isnan(memory[:MARGIN]).all()
    assert np.isnan(memory[-MARGIN:]).all()


STRIDED = {
    "overlapping": Conv2dProblem(5, 3, 9, 11, 7, 3, 3, 2, 2, 1, 1, 1, 1),
    "groups": Conv2dProblem(3, 4, 8, 9, 6, 3, 2, 2, 2, 0, 1, 1, 0, groups=2),
    "pixels-without-a-tap": Conv2dProblem(3, 2, 11, 10, 4, 2, 2, 3, 3),
    "all-in-the-padding": Conv2dProblem(2, 3, 4, 4, 5, 2, 2, 9, 9, 5, 5, 5, 5),
    "one-tap": Conv2dProblem(3, 5, 8, 7, 4, 1, 1, 2, 2),
    "one-tap-rows-2-apart": Conv2dProblem(1, 3, 14, 19, 16, 1, 1, 2, 1),
    "one-tap-few-channels": Conv2dProblem(1, 3, 40, 41, 16, 1, 1, 2, 2),
    "no-image": Conv2dProblem(0, 3, 9, 11, 7, 3, 3, 2, 2, 1, 1, 1, 1),
}


@pytest.mark.parametrize("together", [1, 2, 100], ids="{} images at once".format)
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("p", STRIDED.values(), ids=STRIDED)
def test_phases_of_a_stride(p: Conv2dProblem, channels_last: bool, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "_IMAGE_BYTES", together * p.C * p.H * p.W * 4)
    rng = np.random.default_rng(8)
    dy, weight = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (p.output_shape, p.weight_shape))
    expected = np.empty(p.input_shape, np.float32)
    reference.backward_input(p, dy, weight, expected)
    out, memory = _hosted(np.full(p.input_shape, np.nan, np.float32), channels_last)
    workspace(2**16, np.float32).fill(np.nan)
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    shape = geometry_of(sizes, (p.input_shape, channels_last), (p.output_shape, channels_last), p.groups)
    inside, _ = _hosted(dy, channels_last)
    phases.backward_input(shape, p.weight_shape, np.dtype(np.float32))(inside, weight.reshape(-1), out)
    np.testing.assert_array_equal(_image(out, p.input_shape, channels_last), expected)
    assert np.isnan(memory[:MARGIN]).all()
    assert np.isnan(memory[-MARGIN:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(3, 2, 3), (3, 16, 3), (3, 37, 3), (3, 37, 5), (2, 40, 2), (17, 9, 20), (1, 33, 3)])
def test_planes_become_pixels(sizes: tuple[int, int, int], dtype) -> None:
    rows, columns, pitch = sizes
    x = np.arange(rows * 50, dtype=dtype)
    y = np.full(MARGIN + columns * pitch + MARGIN, np.nan, dtype)
    packing.transposer(np.dtype(dtype))(x, 1, 49, y, MARGIN, pitch, rows, columns)
    want = np.full(y.shape, np.nan, dtype)
    for j in range(columns):
        for i in range(rows):
            want[MARGIN + j * pitch + i] = x[1 + i * 49 + j]
    np.testing.assert_array_equal(y, want)


def test_a_workspace_belongs_to_its_thread() -> None:
    mine = workspace(100, np.float32)
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(workspace, 100, np.float32).result()
    assert not np.shares_memory(mine, theirs)
    assert np.shares_memory(mine, workspace(50, np.float64))
    assert mine.ctypes.data % 64 == 0
    assert not np.shares_memory(workspace(2**21, np.float64), workspace(2**21, np.float64)), "16 MiB are kept"


def test_gradient_keeps_infinities_where_they_are() -> None:
    """Vectors that reach beyond a line multiply zeros with zeros: NaN around the arrays or in another image's plane never shows."""
    p = Conv2dProblem(2, 1, 7, 9, 6, 3, 3)
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal(shape).astype(np.float32) for shape in (p.input_shape, p.output_shape))
    x[0, 0, 5, 3] = dy[1, 2, -1, -1] = np.inf
    expected, out = np.empty(p.weight_shape, np.float32), np.empty(p.weight_shape, np.float32)
    with np.errstate(invalid="ignore"):
        reference.backward_weight(p, x, dy, expected)
    shape = geometry_of((3, 3, 1, 1, 0, 0), (p.input_shape, False), (p.output_shape, False))
    planar_gradient.weight_gradient(shape, np.dtype(np.float32))(x.reshape(-1), dy.reshape(-1), out)
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(expected))
    assert np.isfinite(expected).any()
    assert not np.isfinite(expected).all()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("K", "channels_last"), [(32, True), (40, True), (17, False)])
def test_long_sums_are_sums_of_kernel_rows(K: int, channels_last: bool, relu: bool) -> None:
    p = Conv2dProblem(2, 400, 6, 7, K, 3, 3, 2, 1, 1, 1, 1, 0)
    rng = np.random.default_rng(9)
    x, weight, bias = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (p.input_shape, p.weight_shape, p.K))
    expected = np.empty(p.output_shape, np.float32)
    reference.forward(p, x, weight, bias, expected)
    out, memory = _hosted(np.full(p.output_shape, np.nan, np.float32), channels_last)
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    shape = geometry_of(sizes, (p.input_shape, channels_last), (p.output_shape, channels_last), relu=relu)
    run = correlate.correlation(shape, all_taps(p.weight_shape), np.dtype(np.float32))
    run(_hosted(x, channels_last)[0], weight.reshape(-1), bias, out)
    np.testing.assert_array_equal(_image(out, p.output_shape, channels_last), np.maximum(expected, 0) if relu else expected)
    assert np.isnan(memory[:MARGIN]).all()
    assert np.isnan(memory[-MARGIN:]).all()


def test_first_layers_and_thin_lines_take_it() -> None:
    """The choice: planes of a first layer, and a handful of output channels; not channels-last images of many channels."""

    def suits(p: Conv2dProblem, channels_last: bool) -> bool:
        sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
        shape = geometry_of(sizes, (p.input_shape, channels_last), (p.output_shape, channels_last), p.groups)
        return planar.suits(shape, False, 4)

    assert suits(Conv2dProblem(64, 1, 28, 28, 32, 3, 3), channels_last=False)
    assert suits(Conv2dProblem(64, 1, 28, 28, 6, 5, 5, 1, 1, 2, 2, 2, 2), channels_last=True)
    assert suits(Conv2dProblem(1, 64, 56, 56, 64, 1, 1), channels_last=False)
    assert not suits(Conv2dProblem(1, 64, 56, 56, 64, 1, 1), channels_last=True)
    assert not suits(Conv2dProblem(1, 3, 4, 4, 8, 3, 3), channels_last=False)
    assert not suits(Conv2dProblem(1, 3, 224, 224, 64, 7, 7, 2, 2, 3, 3, 3, 3), channels_last=False)
