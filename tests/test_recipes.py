"""Recipes: every one builds, what it builds is what it says, and the model registry."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from fastcnn import builds
from fastcnn.data.augment import Augment
from fastcnn.models import MODELS
from fastcnn.optim import SGD, Adam
from fastcnn.train import count_steps, fit
from fastcnn.train.recipes import DEFAULT, OPTIMIZERS, RATES, RECIPES, SCHEDULES, Recipe, build, prepare_kernels

NAMES = ("sprint", "fast", "balanced", "accurate")
SIZES = {"mnist": (28, 60_000), "fashion-mnist": (28, 60_000), "digits": (8, 1438)}


def test_every_data_set_has_every_recipe() -> None:
    assert set(RECIPES) == set(SIZES)
    assert all(tuple(recipes) == NAMES for recipes in RECIPES.values())
    assert DEFAULT == "fast"
    assert set(RATES) == set(OPTIMIZERS)
    for recipes in RECIPES.values():
        epochs = [recipes[name].epochs for name in NAMES]
        assert epochs == sorted(epochs), "slower ones see more"
    assert RECIPES["mnist"]["sprint"] == Recipe(0.5, 96, 0.006, "adam", (0.7, 0.9), model="digit-net-norm")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dataset", SIZES)
def test_what_a_recipe_builds(dataset: str, name: str) -> None:
    recipe, (size, images) = RECIPES[dataset][name], SIZES[dataset]
    parts = build(recipe, size, images, seed=1)
    assert parts.model.output_shape((1, size, size)) == (10,)
    assert parts.loss.label_smoothing == recipe.label_smoothing
    assert all(parts.optimizer.params[key] is value for key, value in parts.model.params.items())
    assert parts.augment == recipe.augment
    steps = count_steps(images, recipe.epochs, recipe.batch_size)
    rates = [parts.schedule(step) for step in range(steps)]
    assert max(rates) == pytest.approx(recipe.learning_rate, rel=0.05)
    assert np.argmax(rates) == pytest.approx(recipe.warmup * steps, abs=1.5)
    assert rates[-1] < 0.01 * max(rates)
    again = build(recipe, size, images, seed=1).model.state_dict()
    assert all(np.array_equal(value, again[key]) for key, value in parts.model.state_dict().items())
    assert not np.array_equal(build(recipe, size, images, seed=2).model.state_dict()["0.weight"], again["0.weight"])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", ["digit-net", "digit-net-norm", "deep-digit-net", "lenet5"])  # the others learn in test_models.py
def test_every_name_trains(model: str, optimizer: str, schedule: str) -> None:
    """Two classes of 8 x 8 that a bright half tells apart: the loss must fall by half under every combination."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 256)
    images = rng.integers(0, 128, (256, 8, 8), np.uint8)
    images[labels == 1, :4] += 60
    epochs = 12 if model == "lenet5" else 3  # deep and thin: torch's initial values let little through at first
    recipe = Recipe(epochs, 32, 0.003 * RATES[optimizer], optimizer, schedule=schedule, model=model, label_smoothing=0.0)
    parts = build(recipe, 8, 256, 0)
    history = fit(
        parts.model, images, labels, epochs=epochs, batch_size=32, loss=parts.loss, optimizer=parts.optimizer, schedule=parts.schedule
    )
    assert min(epoch.loss for epoch in history.epochs) < 0.5 * history.step_losses[0]
    assert history.epochs[-1].accuracy > 0.9


def test_optimisers_are_made_as_told() -> None:
    recipe = Recipe(learning_rate=0.25, betas=(0.5, 0.75), weight_decay=0.125)
    adam = build(recipe, 8, 100, 0).optimizer
    assert isinstance(adam, Adam)
    assert (adam.lr, adam.betas, adam.weight_decay) == (0.25, (0.5, 0.75), 0.125)
    sgd = build(replace(recipe, optimizer="sgd"), 8, 100, 0).optimizer
    assert isinstance(sgd, SGD)
    assert (sgd.lr, sgd.momentum, sgd.nesterov, sgd.weight_decay) == (0.25, 0.5, True, 0.125)


@pytest.mark.parametrize("change", [{"optimizer": "adan"}, {"schedule": "cyclic"}, {"model": "resnet"}])
def test_unknown_names(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be one of .*; got '{next(iter(change.values()))}'"):
        Recipe(**change)
    with pytest.raises(FrozenInstanceError):
        Recipe().epochs = 2  # type: ignore[misc]


@pytest.mark.parametrize("size", [4, 8, 15, 16, 19, 20, 28, 32])
@pytest.mark.parametrize("name", MODELS)
def test_models_take_every_size(name: str, size: int) -> None:
    model = MODELS[name](size, 0)
    x = np.random.default_rng(0).standard_normal((2, 1, size, size)).astype(np.float32)
    assert model.forward(x).shape == (2, 10)


def test_lenet5_has_the_parameters_of_the_paper_and_its_framework_copies() -> None:
    assert MODELS["lenet5"](28).parameter_count == 61_706  # 156 + 2,416 + 48,120 + 10,164 + 850


def test_deep_digit_net_is_what_it_says() -> None:
    model = MODELS["deep-digit-net"](28, 0)
    weights = 32 * 25 + 64 * 32 * 9 + 128 * 64 * 9 + 256 * 1152 + 10 * 256
    assert model.parameter_count == weights + 3 * (32 + 64 + 128) + 256 + 10  # biases, and weight and bias of the norms
    again, other = MODELS["deep-digit-net"](28, 0), MODELS["deep-digit-net"](28, 1)
    x = np.random.default_rng(0).standard_normal((8, 1, 28, 28)).astype(np.float32)
    first = model.train().forward(x)
    np.testing.assert_array_equal(again.train().forward(x), first)  # the dropout too
    assert not np.array_equal(other.train().forward(x), first)
    assert not np.array_equal(model.forward(x), first), "dropout draws anew"


@pytest.mark.parametrize("shifts", [2, -1, True, 1.0])
def test_wrong_shifts(shifts: Any) -> None:
    with pytest.raises(ValueError, match="Recipe: shifts must be 0 or 1; got"):
        Recipe(shifts=shifts)


@pytest.mark.parametrize("changes", [{}, {"average": 0.9, "augment": Augment(shift=1), "epochs": 1.5}])
def test_prepared_kernels_are_all_that_a_run_needs(changes: dict[str, Any]) -> None:
    recipe = replace(Recipe(1, 16, 0.003), **changes)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (70, 8, 8), np.uint8), rng.integers(0, 10, 70)
    prepare_kernels(recipe, (8, 8), 60)
    parts = build(recipe, 8, 60, 0)
    built: list[builds.Build] = []
    with builds.watching(built.append):
        fit(
            parts.model, images[:60], labels[:60], epochs=recipe.epochs, batch_size=16, validation=(images[60:], labels[60:]),
            loss=parts.loss, optimizer=parts.optimizer, schedule=parts.schedule, augment=parts.augment, average=recipe.average,
        )  # fmt: skip
    assert built == []
