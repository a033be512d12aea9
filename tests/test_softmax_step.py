"""Loss, gradient and right predictions in one pass, against a float64 definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastcnn import machine
from fastcnn.ops.softmax_cross_entropy import softmax_cross_entropy_step


def _definition(x: np.ndarray, labels: np.ndarray, smoothing: float) -> tuple[float, np.ndarray]:
    x = x.astype(np.float64)
    target = np.full(x.shape, smoothing / x.shape[1])
    target[np.arange(len(x)), labels] += 1 - smoothing
    shifted = x - x.max(axis=1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-(target * log).sum() / len(x)), (np.exp(log) - target) / len(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(128, 10), (1, 1), (1, 2), (7, 10), (257, 5), (3, 3001), (205, 10), (410, 10), (1000, 3)])
def test_against_the_definition(shape: tuple[int, int], smoothing: float, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for spread in (0.1, 4, 60):  # 60: exponentials from 1 to below the least float32
        x = (spread * rng.standard_normal(shape)).astype(dtype)
        labels = rng.integers(0, shape[1], shape[0])
        loss, gradient, right = softmax_cross_entropy_step(x, labels, smoothing)
        expected, slope = _definition(x, labels, smoothing)
        tolerance = 3e-7 if dtype == np.float32 else 1e-14
        assert loss == pytest.approx(expected, rel=10 * tolerance, abs=10 * tolerance)
        assert gradient.dtype == dtype
        # a float32 logit of 200 is off by 1e-5 after the maximum is subtracted
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=tolerance * (1 + spread) / shape[0])
        assert right == (x.argmax(axis=1) == labels).sum()


def test_ties_count_for_the_first() -> None:
    x = np.zeros((4, 3), np.float32)
    x[2, 1:] = 1
    assert softmax_cross_entropy_step(x, np.array([0, 1, 1, 2]))[2] == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinities_and_nan(dtype: Any) -> None:
    x = np.zeros((2, 10), dtype)
    for value in (np.nan, np.inf):
        wrong = x.copy()
        wrong[1, 3] = value
        loss, gradient, _ = softmax_cross_entropy_step(wrong, np.array([0, 0]))
        assert np.isnan(loss)
        assert np.isnan(gradient[1]).all()
        assert np.isfinite(gradient[0]).all()
    x[1, 3] = -np.inf
    loss, gradient, _ = softmax_cross_entropy_step(x, np.array([0, 0]))
    assert loss == pytest.approx((np.log(10) + np.log(9)) / 2)
    assert gradient[1, 3] == 0
    assert softmax_cross_entropy_step(x, np.array([0, 3]))[0] == np.inf
    assert softmax_cross_entropy_step(x, np.array([0, 0]), 0.1)[0] == np.inf
    assert np.isfinite(softmax_cross_entropy_step(np.array([[3e38, -3e38]], np.float32), np.array([0]))[0])


@pytest.mark.parametrize("labels", [np.uint8, np.int32, ">i8", np.uint64])
def test_labels_and_logits_of_any_memory(labels: Any) -> None:
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((9, 5)), rng.integers(0, 5, 9)
    loss, gradient, right = softmax_cross_entropy_step(x, target)
    wide = np.repeat(np.asfortranarray(x), 2, axis=1)[:, ::2]
    wide.flags.writeable = False
    other = softmax_cross_entropy_step(wide, np.repeat(target.astype(labels), 2)[::2])
    assert other[0] == loss
    assert other[2] == right
    np.testing.assert_array_equal(other[1], gradient)


@pytest.mark.skipif(machine.max_threads() < 2, reason="needs two threads")
def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((20_000, 10)).astype(np.float32), rng.integers(0, 10, 20_000)
    found = []
    for threads in (1, machine.max_threads()):
        with machine.threads(threads):
            found.append(softmax_cross_entropy_step(x, target, 0.1))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_errors() -> None:
    x, labels = np.zeros((3, 4), np.float32), np.array([0, 1, 3])
    assert np.isnan(softmax_cross_entropy_step(x[:0], labels[:0])[0])
    rows: list[tuple[Any, Any, Any, Any, str]] = [
        (x, np.array([0, 1, 4]), 0, ValueError, "labels must be between 0 and 3; got 4"),
        (x, np.array([0, -1, 2]), 0, ValueError, "got -1"),
        (x, np.array([0, 2**64 - 1, 2], np.uint64), 0, ValueError, "labels"),
        (x, labels[:2], 0, ValueError, r"shape \(3,\)"),
        (x, labels.astype(float), 0, TypeError, "integer labels"),
        (x[0], labels, 0, ValueError, r"\(N, C\)"),
        (x[:, :0], labels, 0, ValueError, "at least one class"),
        (x.astype(int), labels, 0, TypeError, "float32"),
        (x, labels, 1.1, ValueError, "label_smoothing"),
        (x, labels, np.nan, ValueError, "label_smoothing"),
        (x, labels, "1", TypeError, "label_smoothing"),
    ]
    for logits, target, smoothing, error, message in rows:
        with pytest.raises(error, match=message):
            softmax_cross_entropy_step(logits, target, smoothing)
