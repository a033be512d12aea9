"""AlexNet for small images."""

from __future__ import annotations

import numpy as np

from ..init import he_normal
from ..layers import Conv2d, Dropout, Flatten, Layer, Linear, ReLU, Sequential
from ._parts import checked, features_of, pool_of

_FILTERS = ((24, 5, True), (64, 5, True), (96, 3, False), (96, 3, False), (64, 3, True))  # filters, kernel, pooled


def alexnet(size: int, rng: np.random.Generator | int | None = None, *, channels: int = 1, classes: int = 10) -> Sequential:
    """Return a network like AlexNet for small images: a quarter of its filters, an eighth of its units, no stride in the first convolution.

    conv 5x5 -> 24, pool, conv 5x5 -> 64, pool, conv 3x3 -> 96, 96, 64, pool, each convolution with ReLU; dropout 0.5, dense -> 512, ReLU,
    dropout 0.5, dense -> 512, ReLU, dense -> 10: 632,250 parameters and 28.7 MFLOP forward at 28 x 28. Windows of the poolings are 3x3
    with stride 2, and overlap; images too small for one go without.

    Parameters, returns
    -------------------
    As of `digit_net`; `rng` is of the dropout too.

    References
    ----------
    A. Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012, sections 3.4, 3.5 and 4.2. He's initial
    weights, and no local response normalisation, which later networks left out.
    """
    size, channels, classes, rng = checked("alexnet", size, channels, classes, rng)
    features: list[Layer] = []
    inputs, height = channels, size
    for filters, kernel, pooled in _FILTERS:
        features += [Conv2d(inputs, filters, kernel, padding=kernel // 2, rng=rng, init=he_normal), ReLU()]
        features += pool_of(height, 3) if pooled else []
        _, height, _ = Sequential(*features).output_shape((channels, size, size))
        inputs = filters
    features.append(Flatten())
    for units in (512, 512):
        flat = features_of(features, channels, size)
        features += [Dropout(0.5, rng=rng), Linear(flat, units, rng=rng, init=he_normal), ReLU()]
    return Sequential(*features, Linear(512, classes, rng=rng, init=he_normal))
