"""Batch normalisation of a batch whose parts lie in several processes: statistics are those of the whole.

Every process passes over its own part; between the passes a few numbers for each channel are added up over the processes, once forward
and once backward. How they are added up, the caller says: this module knows no network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks, machine
from ...jit import in_turn, kernel
from ...workspace import workspace
from . import _channels
from ._call import Call
from ._channels import _fill, _pool, _repeat
from ._geometry import GEOMETRY
from .direct import _geometry, _sums
from .problem import BatchNormProblem

AddUp = Callable[[np.ndarray], None]  # float64 values to their sums over all processes, in place
LETTERS = {"NCHW": ("NCHW", "NCL", "NC"), "NHWC": ("NHWC", "NLC", "NC")}
_FAR = 100.0  # variances: squares of distances from a pivot that lies farther from the mean lose two digits, and are added up once more


def shared_batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, momentum: float, eps: float, add_up: AddUp,
    *, relu: bool = False, layout: str = "NCHW",
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:  # fmt: skip
    """Normalise this process's part of a batch by mean and variance of the whole, as `batch_norm` does in training.

    With counts n, means m and sums of squared deviations s of the parts, and a pivot p that all processes share (the running mean):
    mean = p + sum n (m - p) / sum n,  variance = (sum s + n (m - p)^2) / sum n - (mean - p)^2.

    Parameters
    ----------
    input : (N, C), (N, C, L) or (N, C, H, W) float32 or float64, in `layout`
        May be empty in some of the processes. All of them call, with the same C.
    running_mean, running_var : (C,), the input's dtype, or both None
        Changed in place; the same in all processes.
    weight, bias : (C,), the input's dtype, or None
    momentum, eps, relu, layout
        As of `batch_norm`.
    add_up : callable
        Replaces the values of a float64 array by their sums over all processes.

    Returns
    -------
    y : the input's shape
    mean, inverse_deviation : (C,) float64
    pixels : float
        Values of a channel in the whole batch.

    Raises
    ------
    TypeError, ValueError
        As of `batch_norm`; the whole batch has a single value per channel.

    References
    ----------
    T. Chan, G. Golub & R. LeVeque, "Algorithms for Computing the Sample Variance", 1983; H. Zhang et al., "Context Encoding for Semantic
    Segmentation", 2018, section 3.1, on batch normalisation over several devices.
    """
    op = "batch_norm"
    call = Call(op, checks.layout(op, layout))
    given = checks.array(op, "input", input, LETTERS[layout])
    x = call.image(given)
    problem = call.problem(x, True, checks.flag(op, "relu", relu), checks.number(op, "eps", eps))
    momentum = checks.number(op, "momentum", momentum)
    parameters = [call.channel(problem, x, *triple) for triple in (("weight", weight, 1), ("bias", bias, 0))]
    memory = call.memory(given)
    y = checks.empty_image(op, problem.output_shape, x.dtype, memory)
    dense = checks.dense_as(x, memory)
    steps = _steps(problem, (checks.is_channels_last(dense), checks.is_channels_last(y)), x.dtype, machine.get_threads())
    mean, variance = np.zeros(problem.C), np.zeros(problem.C)
    flat, result = checks.flat(dense), checks.flat(y)
    if y.size:
        steps.moments(flat, result, flat, *parameters, *parameters, mean, variance)
    pivot = np.zeros(problem.C) if running_mean is None else running_mean.astype(np.float64)
    mean, variance, pixels = _whole(problem.pixels, mean, variance, pivot, add_up)
    if pixels == 1:
        raise ValueError(f"{op}: input must have more than one value per channel in training; got one in all processes")
    if y.size:
        steps.normalise(flat, result, flat, *parameters, *parameters, mean, variance)
    if running_mean is not None and pixels:
        for running, value in ((running_mean, mean), (running_var, variance * (pixels / (pixels - 1)))):
            running[...] = (1 - momentum) * running.astype(np.float64) + momentum * value
    return call.result(y, given), mean, 1 / np.sqrt(variance + problem.eps), pixels


def shared_batch_norm_backward(
    grad_output: Any, input: Any, mean: np.ndarray, inverse_deviation: np.ndarray, pixels: float, weight: Any, bias: Any, add_up: AddUp,
    *, relu: bool = False, layout: str = "NCHW",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return the gradients of `shared_batch_norm`: that of this process's input, and its shares of those of weight and bias.

    The sums over all processes of dy and of dy * normal are part of every process's input gradient; the shares are this process's own
    sums, as an optimiser adds up the gradients of all parameters.

    Parameters
    ----------
    grad_output : the input's shape
        Of one loss, that of the whole batch, in all processes.
    input, weight, bias, relu, layout, add_up
        As given to `shared_batch_norm`.
    mean, inverse_deviation, pixels
        As it returned them.

    Returns
    -------
    grad_input : the input's shape
    grad_weight, grad_bias : (C,)

    Raises
    ------
    TypeError, ValueError
        As of `batch_norm_backward`.
    """
    op = "batch_norm_backward"
    call = Call(op, checks.layout(op, layout))
    given = checks.array(op, "input", input, LETTERS[layout])
    errors = checks.array(op, "grad_output", grad_output, LETTERS[layout])
    checks.same_dtype(op, grad_output=errors, input=given)
    checks.same_shape(op, "grad_output", errors, given.shape, "the input's shape")
    x, dy = call.image(given), call.image(errors)
    problem = call.problem(x, True, relu, 0.0)
    parameters = [call.channel(problem, x, *triple) for triple in (("weight", weight, 1), ("bias", bias, 0))]
    memory = call.memory(given)
    dx = checks.empty_image(op, problem.input_shape, x.dtype, memory)
    dense = [checks.flat(checks.dense_as(image, memory)) for image in (dy, x)]
    steps = _steps(
        problem, (checks.is_channels_last(checks.dense_as(x, memory)), checks.is_channels_last(dx)), x.dtype, machine.get_threads()
    )
    images = (*dense, checks.flat(dx), *parameters, *parameters, mean, inverse_deviation)
    sums = np.zeros(2 * problem.C + 1)  # of dy, of dy * normal, and behind them the count
    if dx.size:
        sums[:-1] = steps.products(*images)[: 2 * problem.C]
    dbias, dweight = (part.astype(x.dtype) for part in np.split(sums[:-1], 2))
    add_up(sums)
    sums[-1] = pixels
    if dx.size:
        steps.gradient(*images, sums=sums)
    return call.result(dx, given), dweight, dbias


