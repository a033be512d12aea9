"""Datasets: an IDX parser, MNIST and Fashion-MNIST (found or downloaded, verified), scikit-learn's digits and photographs; parts of them.

What `fastcnn.train.fit` does by itself - standardising, splitting - is here as functions, too: `moments`, `standardise`, `split`.
"""

from .arrays import flatten, moments, normalise, one_hot, standardise
from .augment import Augment
from .dataset import Dataset
from .facts import SIZES, class_names
from .idx import IdxError, read_idx, read_images_and_labels
from .mnist import DatasetNotFound, digits, fashion_mnist, mnist  # `mnist` is the function, not its module
from .photographs import PHOTOGRAPHS, grey, photograph
from .split import split

__all__ = [
    "PHOTOGRAPHS",
    "SIZES",
    "Augment",
    "Dataset",
    "DatasetNotFound",
    "IdxError",
    "class_names",
    "digits",
    "fashion_mnist",
    "flatten",
    "grey",
    "mnist",
    "moments",
    "normalise",
    "one_hot",
    "photograph",
    "read_idx",
    "read_images_and_labels",
    "split",
    "standardise",
]
