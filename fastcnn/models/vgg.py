"""Networks of the kind of VGG: nothing but convolutions 3x3, in blocks that end in a pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import checks
from ..init import he_normal
from ..layers import BatchNorm2d, Conv2d, Dropout, Flatten, Layer, Linear, ReLU, Sequential
from ._parts import checked, features_of, pool_of, positive_ints


def vgg(
    size: int,
    rng: np.random.Generator | int | None = None,
    *,
    filters: Sequence[int] = (32, 64, 128),
    norm: bool = False,
    channels: int = 1,
    classes: int = 10,
) -> Sequential:
    """Return a small network like VGG: blocks of two convolutions 3x3 and a pooling, with more filters from block to block.

    conv 3x3 -> 32, 32, pool, 64, 64, pool, 128, 128, pool, each convolution with ReLU, dense -> 256, ReLU, dropout 0.5, dense -> 10:
    584,170 parameters and 58.8 MFLOP forward at 28 x 28. Images too small for all poolings go without the last ones.

    Parameters
    ----------
    size, rng, channels, classes
        As of `digit_net`; `rng` is of the dropout too.
    filters : sequence of int
        Of every block.
    norm : bool
        Normalise the batch between each convolution, which then has no bias, and its ReLU.

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
    K. Simonyan & A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, section 2: configuration B's
    blocks; He's initial weights, with which no network need be trained in stages.
    """
    size, channels, classes, rng = checked("vgg", size, channels, classes, rng)
    features: list[Layer] = []
    inputs, height = channels, size
    checks.flag("vgg", "norm", norm)
    for width in positive_ints("vgg", "filters", filters):
        for _ in range(2):
            features.append(Conv2d(inputs, width, 3, padding=1, bias=not norm, rng=rng, init=he_normal))
            features += [BatchNorm2d(width), ReLU()] if norm else [ReLU()]
            inputs = width
        pool = pool_of(height)
        features += pool
        height //= 2 if pool else 1
    features.append(Flatten())
    hidden = [Linear(features_of(features, channels, size), 256, rng=rng, init=he_normal), ReLU(), Dropout(0.5, rng=rng)]
    return Sequential(*features, *hidden, Linear(256, classes, rng=rng, init=he_normal))
