"""The recipes over seeds: ``python -m bench.recipes --recipe sprint,fast --seeds 10`` prints the README's table.

Test images are looked at here and nowhere else; recipes are chosen on training images held out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = "| recipe | epochs | precision | seeds | test accuracy, mean (least to most) | training, median | images/s | start to end |"


def row(results: list[dict]) -> str:
    """Return a recipe's line of the table; `results` is what ``scripts/train_mnist.py --json`` wrote for each seed."""
    accuracy = [100 * result["test_accuracy"] for result in results]
    first = results[0]
    seconds, total = (statistics.median(result[name] for result in results) for name in ("train_seconds", "total_seconds"))
    rate = statistics.median(result["images_per_second"] for result in results)
    return (
        f"| `{first['recipe']}` | {first['epochs']:g} | {first['settings']['precision']} | {len(results)} | "
        f"{statistics.mean(accuracy):.3f} % ({min(accuracy):.2f} to {max(accuracy):.2f}) | {seconds:.2f} s | {rate:,.0f} | {total:.1f} s |"
    )


def train(recipe: str, seed: int, options: list[str]) -> dict:
    """Return the result of one training in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        script = str(ROOT / "scripts" / "train_mnist.py")
        command = [sys.executable, script, "--recipe", recipe, "--seed", str(seed), "--json", str(file), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        result: dict = json.loads(file.read_text())
        return result


def main() -> None:
    """Train, and print the table as it grows."""
    parser = argparse.ArgumentParser(prog="python -m bench.recipes", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="sprint,fast", help="names, with commas (default: sprint,fast)")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("options", nargs="*", help="for scripts/train_mnist.py, behind --: -- --threads 1 --precision medium")
    arguments = parser.parse_args()
    print(HEAD + "\n" + "| --- " * HEAD.count(" | ") + "| --- |", flush=True)
    for recipe in arguments.recipe.split(","):
        train(recipe, 0, arguments.options)  # compiles, and brings the data into the cache
        print(row([train(recipe, seed, arguments.options) for seed in range(arguments.seeds)]), flush=True)


if __name__ == "__main__":
    main()
