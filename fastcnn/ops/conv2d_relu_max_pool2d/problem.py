"""The shape of a convolution, ReLU and max-pooling in one, and the cases on which variants are tested and timed."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import window
from ...registry import Case
from ..conv2d import OPERATION, Conv2dProblem
from ..max_pool2d import MaxPool2dProblem

LARGEST_WINDOW = 256  # pixels: a winner is one byte


class Conv2dReluMaxPool2dProblem(NamedTuple):
    """y[n,k,p,q] = max over the pixels (i,j) of a window of max(0, conv[n,k,i,j]); `pool` has the convolution's output as its input."""

    conv: Conv2dProblem
    pool: MaxPool2dProblem

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.conv.input_shape

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(K, C / groups, R, S)."""
        return self.conv.weight_shape

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, K, P, Q), pooled."""
        return self.pool.output_shape


def checked_pool(op: str, conv: Conv2dProblem, kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> MaxPool2dProblem:
    """Return the pooling of a convolution's output; TypeError or ValueError where the arguments are none."""
    R, S = window.pair(op, "pool_kernel", kernel, 1)
    if R * S > LARGEST_WINDOW:
        raise ValueError(f"{op}: pool_kernel must have at most {LARGEST_WINDOW} pixels; got {R} x {S}")
    steps = (R, S) if stride is None else window.pair(op, "pool_stride", stride, 1)
    before = window.pair(op, "pool_padding", padding, 0)
    for pad, size in zip(before, (R, S), strict=True):
        if pad > size // 2:
            raise ValueError(f"{op}: pool_padding must be at most half of pool_kernel, {size // 2}; got {pad}")
    N, K, H, W = conv.output_shape
    axes = window.axes(op, (H, W), (R, S), steps, before, 1, ceil_mode)
    P, Q = (axis.ceil_output if ceil_mode else axis.output for axis in axes)
    return MaxPool2dProblem(N, K, H, W, R, S, P, Q, *steps, *before)


def from_options(
    op: str,
    shape: Annotated[Any, "N,C,H,W"],
    kernel: Annotated[Any, "K,R,S"],
    stride: Annotated[Any, "INT[,INT]"] = 1,
    padding: Annotated[Any, "INT[,INT]|T,B,L,R|same|valid"] = 0,
    dilation: Annotated[Any, "INT[,INT]"] = 1,
    groups: Annotated[Any, "INT"] = 1,
    pool_kernel: Annotated[Any, "INT[,INT]"] = 2,
    pool_stride: Annotated[Any, "INT[,INT]"] = None,
    pool_padding: Annotated[Any, "INT[,INT]"] = 0,
    ceil_mode: bool = False,
) -> Conv2dReluMaxPool2dProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    conv = OPERATION.problem.from_options(op, shape, kernel, stride, padding, dilation, groups)
    return Conv2dReluMaxPool2dProblem(conv, checked_pool(op, conv, pool_kernel, pool_stride, pool_padding, ceil_mode))


def work(problem: Conv2dReluMaxPool2dProblem, direction: str) -> int:
    """FLOPs of the convolution; the comparisons are not counted."""
    return int(OPERATION.problem.work(problem.conv, direction))


def traffic(problem: Conv2dReluMaxPool2dProblem, direction: str, dtype: Any) -> int:
    """Bytes of the input, the weight, the pooled output and the winners; backward has the output and its gradient."""
    sizes = [int(np.prod(shape)) for shape in (problem.input_shape, problem.weight_shape, problem.output_shape)]
    images = sizes[2] if direction == "forward" else 2 * sizes[2]
    return (sizes[0] + sizes[1] + images) * np.dtype(dtype).itemsize + sizes[2]


def reduction(problem: Conv2dReluMaxPool2dProblem, direction: str) -> int:
    """Terms in one sum: the convolution's."""
    return int(OPERATION.problem.reduction(problem.conv, direction))


def magnitude(problem: Conv2dReluMaxPool2dProblem, direction: str, arguments: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the largest sum of absolute values, as what bounds the error of every result.

    Transforms spread their rounding over a tile, also to pixels that no gradient reaches, whose own sums have no term.
    """
    from . import reference

    results = outputs(problem, direction, np.float64)
    getattr(reference, direction)(problem, *map(np.abs, arguments), *results)
    sums = results[:1] if direction == "forward" else results
    return np.array(max(float(array.max(initial=0)) for array in sums))


def arguments(problem: Conv2dReluMaxPool2dProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return inputs of `direction`: (x, weight, bias), (dy, y, winners, weight) or (x, dy, y, winners).

    Forward's pixels of a window are well apart, wherever padding allows it: rounding must not change the winner. Each filter has a large
    tap, alike in all filters up to the sign, which meets a different whole number in each pixel of a window.
    """
    p, pool = problem.conv, problem.pool
    if direction != "forward":
        given: tuple[np.ndarray, ...] = OPERATION.problem.arguments(p, direction, dtype, rng)
        dy = rng.standard_normal(pool.output_shape).astype(dtype)
        y = np.maximum(rng.standard_normal(pool.output_shape), 0).astype(dtype)
        winners = _places(problem, rng)
        return (dy, y, winners, given[1]) if direction == "backward_input" else (given[0], dy, y, winners)
    noise = 0.2 / (p.C // p.groups * p.R * p.S * pool.R * pool.S)
    weight, r, s = noise * rng.uniform(-1, 1, p.weight_shape), p.R // 2, p.S // 2
    for k in range(p.K):
        weight[k, k % (p.C // p.groups), r, s] = 1 - k % 2 * 2
    x, pixels = rng.uniform(-1, 1, p.input_shape), pool.R * pool.S
    order = rng.permutation(pixels).reshape(pool.R, pool.S) - pixels // 2
    h, w = np.arange(p.P) * p.stride_h + r * p.dilation_h - p.top, np.arange(p.Q) * p.stride_w + s * p.dilation_w - p.left
    rows, columns = (h >= 0) & (h < p.H), (w >= 0) & (w < p.W)
    for n, c in np.ndindex(p.N, p.C):
        numbers = np.tile(np.roll(order, int(rng.integers(pool.R)), 0), (-(-p.P // pool.R), -(-p.Q // pool.S)))[: p.P, : p.Q]
        x[n, c][np.ix_(h[rows], w[columns])] = numbers[np.ix_(rows, columns)] + 0.1
    return x.astype(dtype), weight.astype(dtype), (0.1 * rng.standard_normal(p.K)).astype(dtype)


def _places(problem: Conv2dReluMaxPool2dProblem, rng: np.random.Generator) -> np.ndarray:
    """Return random winners, of those pixels of each window that lie in the image."""
    pool = problem.pool
    rows = [[r for r in range(pool.R) if 0 <= p * pool.stride_h - pool.pad_h + r < pool.H] for p in range(pool.P)]
    columns = [[s for s in range(pool.S) if 0 <= q * pool.stride_w - pool.pad_w + s < pool.W] for q in range(pool.Q)]
    winners = np.empty(pool.output_shape, np.uint8)
    for p, q in np.ndindex(pool.P, pool.Q):
        shape = pool.N, pool.C
        winners[:, :, p, q] = rng.choice(rows[p], shape) * pool.S + rng.choice(columns[q], shape)
    return winners


def outputs(problem: Conv2dReluMaxPool2dProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return empty arrays for the results of `direction`: (y, winners), (dx,) or (dweight, dbias)."""
    if direction == "forward":
        return np.empty(problem.output_shape, dtype), np.empty(problem.output_shape, np.uint8)
    if direction == "backward_input":
        return (np.empty(problem.input_shape, dtype),)
    return np.empty(problem.weight_shape, dtype), np.empty(problem.conv.K, dtype)


def _pooled(conv: Conv2dProblem, kernel: Any = 2, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Any:
    return Conv2dReluMaxPool2dProblem(conv, checked_pool("conv2d_relu_max_pool2d", conv, kernel, stride, padding, ceil_mode))


def _square(N: int, C: int, H: int, K: int, R: int, stride: int = 1, pad: int = 0) -> Conv2dProblem:
    return Conv2dProblem(N, C, H, H, K, R, R, stride, stride, pad, pad, pad, pad)


CASES = [
    Case("first", _pooled(_square(2, 1, 28, 24, 5))),
    Case("second", _pooled(_square(2, 24, 12, 32, 3))),
    Case("odd", _pooled(_square(2, 3, 11, 16, 3))),
    Case("channels-31-33", _pooled(_square(2, 31, 9, 33, 3, 1, 1))),
    Case("channels-3-5", _pooled(_square(2, 3, 8, 5, 3, 1, 1))),
    Case("channels-8-64", _pooled(Conv2dProblem(1, 8, 9, 14, 64, 3, 2))),
    Case("window-3", _pooled(_square(2, 4, 13, 24, 3, 1, 1), 3)),
    Case("window-3x2", _pooled(Conv2dProblem(1, 5, 12, 11, 7, 2, 3), (3, 2))),
    Case("window-1x4", _pooled(Conv2dProblem(1, 5, 6, 13, 8, 2, 3), (1, 4))),
    Case("whole-image", _pooled(_square(2, 3, 9, 16, 3), 7)),
    Case("strided", _pooled(_square(2, 4, 17, 8, 3, 2, 1))),
    Case("padding-asymmetric", _pooled(Conv2dProblem(2, 2, 7, 8, 3, 3, 3, 1, 1, 2, 0, 1, 2))),
    Case("padding-beyond-kernel", _pooled(_square(1, 2, 6, 16, 2, 1, 4))),
    Case("tall", _pooled(Conv2dProblem(1, 3, 131, 7, 8, 5, 3, top=2, bottom=2))),
    Case("pointwise", _pooled(_square(2, 17, 6, 31, 1))),
    Case("dilated", _pooled(Conv2dProblem(2, 3, 12, 13, 5, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2))),
    Case("groups", _pooled(Conv2dProblem(2, 6, 8, 8, 10, 3, 3, 1, 1, 1, 1, 1, 1, groups=2))),
    Case("overlapping", _pooled(_square(2, 3, 10, 16, 3), 3, 2, 1)),
    Case("one-sided", _pooled(Conv2dProblem(2, 3, 9, 8, 11, 3, 3, 1, 1, 3, 0, 0, 4))),
    Case("window-3x2-odd", _pooled(Conv2dProblem(2, 13, 10, 11, 17, 3, 2), (3, 2))),
    Case("primes-one-channel", _pooled(Conv2dProblem(3, 1, 19, 17, 13, 7, 5, 1, 1, 1, 2, 3, 0))),
    Case("strided-unevenly", _pooled(Conv2dProblem(2, 5, 17, 19, 9, 2, 3, 3, 2, 1, 1, 1, 1))),
    Case("gaps", _pooled(Conv2dProblem(2, 4, 15, 16, 8, 2, 2, 4, 3, 1, 0, 0, 2))),
    Case("wide", _pooled(Conv2dProblem(1, 2, 6, 613, 8, 3, 3, left=1, right=1))),
    Case("many-channels", _pooled(_square(1, 131, 6, 43, 3, 1, 1))),
    Case("ceil", _pooled(_square(2, 3, 11, 16, 3), 2, None, 0, True)),
]
BENCH = [
    Case("mnist-24c5", _pooled(_square(64, 1, 28, 24, 5))),
    Case("mnist-32c3", _pooled(_square(64, 24, 12, 32, 3))),
    Case("cifar-64c3", _pooled(_square(64, 3, 32, 64, 3, 1, 1))),
    Case("vgg-64", _pooled(_square(1, 64, 224, 64, 3, 1, 1))),
]
