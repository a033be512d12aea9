"""What a kernel cannot allocate is a MemoryError, on whichever thread: Numba loses an exception of a thread other than the caller's."""

from tests.processes._python import on_layer, python

_GREEDY = """
    import numpy as np
    from fastcnn.jit import kernel
    @kernel
    def greedy(job, y, size):
        y[job] = 1 + 0 * np.empty(size[job], np.uint8).size
"""


def test_every_job_that_fails_is_noticed(layer: str) -> None:
    code = """
        for failing in [*range(16), None]:
            y, size = np.zeros(16), np.ones(16, np.int64)
            if failing is not None:
                size[failing] = 2**58
            try:
                greedy.launch(16, y, size, work=1e9)
                assert failing is None, f"job {failing} failed, and nobody noticed"
                assert (y == 1).all()
            except MemoryError as error:
                assert failing is not None
                assert str(error) == "the buffers of a kernel do not fit into memory"
    """
    assert on_layer(layer, _GREEDY, code) == ""


def test_a_thread_that_ends_early_is_noticed() -> None:
    """Whatever raises beside the kernel, in what finds a core for it: the jobs of that thread are not done."""
    code = """
        import numpy as np
        from fastcnn import cores, jit, machine
        if not cores.can_move():
            print("threads cannot choose their core on this system")
            raise SystemExit
        def mover():
            def move(core):
                if core >= 0:
                    raise ValueError
            return move
        cores.mover = mover
        cores.system_call = lambda name, real=cores.system_call: jit.machine.numba().njit(lambda: 0) if name == "current" else real(name)
        jit._VERSION = None  # this loop is not to be cached
        @jit.kernel
        def fill(job, y): y[job] = 1
        y = np.zeros(64)
        try:
            fill.launch(64, y, work=1e9)
            assert (y == 1).all()
            print("nobody raised")  # the calling thread took all of the jobs
        except MemoryError:
            assert not (y == 1).all()
            print("noticed")
    """
    outputs = {python(code, NUMBA_THREADING_LAYER="workqueue") for _ in range(1)}  # which gives every thread its share
    assert outputs <= {"noticed\n", "threads cannot choose their core on this system\n"}
