"""All variants, cases, directions and instruction sets between guard pages: ``python -m tests.canaries --isa all``.

Exit code 1 where anything beside an array was touched, an input was written, or a result is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time

from fastcnn import machine, registry

from .pages import PLACES, can_protect
from .watch import Result, watch


def main() -> int:
    """Run the shards that the arguments choose, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.canaries", description=__doc__)
    sets = list(machine.ISAS)
    parser.add_argument("--isa", choices=["all", *sets], help="instruction sets, one after the other (default: the widest here)")
    parser.add_argument("--place", choices=PLACES, action="append", help="where arrays lie on their pages (default: end and start)")
    parser.add_argument("--op", action="append", default=[], choices=sorted(registry.operations()), help="an operation; may be repeated")
    parser.add_argument("--case", action="append", default=[], help="the name of a case; may be repeated")
    parser.add_argument("--pattern", default="", help="a regular expression that the names of calls match, e.g. 'direct .*threads 2'")
    arguments = parser.parse_args()
    chosen = sets if arguments.isa == "all" else [arguments.isa or machine.isa().name]
    places = arguments.place or (PLACES[:2] if can_protect() else PLACES[2:])
    results = [_shard(isa, place, arguments.op, arguments.case, arguments.pattern) for isa in chosen for place in places]
    ran = [result for result in results if result.refused is None]
    for result in ran:
        for kind, words in result.findings:
            print(f"{kind} ({result.isa}, {result.place}): {words}")
    found = {kind: sum(result.count(kind) for result in ran) for kind in ("touched", "died", "wrong")}
    calls, levels = sum(result.calls for result in ran), len({result.isa for result in ran})
    print(f"{calls:,} calls on {levels} instruction sets: {', '.join(f'{count} {kind}' for kind, count in found.items())}")
    return int(any(found.values()) or calls == 0)


def _shard(isa: str, place: str, operations: list[str], cases: list[str], pattern: str) -> Result:
    said = begin = time.monotonic()

    def progress(result: Result, call: str) -> None:
        nonlocal said
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"  {result.calls:,} calls, {len(result.findings)} found, at: {call}", file=sys.stderr, flush=True)

    result = watch(isa, place, operations, cases, pattern, progress)
    if result.refused:
        print(f"{isa}, {place}: not run: {result.refused}", flush=True)
    else:
        arrays = f"{result.arrays:,} arrays, {result.in_kernels:,} of them made by kernels"
        seconds = time.monotonic() - begin
        print(f"{isa}, {place}: {result.calls:,} calls, {arrays}, {len(result.findings)} found, {seconds:.0f} s", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
