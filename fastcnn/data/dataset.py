"""A data set: images to train on, images to test with, and what can be cut out of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .. import window
from .split import split


class Dataset(NamedTuple):
    """Grey images and their classes.

    Attributes
    ----------
    name : str
    train_images, test_images : (N, H, W) uint8
    train_labels, test_labels : (N,) uint8
        0 to ``len(classes) - 1``.
    classes : tuple of int
        Label k stands for class ``classes[k]`` of the original: for a whole data set of ten classes 0 to 9, after `only` those chosen.
    """

    name: str
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]
    classes: tuple[int, ...] = tuple(range(10))

    def only(self, classes: Sequence[int]) -> Dataset:
        """Return the images of some classes, in their order; the class given first becomes label 0, the next one 1, ...

        Parameters
        ----------
        classes : sequence of int
            At least one of `classes`, none twice; of a subset, too, they are called as in the original.

        Raises
        ------
        ValueError
            A class that the data set does not have, or twice the same.

        Examples
        --------
        >>> from fastcnn.data import digits
        >>> pair = digits().only([3, 1])
        >>> pair.classes, sorted(set(pair.train_labels.tolist()))
        ((3, 1), [0, 1])
        """
        op = "Dataset.only"
        if not isinstance(classes, (tuple, list, range)):
            raise TypeError(f"{op}: classes must be a sequence of int; got {type(classes).__name__}")
        chosen = tuple(window.integer(op, f"classes[{i}]", value, 0) for i, value in enumerate(classes))
        unknown = [value for value in chosen if value not in self.classes]
        if not chosen or unknown or len(set(chosen)) < len(chosen):
            raise ValueError(f"{op}: classes must be some of {self.classes}, each once; got {window.shown(chosen)}")
        new = np.full(256, 255, np.uint8)  # 255 stands for the classes left out: a uint8 label has at most 255 classes beside it
        new[[self.classes.index(value) for value in chosen]] = np.arange(len(chosen))

        def cut(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            kept = np.isin(labels, [self.classes.index(value) for value in chosen])
            return images[kept], new[labels[kept]]

        return Dataset(self.name, *cut(self.train_images, self.train_labels), *cut(self.test_images, self.test_labels), chosen)

    def validation_split(self, share: float, *, seed: int = 0) -> Dataset:
        """Return the training images alone, in two parts: to train on, and, in the place of test images, to choose settings by.

        Whoever compares settings on what this returns cannot look at the test images by mistake. The parts are those of
        ``fastcnn.train.fit(validation=share, seed=seed)``.

        Parameters
        ----------
        share : float
            Of the training images, between 0 and 1; of every class within one image of it (stratified).
        seed : int

        Raises
        ------
        ValueError
            See `fastcnn.data.split`.

        Examples
        --------
        >>> from fastcnn.data import digits
        >>> part = digits().validation_split(0.2)
        >>> len(part.train_images), len(part.test_images)
        (1151, 287)
        """
        kept, held = split(self.train_labels, share, window.integer("Dataset.validation_split", "seed", seed, 0))
        images, labels = self.train_images, self.train_labels
        return self._replace(train_images=images[kept], train_labels=labels[kept], test_images=images[held], test_labels=labels[held])