def _whole(count: int, mean: np.ndarray, variance: np.ndarray, pivot: np.ndarray, add_up: AddUp) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean, variance and count of the whole batch from those of this process's part."""
    for _ in range(2):
        distance = mean - pivot
        sums = np.concatenate([count * distance, count * (variance + distance * distance), [count]])
        add_up(sums)
        total = float(sums[-1])
        if not total:
            break
        away, squares = np.split(sums[:-1] / total, 2)
        found, spread = pivot + away, np.maximum(squares - away * away, 0)
        if not (away * away > _FAR * spread).any():  # the same in all processes
            return found, spread, total
        pivot = found
    return (found, spread, total) if total else (mean, variance, 0.0)


class _Steps:
    """The passes over one process's part, each a launch; compiled for the same types as those of `direct`, whose kernels they share."""

    def __init__(self, p: BatchNormProblem, last: bool, dtype: np.dtype) -> None:
        self.g, self.kernels = _geometry(p, last)
        self.C, self.record, self.dtype = p.C, np.array([self.g], GEOMETRY), dtype
        self.width = self.g.C * (self.g.group if self.kernels.__name__.endswith("_pixels") else 1)
        kernels, jobs, runs = self.kernels, _sums(self.g, self.kernels), self.g.runs
        work = 8.0 * p.pixels * p.C
        image, numbers = np.empty(0, dtype), np.empty(0)
        arguments = self.record, *[image] * 4, numbers, *[image] * 4, numbers, numbers

        def bound(*steps: tuple[Any, int, float]) -> Callable[..., None]:
            return in_turn(list(steps), *arguments)

        self._moments = bound((kernels.moments, jobs, work), (_pooled, 1, 0.0))
        self._normalise = bound((_given, 1, 0.0), (kernels.normalise(p.relu), runs, work))
        self._products = bound((_channels.restore, 1, 0.0), (kernels.products(p.relu), jobs, work), (_add_parts, 1, 0.0))
        self._gradient = bound((_channels.restore, 1, 0.0), (_spread_sums, 1, 0.0), (kernels.gradient(p.relu, True), runs, work))

    def moments(self, *images: np.ndarray) -> None:
        self._launch(self._moments, 3, self._parts(), images)

    def normalise(self, *images: np.ndarray) -> None:
        self._launch(self._normalise, 3, self._parts(), images)

    def products(self, *images: np.ndarray) -> np.ndarray:
        parts = self._parts()
        self._launch(self._products, 6, parts, images)
        return parts

    def gradient(self, *images: np.ndarray, sums: np.ndarray) -> None:
        self._launch(self._gradient, 6, sums, images)

    def _parts(self) -> np.ndarray:
        return np.empty(max(2 * self.g.parts * self.g.C, 2 * self.C + 1))

    def _launch(self, run: Callable[..., None], rows: int, parts: np.ndarray, images: tuple[np.ndarray, ...]) -> None:
        run(self.record, *images[:3], workspace(rows * self.width, self.dtype), parts, *images[3:])


