"""Take every guard out, one at a time, and see its test fail: ``python -m tests.reliability [--list NAME] [--only TEXT] [--jobs N]``.

Each break goes into a copy of the tree in a temporary folder; the tree itself is only read. The test must pass there without the break.
Exit code 1 where a break is not found.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .mutation import Mutation, collect, lists
from .rows import ROWS
from .trial import FOUND, NOT_FOUND, NOT_HERE, Verdict, Workplace

ROOT = Path(__file__).parents[2]


def chosen(mutations: Iterable[Mutation], only: str | None) -> list[Mutation]:
    """Return the mutations in whose row, guard, file or test the text stands."""
    return [m for m in mutations if only is None or any(only in text for text in (m.row, m.guard, m.file, m.test))]


def grouped(mutations: Iterable[Mutation]) -> dict[str, list[Mutation]]:
    """Return mutations by the test that is to find them, which is run unbroken once."""
    found: dict[str, list[Mutation]] = {}
    for mutation in mutations:
        found.setdefault(mutation.test, []).append(mutation)
    return found


def run(mutations: Sequence[Mutation], jobs: int, limit: float, root: Path = ROOT) -> Iterator[Verdict]:
    """Yield verdicts as they come, from `jobs` copies of the tree at once."""
    waiting: queue.SimpleQueue[tuple[str, list[Mutation]]] = queue.SimpleQueue()
    verdicts: queue.SimpleQueue[Verdict | Exception | None] = queue.SimpleQueue()
    for group in grouped(mutations).items():
        waiting.put(group)

    def work(place: Workplace) -> None:
        try:
            with contextlib.suppress(queue.Empty):
                while True:
                    for verdict in place.judge(*waiting.get_nowait()):
                        verdicts.put(verdict)
        except Exception as error:  # raised again below, by the caller's thread
            verdicts.put(error)
        verdicts.put(None)

    with tempfile.TemporaryDirectory(prefix="fastcnn-mutations-") as folder:
        places = [Workplace(root, Path(folder) / str(job), limit) for job in range(jobs)]
        threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in places]
        for thread in threads:
            thread.start()
        try:
            ended = 0
            while ended < jobs:
                verdict = verdicts.get()
                if isinstance(verdict, Exception):
                    raise verdict
                if verdict is None:
                    ended += 1
                else:
                    yield verdict
        finally:
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
            for place in places:
                place.stop()
            for thread in threads:
                thread.join(10)


def table(verdicts: Iterable[Verdict]) -> str:
    """Return verdicts as a table, in the order of the rows."""
    order = {row: number for number, row in enumerate(ROWS)}
    lines = [("row", "guard taken out", "test", "result", "s")]
    for verdict in sorted(verdicts, key=lambda v: (order.get(v.mutation.row, len(order)), v.mutation.guard)):
        mutation = verdict.mutation
        lines.append((mutation.row, mutation.guard, mutation.test.removeprefix("tests/"), verdict.result, f"{verdict.seconds:.1f}"))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Try the mutations, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--list", choices=lists(), help="those of one list: files of mutations_files.py")
    parser.add_argument("--only", metavar="TEXT", help="those in whose row, guard, file or test the text stands")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="copies of the tree at once (default: 1)")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="a test that takes longer hangs (default: 300)")
    options = parser.parse_args(argv)
    mutations = chosen(collect(options.list), options.only)
    if not mutations or options.jobs < 1:
        parser.error("no mutation has this text" if not mutations else f"--jobs must be at least 1; got {options.jobs}")
    begin, verdicts = time.perf_counter(), []
    for verdict in run(mutations, options.jobs, options.limit):
        verdicts.append(verdict)
        progress = f"[{len(verdicts)}/{len(mutations)}] {verdict.mutation.row}: {verdict.mutation.guard}"
        print(f"{progress}: {verdict.result} ({verdict.seconds:.1f} s): {verdict.words[:200]}", flush=True)
    counts = {result: sum(verdict.result == result for verdict in verdicts) for result in (FOUND, NOT_FOUND, NOT_HERE)}
    print(f"\n{table(verdicts)}\n")
    for verdict in verdicts:
        if verdict.result != FOUND:
            print(f"{verdict.result}: {verdict.mutation.guard} ({verdict.mutation.file}): {verdict.words}")
    print(", ".join(f"{count} {result}" for result, count in counts.items() if count), f"in {time.perf_counter() - begin:.0f} s")
    return int(counts[NOT_FOUND] > 0)


if __name__ == "__main__":
    sys.exit(main())
