"""Depthwise convolution of images so large that their tiles are others; small ones stand in for them, by a lower limit."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn import conv2d, conv2d_input
from fastcnn.ops.conv2d import OPERATION, _depthwise

FAR = [
    pytest.param(direction, case.problem, channels_last, id=f"{direction}-{case.name}{'-NHWC' if channels_last else ''}")
    for direction in OPERATION.directions
    for variant, case in OPERATION.accepted(direction, OPERATION.problem.CASES)
    if variant == "depthwise"
    for channels_last in (False, True)
]


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch):
    """Take every image for one that comes from memory."""
    plans = _depthwise._plan_correlate, _depthwise._plan_gradient
    for limit in ("_FAR", "_TALL", "_CACHED"):
        monkeypatch.setattr(_depthwise, limit, -1)
    for plan in plans:
        plan.cache_clear()
    yield
    for plan in plans:
        plan.cache_clear()


@pytest.mark.parametrize(("direction", "problem", "channels_last"), FAR)
def test_far_images_are_exact(far: None, direction: str, problem, channels_last: bool) -> None:
    rng = np.random.default_rng(7)

    def laid_out(array: np.ndarray) -> np.ndarray:
        is_image = channels_last and array.shape in (problem.input_shape, problem.output_shape)
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if is_image else array

    arguments = [rng.integers(-4, 5, a.shape).astype(np.float32) for a in OPERATION.problem.arguments(problem, direction, np.float32, rng)]
    want = OPERATION.problem.outputs(problem, direction, np.float64)
    OPERATION.run("reference", direction, problem, arguments, want)
    got = [laid_out(np.full_like(a, np.nan)) for a in OPERATION.problem.outputs(problem, direction, np.float32)]
    OPERATION.run("depthwise", direction, problem, [laid_out(a) for a in arguments], got)
    np.testing.assert_array_equal(got[0], want[0])


@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
def test_infinite_taps_are_infinite_gradients_without_a_warning(stride: int | tuple[int, int]) -> None:
    weight = np.ones((4, 1, 3, 1), np.float32)
    weight[1, 0, 0, 0], weight[2, 0, 2, 0] = np.inf, np.nan
    shape = (1, 4, 2 * 5 + 1, 3) if stride != 1 else (1, 4, 7, 1)
    dy = np.ones_like(conv2d(np.zeros(shape, np.float32), np.ones_like(weight), stride=stride, groups=4))
    dy[..., ::2, :] = 0
    dx = conv2d_input(shape, weight, dy, stride=stride, groups=4)
    want = conv2d_input(shape, weight, dy, stride=stride, groups=4, algorithm="reference")
    np.testing.assert_array_equal(dx, want)
    assert (np.isinf(dx[0, 1]) | np.isnan(dx[0, 1])).any()
    assert np.isnan(dx[0, 2]).any()
    assert np.isfinite(dx[0, [0, 3]]).all()
