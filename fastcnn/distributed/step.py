"""One step of training on all ranks: each computes the gradients of its part of the batch, all take the same step."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..layers import Layer
from ..layers.norm import BatchNorm
from ..losses import SoftmaxCrossEntropy
from ..optim import Optimizer
from .communicator import Communicator
from .fused_sum import FusedSum


class SharedStep:
    """Changes a model by one batch of which every rank has a part; see `__call__`.

    The loss of a batch of N images is the mean of all, so a rank's share of its gradient is the mean over its n images times n / N: the
    shares add up to the gradient that a single process computes, also where n differs or is 0.

    Parameters
    ----------
    model, loss, optimizer, precision
        As of `fastcnn.train.step.Step`; the same state on all ranks.
    comm : Communicator
    sync_batch_norm : bool
        Normalise by statistics of the whole batch, at two small messages a layer. Without it every rank normalises its part by itself, and
        the running statistics are the means of the ranks', in the one message of the gradients.
    """

    def __init__(
        self, model: Layer, loss: SoftmaxCrossEntropy, optimizer: Optimizer, precision: str, comm: Communicator, sync_batch_norm: bool
    ) -> None:
        self.model, self.loss, self.optimizer, self.comm = model.use(precision), loss, optimizer, comm
        self.sync_batch_norm = sync_batch_norm
        layers = [model]
        for layer in layers:  # grows by the layers inside
            layers += layer.children().values()
        self._drawing: list[Any] = [layer for layer in layers if hasattr(layer, "rows")]  # Dropout, and others that draw for a whole batch
        self._norms = [layer for layer in layers if isinstance(layer, BatchNorm)]
        self._sums: dict[tuple[str, ...], FusedSum] = {}

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """Let the model's layers know, inside a `with` block, that they see parts of batches."""
        for norm in self._norms:
            norm.add_up = self.comm.add_up if self.sync_batch_norm else None
        try:
            yield
        finally:
            for norm in self._norms:
                norm.add_up = None
            for layer in self._drawing:
                layer.rows = None

    def __call__(
        self, x: np.ndarray, target: np.ndarray, learning_rate: float, rows: tuple[int, int, int], asked: bool
    ) -> tuple[float, int, bool]:
        """Take a step, together with all ranks.

        Parameters
        ----------
        x, target : (n, C, H, W) and (n,)
            Our part of the batch; may be empty.
        learning_rate : float
        rows : (int, int, int)
            Images before our part, in it, and in the whole batch: see `fastcnn.data.batches.Batches.rows`.
        asked : bool
            Whether this process was asked to stop.

        Returns
        -------
        loss : float
            Mean over the whole batch, before the step.
        right : int
            How many of the largest logits were their labels', in the whole batch.
        asked : bool
            Whether any rank was asked to stop: the same on all, which so end after the same step.

        Raises
        ------
        FloatingPointError
            The loss became NaN or infinite, on all ranks alike; the parameters are as they were.
        """
        before, count, size = rows
        for layer in self._drawing:
            layer.rows = before, size
        value, gradient, right = self.loss.step(self.model.forward(x), target)
        share = count / size
        if count:
            gradient *= share
        else:
            value = 0.0  # the mean of nothing is NaN
        self.model.backward(gradient, input_gradient=False)
        grads, (value, found, stops) = self._added_up(self.model.grads, share, (value * share, right, asked))
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss became {value}: a lower learning rate may help")
        self.optimizer.lr = learning_rate
        self.optimizer.step(grads)
        return value, round(found), stops > 0

    def _added_up(
        self, grads: dict[str, np.ndarray], share: float, numbers: tuple[float, float, float]
    ) -> tuple[dict[str, np.ndarray], list[float]]:
        """Return the gradients and the numbers of the whole batch; running statistics, where they are not shared, become means."""
        running = {} if self.sync_batch_norm else self._running()
        names = (*grads, *running)
        fused = self._sums.get(names)
        if fused is None:
            self._sums.clear()  # other layers are frozen now
            fused = self._sums[names] = FusedSum(self.comm, {**grads, **running}, len(numbers))
        shares = {name: share * value for name, value in running.items()}
        sums, found = fused({**grads, **shares}, numbers)
        for name, value in running.items():
            value[...] = sums[name]
        return {name: sums[name] for name in grads}, found

    def _running(self) -> dict[str, np.ndarray]:
        """Return the running statistics that training moves, under names that no gradient has."""
        return {
            f"running/{position}/{name}": value
            for position, norm in enumerate(self._norms)
            if norm.trainable
            for name, value in norm.buffers.items()
            if value.dtype.kind == "f"
        }
