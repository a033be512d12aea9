"""Batches of a data set: gathered, normalised and augmented in one kernel, in an order that the epoch's number decides."""

from __future__ import annotations

import functools
import math
import sys
import threading
from typing import Any

import numpy as np

from .. import checks, machine, simd, window
from ..jit import kernel
from . import augment as _augment
from .arrays import checked_moments, moments
from .augment import Augment
from .split import part as _part

SAMPLINGS = ("shuffled", "replacement", "ordered")
_LINE = 64
_KEPT = 3  # buffers: the batch at hand, the one being made, and one that somebody still looks at


class Batches:
    """A data set in batches of random images, which (seed, epoch, number) alone determine: nothing is remembered between them.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) uint8, or (N, C, H, W) float32
        Read only, never copied as a whole; may be memory-mapped, or a view. float32 are network inputs, and not normalised unless `mean`
        or `deviation` says so.
    labels : (N,) integers
    batch_size : int
        The last batch of an epoch may be smaller.
    seed : int
        At least 0.
    mean, deviation : float, or array that broadcasts to (C, H, W), optional
        Inputs are (v - mean) / deviation; by default those of all pixels (a deviation of 0 counts as 1). See `fastcnn.data.moments`.
    augment : Augment, optional
    sampling : "shuffled", "replacement" or "ordered"
        An epoch is every image once, in another order each time; or as many draws of which each may be any image (on average it holds
        1 - 1/e, 63 %, of them); or the images in their order, for evaluation.
    part : (number, parts)
        Give only a contiguous part of each batch: one of several processes that train together calls with its own number. What is in
        the parts, put together, is the batch that a single process gets, to the bit; a part of a small batch may be empty.

    Attributes
    ----------
    mean, deviation : float or ndarray
        What a model's evaluation must be normalised by, too.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data.batches import Batches
    >>> batches = Batches(np.zeros((10, 28, 28), np.uint8), np.arange(10), 4, seed=0)
    >>> [batches.batch(0, number)[0].shape for number in range(len(batches))]
    [(4, 1, 28, 28), (4, 1, 28, 28), (2, 1, 28, 28)]
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        mean: float | np.ndarray | None = None,
        deviation: float | np.ndarray | None = None,
        augment: Augment | None = None,
        sampling: str = "shuffled",
        part: tuple[int, int] = (0, 1),
    ) -> None:
        op = "Batches"
        x = checks.array(op, "images", images, ("NHW", "NCHW"), (np.dtype(np.uint8), np.dtype(np.float32)))
        if x.dtype != np.uint8 and x.ndim != 4:
            raise ValueError(f"{op}: float32 images must be (N, C, H, W); got shape {x.shape}")
        x = x[:, None] if x.ndim == 3 else x
        if min(x.shape[1:]) == 0:
            raise ValueError(f"{op}: images must have pixels; got shape {images.shape}")
        y = checks.array(op, "labels", labels, "N", None)
        if y.dtype.kind not in "iu":
            raise TypeError(f"{op}: labels must be integers; got dtype {y.dtype}")
        checks.same_shape(op, "labels", y, (len(x),), "one label per image")
        if augment is not None and not isinstance(augment, Augment):
            raise TypeError(f"{op}: augment must be an Augment; got {type(augment).__name__}")
        self.batch_size, self.seed = window.integer(op, "batch_size", batch_size, 1), window.integer(op, "seed", seed, 0)
        self.augment, self.sampling = augment, checks.choice(op, "sampling", sampling, SAMPLINGS)
        if not isinstance(part, (tuple, list)) or len(part) != 2:
            raise TypeError(f"{op}: part must be (number, parts); got {window.shown(part)}")
        self.part = window.integer(op, "part[0]", part[0], 0), window.integer(op, "part[1]", part[1], 1)
        _part(0, *self.part)
        self._images, self._labels = x, y.astype(np.int64)
        self.mean, self.deviation = self._moments(mean, deviation)
        self._shape = np.array([x.shape[2], x.shape[3], x.shape[1]], np.int64)
        flat = isinstance(self.mean, float)
        nothing: np.ndarray = np.empty(0, np.float32)
        self._means, self._shares = (nothing, nothing) if flat else self._of_pixels(self.mean, 1 / self.deviation)
        self._settings = (augment or Augment()).settings(*((self.mean, self.deviation) if flat else (0.0, 1.0)))
        self._derived()

    def _derived(self) -> None:
        self._last_order: tuple[int, np.ndarray] | None = None
        self._bound: dict[tuple[int, int], Any] = {}
        self._buffers: list[np.ndarray] = []
        x = self._images
        # Rows of contiguous memory are gathered by the kernel; of other memory, NumPy makes a contiguous batch first.
        self._rows = checks.contiguous(x).reshape(len(x), math.prod(x.shape[1:])) if x.flags.c_contiguous else None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many batches an epoch has."""
        return -(-len(self._labels) // self.batch_size)

    def rows(self, number: int) -> tuple[int, int, int]:
        """Return how many images of batch `number` lie before our part, in it, and in the whole batch.

        Raises
        ------
        IndexError
            There is no such batch.
        """
        if not 0 <= number < len(self):
            allowed = f"number must be between 0 and {len(self) - 1}; got {number}" if len(self) else "there are no images"
            raise IndexError(f"Batches: {allowed}")
        size = min(self.batch_size, len(self._labels) - number * self.batch_size)
        first, last = _part(size, *self.part)
        return first, last - first, size

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return batch `number` of an epoch, or our part of it; the same bits for any number of threads, and whatever was asked for before.

        Returns
        -------
        x : (n, C, H, W) float32
            In channels-last memory. It stays as it is as long as anything refers to it; then its memory is used for another batch.
        target : (n,) int64

        Raises
        ------
        IndexError
            There is no such batch.
        """
        before, count, _ = self.rows(number)
        first = number * self.batch_size + before
        chosen = self._order(epoch)[first : first + count]
        n, (_, C, H, W) = len(chosen), self._images.shape
        if n == 0:  # an empty part of a small batch
            return np.empty((0, H, W, C), np.float32).transpose(0, 3, 1, 2), self._labels[chosen]
        x = self._memory(n, n * C * H * W)
        images, rows = self._rows, chosen
        if images is None:
            images, rows = np.ascontiguousarray(self._images[chosen]).reshape(n, -1), np.arange(n, dtype=np.int64)
        if self.augment is None:
            numbers = [self._means, self._shares] if self._means.size else [self._settings]
            arguments = [images, rows, self._shape, *numbers, x]
        else:
            # Drawn twice in an epoch, an image is changed in two ways.
            own = chosen if self.sampling != "replacement" else np.arange(first, first + n, dtype=np.int64)
            key = _augment.key(self.seed, epoch)
            arguments = [images, rows, own, self._shape, self._settings, self._means, self._shares, key, x]
        self._launcher(n, images, arguments)(*arguments)
        return x.reshape(n, H, W, C).transpose(0, 3, 1, 2), self._labels[chosen]

    def _order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch's images; that of the last epoch asked for is kept."""
        known = self._last_order
        if known is None or known[0] != epoch:
            epoch = window.integer("Batches", "epoch", epoch, 0)
            size = len(self._labels)
            if self.sampling == "shuffled":
                order = np.random.default_rng([self.seed, epoch]).permutation(size)
            elif self.sampling == "replacement":
                order = np.random.default_rng([self.seed, epoch, 1]).integers(0, max(size, 1), size)
            else:
                order = np.arange(size)
            known = epoch, order.astype(np.int64, copy=False)
            self._last_order = known
        return known[1]

    def _launcher(self, n: int, images: np.ndarray, arguments: list[np.ndarray]) -> Any:
        """Return the launch for `n` images and the threads that the caller has now."""
        key = n, machine.get_threads()
        run = self._bound.get(key)
        if run is None:
            # 30 FLOPs or so an element for the map, two elements moved without one
            work = float(n * images.shape[1]) * (64 if self.augment else 16)
            plain = _standardised if self._means.size else _normalised
            run = self._bound[key] = (_augment.augmented if self.augment else plain(images.dtype)).bound(n, *arguments, work=work)
        return run

    def _memory(self, n: int, size: int) -> np.ndarray:
        """Return memory (n, size / n) that nothing refers to any more, or new one: fresh pages cost more than what is written there."""
        with self._lock:
            for buffer in self._buffers:
                # Referred to by the list, the loop and the call; every view of it would be one more.
                if sys.getrefcount(buffer) <= 3 and buffer.size >= size:
                    return buffer[:size].reshape(n, -1)
            whole = np.empty(4 * size + _LINE, np.uint8)
            first = -whole.ctypes.data % _LINE
            owner = np.frombuffer(whole.data, np.float32, size, first)  # not a view to NumPy: views of it refer to it, not to `whole`
            self._buffers = [owner, *self._buffers[: _KEPT - 1]]
            return owner[:].reshape(n, -1)

    def _moments(self, mean: Any, deviation: Any) -> tuple[Any, Any]:
        found: tuple[Any, Any] = 0.0, 1.0
        if self._images.dtype == np.uint8 and (mean is None or deviation is None) and len(self._images):
            found = moments(self._images)
        return checked_moments(
            "Batches", found[0] if mean is None else mean, found[1] if deviation is None else deviation, self._images.shape[1:]
        )

    def _of_pixels(self, mean: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return arrays that broadcast to (C, H, W) as the kernels take them: (H, W, C) float32, flat."""
        means, shares = (np.broadcast_to(value, self._images.shape[1:]).transpose(1, 2, 0) for value in (mean, share))
        return np.ascontiguousarray(means, np.float32).reshape(-1), np.ascontiguousarray(shares, np.float32).reshape(-1)

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but buffers and compiled code, for `copy` and `pickle`."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_last_order", "_bound", "_buffers", "_lock", "_rows")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._derived()


@functools.cache
def _normalised(dtype: np.dtype) -> Any:
    """Return the kernel for images of a dtype."""
    fetch = (lambda *_: None) if machine.jit_is_disabled() else simd.prefetch(False)
    line = 64 // dtype.itemsize

    @kernel(specialisation=dtype.str)
    def normalised(job, images, rows, shape, settings, out):
        """One image: out[job] (H, W, C) = (images[rows[job]] (C, H, W) - mean) / deviation, both flat."""
        size = images.shape[1]
        ahead = job + 6  # images lie anywhere: no prefetcher foresees the next one (128 of MNIST from memory: 1.6 times faster)
        if ahead < rows.size:
            fetch(images, rows[ahead] * size, line, (size + line - 1) // line)
        real = out.dtype.type
        mean, share = real(settings[0]), real(settings[1])
        image, result = images[rows[job]], out[job]
        C, pixels = shape[2], shape[0] * shape[1]
        if C == 1:
            for i in range(size):
                result[i] = (real(image[i]) - mean) * share
        else:
            for c in range(C):
                plane = image[c * pixels : (c + 1) * pixels]
                for i in range(pixels):
                    result[i * C + c] = (real(plane[i]) - mean) * share

    return normalised


@functools.cache
def _standardised(dtype: np.dtype) -> Any:
    """Return the kernel for images of a dtype whose pixels have moments of their own; apart, as it took half as long again for all."""

    @kernel(specialisation=dtype.str)
    def standardised(job, images, rows, shape, means, shares, out):
        """One image: out[job] (H, W, C) = (images[rows[job]] (C, H, W) - means) shares, the latter two as out is; all flat."""
        image, result = images[rows[job]], out[job]
        real = out.dtype.type
        C, pixels = shape[2], shape[0] * shape[1]
        for c in range(C):
            plane = image[c * pixels : (c + 1) * pixels]
            for i in range(pixels):
                result[i * C + c] = (real(plane[i]) - means[i * C + c]) * shares[i * C + c]

    return standardised
