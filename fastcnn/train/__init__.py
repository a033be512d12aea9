"""Training: the loop, its progress on a terminal or in a pipe, and the command behind scripts/train_mnist.py."""

from .loop import Epoch, Pixels, evaluate, predict, train

__all__ = ["Epoch", "Pixels", "evaluate", "predict", "train"]
