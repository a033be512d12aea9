"""The objective of `fastcnn search`: a recipe with some changes, trained on a part of the images and judged by the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import checks, window
from ..data.augment import Augment
from ..data.split import split
from ..registry import PRECISIONS
from ..train.fit import fit
from ..train.recipes import DEFAULT, RATES, RECIPES, Recipe, build

_OP = "RecipeTrial"
_AUGMENT = "augment."
_ABOVE_ZERO, _SHARES = {"epochs", "learning_rate"}, {"warmup", "label_smoothing", "average"}


@dataclass(frozen=True)
class RecipeTrial:
    """Trains a recipe with some settings changed; the score is the accuracy on images held out. An objective for `search`.

    With `validation` and a seed it is what ``fastcnn train --validation SHARE --seed SEED`` tells of its last epoch, to the bit on as many
    threads.

    Parameters
    ----------
    dataset : str
        Whose recipes: a name in `fastcnn.train.recipes.RECIPES`.
    recipe : str
        What is changed; a candidate's setting "recipe" goes before it.
    validation : float
        Share of the images that judge, of every class alike.
    folds : int, optional
        Instead: train so many times, each time judged by another part of the images; the score is the mean.

    Raises
    ------
    TypeError, ValueError
        There is no such recipe, share or number of folds.
    """

    dataset: str = "mnist"
    recipe: str = DEFAULT
    validation: float = 0.2
    folds: int | None = None

    def __post_init__(self) -> None:
        checks.choice(_OP, "dataset", self.dataset, tuple(RECIPES))
        checks.choice(_OP, "recipe", self.recipe, tuple(RECIPES[self.dataset]))
        share = checks.number(_OP, "validation", self.validation)
        if not 0 < share < 1:
            raise ValueError(f"{_OP}: validation must be between 0 and 1; got {share}")
        if self.folds is not None:
            window.integer(_OP, "folds", self.folds, 2)

    def changed(self, parameters: Mapping[str, Any]) -> Recipe:
        """Return the recipe of a candidate.

        Another optimiser without a learning rate has the recipe's in the proportion that suits both; an `average` of 0 is none.

        Raises
        ------
        TypeError, ValueError
            A setting is unknown, or has no such value.
        """
        named = dict(parameters)
        recipe = RECIPES[self.dataset][checks.choice(_OP, "recipe", named.pop("recipe", self.recipe), tuple(RECIPES[self.dataset]))]
        if "optimizer" in named and "learning_rate" not in named:
            optimizer = checks.choice(_OP, "optimizer", named["optimizer"], tuple(RATES))
            named["learning_rate"] = recipe.learning_rate * RATES[optimizer] / RATES[recipe.optimizer]
        augment = {name.removeprefix(_AUGMENT): named.pop(name) for name in parameters if name.startswith(_AUGMENT)}
        if augment:
            named["augment"] = replace(recipe.augment or Augment(), **augment)
        for name in _SHARES & set(named):
            if not 0 <= checks.number(_OP, name, named[name]) < 1:
                raise ValueError(f"{_OP}: {name} must be at least 0 and below 1; got {named[name]}")
        for name in _ABOVE_ZERO & set(named):
            if not checks.number(_OP, name, named[name]) > 0:
                raise ValueError(f"{_OP}: {name} must be above 0; got {named[name]}")
        if "average" in named:
            named["average"] = named["average"] or None
        if "precision" in named:
            checks.choice(_OP, "precision", named["precision"], PRECISIONS)
        return replace(recipe, **named)

    def check(self, parameters: Mapping[str, Any], size: int, images: int) -> None:
        """Raise TypeError or ValueError where a candidate could not be trained on so many images of size x size pixels."""
        build(self.changed(parameters), size, images, 0)

    def __call__(self, parameters: Mapping[str, Any], seed: int, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return score, loss, and the accuracies of all folds; images (N, H, H) uint8, labels (N,)."""
        recipe = self.changed(parameters)
        accuracies, losses = [], []
        for kept, held in self.parts(labels, seed):
            parts = build(recipe, images.shape[1], len(kept), seed)
            history = fit(
                parts.model, np.asarray(images[kept]), np.asarray(labels[kept]), epochs=recipe.epochs, batch_size=recipe.batch_size,
                validation=(np.asarray(images[held]), np.asarray(labels[held])), loss=parts.loss, optimizer=parts.optimizer,
                schedule=parts.schedule, augment=parts.augment, average=recipe.average, precision=recipe.precision, seed=seed,
            )  # fmt: skip
            *_, last = history.epochs
            accuracies.append(last.validation_accuracy or 0.0)
            losses.append(last.validation_loss or 0.0)
        return {"score": float(np.mean(accuracies)), "loss": float(np.mean(losses)), "scores": accuracies}

    def parts(self, labels: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return the positions to train on and those to judge by, of every fold; ValueError where there are too few labels (N,)."""
        labels = np.asarray(labels)
        if self.folds is None:
            yield split(labels, self.validation, seed)
            return
        from sklearn.model_selection import StratifiedKFold

        yield from StratifiedKFold(self.folds, shuffle=True, random_state=seed % 2**32).split(np.zeros(len(labels)), labels)
