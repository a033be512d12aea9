"""Normalisations as layers: over the batch, over the axes of a sample, over groups of its channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import checks, scalars, window
from ..functional.normalization import group_norm, group_norm_backward
from ..ops.batch_norm import batch_norm, batch_norm_backward, shared_batch_norm, shared_batch_norm_backward
from ..ops.layer_norm import layer_norm, layer_norm_backward
from .base import Layer, channels_first, channels_last


class _Saved(NamedTuple):
    """What the backward needs: the input as it was normalised, the statistics used, and how."""

    x: np.ndarray
    mean: np.ndarray
    inverse: np.ndarray
    training: bool
    relu: bool
    pixels: float = 0.0  # of the whole batch, where it lies in several processes


class BatchNorm(Layer):
    """Base of `BatchNorm1d` and `BatchNorm2d`, which differ in the inputs that they take; see `fastcnn.batch_norm`.

    In training every channel is normalised by its mean and variance over the batch, and the running statistics, which evaluation uses,
    move towards them. They are all that `apply` changes in the layer: threads that share it must not train it at the same time. Frozen, the
    layer normalises as in evaluation.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float or None
        Share of the batch in the running statistics; None keeps the mean over all batches.
    affine : bool
        Have a weight (starts at 1) and a bias (at 0).
    track_running_stats : bool
        False uses the batch's statistics in evaluation too, and has no buffers.
    dtype : float32 or float64

    Attributes
    ----------
    buffers : dict of str to ndarray
        ``running_mean`` (starts at 0), ``running_var`` (at 1) and ``num_batches_tracked`` (an int64 without axes).
    add_up : callable or None
        Where the batch lies in several processes: turns the values of a float64 array into their sums over all of them, in place. Training
        then normalises by the statistics of the whole batch. `fastcnn.train.fit` sets it while it trains with ``comm=``.
    """

    add_up: Callable[[np.ndarray], None] | None = None
    _ranks: tuple[int, ...] = ()
    _takes = ""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = window.integer(name, "num_features", num_features, 1)
        self.eps = checks.number(name, "eps", eps, finite=False)
        if not self.eps > 0:
            raise ValueError(f"{name}: eps must be positive; got {window.shown(eps)}")
        self.momentum = None if momentum is None else checks.number(name, "momentum", momentum, finite=False)
        if self.momentum is not None and not 0 <= self.momentum <= 1:
            raise ValueError(f"{name}: momentum must be None or between 0 and 1; got {window.shown(momentum)}")
        dtype = _dtype(name, (self.num_features,), dtype)
        if checks.flag(name, "affine", affine):
            self.params = {"weight": np.ones(num_features, dtype), "bias": np.zeros(num_features, dtype)}
        if checks.flag(name, "track_running_stats", track_running_stats):
            self.buffers = {
                "running_mean": np.zeros(num_features, dtype),
                "running_var": np.ones(num_features, dtype),
                "num_batches_tracked": np.zeros((), np.int64),
            }

    def apply(self, x: np.ndarray, relu: bool = False) -> tuple[np.ndarray, Any]:
        """Return the output for x, raised to 0 with `relu`, and what `pull_back` needs."""
        x = checks.array(type(self).__name__, "input", x, None)
        self._check(x.shape)
        images = x.ndim == 4
        source = channels_last(self, x) if images else x
        moving = self.training and self.trainable  # frozen, it is in evaluation mode
        training = moving or not self.buffers
        tracked = self.buffers.get("num_batches_tracked") if moving else None
        momentum = self.momentum
        if momentum is None:
            momentum = 0.0 if tracked is None else 1 / (int(tracked) + 1)
        running = self.buffers.get("running_mean"), self.buffers.get("running_var")
        if moving and self.add_up is not None:
            y, mean, inverse, pixels = shared_batch_norm(
                source, *running, self.params.get("weight"), self.params.get("bias"), momentum, self.eps, self.add_up,
                relu=relu, layout="NHWC" if images else "NCHW",
            )  # fmt: skip
            if tracked is not None:
                tracked += 1
            return (channels_first(y) if images else y), _Saved(source, mean, inverse, training, relu, pixels)
        y, mean, inverse = batch_norm(
            source, *running, self.params.get("weight"), self.params.get("bias"), training, momentum, self.eps,
            relu=relu, return_saved=True, layout="NHWC" if images else "NCHW",
        )  # fmt: skip
        if tracked is not None:
            tracked += 1  # in place
        return (channels_first(y) if images else y), _Saved(source, mean, inverse, training, relu)

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not (input_gradient or self.trainable):
            return None, {}
        images = saved.x.ndim == 4
        errors, layout = channels_last(self, dy) if images else dy, "NHWC" if images else "NCHW"
        weight, bias = self.params.get("weight"), self.params.get("bias")
        if saved.pixels and self.add_up is not None:
            dx, dweight, dbias = shared_batch_norm_backward(
                errors, saved.x, saved.mean, saved.inverse, saved.pixels, weight, bias, self.add_up, relu=saved.relu, layout=layout
            )
        else:
            dx, dweight, dbias = batch_norm_backward(
                errors, saved.x, saved.mean, saved.inverse, weight, bias, saved.training, relu=saved.relu, layout=layout
            )
        grads = {"weight": dweight, "bias": dbias} if self.trainable and self.params else {}
        if not input_gradient:
            return None, grads
        return (channels_first(dx) if images else dx), grads

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        shape = scalars.shape(type(self).__name__, shape)
        self._check((1, *shape))
        return shape

    def flops(self, shape: tuple[int, ...]) -> int:
        return 2 * math.prod(shape)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) not in self._ranks or shape[1] != self.num_features:
            expected = self._takes.replace("C", str(self.num_features))
            raise ValueError(f"{type(self).__name__}: input must be {expected}; got shape {shape}")

    def _describe(self) -> str:
        changed = "" if self.eps == 1e-5 else f", eps={self.eps:g}"
        changed += "" if self.momentum == 0.1 else f", momentum={self.momentum}"
        changed += "" if self.params else ", affine=False"
        return f"{self.num_features}{changed}" + ("" if self.buffers else ", track_running_stats=False")


class BatchNorm1d(BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); parameters as of `BatchNorm`, which are those of `torch.nn.BatchNorm1d`."""

    _ranks, _takes = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(BatchNorm):
    """Batch normalisation of (N, C, H, W); parameters as of `BatchNorm`, which are those of `torch.nn.BatchNorm2d`."""

    _ranks, _takes = (4,), "(N, C, H, W)"


