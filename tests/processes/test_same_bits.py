"""The same bits run after run for the same number of threads, and for whole numbers the same for any number: over all operations."""

from __future__ import annotations

import pytest

from fastcnn import machine
from fastcnn.registry import operations
from tests.processes._python import ROOT, python

_RUN = f'''
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    import numpy as np
    from fastcnn import jit, machine
    from fastcnn.registry import operations
    jit.SERIAL_BELOW = 0  # every launch of two jobs goes to two threads, also of the smallest case
    several = []
    original = jit._parallel
    def counted(loop, threads, address, jobs):
        several.append(threads)
        return original(loop, threads, address, jobs)
    jit._parallel = counted
    op = operations()[NAME]

    def outcome(variant, direction, problem, arguments, threads):
        with machine.threads(threads):
            outputs = op.problem.outputs(problem, direction, np.float32)
            for output in outputs:
                output.fill(np.nan if output.dtype.kind == "f" else 77)
            op.run(variant, direction, problem, arguments, outputs)
            return [output.tobytes() for output in outputs]

    def chosen(direction):
        """The three largest cases of every variant; and, for pools, whose small images are one job, the smallest of the benchmark's."""
        work = lambda case: op.problem.work(case.problem, direction)
        bench = sorted(op.problem.BENCH, key=work)[:1] if op.name.endswith("_pool2d") else []
        for variant in sorted(op.variants.keys() - {{"reference"}}):
            accepted = [case for name, case in op.accepted(direction, [*op.problem.CASES, *bench]) if name == variant]
            yield from ((variant, case) for case in sorted(accepted, key=work)[-3:])

    for direction in op.directions:
        for variant, case in chosen(direction):
            rng = np.random.default_rng(0)
            arguments = op.problem.arguments(case.problem, direction, np.float32, rng)
            first, second = (outcome(variant, direction, case.problem, arguments, 2) for _ in range(2))
            assert first == second, (variant, direction, case.name, "changes from run to run")
            whole = [rng.integers(-4, 5, a.shape).astype(a.dtype) if a.dtype.kind == "f" else a for a in arguments]
            one, two = (outcome(variant, direction, case.problem, whole, threads) for threads in (1, 2))
            assert one == two, (variant, direction, case.name, "depends on the number of threads")
    print(len(several) > 0)
'''


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing runs on threads")
@pytest.mark.parametrize("name", sorted(operations()))
def test_results_depend_on_nothing_but_the_inputs(name: str) -> None:
    assert python(f"NAME = {name!r}", _RUN, timeout=200) == "True\n", "nothing ran on two threads"
