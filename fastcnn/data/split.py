"""Images held out: positions to train on and to validate with, of every class alike; and the parts of a batch that processes share."""

from __future__ import annotations

import math

import numpy as np

from .. import checks, window


def split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions to train on and those to validate with, both in rising order.

    A random floor(share * N) images, of every class within one of its share (stratified), always the same for a seed.

    Parameters
    ----------
    labels : (N,) integers
    share : float
        Of the images to hold out, between 0 and 1.
    seed : int

    Raises
    ------
    ValueError
        `share` is not between 0 and 1, or leaves one of the parts empty.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import split
    >>> kept, held = split(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, seed=0)
    >>> len(kept), [int(position) // 4 for position in held]
    (6, [0, 1])
    """
    labels = checks.array("split", "labels", labels, "N", None)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"split: labels must be integers; got dtype {labels.dtype}")
    share, seed = checks.number("split", "share", share, finite=False), window.integer("split", "seed", seed, 0)
    count = math.floor(len(labels) * share + 1e-6) if 0 < share < 1 else 0
    if not 0 < count < len(labels):
        raise ValueError(
            f"split: a validation share must be between 0 and 1, and leave images on both sides; got {share} of {len(labels)} images"
        )
    shuffled = np.random.default_rng([seed, 0x5917]).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    marks = np.floor(np.arange(len(labels) + 1) * (count / len(labels)) + 1e-9)  # evenly spread over the classes, one after the other
    held = np.diff(marks) > 0
    return np.sort(by_class[~held]), np.sort(by_class[held])


def part(size: int, number: int, parts: int) -> tuple[int, int]:
    """Return where part `number` of `size` things begins and ends: contiguous parts, in order, whose lengths differ by at most one.

    Raises
    ------
    ValueError
        There is no such part.

    Examples
    --------
    >>> from fastcnn.data.split import part
    >>> [part(10, number, 4) for number in range(4)]
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    if not 0 <= number < parts:
        raise ValueError(f"part: number must be between 0 and {parts - 1}; got {number}")
    return size * number // parts, size * (number + 1) // parts
