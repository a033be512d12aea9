"""Optimisers: they change the parameters that they were given in place, from gradients under the same names."""

from .algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from .average import WeightAverage
from .base import Optimizer
from .clip import clip_grad_norm

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "WeightAverage", "clip_grad_norm"]
