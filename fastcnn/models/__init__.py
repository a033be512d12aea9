"""Networks, each a few lines over the layers: functions of the images' size and a seed, and a table of them by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..layers import Sequential
from .alexnet import alexnet
from .digits import deep_digit_net, digit_net
from .lenet import lenet5
from .perceptrons import multi_layer_net, two_layer_net
from .resnet import resnet
from .tutorials import conv8_net, deep_conv_net, deepnet_cifar, deepnet_mnist, simple_conv_net
from .vgg import vgg

__all__ = [
    "MODELS",
    "alexnet",
    "conv8_net",
    "deep_conv_net",
    "deep_digit_net",
    "deepnet_cifar",
    "deepnet_mnist",
    "digit_net",
    "lenet5",
    "multi_layer_net",
    "resnet",
    "simple_conv_net",
    "two_layer_net",
    "vgg",
]

MODELS: dict[str, Callable[..., Sequential]] = {  # what `--model` chooses from
    "digit-net": digit_net,
    "digit-net-norm": functools.partial(digit_net, norm=True),
    "deep-digit-net": deep_digit_net,
    "lenet5": lenet5,
    "lenet5-classic": functools.partial(lenet5, classic=True),
    "two-layer-net": two_layer_net,
    "multi-layer-net": multi_layer_net,
    "conv8-net": conv8_net,
    "deepnet-mnist": deepnet_mnist,
    "deepnet-cifar": deepnet_cifar,
    "simple-conv-net": simple_conv_net,
    "deep-conv-net": deep_conv_net,
    "alexnet": alexnet,
    "vgg": vgg,
    "resnet8": functools.partial(resnet, blocks=1),
    "resnet20": resnet,
}
