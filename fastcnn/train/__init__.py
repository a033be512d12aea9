"""Training: `fit` and its parts, prediction, and the command behind scripts/train_mnist.py."""

from ..data.split import split
from .callbacks import Callback, EarlyStopping
from .checkpoint import Checkpoint
from .evaluation import evaluate, predict
from .fit import count_steps, fit
from .history import Epoch, History, running_average

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
    "running_average",
    "split",
]
