"""Normalisations: by stored or the batch's statistics, over channels, groups, layers, or neighbouring channels."""

from __future__ import annotations

import functools

import numpy as np

from ... import checks
from .. import _kernels
from ..graph import Node
from .registry import Inputs, Run, axis_of, operator, refuse


def per_channel(values: np.ndarray, ndim: int) -> np.ndarray:
    """Return one value per channel in the shape that broadcasts over (N, C, ...)."""
    return values.reshape(-1, *[1] * (ndim - 2))


@operator("BatchNormalization")
def batch_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the normalisation by stored statistics; in training by the batch's, which move the stored ones."""
    if not node.get("spatial", 1):
        raise refuse(node, "a normalisation of every pixel by itself (spatial=0)")
    training = node.get("training_mode", 0) if node.version >= 14 else len([name for name in node.outputs if name]) > 1
    if node.version < 7:
        training = training or not node.get("is_test", 0)
    ndim, epsilon, momentum = inputs[0].ndim, node.get("epsilon", 1e-5), node.get("momentum", 0.9)
    if training and node.version < 14:
        raise refuse(node, "batch normalisation in training before opset 14")
    if training:
        return functools.partial(_by_batch, epsilon, momentum)

    def run(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
        y: np.ndarray = x * per_channel(factor.astype(x.dtype), ndim)
        y += per_channel(shift.astype(x.dtype), ndim)
        return y

    return run


def _by_batch(
    epsilon: float, momentum: float, x: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    own_mean, own_variance = x.mean(axes), x.var(axes)
    factor = scale / np.sqrt(own_variance + epsilon)
    y = (x - per_channel(own_mean, x.ndim)) * per_channel(factor, x.ndim) + per_channel(bias, x.ndim)
    new_mean, new_variance = (old * momentum + own * (1 - momentum) for old, own in ((mean, own_mean), (variance, own_variance)))
    return y.astype(x.dtype, copy=False), new_mean.astype(mean.dtype, copy=False), new_variance.astype(variance.dtype, copy=False)


def _standardised(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x with mean 0 and variance 1 over some axes; also the mean, and the factor that was applied."""
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    factor = 1 / np.sqrt(np.square(centred).mean(axes, keepdims=True) + epsilon)
    return centred * factor, mean, factor


@operator("InstanceNormalization")
def instance_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the normalisation of every plane by its own statistics."""
    ndim, epsilon = inputs[0].ndim, node.get("epsilon", 1e-5)
    axes = tuple(range(2, ndim))
    return lambda x, scale, bias: _standardised(x, axes, epsilon)[0] * per_channel(scale, ndim) + per_channel(bias, ndim)


@operator("GroupNormalization")
def group_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the normalisation of groups of channels; scale and bias are per channel, or per group before opset 21."""
    x, groups, epsilon = inputs[0], int(node.get("num_groups")), node.get("epsilon", 1e-5)
    repeats = x.shape[1] // groups if node.version < 21 else 1
    axes = tuple(range(2, x.ndim + 1))

    def run(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
        y = _standardised(x.reshape(x.shape[0], groups, -1, *x.shape[2:]), axes, epsilon)[0].reshape(x.shape)
        return y * per_channel(scale.repeat(repeats), x.ndim) + per_channel(bias.repeat(repeats), x.ndim)

    return run


@operator("LayerNormalization")
def layer_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the normalisation over all axes from one on; also the mean and the inverse deviation."""
    ndim, epsilon, dtype = inputs[0].ndim, node.get("epsilon", 1e-5), inputs[0].dtype
    axes = tuple(range(axis_of(node, ndim, -1), ndim))
    work = np.float32 if dtype == np.float16 else dtype

    def run(x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y, mean, factor = _standardised(x.astype(work, copy=False), axes, epsilon)
        y = y * scale
        if bias is not None:
            y = y + bias
        return y.astype(dtype, copy=False), mean, factor

    return run


@operator("RMSNormalization")
def rms_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the division by the root of the mean square over all axes from one on."""
    ndim, epsilon, dtype = inputs[0].ndim, node.get("epsilon", 1e-5), inputs[0].dtype
    axes = tuple(range(axis_of(node, ndim, -1), ndim))
    work = np.float32 if dtype == np.float16 else dtype

    def run(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        wide = x.astype(work, copy=False)
        y = wide / np.sqrt(np.square(wide).mean(axes, keepdims=True) + epsilon)
        return (y.astype(dtype, copy=False) * scale).astype(dtype, copy=False)

    return run


@operator("LpNormalization")
def lp_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the division by the norm along an axis; where that is 0 the result is 0."""
    axis, p = axis_of(node, inputs[0].ndim, -1), node.get("p", 2)

    def run(x: np.ndarray) -> np.ndarray:
        norm = np.abs(x).sum(axis, keepdims=True) if p == 1 else np.sqrt(np.square(x).sum(axis, keepdims=True))
        return np.where(norm == 0, 0, x / norm).astype(x.dtype, copy=False)

    return run


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the normalisation over given axes."""
    axes = tuple(node.get("axes") or (0, 2, 3))
    return lambda x: (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + x.dtype.type(1e-9))


@operator("LRN")
def local_response_normalization(node: Node, inputs: Inputs) -> Run:
    """Bind the division by a power of the squares of the neighbouring channels."""
    size, bias = int(node.get("size")), node.get("bias", 1.0)
    alpha, beta = node.get("alpha", 1e-4) / size, node.get("beta", 0.75)
    before, C = (size - 1) // 2, inputs[0].shape[1]

    if _kernels.suits(inputs[0]):
        numbers = np.array((alpha, bias, beta), inputs[0].dtype)
        return lambda x: _kernels.local_response(checks.dense_as(x, "NHWC"), before, size - 1 - before, numbers)

    def run(x: np.ndarray) -> np.ndarray:
        squares = np.square(x)
        total = np.zeros_like(x)
        for shift in range(-before, size - before):
            first, last = max(0, -shift), min(C, C - shift)
            if first < last:
                total[:, first:last] += squares[:, first + shift : last + shift]
        total *= alpha
        total += bias
        np.power(total, -beta, out=total)
        total *= x
        return total

    return run
