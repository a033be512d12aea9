"""Which variant serves a fully connected layer."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn import linear, linear_backward, machine
from fastcnn.ops.linear import OPERATION, LinearProblem

SIZES = [(N, I, O) for N in (1, 8, 64, 192, 256, 1024) for I, O in ((800, 256), (256, 10), (2048, 1000))]


@pytest.mark.parametrize("isa", ["avx512", "avx2", "sse", "neon"])
@pytest.mark.parametrize("direction", OPERATION.directions)
@pytest.mark.parametrize(("N", "I", "O"), SIZES)
def test_a_training_never_wakes_the_threads_of_blas(
    N: int, I: int, O: int, direction: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They spin when they are done, and the kernels that follow get half of the cores."""
    if machine.tiles_available():
        pytest.skip(str(machine.tiles_available()))
    monkeypatch.setattr(machine, "max_threads", lambda: 2)
    monkeypatch.setattr(machine, "isa", lambda: machine.ISAS[isa])
    problem = LinearProblem(N, I, O)
    small = (9216 if N == 1 else 2**19) > N * I * O
    (name, _), *_ = OPERATION.candidates(problem, direction, "high")
    assert small or name != "blas"


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_scalar_products_serve_single_rows(direction: str) -> None:
    """They read the weight once, as it lies, and no thread of BLAS spins behind them; with a single thread none does anyway."""
    if machine.tiles_available():
        pytest.skip(str(machine.tiles_available()))
    for problem in (LinearProblem(1, 800, 256), LinearProblem(1, 25088, 4096)):
        name = OPERATION.candidates(problem, direction, "high")[0][0]
        assert name == "dot" or (name == "rows" and machine.isa().vector_bytes < 64) or (name == "blas" and machine.get_threads() == 1)


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_few_rows_need_no_copy_of_the_weight(direction: str) -> None:
    if machine.tiles_available():
        pytest.skip(str(machine.tiles_available()))
    (name, _), *_ = OPERATION.candidates(LinearProblem(8, 800, 256), direction, "high")
    assert name in ("rows", "dot")


@pytest.mark.parametrize("sizes", [(3, 0, 2), (1, 0, 2), (3, 2, 0), (0, 3, 2), (3, 0, 0), (0, 0, 0)])
def test_products_of_nothing(sizes: tuple[int, int, int]) -> None:
    N, I, O = sizes
    x, weight, bias, dy = np.ones((N, I)), np.ones((O, I)), np.arange(float(O)), np.ones((N, O))
    for _ in range(2):  # the second call is a remembered one
        np.testing.assert_array_equal(linear(x, weight, bias), x @ weight.T + bias)
        for gradient, want in zip(linear_backward(dy, x, weight), (dy @ weight, dy.T @ x, dy.sum(axis=0)), strict=True):
            np.testing.assert_array_equal(gradient, want)
