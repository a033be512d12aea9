"""Datasets: an IDX parser, MNIST and Fashion-MNIST (found or downloaded, verified), and scikit-learn's digits."""

from .facts import SIZES, class_names
from .idx import IdxError, read_idx, read_images_and_labels
from .mnist import Dataset, DatasetNotFound, digits, fashion_mnist, mnist  # `mnist` is the function, not its module

__all__ = [
    "SIZES",
    "Dataset",
    "DatasetNotFound",
    "IdxError",
    "class_names",
    "digits",
    "fashion_mnist",
    "mnist",
    "read_idx",
    "read_images_and_labels",
]
