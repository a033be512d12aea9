"""Random changes of training images: shift, rotation, scale and shear in one affine map, an elastic one, and a rectangle erased.

The random numbers of an image are hashes of (seed, epoch, position in the data set, number of the draw): they depend neither on threads
nor on the batch that the image is in, and nothing needs to be remembered to go on from any point. (Of images drawn with replacement the
position is that in the epoch, so that one drawn twice is changed in two ways.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import checks, scalars
from ..jit import kernel

_GOLDEN, _FIRST, _SECOND, _MASK = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 2**64 - 1


@dataclass(frozen=True)
class Augment:
    """How training images are changed at random; what `Batches` takes as `augment`. Everything is off by default.

    A point (x, y) of an image, counted from its centre, goes to  scale R(angle) (x + shear y, y) + shift. Pixels are interpolated
    linearly in both directions; what comes from outside the image is `fill`. Maps by whole pixels, and none, keep pixels exactly.
    With `elastic` every pixel is fetched from (dx, dy) beside the place that the map says, where dx and dy are smooth random fields.

    Parameters
    ----------
    shift : float
        Pixels, uniform in [-shift, shift] for either axis.
    rotate : float
        Degrees, uniform in [-rotate, rotate], clockwise as an image is seen.
    scale : float in [0, 1)
        The factor is uniform in [1 - scale, 1 + scale].
    shear : float
        Uniform in [-shear, shear]: pixels to the right for each pixel downwards.
    elastic : float
        Pixels, root mean square of dx and of dy: noise, uniform in [-1, 1] and independent from pixel to pixel (also of those outside
        the image), smoothed by a Gaussian and scaled. Simard's alpha of 34 with sigma 4 are 1.38 pixels.
    elastic_sigma : float
        Pixels, up to 100: sigma of the Gaussian, cut off at ceil(3 sigma). Large ones shift and bend, small ones make waves.
    erase : float in [0, 1]
        Probability that a rectangle is filled with `fill`.
    erase_size : (float, float)
        Height and width of the rectangle are uniform between these shares of the image's, rounded to whole pixels; it lies inside.
    fill : float
        Background, as a pixel's value before normalisation.

    Raises
    ------
    ValueError
        A number is out of its range, or not finite.

    References
    ----------
    P. Simard et al., "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis", 2003,
    section 2; Z. Zhong et al., "Random Erasing Data Augmentation", 2020; G. Steele et al., "Fast Splittable Pseudorandom Number
    Generators", 2014.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    erase: float = 0.0
    erase_size: tuple[float, float] = (0.15, 0.4)
    fill: float = 0.0
    elastic: float = 0.0
    elastic_sigma: float = 4.0

    def __post_init__(self) -> None:
        for name in ("shift", "rotate", "scale", "shear", "erase", "fill", "elastic", "elastic_sigma"):
            object.__setattr__(self, name, checks.number("Augment", name, getattr(self, name), finite=False))
        for name, most in (("shift", math.inf), ("rotate", math.inf), ("scale", 1), ("shear", math.inf), ("elastic", math.inf)):
            value = getattr(self, name)
            if not 0 <= value < most:
                raise ValueError(f"Augment: {name} must be at least 0 and {'below 1' if most == 1 else 'finite'}; got {value}")
        if not 0 <= self.erase <= 1:
            raise ValueError(f"Augment: erase must be a probability; got {self.erase}")
        low, high = scalars.pair("Augment", "erase_size", self.erase_size)
        if not 0 <= low <= high <= 1:
            raise ValueError(f"Augment: erase_size must be two shares, the smaller first; got {self.erase_size}")
        if not 0.01 <= self.elastic_sigma <= 100:  # below, no pixel knows of its neighbours any more
            raise ValueError(f"Augment: elastic_sigma must be at least 0.01 and at most 100 pixels; got {self.elastic_sigma}")
        if not math.isfinite(self.fill):
            raise ValueError(f"Augment: fill must be finite; got {self.fill}")

    def settings(self, mean: float, deviation: float) -> np.ndarray:
        """Return the numbers that the kernel works with; behind them, for elastic changes, the taps of the Gaussian.

        Parameters
        ----------
        mean, deviation : float
            Of the bytes v that images are made of, which leave the kernel as (v - mean) / deviation.

        Returns
        -------
        (10 + taps,) float64
        """
        ranges = self.shift, math.radians(self.rotate), self.scale, self.shear
        return np.array([mean, 1 / deviation, *ranges, self.erase, *self.erase_size, self.fill, *self._taps()])

    def _taps(self) -> np.ndarray:
        """Return factors t such that noise of variance 1/3, summed with t along both axes, has a standard deviation of `elastic`."""
        if not self.elastic:
            return np.empty(0)
        radius = math.ceil(3 * self.elastic_sigma)
        bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / self.elastic_sigma) ** 2)
        taps: np.ndarray = bell * math.sqrt(self.elastic * math.sqrt(3) / (bell @ bell))
        return taps


def key(seed: int, epoch: int) -> np.ndarray:
    """Return the part of the hash that all images of an epoch share."""
    return np.array([_mixed(_mixed(seed) + epoch)], np.uint64)


def _mixed(value: int) -> int:
    z = (value + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)


# Numba makes float64 of a uint64 and an int64: all constants are uint64.
_ADDED, _TIMES1, _TIMES2 = np.uint64(_GOLDEN), np.uint64(_FIRST), np.uint64(_SECOND)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@kernel(inline=True)
def _mix(value):
    """Return splitmix64's number after a state."""
    z = value + _ADDED
    z = (z ^ (z >> _30)) * _TIMES1
    z = (z ^ (z >> _27)) * _TIMES2
    return z ^ (z >> _31)


