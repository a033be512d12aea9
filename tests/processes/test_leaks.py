"""Memory, objects, file descriptors and threads stay what they were over thousands of calls; and a leak would be seen."""

from __future__ import annotations

import pytest

from tests.processes import long_run
from tests.processes._python import CONV, ROOT, on_layer, python
from tests.processes._use import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="reads /proc to see what a process uses")

_STEADY = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    import numpy as np, fastcnn
    from tests.processes._use import use
    def steady(call, count, bytes_each=50):
        for _ in range(max(count // 10, 20)):
            call()
        def grown():
            before = use()
            for _ in range(count):
                call()
            after = use()
            memory, objects = after.memory - before.memory, after.objects - before.objects
            if after[2:] != before[2:] or memory > 2**19 + bytes_each * count or objects > 200 + count // 100:
                return before, after
        if grown():  # what grew once has grown to its size
            found = grown()
            assert not found, (call, count, found)
"""  # 0.5 MiB of noise; a leak of one small object a call is 100 times as many objects as allowed


def test_ten_thousand_calls_of_public_functions() -> None:
    code = """
        from tests._calls import calls
        found = calls()
        def each():
            for call in found.values():
                call()
        assert len(found) > 30
        steady(each, 10_000 // len(found) + 1)
    """
    assert python(_STEADY, code) == ""


def test_ten_thousand_calls_that_are_refused() -> None:
    """An error holds its frames, and they the arrays."""
    code = """
        x, w = np.zeros((4, 4, 64, 64), np.float32), np.zeros((4, 3, 3, 3), np.float32)
        def refused():
            try:
                fastcnn.conv2d(x, w)
            except ValueError:
                return
            raise AssertionError
        steady(refused, 10_000)
    """
    assert python(_STEADY, code) == ""


def test_ten_thousand_calls_on_threads(layer: str) -> None:
    assert on_layer(layer, _STEADY, CONV, "steady(conv, 1_500)") == ""


def test_steps_of_training_prepared_networks_and_plans() -> None:
    code = """
        from fastcnn import layers, losses, optim
        net = layers.Sequential(layers.Conv2d(1, 8, 3, rng=0), layers.BatchNorm2d(8), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(),
                                layers.Linear(8 * 25, 10, rng=1))
        loss, optimizer = losses.SoftmaxCrossEntropy(), optim.Adam(net.params, lr=0.01)
        images, labels = np.random.default_rng(0).random((8, 1, 12, 12), np.float32), np.arange(8)
        def step():
            loss(net(images), labels)
            net.backward(loss.backward())
            optimizer.step(net.grads)
        steady(step, 2_000)
        predict = layers.prepare(net)
        steady(lambda: predict(images), 4_000)
        for _ in range(600):  # some dictionaries grow to their size
            layers.prepare(net)
        steady(lambda: layers.prepare(net)(images), 300, bytes_each=2_000)
        sizes = iter(range(10**6))
        w = np.ones((4, 1, 3, 3), np.float32)
        def other_shape():  # a plan, and loops for it, at every call: they are forgotten in time
            i = next(sizes)
            fastcnn.conv2d(np.zeros((1, 1, 3 + i % 60, 3 + i // 60), np.float32), w)
        for _ in range(3_000):
            other_shape()
        steady(other_shape, 3_000, bytes_each=500)
    """
    assert python(_STEADY, code) == ""


def test_chains_and_what_they_cannot_allocate() -> None:
    code = """
        from fastcnn.chain import Chain, launch_of, recording
        from fastcnn.jit import kernel
        @kernel
        def allocate(job, y, size):
            y[job] = np.empty(size[0], np.uint8).size
        y, size = np.zeros(4), np.full(1, 1000)
        with recording() as launches:
            allocate.launch(4, y, size, work=0)
        def make():
            Chain([launch_of(*launch) for launch in launches], 2).run()
        steady(make, 3_000)
        def fail():
            size[0] = 2**58
            for run in (lambda: allocate.launch(4, y, size, work=1e9), make):  # a serial one leaves 1 small object of Numba's
                try:
                    run()
                except MemoryError:
                    continue
                raise AssertionError
            size[0] = 1000
        steady(fail, 2_000)
    """
    assert python(_STEADY, code) == ""


def test_two_hundred_threads_come_and_go(layer: str) -> None:
    """Each keeps memory for its results while it lives, 8 MiB here, and gives it back; what malloc and GNU's OpenMP keep comes and goes."""
    code = """
        import threading
        big = np.ones((16, 8, 64, 64), np.float32)
        def work():
            fastcnn.conv2d(big, w, algorithm="direct")
        def thread():
            one = threading.Thread(target=work); one.start(); one.join()
        steady(thread, 200, bytes_each=2**20)
    """
    assert on_layer(layer, _STEADY, CONV, code) == ""


def test_a_leak_is_seen() -> None:
    """Of a kilobyte, of an object and of a file descriptor a call."""
    code = """
        import ctypes, os
        malloc, kept = ctypes.CDLL(None).malloc, []
        malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        for leak in (lambda: ctypes.memset(malloc(1024), 1, 1024), lambda: kept.append(object()), lambda: os.dup(0)):
            try:
                steady(leak, 2_000)
            except AssertionError:
                continue
            print("not seen")
    """
    assert python(_STEADY, code) == ""


def test_training_again_and_again_gives_the_same_and_takes_no_more() -> None:
    found = long_run.run(seconds=4)
    assert found.trainings >= 3
    assert found.mistakes == []


def test_a_long_run_notices_drift() -> None:
    kept: list[object] = []

    def leak(number: int) -> None:
        kept.append(bytearray(b"\1") * 2**23)

    assert any(mistake.startswith("memory: ") for mistake in long_run.run(seconds=2, between=leak).mistakes)
    files = []

    def open_one(number: int) -> None:
        files.append(open("/dev/null"))  # noqa: SIM115

    mistakes = long_run.run(seconds=2, between=open_one).mistakes
    for file in files:
        file.close()
    assert any(mistake.startswith("files: ") for mistake in mistakes)
    assert any("other weights" in mistake for mistake in long_run.run(seconds=2, seed_of=lambda number: number).mistakes)
