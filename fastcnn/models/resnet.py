"""Residual networks for small images."""

from __future__ import annotations

import numpy as np

from .. import checks, window
from ..init import he_normal
from ..layers import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Layer, Linear, ReLU, Residual, Sequential
from ._parts import checked


def resnet(
    size: int,
    rng: np.random.Generator | int | None = None,
    *,
    blocks: int = 3,
    width: int = 16,
    channels: int = 1,
    classes: int = 10,
) -> Sequential:
    """Return the residual network of 6 blocks + 2 layers for CIFAR-10: ResNet-20 by default, ResNet-8 with one block a stage.

    conv 3x3 -> 16, three stages of 3 residual blocks of two convolutions 3x3 -> 16, 32, 64, each normalised, the first of the later stages
    with stride 2; mean of every channel, dense -> 10: 272,474 parameters and 82.1 MFLOP forward for 3 channels of 32 x 32, 272,186 and
    62.4 for one of 28 x 28. ResNet-8 has 77,754 and 18.8 there.

    Parameters
    ----------
    size, rng, channels, classes
        As of `digit_net`.
    blocks : int
        Of every stage.
    width : int
        Filters of the first stage; the others have two and four times as many.

    Returns
    -------
    Sequential
        Takes (N, channels, size, size), gives logits (N, classes).

    Raises
    ------
    TypeError, ValueError
        `blocks` or `width` is no int, or below 1.

    References
    ----------
    K. He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2. Where a block changes the shape, a normalised 1x1
    convolution is its shortcut (option B of section 4.1), in the place of zeros (A), which have 2,752 parameters less.
    """
    blocks, width = window.integer("resnet", "blocks", blocks, 1), window.integer("resnet", "width", width, 1)
    checks.require_memory("resnet", "the first stage", (2 * blocks, width, width, 3, 3), 4)
    size, channels, classes, rng = checked("resnet", size, channels, classes, rng)
    layers: list[Layer] = [_conv(channels, width, rng), BatchNorm2d(width), ReLU()]
    inputs = width
    for stage, filters in enumerate((width, 2 * width, 4 * width)):
        for block in range(blocks):
            layers += [_block(inputs, filters, 2 if stage and not block else 1, rng), ReLU()]
            inputs = filters
    return Sequential(*layers, AdaptiveAvgPool2d(1), Flatten(), Linear(inputs, classes, rng=rng, init=he_normal))


def _block(inputs: int, filters: int, stride: int, rng: np.random.Generator) -> Residual:
    body = [_conv(inputs, filters, rng, stride), BatchNorm2d(filters), ReLU(), _conv(filters, filters, rng), BatchNorm2d(filters)]
    if inputs == filters and stride == 1:
        return Residual(*body)
    projection = Conv2d(inputs, filters, 1, stride, bias=False, rng=rng, init=he_normal)
    return Residual(*body, shortcut=Sequential(projection, BatchNorm2d(filters)))


def _conv(inputs: int, filters: int, rng: np.random.Generator, stride: int = 1) -> Conv2d:
    return Conv2d(inputs, filters, 3, stride, padding=1, bias=False, rng=rng, init=he_normal)
