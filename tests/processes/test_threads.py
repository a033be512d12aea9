"""Several Python threads at once: cold and warm, with small stacks, in joblib's pools."""

from __future__ import annotations

import sys

import pytest

from tests.processes._python import CONV, ROOT, on_layer, python


def test_threads_compute_at_once_cold_and_warm(layer: str) -> None:
    """Numba's workqueue ends the process when two threads launch at once, unless launches take turns."""
    code = """
        import threading
        ready, results = threading.Barrier(4), []
        def work():
            ready.wait()
            for _ in range(10):
                results.append(conv())
        threads = [threading.Thread(target=work) for _ in range(4)]
        [t.start() for t in threads]; [t.join() for t in threads]
        want = np.einsum("ncpqrs,kcrs->nkpq", np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3)), w)
        assert len(results) == 40 and all(np.array_equal(y, want) for y in results)
    """
    assert on_layer(layer, CONV, code) == ""


def test_threads_may_limit_their_threads_each_for_itself(layer: str) -> None:
    code = """
        import threading
        want, seen = conv(), []
        def work(count):
            with fastcnn.threads(count):
                for _ in range(20):
                    assert fastcnn.get_threads() == count
                    seen.append(np.array_equal(conv(), want))
        threads = [threading.Thread(target=work, args=(1 + i % 2,)) for i in range(4)]
        [t.start() for t in threads]; [t.join() for t in threads]
        assert seen == [True] * 80 and fastcnn.get_threads() == 2
    """
    assert on_layer(layer, CONV, code) == ""


def test_kernels_need_no_large_stack(layer: str) -> None:
    """Every public function and a launch on threads, in threads with the smallest stack that Python gives."""
    code = f"""
        import sys, threading
        sys.path.insert(0, {str(ROOT)!r})
        from tests._calls import calls, results
        found = calls()
        want = {{name: [np.asarray(y).copy() for y in results(call())] for name, call in found.items()}}
        y, same = conv(), []
        def work():
            for name, call in found.items():
                for _ in range(2):
                    same.append(all(np.array_equal(a, b) for a, b in zip(results(call()), want[name])))
            same.append(np.array_equal(conv(), y))
        size = 32 * 1024
        while True:
            try:
                threading.stack_size(size)
                break
            except ValueError:
                size *= 2
        assert size <= 128 * 1024, size
        threads = [threading.Thread(target=work) for _ in range(3)]
        [t.start() for t in threads]; [t.join() for t in threads]
        assert len(same) == 3 * (2 * len(found) + 1) and all(same)
    """
    assert on_layer(layer, CONV, code) == ""


_SMALL = 2**16 if sys.version_info >= (3, 11) else 3 * 2**15  # bytes; Python 3.10's own calls need stack as well


def test_a_thread_with_a_small_stack_may_be_the_first_to_compile(layer: str) -> None:
    code = """
        import threading
        from fastcnn.jit import kernel
        @kernel
        def helper(x): return x + 1
        @kernel
        def add(job, y):
            for i in range(y.shape[1]):
                y[job, i] = helper(y[job, i])
        add.version = helper.version = None  # nothing is cached
        results = []
        def work():
            y = np.zeros((16, 4))
            add.launch(16, y, work=1e9)
            results.append((y == 1).all())
        threading.stack_size(SIZE)
        thread = threading.Thread(target=work); thread.start(); thread.join()
        assert results == [True]
        work()
    """.replace("SIZE", str(_SMALL))
    assert on_layer(layer, CONV, code) == ""


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_joblib_computes(backend: str, layer: str) -> None:
    pytest.importorskip("joblib", reason="joblib comes with scikit-learn")
    code = f"""
        from joblib import Parallel, delayed
        def work(number):
            return float(conv().sum() + number)
        if __name__ == "__main__":
            want = [float(conv().sum() + number) for number in range(6)]
            for _ in range(2):
                assert Parallel(n_jobs=2, backend={backend!r})(delayed(work)(number) for number in range(6)) == want
    """
    assert on_layer(layer, CONV, code) == ""


def test_the_number_of_threads_may_exceed_the_cores() -> None:
    code = "assert fastcnn.get_threads() == 16; y = conv(); fastcnn.set_threads(1); assert np.array_equal(conv(), y)"
    assert python(CONV, code, NUMBA_NUM_THREADS="16") == ""
