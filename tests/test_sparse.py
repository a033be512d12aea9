"""The sparse backward: its lists and sums one by one, and what holds of gradients that are 0 nearly everywhere, or nowhere.

That it agrees with the reference on every case is asserted in tests/test_variants.py.
"""

from __future__ import annotations

import numba
import numpy as np
import pytest

import fastcnn
from fastcnn import machine
from fastcnn.engine import sparse_simd
from fastcnn.engine.sparse_gradient import WINDOWS
from fastcnn.engine.sparse_simd import BLOCK, GatherShape
from fastcnn.engine.sparse_tiling import block_tiling, tiling
from fastcnn.ops.conv2d import Conv2dProblem
from fastcnn.ops.conv2d_relu_max_pool2d import OPERATION
from fastcnn.ops.conv2d_relu_max_pool2d.problem import CASES, Conv2dReluMaxPool2dProblem, checked_pool

SPARSE = OPERATION.variants["sparse"]
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
ACCEPTED = {case.name: case.problem for case in CASES if SPARSE.refuses(case.problem, "backward_weight") is None}
compiled = pytest.mark.skipif(machine.jit_is_disabled(), reason="intrinsics are machine code")


def _entries(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return a list as the intrinsics read it: bits and place, one after the other."""
    integers = sparse_simd.entry_type(values.dtype)
    return np.stack([values.view(integers), places.astype(integers)], axis=1).reshape(-1)


@compiled
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "vectors", "copies"), [(1, 1, 4), (3, 2, 1), (5, 1, 2)])
def test_gathered_tile(rows: int, vectors: int, copies: int, dtype: np.dtype) -> None:
    """Lists of every length beside a multiple of the copies; elements from `valid` on keep what they are, also where x is NaN."""
    lanes = machine.lanes(dtype.itemsize)
    gather = sparse_simd.gathered_tile(GatherShape(rows, vectors, lanes, copies), dtype)
    run = numba.njit(lambda count, entries, x, y, valid: gather(count, entries, 2, x, 5, 90, y, 3, width + 1, valid))
    width, rng = vectors * lanes, np.random.default_rng(0)
    for count in (0, 1, 2, 3, 4, 7, 8, 9):
        for valid in (1, width - 1, width):
            x, y = rng.integers(-4, 5, 5 + 90 * rows + 60 + width).astype(dtype), rng.integers(-4, 5, 3 + rows * (width + 1)).astype(dtype)
            values, places = rng.integers(-4, 5, 2 + count).astype(dtype), rng.integers(0, 60, 2 + count)
            want = y.copy()
            for value, place in zip(values[2:], places[2:], strict=True):
                for r in range(rows):
                    want[3 + r * (width + 1) :][:valid] += value * x[5 + place + r * 90 :][:valid]
            run(count, _entries(values, places), x, y, valid)
            np.testing.assert_array_equal(y, want)
    x[...], before = np.nan, y.copy()
    run(count, _entries(values, places), x, y, 1)
    assert np.isnan(y[3 :: width + 1][:rows]).all()
    kept = np.delete(np.arange(len(y)), 3 + np.arange(rows) * (width + 1))
    np.testing.assert_array_equal(y[kept], before[kept])


@compiled
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "vectors", "half"), [(1, 1, False), (3, 3, True), (2, 5, False)])
def test_scattered_tile(rows: int, vectors: int, half: bool, dtype: np.dtype) -> None:
    """Entries of one place, and of places that overlap, add up; nothing else changes."""
    lanes = max(2, machine.lanes(dtype.itemsize) // (1 + half))
    scatter = sparse_simd.scattered_tile(rows, vectors, lanes, dtype)
    run = numba.njit(lambda count, entries, x, y: scatter(count, entries, 1, x, 2, 100, y, 4, 150))
    width, rng = vectors * lanes, np.random.default_rng(1)
    for count in (0, 1, 2, 9):
        x, y = rng.integers(-4, 5, 2 + 100 * rows).astype(dtype), rng.integers(-4, 5, 4 + 150 * rows + 40 + width).astype(dtype)
        values, places = rng.integers(-4, 5, 1 + count).astype(dtype), rng.choice([0, 0, 7, lanes, 40], 1 + count)
        want = y.copy()
        for value, place in zip(values[1:], places[1:], strict=True):
            for r in range(rows):
                want[4 + place + r * 150 :][:width] += value * x[2 + r * 100 :][:width]
        run(count, _entries(values, places), x, y)
        np.testing.assert_array_equal(y, want)


@compiled
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 7, 16, 255, 256])
def test_what_passes_is_listed_with_its_place(width: int, dtype: np.dtype) -> None:
    """All winners of a window of 256 pixels, NaN and negative zeros; lists hold what is not 0 in order."""
    pass_row, compress = sparse_simd.passed_entries(dtype), sparse_simd.compressed(dtype)

    @numba.njit
    def run(dy, y, won, windows, entries, sums, listed):
        pass_row(dy, y, won, 3, 11, windows, 70, 9, width, 1000, 10, entries, 1, sums)
        return [compress(entries, 1 + v, windows, listed, 2 + v * windows) for v in range(BLOCK)]

    rng, windows = np.random.default_rng(2), 40
    size = 3 + 11 * windows
    dy = rng.choice(np.array([0, 1, -2, np.nan, np.inf], dtype), size)
    y = rng.choice(np.array([0.0, -0.0, -1, 1, np.nan, np.inf], dtype), size)
    won = rng.permutation(np.resize(np.arange(256, dtype=np.uint8), size))
    entries, listed = (np.full(2 * (2 + BLOCK * windows), -9, sparse_simd.entry_type(dtype)) for _ in range(2))
    sums = np.ones(BLOCK, dtype)
    lengths = run(dy, y, won, windows, entries, sums, listed)
    blocks = [a[3:].reshape(windows, 11)[:, :BLOCK] for a in (dy, y, won.astype(int))]
    passed = np.where(blocks[1] <= 0, 0, blocks[0]).astype(dtype)
    places = 70 + 9 * np.arange(windows)[:, None] + blocks[2] // width * 1000 + blocks[2] % width * 10
    np.testing.assert_array_equal(sums, 1 + passed.sum(axis=0))
    for v in range(BLOCK):
        some = passed[:, v] != 0
        got = listed[2 * (2 + v * windows) :][: 2 * lengths[v]]
        np.testing.assert_array_equal(got[::2].copy().view(dtype), passed[some, v])
        np.testing.assert_array_equal(got[1::2], places[some, v])
    assert (entries[:2] == -9).all()
    assert (listed[:4] == -9).all()
    assert (entries[-2:] == -9).all()


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize(("R", "S", "C"), [(1, 1, 1), (5, 5, 1), (3, 3, 24), (3, 3, 131), (7, 7, 3), (11, 13, 5), (1, 17, 64), (29, 1, 2)])
def test_tilings_cover_and_fit(R: int, S: int, C: int, itemsize: int) -> None:
    registers = machine.isa().registers
    t = tiling(R, S * C, itemsize)
    assert R % t.tile.rows == 0
    assert S * C <= t.pitch == t.tiles * t.tile.vectors * t.tile.lanes
    assert t.tile.rows * t.tile.vectors * t.tile.copies < registers - 1
    b = block_tiling(R, S, C, itemsize)
    assert R % b.rows == S % b.columns == 0
    assert b.blocks * b.channels >= C
    assert b.rows * b.columns * b.vectors < registers - 1


@pytest.mark.parametrize(("level", "lanes"), [("avx512", 8), ("avx2", 8), ("sse", 4), ("neon", 4)])
def test_channels_are_stored_by_as_many_bytes_as_a_store_can_have(level: str, lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of vectors take 1.6 to 1.9 times as long with AVX2; for three channels half is enough."""
    monkeypatch.setattr(machine, "isa", lambda: machine.ISAS[level])
    for R, C in ((3, 24), (3, 32), (3, 64), (5, 16)):
        assert block_tiling(R, R, C, 4).lanes == lanes, (R, C)
    assert block_tiling(5, 5, 3, 4).lanes == 4


def _gradients(problem, dy, y, winners, x, weight) -> list[np.ndarray]:
    """Return (dweight, dbias, dx) of the variant, written over NaN."""
    dweight, dbias = np.full_like(weight, np.nan), np.full(problem.conv.K, np.nan, x.dtype)
    dx = np.full(problem.input_shape, np.nan, x.dtype)
    SPARSE.directions["backward_weight"](problem, x, dy, y, winners, dweight, dbias)
    SPARSE.directions["backward_input"](problem, dy, y, winners, weight, dx)
    return [dweight, dbias, dx]


def _given(problem, dtype: np.dtype = DTYPES[0], seed: int = 0):
    """Return (dy, y, winners, x, weight) of small integers."""
    rng = np.random.default_rng(seed)
    dy, y, winners, weight = OPERATION.problem.arguments(problem, "backward_input", dtype, rng)
    x = OPERATION.problem.arguments(problem, "backward_weight", dtype, rng)[0]
    x, dy, weight = (rng.integers(-4, 5, a.shape).astype(dtype) for a in (x, dy, weight))
    return dy, y, winners, x, weight


def _reference(problem, dy, y, winners, x, weight) -> list[np.ndarray]:
    dweight, dbias, dx = np.empty(problem.weight_shape), np.empty(problem.conv.K), np.empty(problem.input_shape)
    OPERATION.run("reference", "backward_weight", problem, (x, dy, y, winners), (dweight, dbias))
    OPERATION.run("reference", "backward_input", problem, (dy, y, winners, weight), (dx,))
    return [dweight, dbias, dx]


@compiled
@pytest.mark.parametrize("name", ACCEPTED)
def test_all_closed_gives_exact_zeros(name: str) -> None:
    dy, y, winners, x, weight = _given(ACCEPTED[name])
    dy[...] = np.nan
    for gradient in _gradients(ACCEPTED[name], dy, np.minimum(y, -0.0), winners, x, weight):
        assert not gradient.any()


@compiled
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("share", [0.02, 1.0])
@pytest.mark.parametrize("name", ACCEPTED)
def test_any_share_of_open_windows(name: str, share: float, dtype: np.dtype) -> None:
    """Exact on integers; 1.0 fills every list to its end."""
    problem = ACCEPTED[name]
    dy, y, winners, x, weight = _given(problem, dtype)
    dy[dy == 0], y[...] = 5, np.random.default_rng(3).random(y.shape) < share
    for got, want in zip(_gradients(problem, dy, y, winners, x, weight), _reference(problem, dy, y, winners, x, weight), strict=True):
        np.testing.assert_array_equal(got, want)


@compiled
@pytest.mark.parametrize("name", ["second", "padding-beyond-kernel", "channels-31-33"])
def test_nan_output_passes_and_infinities_reach_what_they_meet(name: str) -> None:
    """A gradient passes where y is NaN. An infinite gradient of one window spoils the sums that it is part of, and no others."""
    problem = ACCEPTED[name]
    dy, y, winners, x, weight = _given(problem)
    weight[weight == 0], x[x == 0] = 1, 1
    y[...], y[0, 3] = 0, np.nan
    for got, want in zip(_gradients(problem, dy, y, winners, x, weight), _reference(problem, dy, y, winners, x, weight), strict=True):
        np.testing.assert_array_equal(got, want)
    y[...], y[0, 3, 1, 1], dy[0, 3, 1, 1] = 0, 1, np.inf
    dweight, dbias, dx = _gradients(problem, dy, y, winners, x, weight)
    dy[0, 3, 1, 1] = 1
    for got, want in zip((dweight, dbias, dx), _reference(problem, dy, y, winners, x, weight), strict=True):
        # Padding is 0, and 0 times infinity NaN: only dweight meets it.
        np.testing.assert_array_equal(np.isfinite(got) & (got == 0), want == 0) if got is not dweight else None
    assert np.isfinite(np.delete(dweight, 3, axis=0)).all()
    assert not np.delete(dweight, 3, axis=0).any()
    assert not np.isfinite(dweight[3]).any() or problem.conv.top


@compiled
def test_what_no_gradient_meets_may_be_infinite() -> None:
    """0 times infinity counts as 0: the one difference from the other variants."""
    problem = ACCEPTED["second"]
    dy, y, winners, x, weight = _given(problem)
    x[...], weight[...], y[...] = np.inf, np.nan, 0
    for gradient in _gradients(problem, dy, y, winners, x, weight):
        assert not gradient.any()


@compiled
@pytest.mark.parametrize("sizes", [(5, 3, 40, 22, 19, 3), (1, 2, 50, 30, 8, 5), (3, 40, 20, 20, 24, 3)])
def test_threads_and_bands(sizes: tuple[int, ...]) -> None:
    """Images fewer than threads and more: exact on integers for any count, and the same bits run after run on random numbers."""
    N, C, H, W, K, R = sizes
    conv = Conv2dProblem(N, C, H, W, K, R, R, 1, 1, 1, 1, 1, 1)
    problem = Conv2dReluMaxPool2dProblem(conv, checked_pool("test", conv, 2, None, 0, False))
    given = _given(problem)
    want = _reference(problem, *given)
    rng = np.random.default_rng(4)
    random = [rng.standard_normal(a.shape).astype(np.float32) if a.dtype.kind == "f" else a for a in given]
    for threads in range(1, machine.max_threads() + 1):
        with machine.threads(threads):
            for got, expected in zip(_gradients(problem, *given), want, strict=True):
                np.testing.assert_array_equal(got, expected)
            first, second = (_gradients(problem, *random) for _ in range(2))
            for a, b in zip(first, second, strict=True):
                np.testing.assert_array_equal(a, b)


@compiled
def test_units_are_cut_where_one_would_have_too_many_windows() -> None:
    conv = Conv2dProblem(1, 1, 4, 2 * WINDOWS + 99, 8, 3, 3)
    problem = Conv2dReluMaxPool2dProblem(conv, checked_pool("test", conv, 2, None, 0, False))
    given = _given(problem)
    for got, want in zip(_gradients(problem, *given), _reference(problem, *given), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"K": 7}, "fewer than 8 filters"), ({"groups": 2}, "groups"), ({"dilation_w": 2}, "dilation"), ({"left": 2**29}, "32-bit")],
)
def test_refusals(changes: dict[str, int], reason: str) -> None:
    conv = Conv2dProblem(1, 2, 9, 9, 16, 3, 3)._replace(**changes)
    problem = Conv2dReluMaxPool2dProblem(conv, checked_pool("test", conv, 2, None, 0, False))
    assert reason in (SPARSE.refuses(problem, "backward_weight") or "")


@compiled
@pytest.mark.parametrize("direction", ["backward_weight", "backward_input"])
def test_automatic_choice_takes_it_for_the_digits(direction: str) -> None:
    """Three times faster than the next on the second convolution of `digit_net`."""
    conv = Conv2dProblem(128, 24, 12, 12, 32, 3, 3)
    problem = Conv2dReluMaxPool2dProblem(conv, checked_pool("test", conv, 2, None, 0, False))
    assert OPERATION.candidates(problem, direction)[0][0] == "sparse"
    x = np.random.default_rng(0).standard_normal((2, 24, 12, 12)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((32, 24, 3, 3)).astype(np.float32)
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, return_winners=True)
    auto, direct = (fastcnn.conv2d_relu_max_pool2d_backward(y, winners, y, x, w, algorithm=name) for name in ("auto", "direct"))
    for got, want in zip(auto, direct, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
