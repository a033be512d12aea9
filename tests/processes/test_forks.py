"""Processes that are forked, spawned or served, before and after the parent computed, from any thread, and again by their children."""

from __future__ import annotations

import os

import pytest

from tests.processes._python import CONV, has_layer, on_layer, python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

_TBB_SAYS = {  # or Numba for it; a child asks it no more then
    "",
    "Numba: Attempted to fork from a non-main thread, the TBB library may be in an invalid state in the child process.",
    "Unable to join threads to shut down before fork(). This can break multithreading in child processes.",
}
_FORK = """
    import os, sys, threading, time, warnings
    warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
    def in_child(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
            except BaseException as error:
                os.write(2, f"child: {error!r}\\n".encode())
                os._exit(1)
            os._exit(0)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if (ended := os.waitpid(pid, os.WNOHANG))[0]:
                return ended[1]
            time.sleep(0.002)
        os.kill(pid, 9)
        return os.waitpid(pid, 0)[1] and "hung"
    want = np.einsum("ncpqrs,kcrs->nkpq", np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3)), w)
    def check():
        for _ in range(3):
            assert np.array_equal(conv(), want)
"""


def test_a_child_computes_that_was_forked_before_the_first_use(layer: str) -> None:
    assert on_layer(layer, CONV, _FORK, "assert in_child(check) == 0; check(); assert in_child(check) == 0") == ""


def test_children_of_children_compute(layer: str) -> None:
    nested = """
        check()
        def child():
            assert in_child(check) == 0
            check()
            assert in_child(lambda: in_child(check) and 1 / 0) == 0
        assert in_child(child) == 0
        check()
    """
    assert on_layer(layer, CONV, _FORK, nested) == ""


def test_a_child_computes_that_a_thread_forked(layer: str) -> None:
    """Numba's TBB says that it may not survive that; its threads are gone, and it is not asked any more."""
    code = """
        found = []
        def fork(): found.append(in_child(check))
        def in_thread(work):
            thread = threading.Thread(target=work); thread.start(); thread.join()
        in_thread(fork)         # nobody has computed yet
        in_thread(check)        # starts the threading layer, and is gone
        in_thread(fork)
        found.append(in_child(check))
        check()
        in_thread(fork)
        assert found == [0, 0, 0, 0], found
    """
    printed = on_layer(layer, CONV, _FORK, code)
    assert set(printed.splitlines()) <= _TBB_SAYS


def test_a_child_asks_no_tbb_that_may_have_lost_its_threads() -> None:
    """It goes serial, unless the only thread of the process forked, and had started TBB: otherwise nobody says what a child finds."""
    if not has_layer("tbb"):
        pytest.skip("Numba has no threading layer tbb here")
    code = """
        from fastcnn import forks
        check()
        lost, stop = [], threading.Event()
        def child():
            check()
            os._exit(42 if forks.lost_threads() else 0)
        def fork(): lost.append(os.waitstatus_to_exitcode(in_child(child)))
        fork()
        thread = threading.Thread(target=fork); thread.start(); thread.join()
        thread = threading.Thread(target=stop.wait); thread.start()
        fork()
        stop.set(); thread.join()
        fork()
        assert lost == [0, 42, 42, 0] and not forks.lost_threads(), lost
    """
    assert set(on_layer("tbb", CONV, _FORK, code).splitlines()) <= _TBB_SAYS


def test_a_child_computes_that_is_forked_while_threads_compute(layer: str) -> None:
    """Of what they hold nothing may be missing in the child, where they do not run: with the workqueue it is the lock around launches."""
    code = """
        check()
        stop = threading.Event()
        def compute():
            while not stop.is_set():
                conv()
        threads = [threading.Thread(target=compute) for _ in range(2)]
        [t.start() for t in threads]
        statuses = []
        for _ in range(8):
            statuses.append(in_child(check))
            time.sleep(0.003)
        stop.set(); [t.join() for t in threads]
        check()
        assert statuses == [0] * 8, statuses
    """
    printed = on_layer(layer, CONV, _FORK, code)
    assert set(printed.splitlines()) <= _TBB_SAYS


_COMPILE = """
    from fastcnn.jit import kernel
    def compile(number):
        @kernel(specialisation=number)
        def add(job, y):
            for i in range(y.shape[1]):
                y[job, i] += number
        add.version = None  # nothing is cached
        y = np.zeros((3, 4))
        add.launch(3, y, work=0)
        assert (y == number).all()
    compile(0)
    def among_others(number):  # a child's threads may get the names of the parent's, also of the one that held the lock
        threading.stack_size(2**24)
        for _ in range(8):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        compile(number)
"""


def test_a_child_compiles_that_is_forked_while_a_thread_compiles() -> None:
    """Numba's compiler lock would be held in the child by a thread that it does not have."""
    code = """
        from fastcnn import builds
        begun = threading.Event()
        def many():
            for number in range(1, 40):
                compile(number)
        statuses = []
        with builds.watching(lambda build: begun.set()):
            thread = threading.Thread(target=many); thread.start()
            for number in range(100, 104):
                begun.clear(); begun.wait(5)
                statuses.append(in_child(lambda: among_others(number) if number % 2 else compile(number)))
        thread.join()
        assert statuses == [0] * 4, statuses
    """
    assert python(CONV, _FORK, _COMPILE, code) == ""


@pytest.mark.parametrize("lock", ["forks.beginning", "global_compiler_lock", "ffi.lib._lock"])
def test_a_child_compiles_that_is_forked_while_a_thread_holds(lock: str) -> None:
    """As the compiler's thread begins, as Numba is at work, and as LLVM lets go of what it made."""
    code = f"""
        from fastcnn import forks
        from llvmlite.binding import ffi
        from numba.core.compiler_lock import global_compiler_lock
        taken = threading.Event()
        def hold():
            with {lock}:
                taken.set()
                time.sleep(0.3)
        thread = threading.Thread(target=hold); thread.start()
        taken.wait()
        assert in_child(lambda: among_others(1)) == 0
        thread.join()
    """
    assert python(CONV, _FORK, _COMPILE, code) == ""


def test_a_child_imports_numba_that_is_forked_while_a_thread_does() -> None:
    code = """
        import logging  # has a lock and hooks of its own for forks, and Numba's import takes the lock
        from fastcnn import machine
        thread = threading.Thread(target=machine.numba)
        thread.start()
        while "numba" not in sys.modules:
            time.sleep(0.0005)
        status = in_child(check)
        thread.join()
        assert status == 0, status
        check()
    """
    assert python(CONV, _FORK, code) == ""


def test_a_forked_child_may_end_as_any_process_does(layer: str) -> None:
    """By leaving the interpreter, which unloads the threading layer, and not by `os._exit`."""
    code = """
        check()
        if os.fork() == 0:
            check()
            sys.exit(7)
        end = time.monotonic() + 20
        while time.monotonic() < end and not (ended := os.waitpid(-1, os.WNOHANG))[0]:
            time.sleep(0.002)
        assert os.waitstatus_to_exitcode(ended[1]) == 7 and ended[0], ended
    """
    assert on_layer(layer, CONV, _FORK, code) == ""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_multiprocessing_compute(method: str, layer: str) -> None:
    code = f"""
        import multiprocessing, warnings
        warnings.simplefilter("ignore")
        def work(number):
            return float(conv().sum() + number)
        if __name__ == "__main__":
            want = conv().sum()
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                assert pool.map(work, range(5)) == [float(want + number) for number in range(5)]
                pool.close()  # or Numba's own locks of the workers are told to be leaked
                pool.join()
    """
    assert on_layer(layer, CONV, code) == ""
