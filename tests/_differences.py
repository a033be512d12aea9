"""Gradients by central differences, for tests of backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def differences(function: Callable[[], Any], array: np.ndarray, dy: Any, step: float = 1e-5) -> np.ndarray:
    """Return the gradient of sum(function() * dy) with respect to a float64 array, which is changed in place and back."""
    found = np.empty(array.shape)
    for index in np.ndindex(*array.shape):
        kept = array[index]
        array[index] = kept + step
        above = (np.asarray(function()) * dy).sum()
        array[index] = kept - step
        below = (np.asarray(function()) * dy).sum()
        array[index] = kept
        found[index] = (above - below) / (2 * step)
    return found


def assert_gradients(function: Callable[[], Any], arrays: list[np.ndarray], gradients: Any, dy: Any, tolerance: float = 1e-6) -> None:
    """Assert that `gradients` of sum(function() * dy) with respect to the arrays have their shapes and are central differences."""
    given = (gradients,) if isinstance(gradients, np.ndarray) else gradients
    for array, gradient in zip(arrays, given, strict=True):
        assert isinstance(gradient, np.ndarray)
        assert (gradient.shape, gradient.dtype) == (array.shape, array.dtype)
        np.testing.assert_allclose(gradient, differences(function, array, dy), rtol=tolerance, atol=tolerance)
