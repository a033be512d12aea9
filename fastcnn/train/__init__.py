"""Training: `fit` and its parts, prediction, and the command behind scripts/train_mnist.py."""

from .callbacks import Callback, EarlyStopping
from .checkpoint import Checkpoint
from .evaluation import evaluate, predict
from .fit import count_steps, fit, split
from .history import Epoch, History

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Epoch",
    "History",
    "count_steps",
    "evaluate",
    "fit",
    "predict",
    "split",
]
