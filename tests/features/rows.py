"""The capabilities of the source texts, and the decorators that say which test shows one.

The texts: 000 a NumPy tutorial of convolution, pooling and softmax (its code: vz), 001 notes on "Deep Learning from Scratch" (bk), 002 two
classes of Fashion-MNIST on scipy.signal (bd), 003 the backward pass of a convolution with strides, SAME and VALID, 004 the deepnet series
(dn), and the speed record on MNIST (tu).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

ROWS = (
    "direct convolution",
    "output size, VALID",
    "SAME",
    'scipy\'s "same"',
    "convolution backward",
    "im2col and col2im",
    "max pooling",
    "average pooling",
    "dense layer",
    "flatten",
    "activations",
    "softmax",
    "softmax with cross-entropy",
    "binary log loss",
    "mean squared error",
    "batch normalisation",
    "dropout",
    "L2 and L1 regularisation",
    "initialisers",
    "optimisers",
    "schedules",
    "perceptron gates",
    "computation graph",
    "numerical gradient",
    "models",
    "MNIST",
    "Fashion-MNIST",
    "normalise, flatten, one-hot",
    "standardisation per pixel",
    "class subsets",
    "validation split",
    "shuffled epochs",
    "sampling with replacement",
    "trainer",
    "freezing a layer",
    "experiments",
    "hyper-parameter search",
    "pictures",
    "save and load",
    "half precision",
    "augmentation",
)

MISTAKES = (
    "000: the output of a 3x3 filter has 3 columns less",
    "000: pooling slices at i * 20",
    "001: XOR returns nothing",
    "001: the second and third layer read x",
    "001: AdaGrad as printed",
    "001: accuracy as printed",
    "002: a 1x1 filter sees an empty window",
    "002: no initial weights",
    "003: gradients are averaged over filters",
    "003: dW ignores the stride",
    "003: the scratch of VALID is filled with ones",
    "003: np.max(v, 0) does not clip",
    "003: padding of rows and columns is swapped",
    "003: a bias for every position",
    "003: the example of 2x2x2",
    "dn: sigmoid without its minus",
    "dn: Nesterov is plain SGD",
    "dn: Adam's moments share a list",
    "dn: velocity is lost at every epoch",
    "dn: the check of the width reads the height",
    "dn: dropout and batch normalisation never evaluate",
    "vz: the gradient of a maximum goes to every tie",
    "bk: pooling pads with 0",
    "bk: accuracy drops the last batch",
    "bk: ReLU's backward writes into its argument",
    "bk: im2col is always float64",
    "bk: dropout of the logits",
    "bd: a layer that is not trainable changes",
)

# What no test shows yet
PENDING: set[str] = set()


class Row(NamedTuple):
    """What is shown, and where."""

    name: str
    meaning: str
    module: str
    example: str
    test: str


Test = TypeVar("Test", bound=Callable[..., None])
FOUND: dict[str, Row] = {}


def row(name: str, meaning: str, *, module: str, example: str) -> Callable[[Test], Test]:
    """Mark the test of a capability.

    Parameters
    ----------
    name : str
        One of `ROWS`.
    meaning : str
        What exactly the texts mean by it, and the test checks.
    module : str
        Where it is: dotted, importable.
    example : str
        Where a reader finds it: a file of the repository, with ``#heading`` for the README, or the dotted name of something documented.
    """
    return _mark(ROWS, name, meaning, module, example)


def mistake(name: str, meaning: str) -> Callable[[Test], Test]:
    """Mark the test of a mistake, one of `MISTAKES`, that is not made here; `meaning` is what is right."""
    return _mark(MISTAKES, name, meaning, "", "")


def _mark(known: tuple[str, ...], name: str, meaning: str, module: str, example: str) -> Callable[[Test], Test]:
    if name not in known or name in FOUND:
        raise ValueError(f"{name!r} is no row of tests/features/rows.py, or has a test already")

    def mark(test: Test) -> Test:
        file = test.__code__.co_filename.replace("\\", "/").rpartition("tests/features/")[2]
        FOUND[name] = Row(name, meaning, module, example, f"{file}::{test.__name__}")
        return test

    return mark
