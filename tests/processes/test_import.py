"""Importing changes nothing in the process, and neither importing nor computing changes how the processor rounds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.processes._python import CONV, environment, on_layer, python

_STATE = """
    import builtins, codecs, decimal, faulthandler, gc, locale, logging, os, random, signal, sys, threading, warnings
    import numpy as np
    def state():
        found = {
            "environment": dict(os.environ), "threads": threading.active_count(), "filters": list(warnings.filters),
            "random": (random.getstate(), np.random.get_state()[1].tobytes()), "folder": os.getcwd(), "path": list(sys.path),
            "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
            "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.gettrace(), sys.getprofile()),
            "streams": (sys.stdin, sys.stdout, sys.stderr), "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(),
            "locale": locale.setlocale(locale.LC_ALL), "floats": np.geterr(), "printing": np.get_printoptions(),
            "decimal": repr(decimal.getcontext()), "collector": (gc.isenabled(), gc.get_threshold()), "stack": threading.stack_size(),
            "handlers": list(logging.getLogger().handlers), "level": logging.getLogger().level, "umask": os.umask(0o22),
            "builtins": set(vars(builtins)), "finders": list(sys.meta_path), "fault": faulthandler.is_enabled(),
        }
        if os.path.isdir("/proc/self/task"):
            found["tasks"], found["files"] = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
        return found
    def differences(before, after):
        return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
"""


def test_an_import_is_light_and_silent_and_changes_nothing() -> None:
    code = """
        os.umask(0o22)
        before = state()
        import fastcnn
        import fastcnn.layers, fastcnn.losses, fastcnn.optim, fastcnn.train, fastcnn.data, fastcnn.weights, fastcnn.models
        assert not differences(before, state()), differences(before, state())
        heavy = {"numba", "llvmlite", "scipy", "sklearn", "matplotlib", "rich", "requests", "pooch", "torch", "onnx"} & set(sys.modules)
        assert not heavy, heavy
    """
    assert python(_STATE, code) == ""


def test_computing_changes_nothing_but_the_threads_of_the_layer() -> None:
    code = """
        import fastcnn, numba
        os.umask(0o22)
        numba.njit(lambda: 0)()  # Numba imports the rest of itself, and NumPy's matrices with an older NumPy, which change a filter
        before = state()
        x, w = np.ones((16, 8, 20, 20), np.float32), np.ones((32, 8, 3, 3), np.float32)
        for _ in range(2):
            fastcnn.conv2d_backward(fastcnn.conv2d(x, w), x, w)
        changed = differences(before, state())
        assert set(changed) <= {"tasks", "files"}, changed
        assert changed.get("files", (0, 0))[1] <= changed.get("files", (0, 0))[0] + 2, changed  # of Numba's own locks
    """
    assert python(_STATE, code, NUMBA_THREADING_LAYER="workqueue") == ""


def test_an_import_needs_nothing_but_numpy_and_numba() -> None:
    """With every optional dependency blocked, one and all; and a convolution runs."""
    code = """
        import sys
        # Jython's, which copy and pickle look for, and Windows', for which platform does from Python 3.12 on.
        known = {"numpy", "numba", "llvmlite", "fastcnn", "org", "_wmi"}
        known |= {"pickle5", "backports_abc"}  # for which NumPy 1.26 looks, and Cython's code in it
        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in sys.stdlib_module_names or name.partition(".")[0] in known:
                    return None
                asked.append(name)
                raise ImportError(f"{name} is blocked")
        asked = []
        sys.meta_path.insert(0, Blocked())
        import fastcnn
        import fastcnn.layers, fastcnn.losses, fastcnn.optim, fastcnn.train, fastcnn.data, fastcnn.weights, fastcnn.models, fastcnn.cli
        assert asked == [], asked
    """
    assert python(code, CONV, "assert conv().shape == (16, 32, 18, 18)") == ""


def test_denormals_survive_the_import_and_the_kernels_on_every_thread(layer: str) -> None:
    """Flush-to-zero and denormals-are-zero are bits of each thread's processor; a library that sets them changes all that follows."""
    code = """
        import threading
        from fastcnn.jit import kernel
        tiny, half = np.float32(1e-40), np.float32(0.5)
        def kept():
            values = np.full(64, tiny)
            return bool((values * half > 0).all() and (values + values > tiny).all() and values[0] * half > 0)
        found = [kept()]
        @kernel
        def halve(job, y):
            for i in range(y.shape[1]):
                y[job, i] *= np.float32(0.5)
        def compute():
            found.append(kept())
            conv()
            y = np.full((64, 100), tiny)
            halve.launch(64, y, work=1e9)  # on the threads of the layer
            found.append(bool((y == tiny * half).all() and (y > 0).all()))
            found.append(kept())
        compute()
        threads = [threading.Thread(target=compute) for _ in range(3)]
        [t.start() for t in threads]; [t.join() for t in threads]
        assert found == [True] * 13, found
    """
    assert on_layer(layer, CONV, code) == ""


def test_import_time(tmp_path: Path) -> None:
    """Below 0.6 s, the best of four, of which the first compiles the sources: other work on the machine only adds."""
    bytecode = environment(PYTHONPYCACHEPREFIX=str(tmp_path), PYTHONDONTWRITEBYTECODE="")

    def seconds() -> float:
        command = [sys.executable, "-X", "importtime", "-c", "import fastcnn"]
        done = subprocess.run(command, capture_output=True, text=True, env=bytecode)
        found = re.search(r"\|\s+(\d+) \| fastcnn$", done.stderr, re.M)
        assert found is not None, done.stderr
        return int(found[1]) / 1e6

    assert min(seconds() for _ in range(4)) < 0.6
