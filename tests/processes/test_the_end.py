"""How a process ends: whatever threads have computed or still compute, it does, with status 0."""

from __future__ import annotations

import os
import sys

import pytest

from tests.processes._python import CONV, on_layer

_IN_A_THREAD = """
    import threading
    def work():
        for _ in range(3):
            conv()
    threads = [threading.Thread(target=work) for _ in range(3)]
    [t.start() for t in threads]; [t.join() for t in threads]
"""


def test_a_process_ends_whose_first_launch_was_in_a_thread(layer: str) -> None:
    assert on_layer(layer, CONV, _IN_A_THREAD, timeout=30) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="pins a process to a core as Linux does")
def test_a_process_ends_that_may_use_fewer_cores_than_threads(layer: str) -> None:
    """TBB has no threads of its own then, and what Numba leaves for them to do nobody does."""
    pin = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})"
    assert on_layer(layer, pin, CONV, _IN_A_THREAD, timeout=30) == ""


def test_a_daemon_thread_may_compute_until_the_end(layer: str) -> None:
    code = """
        import threading, time
        want, count = conv(), [0]
        def work():
            while True:
                conv()
                count[0] += 1
        threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
        [t.start() for t in threads]
        while count[0] < 5:
            time.sleep(0.001)
        assert np.array_equal(conv(), want)
    """
    for _ in range(3):
        assert on_layer(layer, CONV, code, timeout=30) == ""


def test_a_daemon_thread_may_compile_at_the_end(layer: str) -> None:
    """The interpreter goes away under it, in the middle of Numba's compiler."""
    code = """
        import threading
        from fastcnn import builds
        conv()
        begun = threading.Event()
        def compile():
            from fastcnn.jit import kernel
            for i in range(10_000):
                @kernel(specialisation=i)
                def add(job, y): y[job] += 1
                add.version = None  # nothing is to be cached
                add.launch(3, np.zeros(3), work=0)
        with builds.watching(lambda build: begun.set()):
            threading.Thread(target=compile, daemon=True).start()
            assert begun.wait(20)
    """
    assert on_layer(layer, CONV, code, timeout=30) == ""


def test_kernels_may_run_while_the_interpreter_shuts_down(layer: str) -> None:
    code = """
        import atexit
        want = conv()
        @atexit.register
        def last():
            assert np.array_equal(conv(), want)
            print("computed")
    """
    assert on_layer(layer, CONV, code, timeout=30) == "computed\n"
