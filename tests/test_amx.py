"""Matrix tiles: who gets them, products on them, and that precision "medium" is worth its name on any CPU."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import fastcnn
from fastcnn import amx, bf16, machine
from fastcnn.agreement import Trial
from fastcnn.layers import Linear
from fastcnn.ops.conv2d import OPERATION as CONVOLUTION
from fastcnn.ops.conv2d import Conv2dProblem
from fastcnn.ops.conv2d_relu_max_pool2d import OPERATION as POOLED
from fastcnn.ops.conv2d_relu_max_pool2d.problem import Conv2dReluMaxPool2dProblem, checked_pool
from fastcnn.ops.linear import OPERATION as LINEAR
from fastcnn.ops.linear import LinearProblem

F32 = np.float32
needs_tiles = pytest.mark.skipif(amx.unavailable() is not None, reason=str(amx.unavailable()))


def _pooled(conv: Conv2dProblem) -> Conv2dReluMaxPool2dProblem:
    return Conv2dReluMaxPool2dProblem(conv, checked_pool("test", conv, 2, None, 0, False))


# --- Who gets them -----------------------------------------------------------------------------------------------------

FEATURES = frozenset({"avx512f", "avx512vl", "avx512dq", "avx512bf16", "amx-tile", "amx-bf16"})


@pytest.fixture
def a_cpu_with_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_features", lambda: FEATURES)
    monkeypatch.setattr(machine, "isa", lambda: machine.ISAS["avx512"])
    monkeypatch.setattr(amx, "_target_features", lambda: frozenset({"+amx-tile", "+amx-bf16"}))
    monkeypatch.setattr(amx, "_permitted", lambda: True)


@pytest.mark.usefixtures("a_cpu_with_tiles")
def test_each_lack_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert amx.unavailable() is None
    monkeypatch.setattr(amx, "_permitted", lambda: False)
    assert amx.unavailable() == "the system does not give this process the tile registers"
    monkeypatch.setattr(amx, "_target_features", lambda: frozenset({"+amx-tile", "-amx-bf16"}))
    assert amx.unavailable() == "NUMBA_CPU_FEATURES leaves out AMX"
    monkeypatch.setattr(machine, "cpu_features", lambda: FEATURES - {"amx-bf16"})
    assert amx.unavailable() == "this CPU has no AMX_BF16"
    monkeypatch.setattr(machine, "cpu_features", lambda: FEATURES - {"avx512bf16"})
    assert amx.unavailable() == "this CPU has no AVX512_BF16"
    conv = Conv2dProblem(1, 8, 8, 8, 8, 3, 3)
    for op, problem in ((LINEAR, LinearProblem(4, 4, 4)), (CONVOLUTION, conv), (POOLED, _pooled(conv))):
        assert op.variants["amx"].refuses(problem, "forward") == "this CPU has no AVX512_BF16"


@pytest.mark.parametrize(("platform", "answer", "permitted"), [("linux", 0, True), ("linux", -1, False), ("darwin", 0, False)])
def test_linux_is_asked(platform: str, answer: int, permitted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Library:
        def syscall(self, *arguments: int) -> int:
            asked.append(arguments)
            return answer

    monkeypatch.setattr(amx.sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert amx._permitted.__wrapped__() == permitted
    assert asked == ([(158, 0x1023, 18)] if platform == "linux" else [])


def test_without_permission_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "unavailable", lambda: "no")
    with pytest.raises(RuntimeError, match="matrix tiles: no"):
        amx.configure.__wrapped__()


def test_configuration() -> None:
    data = amx.configuration((16, 3), (16, 5), 9)
    assert data[0] == 1
    assert data[16:32].view(np.uint16).tolist() == [64, 20, 64, 20, 36, 36, 64, 20]  # bytes of a row: C, A, B
    assert data[48:56].tolist() == [16, 16, 3, 3, 16, 3, 9, 9]
    assert [amx.last_pair(count) for count in (1, 16, 17, 32, 33, 64)] == [(1, 1), (16, 1), (16, 1), (16, 16), (1, 1), (16, 16)]
    assert amx.empty(100).ctypes.data % 64 == 0


# --- Products ----------------------------------------------------------------------------------------------------------


@needs_tiles
@pytest.mark.parametrize("shape", [(1, 1, 1), (16, 32, 16), (17, 33, 17), (40, 65, 49), (33, 7, 100), (128, 800, 256), (5, 1000, 31)])
def test_linear_of_integers(shape: tuple[int, int, int]) -> None:
    """Exact in bfloat16, in all directions, whatever is left of tiles, pairs and steps."""
    rng = np.random.default_rng(0)
    N, I, O = shape
    x, w, b, dy = (rng.integers(-4, 5, size).astype(F32) for size in ((N, I), (O, I), (O,), (N, O)))
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            np.testing.assert_array_equal(fastcnn.linear(x, w, b, algorithm="amx"), x @ w.T + b)
            dx, dw, _ = fastcnn.linear_backward(dy, x, w, algorithm="amx")
            np.testing.assert_array_equal(dx, dy @ w)
            np.testing.assert_array_equal(dw, dy.T @ x)


POOLS = [
    _pooled(Conv2dProblem(N, C, H, W, K, R, S, 1, 1, top, left, top, left))
    for N, C, H, W, K, R, S, top, left in (
        (5, 1, 28, 28, 24, 5, 5, 0, 0), (3, 24, 12, 12, 32, 3, 3, 0, 0), (1, 40, 9, 11, 50, 3, 2, 1, 0), (4, 3, 16, 14, 17, 3, 5, 1, 2),
        (7, 2, 9, 9, 64, 5, 5, 2, 2), (2, 64, 12, 12, 128, 3, 3, 1, 1), (18, 1, 10, 10, 6, 4, 3, 0, 1),
    )
]  # fmt: skip


@needs_tiles
@pytest.mark.parametrize("direction", POOLED.directions)
@pytest.mark.parametrize("problem", POOLS, ids=str)
def test_pooled(problem: Conv2dReluMaxPool2dProblem, direction: str) -> None:
    trial = Trial(POOLED, direction, problem, F32, np.random.default_rng(1))
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            assert trial.error(POOLED.variants["amx"].directions[direction]) <= 1


@needs_tiles
@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("problem", POOLS[:4], ids=str)
def test_gradients_of_infinite_pixels_are_those_of_direct(problem: Conv2dReluMaxPool2dProblem, value: float) -> None:
    rng = np.random.default_rng(2)
    arguments = POOLED.problem.arguments(problem, "backward_weight", F32, rng)
    arguments[0][0, 0, 4, 4] = value
    results = []
    for name in ("amx", "direct"):
        results.append(POOLED.problem.outputs(problem, "backward_weight", F32))
        POOLED.run(name, "backward_weight", problem, arguments, results[-1])
    for got, want in zip(*results, strict=True):
        np.testing.assert_array_equal(got, want)


# --- Precision ---------------------------------------------------------------------------------------------------------


def test_linear_takes_a_precision() -> None:
    x, w = np.ones((2, 3), F32), np.ones((4, 3), F32)
    for call in (
        lambda p: fastcnn.linear(x, w, precision=p),
        lambda p: fastcnn.linear_backward(np.ones((2, 4), F32), x, w, precision=p),
    ):
        call("medium")
        with pytest.raises(ValueError, match="precision must be one of"):
            call("low")


@needs_tiles
def test_a_layer_passes_its_precision_on() -> None:
    layer, x = Linear(200, 64, rng=0), np.random.default_rng(3).standard_normal((64, 200)).astype(F32)
    exact = layer.forward(x).copy()
    rounded = layer.use("medium").forward(x)
    share = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 1e-4 < share < 1e-2


@pytest.mark.parametrize(("features", "chosen"), [({"sse4a"}, True), (set(), False)])
def test_vectors_in_bfloat16_are_chosen_where_they_are_faster(features: set[str], chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit of Intel's has them, and two multiply-adds."""
    monkeypatch.setattr(machine, "cpu_features", lambda: FEATURES | features)
    problem = Conv2dProblem(8, 64, 28, 28, 64, 3, 3, 1, 1, 1, 1, 1, 1)
    bf16.speed.cache_clear()
    costs = [CONVOLUTION.variants[name].cost(problem, "forward") for name in ("bfloat16", "direct")]
    bf16.speed.cache_clear()
    assert (costs[0] < costs[1]) == chosen
