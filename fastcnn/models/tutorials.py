"""The convolutional networks of the texts that this library grew out of, with what was wrong in them put right."""

from __future__ import annotations

import numpy as np

from ..init import he_normal, normal
from ..layers import Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential
from ._parts import checked, features_of, pool_of


def conv8_net(size: int, rng: np.random.Generator | int | None = None, *, channels: int = 1, classes: int = 10) -> Sequential:
    """Return the network of a first tutorial: a single convolution.

    conv 3x3 -> 8 without bias, pool, dense -> 10: 13,602 parameters and 0.12 MFLOP forward at 28 x 28.

    Parameters
    ----------
    size : int
        Height and width in pixels, at least 4.
    rng : Generator, seed or None
    channels, classes : int
        Of the images; how many logits.

    Returns
    -------
    Sequential
        Takes (N, channels, size, size), gives logits (N, classes).

    References
    ----------
    V. Zhou, "CNNs, Part 1: An Introduction to Convolutional Neural Networks", 2019: weights normal with deviations of 1/9 and, in the
    dense layer, 1 / inputs. There the pooling's gradient goes to every maximum; here to the first.
    """
    size, channels, classes, rng = checked("conv8_net", size, channels, classes, rng)
    features = [Conv2d(channels, 8, 3, bias=False, rng=rng, init=normal(1 / 9)), MaxPool2d(2), Flatten()]
    flat = features_of(features, channels, size)
    return Sequential(*features, Linear(flat, classes, rng=rng, init=normal(1 / flat)))


def deepnet_mnist(size: int, rng: np.random.Generator | int | None = None, *, channels: int = 1, classes: int = 10) -> Sequential:
    """Return deepnet's network for MNIST, whose pooling moves by one pixel.

    conv 3x3 -> 32, ReLU, pool 2x2 with stride 1, dense -> 10: 233,610 parameters and 0.92 MFLOP forward at 28 x 28.

    Parameters, returns
    -------------------
    As of `conv8_net`.

    References
    ----------
    P. Dahal, "deepnet", 2017, run_CNN.py, make_mnist_cnn; weights of He's deviation, in the convolution too, where the original's comes
    from the number of filters.
    """
    size, channels, classes, rng = checked("deepnet_mnist", size, channels, classes, rng)
    features = [Conv2d(channels, 32, 3, padding=1, rng=rng, init=he_normal), ReLU(), MaxPool2d(2, 1), Flatten()]
    return Sequential(*features, Linear(features_of(features, channels, size), classes, rng=rng, init=he_normal))


def deepnet_cifar(size: int, rng: np.random.Generator | int | None = None, *, channels: int = 1, classes: int = 10) -> Sequential:
    """Return deepnet's network for CIFAR-10.

    conv 5x5 -> 16, ReLU, pool, conv 5x5 -> 20, ReLU, pool, dense -> 10: 22,046 parameters and 6.58 MFLOP forward for 3 channels of
    32 x 32, 18,246 and 3.78 for one of 28 x 28.

    Parameters, returns
    -------------------
    As of `conv8_net`.

    References
    ----------
    P. Dahal, "deepnet", 2017, run_CNN.py, make_cifar10_cnn; weights as in `deepnet_mnist`.
    """
    size, channels, classes, rng = checked("deepnet_cifar", size, channels, classes, rng)
    features = [
        Conv2d(channels, 16, 5, padding=2, rng=rng, init=he_normal),
        ReLU(),
        MaxPool2d(2),
        Conv2d(16, 20, 5, padding=2, rng=rng, init=he_normal),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
    ]
    return Sequential(*features, Linear(features_of(features, channels, size), classes, rng=rng, init=he_normal))


def simple_conv_net(size: int, rng: np.random.Generator | int | None = None, *, channels: int = 1, classes: int = 10) -> Sequential:
    """Return the first convolutional network of "Deep Learning from Scratch".

    conv 5x5 -> 30, ReLU, pool, dense -> 100, ReLU, dense -> 10: 433,890 parameters and 1.73 MFLOP forward at 28 x 28. Images below 8
    pixels get a 3x3 kernel and padding.

    Parameters, returns
    -------------------
    As of `conv8_net`.

    References
    ----------
    K. Saito, "Deep Learning from Scratch", 2016, section 7.5: weights normal with a deviation of 0.01, biases 0.
    """
    size, channels, classes, rng = checked("simple_conv_net", size, channels, classes, rng)
    init = normal(0.01)
    kernel, padding = (5, 0) if size >= 8 else (3, 1)
    features = [Conv2d(channels, 30, kernel, padding=padding, rng=rng, init=init), ReLU(), MaxPool2d(2), Flatten()]
    flat = features_of(features, channels, size)
    return Sequential(*features, Linear(flat, 100, rng=rng, init=init), ReLU(), Linear(100, classes, rng=rng, init=init))


def deep_conv_net(size: int, rng: np.random.Generator | int | None = None, *, channels: int = 1, classes: int = 10) -> Sequential:
    """Return the deep network of "Deep Learning from Scratch".

    conv 3x3 -> 16, 16, pool, 32, 32, pool, 64, 64, pool, each with ReLU, dense -> 50, ReLU, dropout 0.5, dense -> 10: 123,552 parameters
    and 17.5 MFLOP forward at 28 x 28. The fourth convolution has a padding of 2, so that 14 pixels become 16, and the last pooling gives 4.

    Parameters, returns
    -------------------
    As of `conv8_net`; `rng` is of the dropout too.

    References
    ----------
    K. Saito, "Deep Learning from Scratch", 2016, section 8.1.1: He's initial weights, biases 0. There a second dropout sets logits to 0.
    """
    size, channels, classes, rng = checked("deep_conv_net", size, channels, classes, rng)
    features: list[Layer] = []
    inputs = channels
    for filters, paddings in ((16, (1, 1)), (32, (1, 2)), (64, (1, 1))):
        for padding in paddings:
            features += [Conv2d(inputs, filters, 3, padding=padding, rng=rng, init=he_normal), ReLU()]
            inputs = filters
        _, height, _ = Sequential(*features).output_shape((channels, size, size))
        features += pool_of(height)
    features.append(Flatten())
    hidden = [Linear(features_of(features, channels, size), 50, rng=rng, init=he_normal), ReLU(), Dropout(0.5, rng=rng)]
    return Sequential(*features, *hidden, Linear(50, classes, rng=rng, init=he_normal))
