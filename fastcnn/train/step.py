"""One step of training: forward, loss, backward, update.

A batch goes through the network layer by layer, every layer on all threads, its results in memory that the step before has left (see
`fastcnn.memory`). To cut it into parts that stay in the L2 cache through all layers would save the way between them: on one core 128 images
at a time train at 18,900 images/s, 256 at 18,700 and 1,024, four times what the cache holds, at 18,000. That is 5 % at most, and a second
path for batch normalisation, which needs the batch as a whole.
"""

from __future__ import annotations

import math

import numpy as np

from ..layers import Layer
from ..losses import SoftmaxCrossEntropy
from ..optim import Optimizer


class Step:
    """Changes a model by one batch; see `__call__`.

    Parameters
    ----------
    model : Layer
        In training mode.
    loss : SoftmaxCrossEntropy
    optimizer : Optimizer
        Of the model's parameters.
    precision : "highest", "high" or "medium"
        What the model's operations may use.
    """

    def __init__(self, model: Layer, loss: SoftmaxCrossEntropy, optimizer: Optimizer, precision: str = "high") -> None:
        self.model, self.loss, self.optimizer = model.use(precision), loss, optimizer

    def __call__(self, x: np.ndarray, target: np.ndarray, learning_rate: float) -> tuple[float, int]:
        """Take a step; return the mean loss of the batch before it, and how many of its largest logits were their labels'.

        Raises
        ------
        FloatingPointError
            The loss became NaN or infinite; the parameters are as they were.
        """
        value, gradient, right = self.loss.step(self.model.forward(x), target)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss became {value}: a lower learning rate may help")
        self.model.backward(gradient, input_gradient=False)
        self.optimizer.lr = learning_rate
        self.optimizer.step(self.model.grads)
        return value, right
