"""Batch normalisation: `torch.nn.functional.batch_norm` on NumPy arrays, with the ReLU behind it in the same pass where asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import checks
from ...registry import Operation
from . import problem as _problem
from .problem import BatchNormProblem

__all__ = ["OPERATION", "BatchNormProblem", "batch_norm", "batch_norm_backward"]

OPERATION = Operation(__name__, ("direct", "reference"), _problem)

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
    op = "batch_norm"
    call = _Call(op, checks.layout(op, layout))
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
    weight, bias = (call.channel(problem, x, *triple) for triple in (("weight", weight, 1), ("bias", bias, 0)))
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
    if training and not problem.eps > 0:
        raise ValueError(f"{op}: eps must be positive in training; got {problem.eps}")
    run = OPERATION.choose(problem, "forward", algorithm)
    y = checks.empty_image(op, problem.output_shape, x.dtype, call.memory(given))
    mean, variance = np.zeros(problem.C), np.zeros(problem.C)
    with np.errstate(all="ignore"):  # infinities and NaN are data
        if y.size:
            run(problem, checks.dense_as(x, call.memory(given)), weight, bias, *running, y, mean, variance)
            if training and running_mean is not None:
                _update(problem, momentum, (running_mean, running_var), (mean, variance))
        result = call.result(y, given)
        return (result, mean, 1 / np.sqrt(variance + problem.eps)) if saved else result


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
    op = "batch_norm_backward"
    call = _Call(op, checks.layout(op, layout))
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
    if dx.size:
        run(problem, checks.dense_as(dy, memory), checks.dense_as(x, memory), *parameters, *saved, dx, dweight, dbias)
    return call.result(dx, given), dweight, dbias


def _is_nothing(input: Any) -> bool:
    """Whether the input is an array of shape (0,), which torch lets pass without channels."""
    return getattr(input, "shape", None) == (0,)


class _Call(NamedTuple):
    """How a public function was called: its name, for errors, and the layout."""

    op: str
    layout: str

    def image(self, given: np.ndarray) -> np.ndarray:
        """Return an input of any rank as an (N, C, H, W) view."""
        if given.ndim == 4:
            return checks.channels_first(given, self.layout)
        if given.ndim == 2:
            return given[:, :, None, None]
        return given[:, :, None, :] if self.layout == "NCHW" else given.transpose(0, 2, 1)[:, :, None, :]

    def memory(self, given: np.ndarray) -> str:
        """Return the layout to compute in: vectors are channels-last."""
        return "NHWC" if given.ndim == 2 else self.layout

    def result(self, image: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Return an (N, C, H, W) result with the axes of the input, C-contiguous."""
        if given.ndim == 4:
            return image.transpose(0, 2, 3, 1) if self.layout == "NHWC" else image
        return (image.transpose(0, 2, 3, 1) if self.memory(given) == "NHWC" else image).reshape(given.shape)

    def problem(self, x: np.ndarray, training: bool, relu: bool, eps: float) -> BatchNormProblem:
        """Return the problem of an (N, C, H, W) view."""
        if x.shape[1] == 0:
            raise ValueError(f"{self.op}: input must have at least one channel; got (N, C, H, W) = {x.shape}")
        N, C, H, W = x.shape
        return BatchNormProblem(N, C, H, W, training, relu, eps)

    def channel(self, problem: BatchNormProblem, x: np.ndarray, name: str, value: Any, default: int) -> np.ndarray:
        """Return a checked array with one value per channel, filled with `default` where `value` is None."""
        if value is None:
            return np.full(problem.C, default, x.dtype)
        if type(value) is np.ndarray and value.dtype == x.dtype and value.shape == (problem.C,) and value.flags.carray:
            return value  # what most calls bring
        array = checks.array(self.op, name, value, "C")
        checks.same_dtype(self.op, **{"input": x, name: array})
        checks.same_shape(self.op, name, array, (problem.C,), "one per channel of the input")
        return checks.contiguous(array)


def _update(problem: BatchNormProblem, momentum: float, running: tuple[np.ndarray, ...], batch: tuple[np.ndarray, ...]) -> None:
    """Move the running statistics towards those of a batch."""
    shares = momentum, momentum * problem.pixels / (problem.pixels - 1)
    for old, new, share in zip(running, batch, shares, strict=True):
        old *= 1 - momentum
        old += share * new
