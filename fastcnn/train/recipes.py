"""Recipes: everything about a training run that is not its data, under four names for each data set.

MNIST's were chosen on its last 10,000 training images (trained on the other 50,000); those of the other data sets are derived from them,
with more epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .. import checks
from ..data.augment import Augment
from ..layers import Sequential
from ..losses import SoftmaxCrossEntropy
from ..models import MODELS
from ..optim import SGD, Adam, Optimizer
from ..schedules import OneCycle
from .evaluation import check_shifts, predict
from .fit import count_steps


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    epochs : float
    batch_size : int
    learning_rate : float
        The highest of the schedule.
    optimizer : str
        A name in OPTIMIZERS.
    betas : (float, float)
        Of Adam; SGD takes the first as its momentum (Nesterov's).
    weight_decay : float
    schedule : str
        A name in SCHEDULES.
    warmup : float
        Share of the steps in which the learning rate rises.
    label_smoothing : float
    average : float or None
        Decay of the moving average of the weights.
    augment : Augment or None
    model : str
        A name in `fastcnn.models.MODELS`.
    precision : "highest", "high" or "medium"
    shifts : 0 or 1
        Of `fastcnn.train.predict` when the run is over: 1 averages every test image's answer with those to four shifted copies.

    Raises
    ------
    ValueError
        A name is unknown, or shifts is neither.
    """

    epochs: float = 1.0
    batch_size: int = 128
    learning_rate: float = 0.006
    optimizer: str = "adam"
    betas: tuple[float, float] = (0.7, 0.9)
    weight_decay: float = 0.0
    schedule: str = "linear"
    warmup: float = 0.15
    label_smoothing: float = 0.05
    average: float | None = None
    augment: Augment | None = None
    model: str = "digit-net"
    precision: str = "high"
    shifts: int = 0

    def __post_init__(self) -> None:
        for name, names in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("model", MODELS)):
            checks.choice("Recipe", name, getattr(self, name), tuple(names))
        check_shifts("Recipe", self.shifts)


def _adam(params: Any, recipe: Recipe) -> Optimizer:
    return Adam(params, recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay)


def _sgd(params: Any, recipe: Recipe) -> Optimizer:
    return SGD(params, recipe.learning_rate, recipe.betas[0], nesterov=True, weight_decay=recipe.weight_decay)


def _one_cycle(anneal: str) -> Callable[[Recipe, int], Callable[[int], float]]:
    return lambda recipe, steps: OneCycle(recipe.learning_rate, steps, warmup=recipe.warmup, anneal=anneal)


def _constant(recipe: Recipe, steps: int) -> Callable[[int], float]:
    return lambda step: recipe.learning_rate


OPTIMIZERS: dict[str, Callable[[Any, Recipe], Optimizer]] = {"adam": _adam, "sgd": _sgd}
# Learning rates of the recipes are Adam's; these times them suit the others: 0.06 for SGD on MNIST
RATES = {"adam": 1.0, "sgd": 10.0}
SCHEDULES: dict[str, Callable[[Recipe, int], Callable[[int], float]]] = {
    "linear": _one_cycle("linear"),
    "cosine": _one_cycle("cos"),
    "constant": _constant,
}

_MNIST = {
    "sprint": Recipe(epochs=0.5, batch_size=96, model="digit-net-norm"),
    "fast": Recipe(epochs=1, model="digit-net-norm"),
    "balanced": Recipe(epochs=6, augment=Augment(shift=1, rotate=8, scale=0.08, shear=0.08)),
    "accurate": Recipe(epochs=20, model="deep-digit-net", augment=Augment(shift=1.5, rotate=12, scale=0.12, shear=0.15), shifts=1),
}
RECIPES: dict[str, dict[str, Recipe]] = {
    "mnist": _MNIST,
    "fashion-mnist": {
        "sprint": replace(_MNIST["sprint"], epochs=1),
        "fast": replace(_MNIST["fast"], epochs=3, augment=Augment(shift=1)),
        "balanced": replace(_MNIST["balanced"], epochs=8, augment=Augment(shift=1)),
        "accurate": replace(_MNIST["accurate"], epochs=20, augment=Augment(shift=1, scale=0.05)),
    },
    "digits": {
        "sprint": replace(_MNIST["sprint"], epochs=8, batch_size=32, learning_rate=0.003, model="digit-net"),
        "fast": replace(_MNIST["fast"], epochs=20, batch_size=32, learning_rate=0.003, model="digit-net"),
        "balanced": replace(_MNIST["balanced"], epochs=40, batch_size=32, learning_rate=0.003, augment=Augment(shift=0.5)),
        "accurate": replace(
            _MNIST["accurate"], epochs=60, batch_size=32, learning_rate=0.003, augment=Augment(shift=0.5, rotate=10, scale=0.1)
        ),
    },
}
DEFAULT = "fast"


class Parts(NamedTuple):
    """What a recipe becomes: the arguments of `fit` that are objects."""

    model: Sequential
    loss: SoftmaxCrossEntropy
    optimizer: Optimizer
    schedule: Callable[[int], float]
    augment: Augment | None


def build(recipe: Recipe, size: int, images: int, seed: int) -> Parts:
    """Return model, loss, optimiser, schedule and augmentation of a recipe.

    Parameters
    ----------
    size : int
        Height and width of the images in pixels.
    images : int
        How many to train on: the schedule spreads over their steps.
    seed : int
        Of the initial weights.
    """
    model = MODELS[recipe.model](size, seed)
    optimizer = OPTIMIZERS[recipe.optimizer](model.params, recipe)
    schedule = SCHEDULES[recipe.schedule](recipe, count_steps(images, recipe.epochs, recipe.batch_size))
    return Parts(model, SoftmaxCrossEntropy(recipe.label_smoothing), optimizer, schedule, recipe.augment)


def prepare_kernels(recipe: Recipe, shape: tuple[int, int], images: int, seed: int = 0, validate: bool = True) -> None:
    """Compile, or load from the disk, every kernel that a run of this recipe needs: by steps of a model that is thrown away.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images.
    images : int
        How many to train on; the last batch of an epoch may need other kernels.
    validate : bool
        Those of prediction too.
    """
    import numpy as np

    from ..data.batches import Batches
    from ..optim import WeightAverage
    from .step import Step

    parts = build(recipe, shape[0], images, seed)
    take_step = Step(parts.model.train(), parts.loss, parts.optimizer, recipe.precision)
    rng = np.random.default_rng(0)
    full, rest = min(recipe.batch_size, images), images % recipe.batch_size
    for size in {full, rest if recipe.epochs > 1 - recipe.batch_size / images else 0} - {0}:
        pictures = rng.integers(0, 256, (size, *shape), np.uint8)
        batches = Batches(pictures, rng.integers(0, 10, size), size, seed=seed, augment=parts.augment)
        take_step(*batches.batch(0, 0), 0.0)
    if recipe.average is not None:
        WeightAverage(parts.model.params, recipe.average).update()
    if validate:
        some = rng.integers(0, 256, (250, *shape), np.uint8)
        logits = predict(parts.model, some, 33.0, 79.0, precision=recipe.precision, shifts=recipe.shifts)
        parts.loss.forward(logits, np.zeros(len(logits), np.int64))
