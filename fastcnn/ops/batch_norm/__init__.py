"""Batch normalisation: `torch.nn.functional.batch_norm` on NumPy arrays, with the ReLU behind it in the same pass where asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ...plans import Plans, on_memory
from ...registry import Operation
from . import problem as _problem
from ._call import Call
from ._channels import finish
from ._shared import shared_batch_norm, shared_batch_norm_backward
from .problem import BatchNormProblem

__all__ = ["OPERATION", "BatchNormProblem", "batch_norm", "batch_norm_backward", "shared_batch_norm", "shared_batch_norm_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)

_FORWARD, _BACKWARD = Plans(), Plans()
_LETTERS = {"NCHW": ("NCHW", "NCL", "NC"), "NHWC": ("NHWC", "NLC", "NC")}


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    relu: bool = False,
    return_saved: bool = False,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> Any:
    """Normalise every channel: y[n,c,...] = (x[n,c,...] - mean[c]) / sqrt(variance[c] + eps) * weight[c] + bias[c].

    In training mean and variance are the batch's, over all axes but the channels'; in evaluation the running ones.

    Parameters
    ----------
    input : (N, C), (N, C, L) or (N, C, H, W) float32 or float64
        With ``layout="NHWC"`` (N, C), (N, L, C) or (N, H, W, C).
    running_mean, running_var : (C,), the input's dtype, or both None in training
        In training changed in place: running = (1 - momentum) running + momentum batch's, the variance with pixels - 1 in its denominator.
    weight, bias : (C,), the input's dtype, optional
        1 and 0 where not given.
    training : bool
    momentum : float
    eps : float
        Added to the variance; in training above 0.
    relu : bool
        Return max(0, y), without another pass; NaN stays NaN.
    return_saved : bool
        Also return what `batch_norm_backward` needs.
    algorithm : str
        "auto", or a variant of this operation.
    layout : "NCHW" or "NHWC"
        Of input and output.

    Returns
    -------
    y : ndarray of the input's shape and dtype
    mean, inverse_deviation : (C,) float64, if `return_saved`
        The mean and 1 / sqrt(variance + eps) used: in float64 also for float32 images, as deviations may be small beside the mean.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived; also for a single value per channel in training.

    Notes
    -----
    A float32 channel is summed as distances from a value near its mean: a mean 10,000 times the deviation costs no digits. Squares of
    distances beyond 1e19 overflow in float32.

    References
    ----------
    S. Ioffe & C. Szegedy, "Batch Normalization", 2015, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import batch_norm
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> batch_norm(x, None, None, training=True, eps=1e-12).round(6)
    array([[-1., -1.],
           [ 1.,  1.]])
    """
    flags = type(training) is type(relu) is type(return_saved) is bool and type(eps) is type(momentum) is float
    arguments = int(training is True), int(relu is True), algorithm, layout
    key = Plans.key(arguments, input, running_mean, running_var, weight, bias) if flags else None
    known = None if key is None else (eps, key)
    plan = _FORWARD.find(known)
    if plan is not None and math.isfinite(momentum):
        result = plan(input, running_mean, running_var, weight, bias, momentum)
        return result if return_saved else result[0]
    op = "batch_norm"
    call = Call(op, checks.layout(op, layout))
    if _is_nothing(input):
        y = checks.array(op, "input", input, "N").copy()
        return (y, np.zeros(0), np.zeros(0)) if return_saved else y
    given = checks.array(op, "input", input, _LETTERS[layout])
    training, relu, saved = (
        checks.flag(op, name, value) for name, value in (("training", training), ("relu", relu), ("return_saved", return_saved))
    )
    x = call.image(given)
    problem = call.problem(x, training, relu, checks.number(op, "eps", eps))
    momentum = checks.number(op, "momentum", momentum)
    parameters = [call.channel(problem, x, *triple) for triple in (("weight", weight, 1), ("bias", bias, 0))]
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{op}: running_mean and running_var must both be arrays or both be None; got one of each")
    if running_mean is None and not training:
        raise ValueError(f"{op}: running_mean and running_var must be given in evaluation; got None")
    if training:
        checks.changeable(op, "running_mean", running_mean)
        checks.changeable(op, "running_var", running_var)
    running = [call.channel(problem, x, *triple) for triple in (("running_mean", running_mean, 0), ("running_var", running_var, 1))]
    if training and problem.pixels == 1:
        raise ValueError(f"{op}: input must have more than one value per channel in training; got shape {given.shape}")
    if problem.eps < 0 or (training and problem.eps == 0):
        raise ValueError(f"{op}: eps must be {'positive in training' if training else 'non-negative'}; got {problem.eps:g}")
    run = OPERATION.choose(problem, "forward", algorithm)
    memory = call.memory(given)
    y = checks.empty_image(op, problem.output_shape, x.dtype, memory)
    images, mean, variance = (checks.dense_as(x, memory), y), np.zeros(problem.C), np.zeros(problem.C)
    arrays = (images[0], *parameters, *running, y, mean, variance)
    if y.size:
        run(problem, *arrays)
    finished = _finisher(problem, training and running_mean is not None and y.size > 0, x.dtype)
    inverse = finished(*running, mean, variance, momentum)
    if training and running_mean is not None:
        for own, theirs in zip(running, (running_mean, running_var), strict=True):
            if own is not theirs:
                theirs[...] = own
    result = call.result(y, given)
    if y.size and known is not None:
        allocate = checks.allocator(op, result.shape, x.dtype)
        plan = _forward_plan(on_memory(run, problem, arrays, images), finished, allocate, problem.C)
        _FORWARD.remember(known, plan, input, running_mean, running_var, weight, bias)
    return (result, mean, inverse) if saved else result


def _forward_plan(
    compute: Callable[..., None], finished: Callable[..., np.ndarray], allocate: Callable[[], np.ndarray], channels: int
) -> Callable[..., Any]:
    """Return a plan of (input, running mean and variance, weight, bias, momentum), those per channel arrays or None."""
    dtype = allocate().dtype
    zeros, ones = np.zeros(channels, dtype), np.ones(channels, dtype)

    def planned(
        input: np.ndarray, running_mean: Any, running_var: Any, weight: Any, bias: Any, momentum: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y, mean, variance = allocate(), np.empty(channels), np.empty(channels)
        first, second = (zeros, ones) if running_mean is None else (running_mean, running_var)
        compute(
            input.ravel(), ones if weight is None else weight, zeros if bias is None else bias, first, second, y.ravel(), mean, variance
        )
        return y, mean, finished(first, second, mean, variance, momentum)

    return planned


def _finisher(problem: BatchNormProblem, update: bool, dtype: np.dtype) -> Callable[..., np.ndarray]:
    """Return a function of (running mean and variance, mean, variance, momentum) that returns 1 / sqrt(variance + eps).

    With `update` it also moves the running statistics towards the batch's.
    """
    eps, share = problem.eps, problem.pixels / (problem.pixels - 1) if update else 0.0
    numbers, nothing = np.empty(0), np.empty(0, dtype)
    run = finish.bound(1, numbers, nothing, nothing, numbers, numbers, numbers, work=8.0 * problem.C)

    def finished(running_mean: np.ndarray, running_var: np.ndarray, mean: np.ndarray, variance: np.ndarray, momentum: float) -> np.ndarray:
        inverse = np.empty(mean.size)
        running = (running_mean, running_var) if update else (nothing, nothing)
        run(np.array((eps, 1 - momentum, momentum, momentum * share)), *running, mean, variance, inverse)
        return inverse

    return finished


def batch_norm_backward(
    grad_output: Any,
    input: Any,
    mean: Any,
    inverse_deviation: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *,
    relu: bool = False,
    algorithm: str = "auto",
    layout: str = "NCHW",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of `batch_norm` with respect to input, weight and bias.

    In training mean and deviation depend on the input, and the gradient passes through them; in evaluation they are constants.

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    input : (N, C), (N, C, L) or (N, C, H, W) float32 or float64, in `layout`
        The forward's.
    mean, inverse_deviation : (C,) float32 or float64
        As ``batch_norm(..., return_saved=True)`` returned them.
    weight, bias, training, relu, algorithm, layout
        As given to `batch_norm`; the bias matters with `relu` only.

    Returns
    -------
    grad_input : the input's shape
    grad_weight, grad_bias : (C,)

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.
    """
    flags = type(training) is type(relu) is bool
    arguments = int(training is True), int(relu is True), algorithm, layout
    key = Plans.key(arguments, grad_output, input, mean, inverse_deviation, weight, bias) if flags else None
    plan = _BACKWARD.find(key)
    if plan is not None:
        gradients: tuple[np.ndarray, np.ndarray, np.ndarray] = plan(grad_output, input, mean, inverse_deviation, weight, bias)
        return gradients
    op = "batch_norm_backward"
    call = Call(op, checks.layout(op, layout))
    if _is_nothing(input):
        dx = checks.array(op, "input", input, "N").copy()
        return dx, dx.copy(), dx.copy()
    given = checks.array(op, "input", input, _LETTERS[layout])
    errors = checks.array(op, "grad_output", grad_output, _LETTERS[layout])
    checks.same_dtype(op, grad_output=errors, input=given)
    checks.same_shape(op, "grad_output", errors, given.shape, "the input's shape")
    x, dy = call.image(given), call.image(errors)
    problem = call.problem(x, checks.flag(op, "training", training), checks.flag(op, "relu", relu), 0.0)
    parameters = [call.channel(problem, x, *triple) for triple in (("weight", weight, 1), ("bias", bias, 0))]
    saved = []
    for name, value in (("mean", mean), ("inverse_deviation", inverse_deviation)):
        array = checks.array(op, name, value, "C")
        checks.same_shape(op, name, array, (problem.C,), "one per channel of the input")
        saved.append(checks.contiguous(array.astype(np.float64, copy=False)))
    run = OPERATION.choose(problem, "backward_input", algorithm, op)
    memory = call.memory(given)
    dx = checks.empty_image(op, problem.input_shape, x.dtype, memory)
    dweight, dbias = np.zeros(problem.C, x.dtype), np.zeros(problem.C, x.dtype)
    arrays = (checks.dense_as(dy, memory), checks.dense_as(x, memory), *parameters, *saved, dx, dweight, dbias)
    if dx.size:
        run(problem, *arrays)
    result = call.result(dx, given)
    if dx.size and key is not None and mean.dtype == inverse_deviation.dtype == np.float64:
        allocate = checks.allocator(op, result.shape, x.dtype)
        plan = _backward_plan(on_memory(run, problem, arrays, (arrays[1], dx)), allocate, problem.C)
        _BACKWARD.remember(key, plan, grad_output, input, mean, inverse_deviation, weight, bias)
    return result, dweight, dbias


def _backward_plan(compute: Callable[..., None], allocate: Callable[[], np.ndarray], channels: int) -> Callable[..., Any]:
    """Return a plan of (grad_output, input, mean, inverse deviation, weight, bias), the last two arrays or None."""
    dtype = allocate().dtype
    zeros, ones = np.zeros(channels, dtype), np.ones(channels, dtype)

    def planned(
        grad_output: np.ndarray, input: np.ndarray, mean: np.ndarray, inverse: np.ndarray, weight: Any, bias: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dx, dweight, dbias = allocate(), np.empty(channels, dtype), np.empty(channels, dtype)
        compute(
            grad_output.ravel(), input.ravel(), ones if weight is None else weight, zeros if bias is None else bias, mean, inverse,
            dx.ravel(), dweight, dbias,
        )  # fmt: skip
        return dx, dweight, dbias

    return planned


def _is_nothing(input: Any) -> bool:
    """Whether the input is an array of shape (0,), which torch lets pass without channels."""
    return getattr(input, "shape", None) == (0,)
