"""Kill trainings at random moments, look at their files, resume them; exit code 1 on any mistake."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.kills.loop import HEADING, Killing, moments


def main() -> int:
    """Kill, print a line per kill, and the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=50, metavar="N", help="of kills (default: 50)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of their moments (default: any)")
    parser.add_argument("--dataset", choices=["digits", "mnist"], help="kill `fastcnn train` on it, instead of the small problem")
    options = parser.parse_args()
    train = ["--dataset", options.dataset, "--recipe", "sprint" if options.dataset == "digits" else "fast"] if options.dataset else []
    print(f"seed {options.seed}\n{HEADING}")
    with tempfile.TemporaryDirectory() as folder:
        killing = Killing(Path(folder), train, options.seed, 3.0 if options.dataset == "mnist" else 1.2)
        kills = []
        for kill in killing.kills(options.count):
            kills.append(kill)
            print(kill, flush=True)
    wrong = [f"kill {kill.number}: {kill.mistake}" for kill in kills if kill.mistake] + killing.mistakes
    hit = ", ".join(f"{count} {name}" for name, count in sorted(moments(kills).items()))
    print(f"{len(kills)} kills ({hit}); {killing.ends} trainings led to their end; {len(wrong)} mistakes")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
