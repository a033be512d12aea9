"""Hypothesis: any legal shape, axis, padding and memory order agrees with the definition element by element."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcnn.functional as F

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple)


def _ordered(draw: st.DrawFn, x: np.ndarray) -> np.ndarray:
    """Return the array with its axes in any order in memory, and perhaps every other element of a larger one."""
    order = draw(st.permutations(range(x.ndim)))
    back = np.argsort(order)
    other = np.ascontiguousarray(x.transpose(order)).transpose(back)
    return np.repeat(other, 2, axis=-1)[..., ::2] if draw(st.booleans()) else other


@st.composite
def _arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(SHAPES)
    x = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape)
    return _ordered(draw, x.astype(draw(st.sampled_from([np.float32, np.float64]))))


@SETTINGS
@given(_arrays(), st.data())
def test_softmax_along_any_axis(x: np.ndarray, data: st.DataObject) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    exact = np.exp(x.astype(np.float64))
    want = exact / exact.sum(dim, keepdims=True)
    limit = 1e-6 if x.dtype == np.float32 else 1e-13
    y = F.softmax(x, dim)
    np.testing.assert_allclose(y, want, rtol=5 * limit)
    np.testing.assert_allclose(F.log_softmax(x, dim), np.log(want), rtol=5 * limit, atol=5 * limit)
    dy = np.cos(np.arange(x.size)).reshape(x.shape).astype(x.dtype)
    slope = want * (dy - (dy * want).sum(dim, keepdims=True, dtype=np.float64))
    np.testing.assert_allclose(F.softmax_backward(dy, y, dim), slope, atol=10 * limit)


@st.composite
def _paddings(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...], str]:
    mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    count = draw(st.integers(1, 3))
    shape = draw(st.lists(st.integers(1, 5), min_size=count + 1, max_size=count + 2))
    most = {"reflect": -1, "circular": 0}.get(mode, 4)
    left = 0 if mode == "constant" else 1  # of an axis, at least
    pads: list[int] = []
    for size in shape[: -count - 1 : -1]:
        top = size + most if mode in ("reflect", "circular") else most
        before = draw(st.integers(0 if mode == "circular" else left - size, top))
        pads += [before, draw(st.integers(max(-size - min(before, 0), left - size - before) if mode != "circular" else 0, top))]
    x = np.arange(math.prod(shape), dtype=np.float64).reshape(shape) + 1
    return _ordered(draw, x), tuple(pads), mode


def _source(place: int, size: int, mode: str) -> int | None:
    """Return which element stands at a place that counts from the first element of an axis; None for the constant."""
    if 0 <= place < size:
        return place
    if mode == "constant":
        return None
    if mode == "replicate":
        return 0 if place < 0 else size - 1
    if mode == "circular":
        return place % size
    return -place if place < 0 else 2 * (size - 1) - place


@SETTINGS
@given(_paddings())
def test_pad(case: tuple[np.ndarray, tuple[int, ...], str]) -> None:
    x, pads, mode = case
    befores = [0] * (x.ndim - len(pads) // 2) + list(pads[::2])[::-1]
    y = F.pad(x, pads, mode)
    dx = np.zeros(x.shape)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    for index in np.ndindex(*y.shape):
        found = [_source(i - before, size, mode) for i, before, size in zip(index, befores, x.shape, strict=True)]
        inside = None not in found
        assert y[index] == (x[tuple(found)] if inside else 0)  # type: ignore[index]
        if inside:
            dx[tuple(found)] += dy[index]  # type: ignore[index]
    np.testing.assert_allclose(F.pad_backward(dy, x.shape, pads, mode), dx, atol=1e-12)


@SETTINGS
@given(_arrays(), st.data())
def test_layer_norm_over_any_last_axes(x: np.ndarray, data: st.DataObject) -> None:
    axes = data.draw(st.integers(1, x.ndim))
    shape = x.shape[x.ndim - axes :]
    over = tuple(range(x.ndim - axes, x.ndim))
    exact = x.astype(np.float64)
    want = (exact - exact.mean(over, keepdims=True)) / np.sqrt(exact.var(over, keepdims=True) + 0.1)
    np.testing.assert_allclose(F.layer_norm(x, shape, eps=0.1), want, atol=2e-6 if x.dtype == np.float32 else 1e-13)
