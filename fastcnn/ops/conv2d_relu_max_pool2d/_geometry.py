"""The correlations of a pooled convolution, as the engine's loops want them."""

from __future__ import annotations

from ... import checks
from ...engine.correlate import Geometry, geometry_of
from ...engine.filters import Filters, Taps, flipped
from ...engine.fused_pool import Window
from .problem import Conv2dReluMaxPool2dProblem


def forward_geometry(problem: Conv2dReluMaxPool2dProblem, x_last: bool) -> Geometry:
    """Return the forward correlation, with the strides of the pooled output."""
    p = problem.conv
    sizes = p.R, p.S, p.stride_h, p.stride_w, p.top, p.left
    geometry = geometry_of(sizes, (p.input_shape, x_last), (p.output_shape, True), relu=True)
    n, c, h, w = checks.strides_of(problem.output_shape, True)
    return geometry._replace(y_n=n, y_c=c, y_h=h, y_w=w)


def backward_geometry(problem: Conv2dReluMaxPool2dProblem, dx_last: bool) -> Geometry:
    """Return the correlation of the unpooled gradient with `flipped_taps`, for stride 1, with the strides of the pooled gradient."""
    p = problem.conv
    sizes = p.R, p.S, 1, 1, p.R - 1 - p.top, p.S - 1 - p.left
    geometry = geometry_of(sizes, (p.output_shape, True), (p.input_shape, dx_last))
    n, c, h, w = checks.strides_of(problem.output_shape, True)
    return geometry._replace(x_n=n, x_c=c, x_h=h, x_w=w)


def flipped_taps(problem: Conv2dReluMaxPool2dProblem) -> Filters:
    """Return the weights of the backward correlation."""
    p = problem.conv
    return flipped(p.weight_shape, Taps(0, 1, p.R), Taps(0, 1, p.S))


def window_of(problem: Conv2dReluMaxPool2dProblem) -> Window:
    """Return the pooling windows."""
    return Window(problem.pool.R, problem.pool.S)
