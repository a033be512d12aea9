"""First calls in processes of their own: what a user waits for before the first result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastcnn.registry import operations

from .child import problem_of
from .figure import ALL_VARIANTS, FIRST_USE, IMPORT, WARM, Figure

_PATIENCE = 600  # seconds of a child
_ROOT = Path(__file__).parents[2]
_QUICK = [("conv2d", "forward", "direct")]

Entry = tuple[str, str, str]  # operation, direction, variant


def figures(quick: bool) -> Iterator[Figure]:
    """Yield import, and the first use of every operation, direction and variant: from an empty cache, and in a second process."""
    for number, entry in enumerate(_QUICK if quick else _grid()):
        cold, warm = _cold_and_warm([entry])
        if number == 0:
            yield Figure("import", "import fastcnn", min(cold["import"], warm["import"]), "s", IMPORT)
        name = " ".join(entry)
        yield Figure("first use", name, _total(cold), "s", FIRST_USE, "empty cache")
        yield Figure("first use", name, _total(warm), "s", WARM, "second process")
    if not quick:
        entries = [entry for entry in _grid() if entry[0] == "conv2d"]
        cold, warm = _cold_and_warm(entries)
        name = f"all {len(entries)} of conv2d in one process"
        yield Figure("first use", name, _total(cold), "s", ALL_VARIANTS, "empty cache")
        yield Figure("first use", name, _total(warm), "s", ALL_VARIANTS, "second process")


def _grid() -> list[Entry]:
    """Return every variant that accepts a problem here; not the references, which run for minutes and compile nothing."""
    return [
        (op.name, direction, name)
        for op in operations().values()
        for direction in op.directions
        for name in op.variants
        if name != "reference" and problem_of(op, direction, name) is not None
    ]


def _total(seconds: dict[str, Any]) -> float:
    return float(sum(seconds["calls"]))


def _cold_and_warm(entries: Sequence[Entry]) -> tuple[dict[str, Any], dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="fastcnn-cache-") as cache:
        return _child(entries, cache), _child(entries, cache)


def _child(entries: Sequence[Entry], cache: str) -> dict[str, Any]:
    """Return {"import": seconds, "calls": seconds of each entry} of a fresh process."""
    command = [sys.executable, "-m", f"{__package__}.child", *map(":".join, entries)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=_ROOT, timeout=_PATIENCE)
    if done.returncode:
        raise RuntimeError(f"first use of {entries} failed: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
