"""What is known of the data sets without reading them: their sizes, and what their classes are called."""

from __future__ import annotations

from typing import NamedTuple

from .. import window


class Size(NamedTuple):
    """`pixels` x `pixels` grey images, so many of each kind."""

    pixels: int
    train_images: int
    test_images: int


SIZES = {"mnist": Size(28, 60_000, 10_000), "fashion-mnist": Size(28, 60_000, 10_000), "digits": Size(8, 1_438, 359)}

_MOST = 2**16  # classes that are given names
_DIGITS = tuple("0123456789")
# In the order of the labels; Xiao, Rasul and Vollgraf (2017), Fashion-MNIST, table 2.
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def class_names(dataset: str, classes: int = 10) -> tuple[str, ...]:
    """Return what the classes of a data set are called: clothes in Fashion-MNIST, else the numbers from 0.

    Parameters
    ----------
    dataset : str
        A name of `SIZES`, as in `Dataset.name`; any other has numbers.
    classes : int
        How many. Fewer than ten of Fashion-MNIST's are numbers, too: which of the clothes they are `Dataset.classes` tells.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    >>> from fastcnn.data import class_names
    >>> class_names("fashion-mnist")[1], class_names("mnist")[1]
    ('Trouser', '1')
    """
    if not isinstance(dataset, str):
        raise TypeError(f"class_names: dataset must be a str; got {type(dataset).__name__}")
    classes = window.integer("class_names", "classes", classes, 1)
    if classes > _MOST:
        raise ValueError(f"class_names: classes must be at most {_MOST}; got {classes}")
    if dataset == "fashion-mnist" and classes == len(_CLOTHES):
        return _CLOTHES
    return _DIGITS if classes == len(_DIGITS) else tuple(map(str, range(classes)))