@kernel(inline=True)
def _uniform(state, draw):
    """Return number `draw` of an image, in [0, 1)."""
    return np.float64(_mix(state + np.uint64(draw) * _ADDED) >> _11) * 2.0**-53


@kernel(inline=True)
def _between(state, draw, reach):
    """Return number `draw` of an image, in [-reach, reach)."""
    return reach * (2 * _uniform(state, draw) - 1)


@kernel
def _bends(state, H, W, taps, bends):
    """Fields of displacements (2, H, W), flat: draws 10, 11, ... of an image, two planes (H + 2 r, W + 2 r), smoothed along both axes."""
    high, wide = H + taps.size - 1, W + taps.size - 1
    noise, smooth = np.empty(wide, bends.dtype), np.empty(high * W, bends.dtype)
    for axis in range(2):
        for h in range(high):
            first = 10 + (axis * high + h) * wide
            for w in range(wide):
                noise[w] = _between(state, first + w, 1.0)
            line = smooth[h * W : (h + 1) * W]
            for w in range(W):
                line[w] = 0
            for t in range(taps.size):
                factor, part = bends.dtype.type(taps[t]), noise[t : t + W]
                for w in range(W):
                    line[w] += factor * part[w]
        for h in range(H):
            line = bends[(axis * H + h) * W : (axis * H + h + 1) * W]
            for w in range(W):
                line[w] = 0
            for t in range(taps.size):
                factor, part = bends.dtype.type(taps[t]), smooth[(h + t) * W : (h + t + 1) * W]
                for w in range(W):
                    line[w] += factor * part[w]


@kernel
def augmented(job, images, rows, positions, shape, settings, means, shares, epoch_key, out):
    """One image: out[job] (H, W, C) from images[rows[job]] (C, H, W), both flat, changed and normalised as `Augment.settings` say.

    Where each pixel has moments of its own - `means` and `shares` (H, W, C), flat, else empty - they apply to the changed image.

    Each plane is copied into one with margins, 1 pixel before and 2 behind. Places are clamped to [-1, H] x [-1, W], beyond which all is
    background; their four neighbours lie in the plane with margins: in rows 0 to H + 2 of its H + 3, in columns alike.
    """
    H, W, C = shape[0], shape[1], shape[2]
    real = out.dtype.type
    mean, share = real(settings[0]), real(settings[1])
    background = (real(settings[9]) - mean) * share
    wide = W + 3
    padded = np.empty((H + 3) * wide, out.dtype)
    for i in range(padded.size):
        padded[i] = background
    image, result = images[rows[job]], out[job]

    state = _mix(epoch_key[0] + np.uint64(positions[job]))
    angle, factor = _between(state, 0, settings[3]), 1 + _between(state, 1, settings[4])
    shear, right, down = _between(state, 2, settings[5]), _between(state, 3, settings[2]), _between(state, 4, settings[2])
    cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
    # The way back: rotate by -angle, then take shear * y from x.
    xx, xy, yx, yy = cos + shear * sin, sin - shear * cos, -sin, cos
    centre_h, centre_w = (H - 1) / 2, (W - 1) / 2
    taps = settings[10:]
    bends = np.empty(2 * H * W if taps.size else 0, out.dtype)
    if taps.size:
        _bends(state, H, W, taps, bends)
    one, below = np.uint64(1), np.uint64(wide)  # without a sign, or Numba would look for negative indices
    place, across, along = np.empty(W, np.int64), np.empty(W, out.dtype), np.empty(W, out.dtype)
    for c in range(C):
        for h in range(H):
            first = (c * H + h) * W
            line, inner = image[first : first + W], padded[(h + 1) * wide + 1 : (h + 1) * wide + 1 + W]
            for w in range(W):
                inner[w] = (real(line[w]) - mean) * share
        for h in range(H):
            dy, dx = h - centre_h - down, -centre_w - right
            x0, y0 = xx * dx + xy * dy + centre_w + 1, yx * dx + yy * dy + centre_h + 1  # with margins, of pixel (h, 0)
            written = result[h * W * C + c : (h + 1) * W * C]
            bend_x, bend_y = bends[h * W : (h + 1) * W], bends[(H + h) * W : (H + h + 1) * W]  # empty without elastic changes
            for w in range(W):
                x, y = x0 + xx * w, y0 + yx * w
                if taps.size:
                    x, y = x + bend_x[w], y + bend_y[w]
                x, y = x if x > 0.0 else 0.0, y if y > 0.0 else 0.0
                x, y = x if x < W + 1.0 else W + 1.0, y if y < H + 1.0 else H + 1.0
                column, row = np.int64(x), np.int64(y)
                place[w], across[w], along[w] = row * wide + column, real(x - column), real(y - row)
            for w in range(W):  # apart: what is written might lie where is read, for all LLVM knows, which would keep it all scalar
                at, fx, fy = np.uint64(place[w]), across[w], along[w]
                left, left_below = padded[at], padded[at + below]
                top = left + fx * (padded[at + one] - left)  # exactly `left` where fx = 0
                bottom = left_below + fx * (padded[at + below + one] - left_below)
                written[w * C] = top + fy * (bottom - top)

    if _uniform(state, 5) < settings[6]:
        low, reach = settings[7], settings[8] - settings[7]
        height, width = int(H * (low + reach * _uniform(state, 6)) + 0.5), int(W * (low + reach * _uniform(state, 7)) + 0.5)
        top_row, left = int((H - height + 1) * _uniform(state, 8)), int((W - width + 1) * _uniform(state, 9))
        for h in range(top_row, top_row + height):
            erased = result[(h * W + left) * C : (h * W + left + width) * C]
            for i in range(erased.size):
                erased[i] = background
    for i in range(means.size):
        result[i] = (result[i] - means[i]) * shares[i]
