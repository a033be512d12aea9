"""The training loop: shuffled batches, forward, loss, backward, update; and evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..layers import Layer
from ..losses import SoftmaxCrossEntropy
from ..optim import Optimizer
from .progress import Progress
from .step import Step


class Pixels:
    """Turns uint8 images (N, H, W) into network inputs (N, 1, H, W) of mean 0 and deviation 1, a batch at a time.

    Mean and deviation are the training set's; keeping bytes until a batch is needed takes a quarter of the memory.
    """

    def __init__(self, train_images: np.ndarray) -> None:
        self.mean, self.deviation = float(train_images.mean()), float(train_images.std()) or 1.0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return (N, 1, H, W) float32."""
        scaled = (images - np.float32(self.mean)) * np.float32(1 / self.deviation)
        return scaled[:, None]


class Epoch(NamedTuple):
    """What one epoch came to: means over its training batches, and the seconds since training began."""

    number: int
    loss: float
    accuracy: float
    seconds: float


def train(
    model: Layer,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    pixels: Callable[[np.ndarray], np.ndarray],
    loss: SoftmaxCrossEntropy,
    optimizer: Optimizer,
    schedule: Callable[[int], float],
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    progress: Progress,
) -> list[Epoch]:
    """Train `model` in place and return its history.

    Parameters
    ----------
    images : (N, H, W) uint8
    labels : (N,) integers
    pixels : callable
        Makes a batch of network inputs from images.
    schedule : callable
        Learning rate of each of the epochs * ceil(N / batch_size) steps.
    rng : Generator
        Shuffles; every image is seen once an epoch, the last batch may be smaller.
    progress : Progress
        Told about every step.

    Raises
    ------
    FloatingPointError
        The loss became NaN or infinite; the message says at which step.
    """
    model.train()
    take_step = Step(model, loss, optimizer)
    targets = labels.astype(np.int64)
    batches = -(-len(images) // batch_size)
    history = []
    step, begin = 0, time.perf_counter()
    for number in range(1, epochs + 1):
        order = rng.permutation(len(images))
        total_loss, right, seen = 0.0, 0, 0
        progress.begin_epoch(number, epochs, batches)
        for first in range(0, len(images), batch_size):
            chosen = order[first : first + batch_size]
            target = targets[chosen]
            try:
                value, hits = take_step(pixels(images[chosen]), target, schedule(step))
            except FloatingPointError as error:
                raise FloatingPointError(f"step {step} of epoch {number}: {error}") from None
            step += 1
            seen += len(chosen)
            total_loss += value * len(chosen)
            right += hits
            progress.advance(len(chosen), total_loss / seen, right / seen)
        epoch = Epoch(number, total_loss / seen, right / seen, time.perf_counter() - begin)
        history.append(epoch)
        progress.end_epoch(epoch.loss, epoch.accuracy, epoch.seconds)
    return history


def warm_up(model: Layer, inputs: np.ndarray, labels: np.ndarray, loss: SoftmaxCrossEntropy) -> None:
    """Compile every kernel that training and prediction need, by one step on a copy of the model that is thrown away."""
    import copy

    trial = copy.deepcopy(model).train()
    loss.forward(trial.forward(inputs), labels.astype(np.int64))
    trial.backward(loss.backward(), input_gradient=False)


def predict(model: Layer, images: np.ndarray, pixels: Callable[[np.ndarray], np.ndarray], batch_size: int = 500) -> np.ndarray:
    """Return logits (N, classes) of uint8 images, in evaluation mode; the model's mode is put back."""
    mode = model.training
    model.eval()
    try:
        return np.concatenate([model.forward(pixels(images[i : i + batch_size])) for i in range(0, len(images), batch_size)])
    finally:
        model.train(mode)


def evaluate(model: Layer, images: np.ndarray, labels: np.ndarray, pixels: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the share of images whose largest logit is their label's, 0 to 1."""
    return float(np.mean(predict(model, images, pixels).argmax(axis=1) == labels))


def settings(**values: Any) -> str:
    """Return "name=value, ..." for messages."""
    return ", ".join(f"{name}={value}" for name, value in values.items())
