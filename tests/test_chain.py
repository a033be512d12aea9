"""Chains: launches run again without Python between them, by threads that come when they come."""

from __future__ import annotations

import itertools
import os
import threading

import numpy as np
import pytest

from fastcnn import chain, conv2d, cores, jit, machine
from fastcnn.chain import Chain, launch_of, recording

pytestmark = pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
THREADS = sorted({1, machine.max_threads()})


@jit.kernel
def _shift(job, x, y):
    """Every job reads what two jobs of the step before have written."""
    width = y.shape[1]
    for i in range(width):
        y[job, i] = x[job, i] + x[(job + 1) % x.shape[0], i]


@jit.kernel
def _greedy(job, x, y):
    y[job, 0] = np.empty(x.size * 2**50, np.uint8).size


def _steps(jobs: int, count: int) -> list[np.ndarray]:
    return [np.random.default_rng(jobs).integers(0, 9, (jobs, 5)).astype(np.float64) for _ in range(count + 1)]


def _chain(arrays: list[np.ndarray], threads: int) -> Chain:
    with recording() as launches:
        for x, y in itertools.pairwise(arrays):
            _shift.launch(len(x), x, y, work=0)
    assert len(launches) == len(arrays) - 1
    return Chain([launch_of(*launch) for launch in launches], threads)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("jobs", [1, 2, 3, 16, 97])
def test_steps_wait_for_one_another(jobs: int, threads: int) -> None:
    arrays = _steps(jobs, 12)
    run = _chain(arrays, threads)
    with machine.threads(threads):
        for number in range(200):
            arrays[0][...] = np.random.default_rng(number).integers(0, 9, arrays[0].shape)
            for array in arrays[1:]:
                array.fill(np.nan)
            want = arrays[0]
            for _ in arrays[1:]:
                want = want + np.roll(want, -1, axis=0)
            run.run()
            np.testing.assert_array_equal(arrays[-1], want)


def test_a_thread_waits_for_what_another_still_works_on() -> None:
    """The first job of every step lets the other thread run, which is through with its own long before.

    Both are threads of ours: on a single core a threading layer may have but one.
    """
    give_way = cores.system_call("give_way")

    @jit.kernel
    def slow(job, x, y):
        for _ in range(300 if job == 0 else 0):
            give_way()
        y[job, 0] = x[1 - job, 0] + 1

    arrays = [np.zeros((2, 1)) for _ in range(9)]
    with recording() as launches:
        for x, y in itertools.pairwise(arrays):
            slow.launch(2, x, y, work=0)
    run, serve = Chain([launch_of(*launch) for launch in launches], 2), chain._server()
    serve(0, *Chain([], 1)._arrays)  # compiles it
    for _ in range(20):
        for array in arrays[1:]:
            array.fill(np.nan)
        run._state.fill(0)
        threads = [threading.Thread(target=serve, args=(slot, *run._arrays)) for slot in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(arrays[-1], 8)


def test_a_thread_that_never_comes_is_not_waited_for() -> None:
    arrays = _steps(16, 3)
    run = _chain(arrays, 4)
    run._run = chain._server().bound(1, *run._arrays, work=0)  # one of the four that the chain was made for
    alone = threading.Thread(target=run.run, daemon=True)
    alone.start()
    alone.join(20)
    assert not alone.is_alive()
    want = arrays[0]
    for _ in arrays[1:]:
        want = want + np.roll(want, -1, axis=0)
    np.testing.assert_array_equal(arrays[-1], want)


def test_only_the_own_launches_are_recorded_and_they_run() -> None:
    x, y = _steps(4, 1)

    def elsewhere() -> None:
        _shift.launch(4, x.copy(), y.copy(), work=0)

    with recording() as outer:
        _shift.launch(4, x, y, work=0)
        with recording() as inner:
            _shift.launch(4, x, y, work=0)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        _shift.launch(4, x, y, work=0)
    _shift.launch(4, x, y, work=0)
    assert (len(outer), len(inner)) == (2, 1)
    np.testing.assert_array_equal(y, x + np.roll(x, -1, axis=0))


@pytest.mark.parametrize("threads", THREADS)
def test_a_failed_allocation_is_an_error_on_any_thread(threads: int) -> None:
    x, y = np.ones((8, 1)), np.zeros((8, 1))
    with recording() as launches, pytest.raises(MemoryError):
        _greedy.launch(8, x, y, work=0)
    run = Chain([launch_of(*launch) for launch in launches], threads)
    with machine.threads(threads):
        for _ in range(3):
            with pytest.raises(MemoryError, match="do not fit into memory"):
                run.run()


def test_more_arrays_than_a_call_can_pass() -> None:
    arrays = [np.zeros((1, 1, 1, 1))] * 12
    with pytest.raises(ValueError, match="128 words; got 156"):
        launch_of(0, 1, arrays)


def test_a_convolution_on_other_memory() -> None:
    x, weight = np.random.default_rng(0).standard_normal((2, 2, 9, 9, 3)).astype(np.float32), np.ones((16, 3, 3, 3), np.float32)
    conv2d(x[0], weight, layout="NHWC")  # compiles, and makes the plan
    with recording() as launches:
        y = conv2d(x[0], weight, layout="NHWC")
    run = Chain([launch_of(*launch) for launch in launches], 1)
    inside = run.words[run.pointers] - x[0].ctypes.data
    moved = run.pointers[(inside >= 0) & (inside < x[0].nbytes)]
    assert moved.size == 1
    run.words[moved] += x[0].nbytes
    want = conv2d(x[1], weight, layout="NHWC")
    y.fill(np.nan)
    run.run()
    np.testing.assert_array_equal(y, want)


@pytest.mark.skipif(not cores.can_move(), reason="threads cannot choose their core on this system")
def test_a_thread_leaves_a_core_and_may_return() -> None:
    allowed = os.sched_getaffinity(0)
    move, current, found = jit.kernel(cores.mover()), cores.system_call("current"), []

    @jit.kernel
    def leave(job, core, after):
        move(core[0])
        after[0] = current()

    def run() -> None:
        for core in sorted(allowed):
            after = np.array([-1])
            os.sched_setaffinity(0, {core})
            os.sched_setaffinity(0, allowed)  # the thread stays where it is
            leave.launch(1, np.array([core]), after, work=0)
            found.append((core, int(after[0]), os.sched_getaffinity(0)))

    leave.launch(1, np.array([-1]), np.array([0]), work=0)  # compiles
    run()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [mask for _, _, mask in found] == [allowed] * 2 * len(allowed)
    assert all((after == core) == (len(allowed) == 1) for core, after, _ in found)
