"""The shape of a two-dimensional convolution: sizes, costs, and the cases on which every variant is tested and timed."""

from __future__ import annotations

import functools
from typing import Annotated, Any, NamedTuple

import numpy as np

from ... import options, window
from ...registry import Case
from ...window import Axis


class Conv2dProblem(NamedTuple):
    """All integers of y[n,k,p,q] = b[k] + sum over c,r,s of x[n, c, p*stride + r*dilation - top, ...] * w[k,c,r,s]."""

    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    stride_h: int = 1
    stride_w: int = 1
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1

    @classmethod
    def from_axes(cls, N: int, C: int, K: int, vertical: Axis, horizontal: Axis, groups: int) -> Conv2dProblem:
        """Build from the two checked axes of `fastcnn.window`."""
        v, h = vertical, horizontal
        return cls(
            N, C, v.size, h.size, K, v.kernel, h.kernel, v.stride, h.stride, v.before, v.after, h.before, h.after,
            v.dilation, h.dilation, groups,
        )  # fmt: skip

    @property
    def vertical(self) -> Axis:
        """The axis of H, R and P."""
        return Axis(self.H, self.R, self.stride_h, self.top, self.bottom, self.dilation_h)

    @property
    def horizontal(self) -> Axis:
        """The axis of W, S and Q."""
        return Axis(self.W, self.S, self.stride_w, self.left, self.right, self.dilation_w)

    @property
    def P(self) -> int:
        """Output height."""
        return _outputs(self)[0]

    @property
    def Q(self) -> int:
        """Output width."""
        return _outputs(self)[1]

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.N, self.C, self.H, self.W

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(K, C / groups, R, S)."""
        return self.K, self.C // self.groups, self.R, self.S

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, K, P, Q)."""
        return self.N, self.K, *_outputs(self)


@functools.lru_cache(maxsize=1024)
def _outputs(problem: Conv2dProblem) -> tuple[int, int]:
    return problem.vertical.output, problem.horizontal.output


def checked_problem(
    op: str, x: tuple[int, ...], w: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: Any
) -> Conv2dProblem:
    """Return the problem of an input of shape x (N, C, H, W) and a weight of shape w; TypeError or ValueError where they do not fit."""
    (vertical, horizontal), groups = window.convolution(op, x, w, stride, padding, dilation, groups)
    return Conv2dProblem.from_axes(x[0], x[1], w[0], vertical, horizontal, groups)


