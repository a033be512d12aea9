"""Optimisers: they change the parameters that they were given in place, from gradients under the same names."""

from .adaptive import Adadelta, Adamax, NAdam
from .algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from .average import WeightAverage
from .base import Optimizer
from .clip import clip_grad_norm
from .penalties import l1_penalty, l2_penalty

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "WeightAverage",
    "clip_grad_norm",
    "l1_penalty",
    "l2_penalty",
]
