"""LeNet-5, as it is built today and as it was."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..layers import AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, Tanh
from ._parts import checked, features_of


def lenet5(
    size: int, rng: np.random.Generator | int | None = None, *, classic: bool = False, channels: int = 1, classes: int = 10
) -> Sequential:
    """Return LeNet-5: the classic for digits, of 61,706 parameters and 0.83 MFLOP forward at 28 x 28.

    conv 5x5 -> 6, ReLU, pool, conv 5x5 -> 16, ReLU, pool, dense -> 120, ReLU, dense -> 84, ReLU, dense -> 10. Images below 20 pixels get
    3x3 kernels and padding.

    Parameters
    ----------
    size, rng, channels, classes
        As of `digit_net`.
    classic : bool
        Tanh and average-pooling in the places of ReLU and max-pooling, which come nearer to the paper. Its own sub-sampling has two
        parameters a map, its second convolution sees only some maps, and its last layer measures distances; this has none of them.

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
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.B.
    """
    size, channels, classes, rng = checked("lenet5", size, channels, classes, rng)
    checks.flag("lenet5", "classic", classic)
    kernel, paddings = (5, (2, 0)) if size >= 20 else (3, (1, 1))

    def activation() -> Layer:
        return Tanh() if classic else ReLU()

    def pool() -> Layer:
        return AvgPool2d(2) if classic else MaxPool2d(2)

    features = [
        Conv2d(channels, 6, kernel, padding=paddings[0], rng=rng),
        activation(),
        pool(),
        Conv2d(6, 16, kernel, padding=paddings[1], rng=rng),
        activation(),
        pool(),
        Flatten(),
    ]
    flat = features_of(features, channels, size)
    hidden = [Linear(flat, 120, rng=rng), activation(), Linear(120, 84, rng=rng), activation()]
    return Sequential(*features, *hidden, Linear(84, classes, rng=rng))
