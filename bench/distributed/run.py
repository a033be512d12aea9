"""Images per second of ranks with one thread each beside one process with as many threads, in turns, and the table of them."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from fastcnn import files, info, machine

from .layouts import NoMpi, layout

HEAD = (
    "| global batch | 1 process x {cores} threads, images/s | {cores} ranks x 1 thread, images/s | ratio (least to most) | step of a rank "
    "| of it sums over ranks, with waiting |\n|---:|---:|---:|---:|---:|---:|"
)


def line(batch: int, alone: list[float], ranks: list[float], sums: list[float]) -> str:
    """Return a row of the table, from the seconds of a step in each turn."""
    one, many = statistics.median(alone), statistics.median(ranks)
    ratios = sorted(a / b for a, b in zip(alone, ranks, strict=True))
    waited = statistics.median(sums)
    return (
        f"| {batch} | {batch / one:,.0f} | {batch / many:,.0f} | {one / many:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | "
        f"{1e3 * many:.2f} ms | {1e3 * waited:.2f} ms, {100 * waited / many:.1f} % |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 where MPI is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.distributed", description=__doc__)
    parser.add_argument("--batches", default="512,1024,2048", help="global batch sizes (default: 512,1024,2048)")
    parser.add_argument("--cores", type=int, default=machine.max_threads(), help="threads of the one process; ranks (default: all cores)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a layout and batch size in a turn (default: 2)")
    parser.add_argument("--turns", type=int, default=3, help="of the two layouts, one after the other (default: 3)")
    parser.add_argument("--no-sync-batch-norm", action="store_true", help="one message a step instead of three")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    shared = ["--batches", options.batches, "--seconds", options.seconds]
    own = ["--no-sync-batch-norm"] if options.no_sync_batch_norm else []
    try:
        pairs = [
            (layout(1, *shared, "--threads", options.cores), layout(options.cores, *shared, "--threads", 1, *own))
            for _ in range(options.turns)
        ]
    except NoMpi as error:
        print(f"bench.distributed: {error}", file=sys.stderr)
        return 2
    print(f"{info.headline()}; `python -m bench.distributed`\n\n{HEAD.format(cores=options.cores)}")
    for i, batch in enumerate(map(int, options.batches.split(","))):
        alone, ranks = ([pair[which]["rows"][i] for pair in pairs] for which in (0, 1))
        print(line(batch, [row["seconds"] for row in alone], [row["seconds"] for row in ranks], [row["sums"] for row in ranks]))
    if options.json:
        files.save_json(options.json, {"turns": pairs, "environment": json.loads(json.dumps(info.describe()))})
    return 0
