"""Networks for digits: that of the speed record, and the most accurate one."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from ._parts import checked, features_of


def digit_net(
    size: int, rng: np.random.Generator | int | None = None, *, norm: bool = False, channels: int = 1, classes: int = 10
) -> Sequential:
    """Return the network of the MNIST speed record for `size` x `size` images.

    conv 5x5 -> 24, ReLU, pool, conv 3x3 -> 32, ReLU, pool, dense -> 256, ReLU, dense -> 10: 215,194 parameters (215,258 with `norm`) and
    2.49 MFLOP forward at 28 x 28. Images below 16 pixels, which would
    shrink to nothing, get 3x3 kernels and padding.

    Parameters
    ----------
    size : int
        Height and width in pixels, at least 4.
    rng : Generator, seed or None
    norm : bool
        Normalise the batch behind the second pooling: 99.27 instead of 99.22 % after one epoch of MNIST (8 seeds each, validation images)
        for 3 % more time; behind the first too it is 99.28 % for a quarter more. Behind, not before, so that convolution, ReLU and
        pooling stay one operation.
    channels, classes : int
        Of the images; how many logits.

    Returns
    -------
    Sequential
        Takes (N, channels, size, size), gives logits (N, classes).

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.
    """
    size, channels, classes, rng = checked("digit_net", size, channels, classes, rng)
    checks.flag("digit_net", "norm", norm)
    kernel, padding = (5, 0) if size >= 16 else (3, 1)
    features = [
        Conv2d(channels, 24, kernel, padding=padding, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Conv2d(24, 32, 3, padding=padding, rng=rng),
        ReLU(),
        MaxPool2d(2),
        *([BatchNorm2d(32)] if norm else []),
        Flatten(),
    ]
    flat = features_of(features, channels, size)
    return Sequential(*features, Linear(flat, 256, rng=rng), ReLU(), Linear(256, classes, rng=rng))


def deep_digit_net(size: int, rng: np.random.Generator | int | None = None, *, channels: int = 1, classes: int = 10) -> Sequential:
    """Return the most accurate of the networks for digits, of three convolutions and the batch normalised behind each.

    conv 5x5 -> 32, ReLU, pool, norm, conv 3x3 -> 64, ReLU, pool, norm, conv 3x3 -> 128, ReLU, pool, norm, dense -> 256, ReLU,
    dropout 0.3, dense -> 10: 391,370 parameters and 12.1 MFLOP forward at 28 x 28. The 3x3 kernels are padded; images below 16 pixels get
    3x3 and padding in the first convolution too, those below 8 are pooled twice only.

    Parameters, returns
    -------------------
    As of `digit_net`; `rng` is of the dropout too.
    """
    size, channels, classes, rng = checked("deep_digit_net", size, channels, classes, rng)
    kernel, padding = (5, 0) if size >= 16 else (3, 1)
    features = [
        Conv2d(channels, 32, kernel, padding=padding, rng=rng),
        ReLU(),
        MaxPool2d(2),
        BatchNorm2d(32),
        Conv2d(32, 64, 3, padding=1, rng=rng),
        ReLU(),
        MaxPool2d(2),
        BatchNorm2d(64),
        Conv2d(64, 128, 3, padding=1, rng=rng),
        ReLU(),
        *([MaxPool2d(2)] if size >= 8 else []),
        BatchNorm2d(128),
        Flatten(),
    ]
    flat = features_of(features, channels, size)
    return Sequential(*features, Linear(flat, 256, rng=rng), ReLU(), Dropout(0.3, rng=rng), Linear(256, classes, rng=rng))