class LayerNorm(Layer):
    """Normalise every sample over its last axes; see `fastcnn.functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of these axes.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Have a weight (starts at 1) and a bias (at 0) of that shape.
    dtype : float32 or float64
    """

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, *, dtype: Any = np.float32) -> None:
        super().__init__()
        sizes = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        scalars.shape("LayerNorm", sizes, "normalized_shape")
        self.normalized_shape = tuple(window.integer("LayerNorm", "normalized_shape", size, 1) for size in sizes)
        self.eps = checks.number("LayerNorm", "eps", eps)
        dtype = _dtype("LayerNorm", self.normalized_shape, dtype)
        if checks.flag("LayerNorm", "elementwise_affine", elementwise_affine):
            self.params = {"weight": np.ones(self.normalized_shape, dtype), "bias": np.zeros(self.normalized_shape, dtype)}

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return layer_norm(x, self.normalized_shape, self.params.get("weight"), self.params.get("bias"), self.eps), x

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not (input_gradient or self.trainable):
            return None, {}
        dx, dweight, dbias = layer_norm_backward(dy, saved, self.normalized_shape, self.params.get("weight"), self.eps)
        grads = {"weight": dweight, "bias": dbias} if self.trainable and self.params else {}
        return (dx if input_gradient else None), grads

    def flops(self, shape: tuple[int, ...]) -> int:
        return 7 * math.prod(shape)

    def _describe(self) -> str:
        return f"{self.normalized_shape}" + ("" if self.params else ", elementwise_affine=False")


class GroupNorm(Layer):
    """Normalise every sample over groups of its channels; see `fastcnn.functional.group_norm`.

    Parameters
    ----------
    num_groups, num_channels : int
        Groups, which divide the channels.
    eps : float
        Added to the variance.
    affine : bool
        Have a weight (starts at 1) and a bias (at 0) of every channel.
    dtype : float32 or float64
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, dtype: Any = np.float32) -> None:
        super().__init__()
        self.num_groups = window.integer("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = window.integer("GroupNorm", "num_channels", num_channels, 1)
        if self.num_channels % self.num_groups:
            raise ValueError(f"GroupNorm: num_channels must be divisible by num_groups; got {num_channels} and {num_groups}")
        self.eps = checks.number("GroupNorm", "eps", eps)
        dtype = _dtype("GroupNorm", (self.num_channels,), dtype)
        if checks.flag("GroupNorm", "affine", affine):
            self.params = {"weight": np.ones(num_channels, dtype), "bias": np.zeros(num_channels, dtype)}

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        x = checks.array("GroupNorm", "input", x, None)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm: input must be (N, {self.num_channels}, ...); got shape {x.shape}")
        return group_norm(x, self.num_groups, self.params.get("weight"), self.params.get("bias"), self.eps), x

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not (input_gradient or self.trainable):
            return None, {}
        dx, dweight, dbias = group_norm_backward(dy, saved, self.num_groups, self.params.get("weight"), self.eps)
        grads = {"weight": dweight, "bias": dbias} if self.trainable and self.params else {}
        return (dx if input_gradient else None), grads

    def flops(self, shape: tuple[int, ...]) -> int:
        return 7 * math.prod(shape)

    def _describe(self) -> str:
        return f"{self.num_groups}, {self.num_channels}" + ("" if self.params else ", affine=False")


def _dtype(op: str, shape: tuple[int, ...], dtype: Any) -> np.dtype:
    """Return the checked dtype of parameters of a shape that fits the machine's memory."""
    found = scalars.dtype(op, dtype)
    checks.require_memory(op, "a parameter", shape, found.itemsize)
    return found
