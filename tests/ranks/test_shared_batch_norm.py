"""Batch normalisation of a batch in several processes: here in several threads, which add up as processes would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastcnn.layers import BatchNorm1d, BatchNorm2d
from fastcnn.ops.batch_norm import batch_norm, batch_norm_backward, shared_batch_norm, shared_batch_norm_backward


class Sum:
    """The sum over all members of a team of threads, and how often it was asked for."""

    def __init__(self, members: int) -> None:
        self.barrier, self.parts, self.asked = threading.Barrier(members, timeout=60), [np.empty(0)] * members, [0] * members

    def of(self, member: int) -> Callable[[np.ndarray], None]:
        def add_up(values: np.ndarray) -> None:
            self.asked[member] += 1
            self.parts[member] = values.copy()
            self.barrier.wait()
            values[...] = np.sum(self.parts, axis=0)
            self.barrier.wait()

        return add_up


def together(members: int, work: Callable[[int, Callable[[np.ndarray], None]], Any]) -> tuple[list[Any], list[int]]:
    """Return what work(member, add_up) returns for every member, and how often each asked for a sum."""
    team, results, errors = Sum(members), [None] * members, []

    def run(member: int) -> None:
        try:
            results[member] = work(member, team.of(member))
        except Exception as error:
            errors.append(error)
            team.barrier.abort()

    threads = [threading.Thread(target=run, args=(member,)) for member in range(members)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results, team.asked


def _close(a: np.ndarray, b: np.ndarray, dtype: Any) -> None:
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("shape", "layout", "cuts"),
    [
        ((12, 5, 6, 5), "NHWC", (5, 9)),
        ((12, 6, 5, 5), "NCHW", (5, 9)),
        ((7, 40, 3, 3), "NHWC", (7, 7)),  # two parts are empty
        ((300, 9), "NCHW", (100, 101)),
        ((6, 3, 70), "NCHW", (1, 2)),
        ((5, 2, 40, 40), "NCHW", (2, 4)),
    ],
)
def test_parts_give_what_the_whole_gives(dtype: Any, relu: bool, shape: tuple[int, ...], layout: str, cuts: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 2 + 5).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    C = shape[-1] if layout == "NHWC" else shape[1]
    weight, bias = (rng.standard_normal(C).astype(dtype) for _ in range(2))
    running = [np.zeros(C, dtype), np.ones(C, dtype)]
    shared = [[part.copy() for part in running] for _ in range(3)]
    y, mean, inverse = batch_norm(x, *running, weight, bias, True, 0.3, 1e-5, relu=relu, return_saved=True, layout=layout)
    gradients = batch_norm_backward(dy, x, mean, inverse, weight, bias, True, relu=relu, layout=layout)
    parts, errors = np.split(x, cuts), np.split(dy, cuts)

    def work(member: int, add_up: Any) -> Any:
        forward = shared_batch_norm(parts[member], *shared[member], weight, bias, 0.3, 1e-5, add_up, relu=relu, layout=layout)
        saved = forward[1:]
        return forward, shared_batch_norm_backward(errors[member], parts[member], *saved, weight, bias, add_up, relu=relu, layout=layout)

    results, _ = together(3, work)
    _close(np.concatenate([forward[0] for forward, _ in results]), y, dtype)
    for forward, _ in results:
        np.testing.assert_allclose(forward[1], mean, rtol=1e-6 if dtype == np.float32 else 1e-13)
        np.testing.assert_allclose(forward[2], inverse, rtol=1e-6 if dtype == np.float32 else 1e-13)
        assert forward[3] == x.size // C
        assert forward[0].dtype == dtype
    for own in shared:
        _close(own[0], running[0], dtype)
        _close(own[1], running[1], dtype)
    _close(np.concatenate([backward[0] for _, backward in results]), gradients[0], dtype)
    scale = np.sqrt(x.size / C)
    for which in (1, 2):
        _close(sum(backward[which] for _, backward in results) / scale, gradients[which] / scale, dtype)


def test_a_mean_far_from_zero_costs_a_second_sum_and_no_digits() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3)) + 1e6
    running = [[np.zeros(3), np.ones(3)] for _ in range(2)]

    def work(member: int, add_up: Any) -> Any:
        first = shared_batch_norm(x[member::2], *running[member], None, None, 1.0, 1e-5, add_up)
        return first, shared_batch_norm(x[member::2], *running[member], None, None, 1.0, 1e-5, add_up)

    results, asked = together(2, work)
    expected = 1 / np.sqrt(np.var(x - 1e6, axis=0) + 1e-5)
    for first, second in results:
        np.testing.assert_allclose(first[2], expected, rtol=1e-9)
        np.testing.assert_allclose(second[2], expected, rtol=1e-9)
    assert asked == [3, 3], "two sums from the running mean of 0, one from that of the first batch"


def test_a_single_value_is_refused_by_all() -> None:
    def work(member: int, add_up: Any) -> str:
        with pytest.raises(ValueError, match="more than one value per channel in training; got one in all processes"):
            shared_batch_norm(np.ones((1 - member, 4)), None, None, None, None, 0.1, 1e-5, add_up)
        return "refused"

    assert together(2, work)[0] == ["refused"] * 2


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_layer_shares_its_statistics(momentum: float | None) -> None:
    x = np.random.default_rng(1).standard_normal((10, 4, 3, 3))
    whole = BatchNorm2d(4, momentum=momentum, dtype=np.float64)
    y, dx = whole.forward(x), whole.backward(x)

    def work(member: int, add_up: Any) -> Any:
        layer = BatchNorm2d(4, momentum=momentum, dtype=np.float64)
        layer.add_up = add_up
        part = x[:3] if member == 0 else x[3:]
        forward, backward = layer.forward(part), layer.backward(part)
        layer.eval()
        return forward, backward, layer.grads, layer.buffers, layer.forward(x)

    (a, b), asked = together(2, work)
    assert asked == [2, 2], "evaluation shares nothing"
    np.testing.assert_allclose(np.concatenate([a[0], b[0]]), y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.concatenate([a[1], b[1]]), dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(a[2]["weight"] + b[2]["weight"], whole.grads["weight"], rtol=1e-12)
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(a[3][name], whole.buffers[name], rtol=1e-13)
    assert int(a[3]["num_batches_tracked"]) == int(whole.buffers["num_batches_tracked"]) == 1
    np.testing.assert_allclose(a[4], whole.eval().forward(x), rtol=1e-12)


def test_vectors_too() -> None:
    x = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)
    whole = BatchNorm1d(4).forward(x)

    def work(member: int, add_up: Any) -> Any:
        layer = BatchNorm1d(4)
        layer.add_up = add_up
        return layer.forward(np.split(x, [4])[member])

    results, _ = together(2, work)
    np.testing.assert_allclose(np.concatenate(results), whole, rtol=1e-5, atol=1e-6)
