"""``python -m tests.fuzz --calls 20000 --seed 0 [--jobs N] [--only NAME] [--call TEXT]``: hostile calls of every public function.

``python -m tests.fuzz --every 1 --seed 0`` leaves less to chance: of a legal call of every function, each argument is spoilt in turn, in
all ways that there are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz import legal, surface, vocabulary
from tests.fuzz.jobs import Job, reports
from tests.fuzz.run import Report


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 where a call failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20000, help="how many in all (default: %(default)s)")
    parser.add_argument(
        "--every", type=int, metavar="N", help="spoil N legal calls of every function, one argument at a time, in every way"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes that draw, each with a worker that calls")
    parser.add_argument("--only", default="", help="functions whose name contains this")
    parser.add_argument("--no-torch", action="store_true", help="do not ask PyTorch, even where it is installed")
    parser.add_argument("--call", help="make one call, as it was printed, in this process")
    options = parser.parse_args(arguments)
    if options.call:
        print(vocabulary.evaluate(options.call))
        return 0
    names = [name for name in surface.required() if options.only in name and name in legal.makers()]
    if not names:
        parser.error(f"--only {options.only}: no such function")
    each = options.every or -(-options.calls // len(names))
    what = f"{options.every} legal calls, spoilt in every way," if options.every else f"{each * len(names):,} calls"
    print(f"{what} of {len(names)} functions, seed {options.seed}", flush=True)
    start, told = time.monotonic(), []
    jobs = [Job(name, each, options.seed, not options.no_torch, bool(options.every)) for name in names]
    for report in reports(jobs, options.jobs):
        told.append(report)
        _tell(report)
    return _sum_up(told, time.monotonic() - start)


def _tell(report: Report) -> None:
    """Print a line of a function, and its failures."""
    outcomes = ", ".join(f"{kind} {count}" for kind, count in sorted(report.outcomes.items()))
    theirs = ", ".join(f"{kind} {count}" for kind, count in sorted(report.torch.items()) if kind != "not asked")
    print(f"{report.name}: {outcomes}{f'; PyTorch: {theirs}' if theirs else ''}", flush=True)
    for call, failure in report.failures:
        print(f"  FAILED {failure}\n    {call.text}", flush=True)


def _sum_up(reports: list[Report], seconds: float) -> int:
    outcomes: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for report in reports:
        outcomes.update(report.outcomes)
        theirs.update(report.torch)
    failures = sum(len(report.failures) for report in reports)
    print(
        f"{sum(outcomes.values()):,} calls in {seconds:.0f} s: {', '.join(f'{kind} {count:,}' for kind, count in sorted(outcomes.items()))}"
    )
    if set(theirs) == {"not asked"}:
        print("PyTorch is not installed here: what it refuses was not asked")
    else:
        print(f"PyTorch: {', '.join(f'{kind} {count:,}' for kind, count in sorted(theirs.items()))}")
    print(f"{failures} kinds of failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