def from_options(
    op: str,
    shape: Annotated[Any, "N,C,H,W"],
    kernel: Annotated[Any, "K,R,S"],
    stride: Annotated[Any, "INT[,INT]"] = 1,
    padding: Annotated[Any, "INT[,INT]|T,B,L,R|same|valid"] = 0,
    dilation: Annotated[Any, "INT[,INT]"] = 1,
    groups: Annotated[Any, "INT"] = 1,
) -> Conv2dProblem:
    """Return a checked problem from options; see `fastcnn.options`."""
    N, C, H, W = shape
    K, R, S = kernel
    groups = window.integer(op, "groups", groups, 1)
    if C % groups:
        raise ValueError(f"{op}: groups must divide the {C} channels of shape; got {groups}")
    return checked_problem(op, (N, C, H, W), (K, C // groups, R, S), stride, options.sides(op, padding), dilation, groups)


def work(problem: Conv2dProblem, direction: str) -> int:
    """FLOPs of a direct computation, a multiplication and an addition per tap; the same in all three directions."""
    n, k, p, q = problem.output_shape
    return 2 * n * k * p * q * (problem.C // problem.groups) * problem.R * problem.S


def traffic(problem: Conv2dProblem, direction: str, dtype: Any) -> int:
    """Bytes of the two arrays read and the one written."""
    shapes = problem.input_shape, problem.weight_shape, problem.output_shape
    return sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize


def reduction(problem: Conv2dProblem, direction: str) -> int:
    """Terms in one sum, on which the rounding error depends."""
    if direction == "forward":
        return problem.C // problem.groups * problem.R * problem.S + 1
    if direction == "backward_input":
        return problem.K // problem.groups * problem.R * problem.S
    return problem.N * problem.P * problem.Q


def arguments(problem: Conv2dProblem, direction: str, dtype: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return random inputs of `direction`: (x, weight, bias), (dy, weight) or (x, dy)."""

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype)

    x, weight, dy = problem.input_shape, problem.weight_shape, problem.output_shape
    if direction == "forward":
        return normal(*x), normal(*weight), normal(problem.K)
    return (normal(*dy), normal(*weight)) if direction == "backward_input" else (normal(*x), normal(*dy))


def outputs(problem: Conv2dProblem, direction: str, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return empty arrays for the results of `direction`: (y,), (dx,) or (dweight,)."""
    shapes = {"forward": problem.output_shape, "backward_input": problem.input_shape, "backward_weight": problem.weight_shape}
    return (np.empty(shapes[direction], dtype),)


def _depthwise(N: int, C: int, H: int, R: int, stride: int = 1, pad: int = 0, multiplier: int = 1) -> Conv2dProblem:
    return _square(N, C, H, C * multiplier, R, stride, pad)._replace(groups=C)


def _square(N: int, C: int, H: int, K: int, R: int, stride: int = 1, pad: int = 0) -> Conv2dProblem:
    return Conv2dProblem(N, C, H, H, K, R, R, stride, stride, pad, pad, pad, pad)


# Shapes chosen to hurt: ones, primes, every tail of a tile, stride beyond the kernel, padding beyond it and on one side only.
CASES = [
    Case("ones", _square(1, 1, 1, 1, 1)),
    Case("empty-batch", _square(0, 3, 5, 4, 3)),
    Case("mnist-first", _square(3, 1, 28, 24, 5)),
    Case("mnist-second", _square(2, 24, 12, 32, 3)),
    Case("channels-31-33", _square(2, 31, 9, 33, 3, 1, 1)),
    Case("channels-3-5", _square(2, 3, 8, 5, 3, 1, 1)),
    Case("channels-16-17", _square(1, 16, 7, 17, 3, 1, 1)),
    Case("channels-5-48", _square(1, 5, 11, 48, 2)),
    Case("pointwise", _square(2, 17, 6, 31, 1)),
    Case("pointwise-strided", _square(2, 8, 7, 9, 1, 2)),
    Case("pointwise-padded-below", Conv2dProblem(1, 3, 8, 8, 4, 1, 1, bottom=1)),
    Case("pointwise-padded-right", Conv2dProblem(1, 16, 8, 8, 16, 1, 1, right=1)),
    Case("pointwise-strided-3-channels", _square(1, 3, 40, 16, 1, 2)),
    Case("pointwise-stride-2-1", Conv2dProblem(1, 16, 14, 18, 3, 1, 1, 2, 1)),
    Case("strided", _square(2, 4, 13, 8, 3, 2, 1)),
    Case("stride-beyond-kernel", _square(1, 3, 17, 6, 2, 5)),
    Case("stride-beyond-input", _square(1, 2, 5, 3, 3, 9)),
    Case("stride-3-2", Conv2dProblem(2, 3, 16, 15, 7, 4, 3, 3, 2, 1, 2, 0, 1)),
    Case("kernel-is-input", _square(2, 6, 7, 10, 7)),
    Case("kernel-11", _square(1, 2, 19, 4, 11, 4, 2)),
    Case("kernel-1x7", Conv2dProblem(2, 3, 1, 15, 4, 1, 7, left=3, right=3)),
    Case("kernel-7x1", Conv2dProblem(2, 3, 15, 1, 4, 7, 1, top=3, bottom=3)),
    Case("padding-beyond-kernel", _square(1, 2, 4, 3, 2, 1, 5)),
    Case("padding-beyond-kernel-3x3", _square(2, 5, 6, 7, 3, 1, 6)),
    Case("padding-one-side", Conv2dProblem(1, 3, 6, 7, 5, 3, 3, top=2, right=1)),
    Case("padding-asymmetric", Conv2dProblem(2, 2, 5, 6, 3, 3, 2, 2, 1, 0, 4, 3, 1)),
    Case("row-27", Conv2dProblem(1, 4, 3, 29, 16, 3, 3)),
    Case("row-113", Conv2dProblem(1, 2, 3, 113, 8, 1, 1)),
    Case("tall", Conv2dProblem(1, 3, 131, 5, 8, 5, 3, top=2, bottom=2)),
    Case("stem-7x7", _square(1, 3, 21, 64, 7, 2, 3)),
    Case("dilated", Conv2dProblem(2, 3, 12, 13, 5, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2)),
    Case("dilated-3-1-strided", Conv2dProblem(1, 2, 15, 9, 4, 3, 2, 2, 1, 1, 0, 0, 2, 3, 1)),
    Case("groups-2", Conv2dProblem(2, 6, 8, 8, 10, 3, 3, 1, 1, 1, 1, 1, 1, groups=2)),
    Case("groups-of-2", Conv2dProblem(2, 34, 7, 9, 34, 3, 3, 1, 1, 1, 1, 1, 1, groups=17)),
    Case("groups-of-4-strided", Conv2dProblem(1, 36, 9, 10, 36, 3, 3, 2, 2, 1, 0, 1, 1, groups=9)),
    Case("groups-of-4", Conv2dProblem(1, 256, 4, 7, 256, 3, 3, 1, 1, 1, 1, 1, 1, groups=64)),
    Case("depthwise", Conv2dProblem(2, 7, 9, 9, 7, 3, 3, 2, 2, 1, 1, 1, 1, groups=7)),
    Case("depthwise-multiplier-dilated", Conv2dProblem(1, 3, 9, 9, 6, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 3)),
    Case("depthwise-1-channel", _depthwise(2, 1, 11, 3, 1, 1)),
    Case("depthwise-1-channel-dilated", Conv2dProblem(1, 1, 9, 8, 1, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 1)),
    Case("depthwise-16", _depthwise(1, 16, 14, 3, 1, 1)),
    Case("depthwise-17-strided", _depthwise(2, 17, 15, 3, 2, 1)),
    Case("depthwise-40", _depthwise(1, 40, 7, 3, 1, 1)),
    Case("depthwise-256", _depthwise(1, 256, 5, 3, 1, 1)),
    Case("depthwise-long-sums", _depthwise(2, 20, 25, 3, 1, 1)),
    Case("depthwise-5x5-strided", _depthwise(1, 33, 12, 5, 2, 2)),
    Case("depthwise-row-37", Conv2dProblem(1, 3, 10, 37, 3, 3, 3, 1, 1, 1, 1, 1, 1, groups=3)),
    Case("depthwise-row-67-strided", Conv2dProblem(1, 2, 11, 67, 2, 3, 3, 2, 2, 1, 1, 1, 1, groups=2)),
    Case("depthwise-one-side", Conv2dProblem(2, 18, 9, 10, 18, 4, 3, 2, 2, 3, 0, 0, 2, groups=18)),
    Case("depthwise-strides-1-2", Conv2dProblem(1, 6, 9, 21, 6, 2, 5, 1, 2, 1, 0, 3, 1, groups=6)),
    Case("depthwise-strides-2-1", Conv2dProblem(1, 20, 9, 21, 20, 5, 2, 2, 1, 1, 3, 0, 1, groups=20)),
    Case("depthwise-stride-3", _depthwise(1, 8, 16, 2, 3, 1)),
    Case("depthwise-stride-beyond-kernel", _depthwise(1, 9, 14, 1, 2)),
    Case("depthwise-dilated-strided", Conv2dProblem(1, 16, 13, 14, 16, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 16)),
    Case("depthwise-dilated-columns", Conv2dProblem(1, 5, 8, 19, 5, 3, 3, 1, 1, 1, 1, 3, 3, 1, 3, 5)),
    Case("depthwise-dilated-columns-strided", Conv2dProblem(1, 5, 8, 25, 5, 3, 3, 1, 2, 1, 1, 3, 3, 1, 3, 5)),
    Case("depthwise-9x9", _depthwise(1, 20, 13, 9, 1, 4)),
    Case("depthwise-7x7", _depthwise(1, 20, 10, 7, 1, 3)),
    Case("depthwise-padding-beyond-kernel", _depthwise(1, 17, 4, 2, 1, 5)),
    Case("depthwise-multiplier", _depthwise(2, 9, 8, 3, 2, 1, 2)),
    Case("depthwise-empty-batch", _depthwise(0, 5, 8, 3, 2, 1)),
]

# The shapes that everyone measures (LeNet and MNIST networks, ResNet-50); the first ones fit a quick run.
BENCH = [
    Case("mnist-24c5", _square(64, 1, 28, 24, 5)),
    Case("mnist-32c3", _square(64, 24, 12, 32, 3)),
    Case("lenet-6c5", _square(64, 1, 28, 6, 5, 1, 2)),
    Case("lenet-16c5", _square(64, 6, 14, 16, 5)),
    Case("mnist-32c3-first", _square(64, 1, 28, 32, 3)),
    Case("mnist-64c3", _square(64, 32, 26, 64, 3)),
    Case("mnist-32c5", _square(64, 1, 28, 32, 5)),
    Case("mnist-32c5-second", _square(64, 32, 24, 32, 5)),
    Case("resnet-stem", _square(1, 3, 224, 64, 7, 2, 3)),
    Case("resnet-64", _square(1, 64, 56, 64, 3, 1, 1)),
    Case("resnet-128-down", _square(1, 128, 56, 128, 3, 2, 1)),
    Case("resnet-512", _square(1, 512, 7, 512, 3, 1, 1)),
    Case("mobilenet-32", _depthwise(1, 32, 112, 3, 1, 1)),
    Case("mobilenet-128-down", _depthwise(1, 128, 56, 3, 2, 1)),
    Case("mobilenet-512", _depthwise(1, 512, 14, 3, 1, 1)),
]
