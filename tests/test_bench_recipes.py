"""The table of recipes over seeds."""

from __future__ import annotations

from bench import recipes


def test_a_row_holds_mean_range_and_medians() -> None:
    results = [
        {
            "recipe": "fast", "epochs": 1.0, "settings": {"precision": "high"}, "test_accuracy": accuracy, "train_seconds": seconds,
            "total_seconds": 2 * seconds, "images_per_second": 60_000 / seconds,
        }
        for accuracy, seconds in ((0.992, 2.0), (0.993, 1.0), (0.995, 4.0))
    ]  # fmt: skip
    line = recipes.row(results)
    assert line == "| `fast` | 1 | high | 3 | 99.333 % (99.20 to 99.50) | 2.00 s | 30,000 | 4.0 s |"
    assert line.count("|") == recipes.HEAD.count("|")


def test_a_training_writes_what_a_row_reads() -> None:
    result = recipes.train("sprint", 0, ["--dataset", "digits", "--epochs", "0.5"])
    assert recipes.row([result]).startswith("| `sprint` | 0.5 | high | 1 | ")
