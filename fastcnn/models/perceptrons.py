"""Networks of fully connected layers: the first ones of "Deep Learning from Scratch", with its experiments' options."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import checks
from ..init import Initializer, he_normal, normal
from ..layers import SELU, BatchNorm1d, Dropout, Flatten, Layer, Linear, ReLU, Sequential, Sigmoid, Tanh
from ._parts import checked, positive_ints

ACTIVATIONS: dict[str, Callable[[], Layer]] = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh, "selu": SELU}


def two_layer_net(
    size: int, rng: np.random.Generator | int | None = None, *, hidden: int = 50, channels: int = 1, classes: int = 10
) -> Sequential:
    """Return a network of one hidden layer.

    dense -> 50, ReLU, dense -> 10: 39,760 parameters and 0.08 MFLOP forward at 28 x 28.

    Parameters
    ----------
    size, rng, channels, classes
        As of `digit_net`.
    hidden : int
        Units of the hidden layer.

    Returns
    -------
    Sequential
        Takes (N, channels, size, size), gives logits (N, classes).

    References
    ----------
    K. Saito, "Deep Learning from Scratch", 2016, section 5.7.2: weights normal with a deviation of 0.01, biases 0.
    """
    return multi_layer_net(size, rng, hidden=(hidden,), init=normal(0.01), channels=channels, classes=classes)


def multi_layer_net(
    size: int,
    rng: np.random.Generator | int | None = None,
    *,
    hidden: Sequence[int] = (100, 100, 100, 100),
    activation: str = "relu",
    norm: bool = False,
    dropout: float = 0.0,
    init: Initializer | str = he_normal,
    channels: int = 1,
    classes: int = 10,
) -> Sequential:
    """Return a network of hidden layers: that of the experiments on optimisers, initialisers, normalisation and over-fitting.

    four times (dense -> 100, ReLU), dense -> 10: 109,810 parameters and 0.22 MFLOP forward at 28 x 28.

    Parameters
    ----------
    size, rng, channels, classes
        As of `digit_net`; `rng` is of the dropout too.
    hidden : sequence of int
        Units of every hidden layer.
    activation : "relu", "sigmoid", "tanh" or "selu"
    norm : bool
        Normalise the batch between each hidden layer and its activation.
    dropout : float in [0, 1]
        Share of the hidden units that are dropped, behind each activation; 0 leaves the layers out.
    init : callable, or its name
        Draws the weights: see `fastcnn.init`. The book's "relu" is `he_normal`, its "sigmoid" `lecun_normal`.

    Returns
    -------
    Sequential
        Takes (N, channels, size, size), gives logits (N, classes).

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    K. Saito, "Deep Learning from Scratch", 2016, chapter 6: sections 6.1.8 (optimisers), 6.2 (initial weights), 6.3 (normalisation) and
    6.4 (over-fitting).
    """
    op = "multi_layer_net"
    make = ACTIVATIONS[checks.choice(op, "activation", activation, tuple(ACTIVATIONS))]
    checks.flag(op, "norm", norm)
    size, channels, classes, rng = checked(op, size, channels, classes, rng)
    layers: list[Layer] = [Flatten()]
    features = channels * size**2
    for units in positive_ints(op, "hidden", hidden):
        layers.append(Linear(features, units, rng=rng, init=init))
        layers += [BatchNorm1d(units)] if norm else []
        layers.append(make())
        layers += [] if isinstance(dropout, (int, float)) and dropout == 0 else [Dropout(dropout, rng=rng)]
        features = units
    return Sequential(*layers, Linear(features, classes, rng=rng, init=init))
