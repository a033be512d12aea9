"""Winograd's backward-weight cut into bands, blocks, splits and parts, on problems too small for them by themselves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fastcnn import machine
from fastcnn.agreement import error_share, tolerance
from fastcnn.engine.correlate import geometry_of
from fastcnn.ops.conv2d import _winograd_gradient as gradient
from fastcnn.ops.conv2d import winograd
from fastcnn.ops.conv2d.problem import Conv2dProblem
from fastcnn.registry import operations

OP = operations()["conv2d"]
PROBLEMS = {
    "one-tile": Conv2dProblem(1, 17, 4, 5, 33, 3, 3, 1, 1, 1, 1, 1, 1),
    "many-blocks": Conv2dProblem(2, 130, 6, 5, 131, 3, 3, 1, 1, 1, 1, 1, 1),
    "many-units": Conv2dProblem(5, 5, 13, 9, 40, 3, 3, 1, 1, 0, 2, 1, 0),
    "two-pieces": Conv2dProblem(1, 3, 5, 270, 7, 3, 3, 1, 1, 1, 1, 1, 1),
    "aliasing": Conv2dProblem(1, 128, 5, 6, 128, 3, 3, 1, 1, 1, 1, 1, 1),
}
CUTS = {
    "as-it-comes": {},
    "bands": {"_BAND_TILES": 1, "_LONGEST_SUM": 0},
    "bands-of-splits": {"_BAND_TILES": 3, "_LONGEST_SUM": 0, "_SUMS_BYTES": 2**16},
    "small-blocks": {"_BLOCK": 1},
    "threads-of-parts": {"SERIAL_BELOW": 0, "_TRANSFORM": {2: 1e9, 4: 1e9}},
    "threads-of-splits": {"SERIAL_BELOW": 0, "_TRANSFORM": {2: 0.0, 4: 0.0}},
}


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradient_however_it_is_cut(name: str, cut: str, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs are poisoned; with several threads the bits are the same run after run."""
    for constant, value in CUTS[cut].items():
        monkeypatch.setattr(gradient, constant, value)
    if cut.startswith("threads"):
        monkeypatch.setattr(gradient, "machine", SimpleNamespace(get_threads=lambda: 3, isa=machine.isa))  # whoever then runs the jobs
    p = PROBLEMS[name]
    rng = np.random.default_rng(0)
    x, dy = OP.problem.arguments(p, "backward_weight", np.float32, rng)
    want, size = np.empty(p.weight_shape), np.empty(p.weight_shape)
    OP.run("reference", "backward_weight", p, (x.astype(np.float64), dy.astype(np.float64)), (want,))
    OP.run("reference", "backward_weight", p, (np.abs(x).astype(np.float64), np.abs(dy).astype(np.float64)), (size,))
    allowed = winograd.ERROR_GROWTH * tolerance(p.N * p.P * p.Q, size, np.float32)
    for last in (False, True):
        geometry = geometry_of((3, 3, 1, 1, p.top, p.left), (p.input_shape, last), (p.output_shape, last))
        run = gradient.weight_gradient(geometry, m, np.dtype(np.float32))
        arrays = [np.ascontiguousarray(a.transpose(0, 2, 3, 1) if last else a).reshape(-1) for a in (x, dy)]
        results = [np.full(p.weight_shape, np.nan, np.float32) for _ in range(2)]
        for got in results:
            run(*arrays, got)
            assert error_share(got, want, allowed) <= 1
        np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("shape", [(8, 16, 56, 56), (64, 24, 12, 12), (2, 64, 28, 28)])
def test_long_sums_stay_within_the_stated_error(shape: tuple[int, int, int, int]) -> None:
    """precision="high" promises 5e-6 (Frobenius); sums of up to 25,000 pixels come out at 1e-6."""
    N, C, H, W = shape
    p = Conv2dProblem(N, C, H, W, 32, 3, 3, 1, 1, 1, 1, 1, 1)
    x, dy = OP.problem.arguments(p, "backward_weight", np.float32, np.random.default_rng(1))
    want, got = np.empty(p.weight_shape), np.empty(p.weight_shape, np.float32)
    OP.run("direct", "backward_weight", p, (x.astype(np.float64), dy.astype(np.float64)), (want,))
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            OP.run("winograd", "backward_weight", p, (x, dy), (got,))
        assert np.linalg.norm(got - want) <= 2e-6 * np.linalg.norm(want)
        got.fill(np.nan)


def test_choice_takes_it_where_it_is_faster_and_never_at_highest_precision() -> None:
    wide = Conv2dProblem(8, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1)
    first = Conv2dProblem(8, 3, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1)
    for problem, precision, chosen in ((wide, "high", "winograd"), (wide, "highest", "direct"), (first, "high", "direct")):
        assert OP.candidates(problem, "backward_weight", precision)[0][0] == chosen
