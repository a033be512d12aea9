"""``python -m bench.overheads.child conv2d:forward:direct ...``: the seconds of importing fastcnn and of first calls, in order, as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any


def problem_of(op: Any, direction: str, variant: str) -> Any:
    """Return the first problem with work to do that a variant accepts; None where it refuses all."""
    cases = [*op.problem.BENCH, *op.problem.CASES]
    accepted = (case.problem for case in cases if op.variants[variant].refuses(case.problem, direction) is None)
    return next((problem for problem in accepted if op.problem.work(problem, direction)), None)


def main(entries: Sequence[str]) -> dict[str, Any]:
    """Return {"import": seconds, "calls": seconds of each}; NumPy's import is not counted."""
    import numpy as np

    begin = time.perf_counter()
    import fastcnn  # noqa: F401

    imported, seconds = time.perf_counter() - begin, []
    from fastcnn.registry import operations

    for entry in entries:
        name, direction, variant = entry.split(":")
        op = operations()[name]
        problem = problem_of(op, direction, variant)
        arguments = op.problem.arguments(problem, direction, np.float32, np.random.default_rng(0))
        outputs = op.problem.outputs(problem, direction, np.float32)
        begin = time.perf_counter()
        op.run(variant, direction, problem, arguments, outputs)
        seconds.append(time.perf_counter() - begin)
    return {"import": imported, "calls": seconds}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
