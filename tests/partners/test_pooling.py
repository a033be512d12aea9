"""PyTorch's own samples of the poolings: results, indices, gradients and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastcnn import functional as F
from partners import opinfo

NEGATIVE = "elements of output_size must be greater than or equal to 0"
# PyTorch finds out late, and says it in other words than average-pooling does.
LATE = {"Trying to create tensor with negative dimension": NEGATIVE, "internal error": r"output_size must be \d"}


def _backward_of_averages(name: str) -> Callable[..., Any]:
    function = getattr(F, f"{name}_backward")
    return lambda dy, x, *window, **options: function(dy, x.shape, *window, **options)


def _backward_of_maxima(name: str) -> Callable[..., Any]:
    """Return the backward as a function of the forward's arguments: it wants the indices."""
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")

    def run(dy: np.ndarray, x: np.ndarray, *window: Any, return_indices: bool = False, **options: Any) -> Any:
        window = window[:1]  # of adaptive pooling: the flag follows
        _, indices = forward(x, *window, return_indices=True, **options)
        return backward(dy, indices, x.shape, *window, **options)

    return run


def _backward_of_unpooling(name: str) -> Callable[..., Any]:
    function = getattr(F, f"{name}_backward")
    return lambda dy, x, indices, *window, **options: function(dy, indices, *window, **options)


MAXIMA = {
    "max_pool1d": 864, "max_pool2d": 1440, "max_pool3d": 576,
    "adaptive_max_pool1d": 8, "adaptive_max_pool2d": 24, "adaptive_max_pool3d": 20,
}  # fmt: skip
AVERAGES = {
    "avg_pool1d": 9, "avg_pool2d": 7, "avg_pool3d": 8, "adaptive_avg_pool1d": 6, "adaptive_avg_pool2d": 10, "adaptive_avg_pool3d": 12,
}  # fmt: skip
UNPOOLING = {  # in float32 and float64: "grad" leaves out random samples with equal indices
    ("max_unpool1d", ""): (144, 144), ("max_unpool2d", ""): (288, 288), ("max_unpool3d", ""): (96, 96),
    ("max_unpool1d", "grad"): (13, 18), ("max_unpool2d", "grad"): (33, 35), ("max_unpool3d", "grad"): (12, 9),
}  # fmt: skip
REFUSALS = {
    "max_pool1d": 24, "max_pool2d": 7, "max_pool3d": 7, "avg_pool1d": 2, "avg_pool2d": 5, "avg_pool3d": 6,
    "adaptive_avg_pool1d": 2, "adaptive_avg_pool2d": 3, "adaptive_avg_pool3d": 3,
    "adaptive_max_pool1d": 2, "adaptive_max_pool2d": 3, "adaptive_max_pool3d": 3,
    "max_unpool1d": 1, "max_unpool2d": 1, "max_unpool3d": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", MAXIMA)
def test_maxima(name: str) -> None:
    opinfo.check(f"nn.functional.{name}", getattr(F, name), _backward_of_maxima(name), MAXIMA[name])


@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name: str) -> None:
    opinfo.check(f"nn.functional.{name}", getattr(F, name), _backward_of_averages(name), AVERAGES[name])


@pytest.mark.parametrize(("name", "variant"), UNPOOLING)
def test_unpooling(name: str, variant: str) -> None:
    for dtype, count in zip(opinfo.LIMITS, UNPOOLING[name, variant], strict=True):
        backward = _backward_of_unpooling(name)
        opinfo.check(f"nn.functional.{name}", getattr(F, name), backward, count, variant=variant, dtypes=(dtype,))


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    opinfo.check_errors(f"nn.functional.{name}", getattr(F, name), REFUSALS[name], other_words=LATE)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("name", ["max_pool2d", "max_pool3d"])
def test_maxima_of_integers(name: str, dtype: str) -> None:
    dtypes = (getattr(opinfo.torch, dtype),)
    opinfo.check(f"nn.functional.{name}", getattr(F, name), None, MAXIMA[name], dtypes=dtypes)
