"""Layers: thin classes over `fastcnn.ops`, with `forward`, `backward`, `params` and `grads`."""

from .activation import ReLU
from .base import Layer
from .conv2d import Conv2d
from .dropout import Dropout
from .linear import Flatten, Linear
from .norm import BatchNorm1d, BatchNorm2d
from .pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .prepared import PreparedNetwork, prepare
from .sequential import Sequential

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "PreparedNetwork",
    "ReLU",
    "Sequential",
    "prepare",
]
