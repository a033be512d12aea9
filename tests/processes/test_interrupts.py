"""Ctrl-C and SIGTERM at any moment: honoured within two seconds, and what is interrupted can be used afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes._python import CONV, environment, on_layer, program, python

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

_INTERRUPT = """
    import os, random, signal, sys, threading, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
    longest = 0.0
    def interrupted(work, after):
        global longest
        sent = []
        def send():
            time.sleep(after)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        sender = threading.Thread(target=send)
        try:
            sender.start()
            while True:
                work()
        except KeyboardInterrupt:
            longest = max(longest, time.monotonic() - sent[0])
        sender.join()
"""


def test_ctrl_c_during_kernels(layer: str) -> None:
    code = """
        want = conv()
        for _ in range(30):
            interrupted(conv, random.random() * 0.01)
            assert np.array_equal(conv(), want)
        other = []
        thread = threading.Thread(target=lambda: other.append(conv())); thread.start(); thread.join(10)
        assert np.array_equal(other[0], want), "a lock is held"
        assert longest < 2, longest
    """
    assert on_layer(layer, CONV, _INTERRUPT, code) == ""


def test_ctrl_c_during_compilation() -> None:
    """At once, in whichever function LLVM or Numba is; what was interrupted compiles at the next call, in any thread."""
    code = """
        import gc
        from fastcnn import builds, jit
        def make(number):
            @jit.kernel(specialisation=("helper", number))
            def helper(x): return x + number
            @jit.kernel(specialisation=number)
            def add(job, y):
                for i in range(y.shape[1]):
                    y[job, i] = helper(y[job, i])
            add.version = helper.version = None  # nothing is cached
            return add
        def run(add, number):
            y = np.zeros((3, 4))
            add.launch(3, y, work=0)
            assert (y == number).all()
        run(make(0), 0)
        random.seed(0)
        for number in range(1, 21):
            made = make(number)
            def compile():
                run(made, number)
                made._native.clear(); made._codes.clear()
            interrupted(compile, random.random() * 0.25)
            results = []
            def elsewhere():
                run(made, number)
                results.append(number)
            thread = threading.Thread(target=elsewhere); thread.start(); thread.join(20)
            assert results == [number], "the compiler's lock is held, or what it left is broken"
            assert gc.isenabled() and jit._calls_of_open == builds._seconds_within == []
        assert longest < 1, longest
        assert conv().shape == (16, 32, 18, 18)
    """
    assert python(CONV, _INTERRUPT, code) == ""


def test_ctrl_c_beside_a_pool_of_threads(layer: str) -> None:
    """Not while work is handed to the pool: Python 3.10 may be interrupted after taking a semaphore's lock and never free it."""
    code = """
        from concurrent.futures import ThreadPoolExecutor
        want, over = conv(), threading.Event()
        def compute():
            while True:
                y = conv()
                if over.is_set() or not np.array_equal(y, want):
                    return y
        with ThreadPoolExecutor(3) as pool:
            busy = [pool.submit(compute) for _ in range(3)]
            for _ in range(20):
                interrupted(conv, random.random() * 0.02)
                assert np.array_equal(conv(), want)
            assert not any(future.done() for future in busy)
            over.set()
            assert all(np.array_equal(future.result(), want) for future in busy)
        assert longest < 2, longest
    """
    assert on_layer(layer, CONV, _INTERRUPT, code) == ""


def test_ctrl_c_during_training_ends_it_between_two_steps() -> None:
    """The network is as whole as after any step, and trains on as one that was never interrupted."""
    code = """
        from fastcnn.models import digit_net
        from fastcnn.train import fit
        from fastcnn.train.interrupt import Interrupted
        images, labels = np.random.default_rng(0).integers(0, 255, (64, 28, 28), np.uint8), np.arange(64) % 2
        def train(epochs): return fit(net, images, labels, epochs=epochs, batch_size=16, seed=1)
        net = digit_net(28, rng=0)
        train(1)  # compiles
        for _ in range(4):
            caught = []
            def work():
                try:
                    train(100_000)
                except KeyboardInterrupt as error:
                    caught.append(type(error) is Interrupted)
                    raise
            interrupted(work, 0.05 + random.random() * 0.1)
            assert caught == [True]
            assert all(np.isfinite(value).all() for value in net.params.values())
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        state = {name: value.copy() for name, value in net.state_dict().items()}
        results = []
        for _ in range(2):
            net = digit_net(28, rng=0)
            net.load_state_dict(state)
            train(2)
            results.append(b"".join(value.tobytes() for value in net.state_dict().values()))
        assert results[0] == results[1]
        assert longest < 2, longest
    """
    assert python(CONV, _INTERRUPT, code) == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_process_that_computes(number: signal.Signals, layer: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program(CONV, """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        conv(); print("begun", flush=True)
        while True:
            conv()
    """))  # fmt: skip
    command = [sys.executable, str(tmp_path / "program.py")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(NUMBA_THREADING_LAYER=layer), text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        begin = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begin < 2
    assert process.returncode == -number, errors
    assert errors == "" if number == signal.SIGTERM else errors.endswith("KeyboardInterrupt\n")
