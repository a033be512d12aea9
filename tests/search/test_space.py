"""The settings to search over: grids, ranges, and the words that name them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from fastcnn.search import Range, RecipeTrial, grid, sample, space
from fastcnn.train.recipes import RECIPES


def test_a_grid_is_in_the_order_of_its_words() -> None:
    axes = space.axes_of(["lr=0.01,0.001", "batch_size=64,128", "model=lenet5"])
    assert [tuple(candidate.values()) for candidate in grid(axes)] == [
        (0.01, 64, "lenet5"), (0.01, 128, "lenet5"), (0.001, 64, "lenet5"), (0.001, 128, "lenet5"),
    ]  # fmt: skip
    assert list(grid(axes)[0]) == ["learning_rate", "batch_size", "model"]


def test_a_sample_is_the_same_for_a_seed_and_lies_in_its_ranges() -> None:
    axes = space.axes_of(["lr=1e-4..1e-2:log", "batch_size=32..35", "warmup=0..0.5", "model=lenet5,digit-net"])
    drawn = sample(axes, 400, seed=1)
    assert drawn == sample(axes, 400, seed=1) != sample(axes, 400, seed=2)
    rates = np.array([candidate["learning_rate"] for candidate in drawn])
    assert 1e-4 <= rates.min() < 1.2e-4
    assert 0.9e-2 < rates.max() <= 1e-2
    assert abs(np.mean(rates < 1e-3) - 0.5) < 0.1, "as many in one decade as in the other"
    assert all(float(f"{rate:.4g}") == rate for rate in rates)
    sizes = Counter(candidate["batch_size"] for candidate in drawn)
    assert set(sizes) == {32, 33, 34, 35}
    assert min(sizes.values()) > 60, "the ends are as likely as the rest"
    assert {type(size) for size in sizes} == {int}
    assert {candidate["model"] for candidate in drawn} == {"lenet5", "digit-net"}


def test_a_sample_of_few_has_none_twice() -> None:
    drawn = sample({"a": [1, 2], "b": [3, 4]}, 100)
    assert sorted(map(str, drawn)) == sorted(map(str, grid({"a": [1, 2], "b": [3, 4]})))
    assert len(sample({"a": Range(1, 3)}, 50)) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learning_rate"], r"expected NAME=VALUE,VALUE,... such as learning_rate=0.001,0.003; got 'learning_rate'"),
        (["learning_rate="], "expected NAME=VALUE"),
        (["lerning_rate=1"], "there is no setting 'lerning_rate' to search over; did you mean learning_rate"),
        (["lr=1", "learning_rate=2"], "learning_rate is named twice"),
        (["batch_size=1.5"], "batch_size must have whole numbers joined by commas, or a range LOW..HIGH; got '1.5'"),
        (["lr=fast"], "learning_rate must have numbers joined by commas"),
        (["lr=3..1"], r"learning_rate must have a range like .*; got '3..1' \(Range: low must be below high"),
        (["lr=0..1:log"], "low must be above 0, as 0 has no logarithm"),
        (["lr=1..inf"], "high must be finite"),
    ],
)
def test_words_that_name_nothing_are_told(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space.axes_of(words)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grid({"a": Range(0, 1)}), ValueError, "a must have values, as a grid has no ranges; draw candidates with --random N"),
        (lambda: grid({"a": "text"}), TypeError, "a must have a sequence of values; got str"),
        (lambda: grid({"a": []}), ValueError, "a must have at least one value"),
        (lambda: grid({"a": range(400), "b": range(400)}), ValueError, "at most 100,000 candidates; got 160,000"),
        (lambda: sample({"a": [1]}, 0), ValueError, "count must be between 1 and"),
        (lambda: sample({"a": [1]}, 10**6), ValueError, "count must be at most 100,000"),
        (lambda: Range(True, 2), TypeError, "Range: low must be a float; got bool"),
    ],
)
def test_what_is_no_space_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_candidate_changes_its_recipe() -> None:
    digits = RECIPES["digits"]
    trial = RecipeTrial("digits", "fast")
    assert trial.changed({}) == digits["fast"]
    changed = trial.changed({"recipe": "balanced", "batch_size": 7, "augment.rotate": 3.0, "average": 0.0})
    assert (changed.batch_size, changed.epochs, changed.average) == (7, digits["balanced"].epochs, None)
    assert changed.augment is not None
    assert (changed.augment.rotate, changed.augment.shift) == (3.0, 0.5)
    assert trial.changed({"optimizer": "sgd"}).learning_rate == pytest.approx(10 * digits["fast"].learning_rate)
    assert trial.changed({"optimizer": "sgd", "learning_rate": 0.1}).learning_rate == 0.1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "resnet9000"}, "Recipe: model must be one of"),
        ({"recipe": "slow"}, "RecipeTrial: recipe must be one of"),
        ({"optimizer": "lion"}, "RecipeTrial: optimizer must be one of"),
        ({"precision": "low"}, "RecipeTrial: precision must be one of"),
        ({"average": 1.0}, "RecipeTrial: average must be at least 0 and below 1; got 1.0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"epochs": -1.0}, "RecipeTrial: epochs must be above 0; got -1.0"),
        ({"learning_rate": 0.0}, "RecipeTrial: learning_rate must be above 0; got 0.0"),
        ({"label_smoothing": 2.0}, "RecipeTrial: label_smoothing must be at least 0 and below 1; got 2.0"),
        ({"weight_decay": -1.0}, "weight_decay must"),
        ({"augment.scale": 5.0}, "Augment: scale must be at least 0 and below 1"),
    ],
)
def test_a_candidate_that_cannot_be_trained_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecipeTrial("digits").check(parameters, 8, 100)


@pytest.mark.parametrize(
    "options", [{"dataset": "imagenet"}, {"recipe": "slow"}, {"validation": 1.0}, {"validation": float("nan")}, {"folds": 1}]
)
def test_a_trial_of_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"RecipeTrial: {next(iter(options))} must be"):
        RecipeTrial(**options)