@functools.lru_cache(maxsize=1024)
def _steps(p: BatchNormProblem, channels_last: tuple[bool, bool], dtype: np.dtype, threads: int) -> _Steps:
    return _Steps(p, all(channels_last), dtype)


@kernel
def _pooled(job, geometry, x, y, unused_c, table, parts, weight, bias, first, second, mean, deviation):
    """Write mean and variance of the part of this process."""
    _pool(geometry, parts, mean, deviation)


@kernel
def _given(job, geometry, x, y, unused_c, table, parts, weight, bias, first, second, mean, deviation):
    """Write a forward's table for the given mean and variance."""
    g = geometry[0]
    C = mean.size
    scale = np.empty(C, np.float64)
    for c in range(C):
        scale[c] = weight[c] / np.sqrt(deviation[c] + g.eps)
    _fill(table, 3, g.C // C, mean, scale, bias)


@kernel
def _add_parts(job, geometry, dy, x, dx, table, parts, weight, bias, first, second, mean, deviation):
    """Write the sums of dy and of dy * normal over this process's part to the first 2 C of `parts`."""
    g = geometry[0]
    C = mean.size
    spread = g.C // C
    sums = np.empty(2 * C, np.float64)
    total, product = sums[:C], sums[C:]
    for c in range(C):
        total[c], product[c] = 0, 0
    for part in range(g.parts):
        errors, products = parts[2 * part * g.C : (2 * part + 1) * g.C], parts[(2 * part + 1) * g.C : (2 * part + 2) * g.C]
        for c in range(C):
            for s in range(spread):
                total[c] += errors[c * spread + s]
                product[c] += products[c * spread + s]
    for c in range(C):
        away = np.float64(table[c * spread]) - mean[c]  # the kernel's centre is rounded to the images' dtype
        parts[c], parts[C + c] = total[c], (product[c] + away * total[c]) * deviation[c]


@kernel
def _spread_sums(job, geometry, dy, x, dx, table, parts, weight, bias, first, second, mean, deviation):
    """Write factor, slope and offset of dx from the sums over all processes, which `parts` holds with their count behind them."""
    g = geometry[0]
    C, width = mean.size, table.size // 6
    spread, pixels = g.C // C, parts[2 * C]
    for c in range(C):
        away = np.float64(table[c * spread]) - mean[c]
        scale = weight[c] * deviation[c]
        slope = parts[C + c] * deviation[c] * scale / -pixels
        table[3 * width + c], table[4 * width + c] = scale, slope
        table[5 * width + c] = away * slope - scale * parts[c] / pixels
    for row in range(3, 6):
        _repeat(table, row, 6, C, spread)
