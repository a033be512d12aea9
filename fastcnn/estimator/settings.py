"""The parameters of the scikit-learn estimator, checked when it is fitted, and what "auto" means for so many samples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import checks, machine, window
from ..data.augment import Augment
from ..registry import PRECISIONS

_OP = "CNNClassifier"
_STEPS, _FEWEST, _MOST = 800, 3, 200  # what max_iter="auto" aims at, and the epochs that it keeps to
_MANY = 5000  # samples from which on a batch is the larger one: the recipes of scikit-learn's digits have 32, those of MNIST 128


class Settings(NamedTuple):
    """Parameters of `CNNClassifier` that are as described there; see `checked`."""

    max_iter: float | str
    batch_size: int | str
    learning_rate_init: float
    weight_decay: float
    label_smoothing: float
    augment: Augment | None
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    precision: str
    threads: int
    verbose: bool
    warm_start: bool

    def batch(self, samples: int) -> int:
        """Return the size of a batch."""
        return (128 if samples >= _MANY else 32) if isinstance(self.batch_size, str) else self.batch_size

    def epochs(self, samples: int) -> float:
        """Return the passes over the samples."""
        if isinstance(self.max_iter, str):
            return min(max(math.ceil(_STEPS / math.ceil(samples / self.batch(samples))), _FEWEST), _MOST)
        return self.max_iter


def checked(estimator: Any) -> Settings:
    """Return the settings of an estimator that are no data's business.

    Raises
    ------
    TypeError, ValueError
        One of them is not as `CNNClassifier` describes it.
    """
    given = {name: getattr(estimator, name) for name in Settings._fields}
    for name in ("early_stopping", "verbose", "warm_start"):
        given[name] = checks.flag(_OP, name, given[name])
    for name in ("max_iter", "learning_rate_init", "weight_decay", "label_smoothing", "validation_fraction", "tol"):
        if (name, given[name]) != ("max_iter", "auto"):
            given[name] = checks.number(_OP, name, given[name])
    if given["batch_size"] != "auto":
        given["batch_size"] = window.integer(_OP, "batch_size", given["batch_size"], 1)
    given["n_iter_no_change"] = window.integer(_OP, "n_iter_no_change", given["n_iter_no_change"], 1)
    for name in ("max_iter", "learning_rate_init"):
        if given[name] != "auto" and not given[name] > 0:
            raise ValueError(f"{_OP}: {name} must be above 0; got {given[name]}")
    for name in ("weight_decay", "tol"):
        if given[name] < 0:
            raise ValueError(f"{_OP}: {name} must not be negative; got {given[name]}")
    if not 0 <= given["label_smoothing"] < 1:
        raise ValueError(f"{_OP}: label_smoothing must be at least 0 and below 1; got {given['label_smoothing']}")
    if not 0 < given["validation_fraction"] < 1:
        raise ValueError(f"{_OP}: validation_fraction must be between 0 and 1; got {given['validation_fraction']}")
    if given["augment"] is not None and not isinstance(given["augment"], Augment):
        raise TypeError(f"{_OP}: augment must be a fastcnn.data.augment.Augment; got {type(given['augment']).__name__}")
    checks.choice(_OP, "precision", given["precision"], PRECISIONS)
    given["threads"] = checked_threads(given["threads"])
    return Settings(**given)


def checked_threads(threads: Any) -> int:
    """Return how many threads to use: the user's number, but no more than there are here, where a worker may have fewer."""
    here = machine.get_threads()
    return here if threads is None else min(window.integer(_OP, "threads", threads, 1), here)
