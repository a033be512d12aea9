"""One small valid call of every public function, for tests that change one argument at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import fastcnn
from fastcnn.ops.conv2d import bias_gradient
from fastcnn.ops.linear import linear_input, linear_weight


class Call(NamedTuple):
    """A function with its arguments: the arrays, and everything else."""

    function: Any
    arrays: dict[str, np.ndarray]
    others: dict[str, Any]

    def __call__(self, **changes: Any) -> Any:
        return self.function(**{**self.arrays, **self.others, **changes})


def calls(dtype: Any = np.float32, batch: int = 2) -> dict[str, Call]:
    """Return a call of every public function by name; the values are small integers, so that any order of summation is exact."""
    rng = np.random.default_rng(0)

    def integers(*shape: int) -> np.ndarray:
        return rng.integers(-4, 5, shape).astype(dtype)

    x, weight, bias, y = integers(batch, 4, 6, 5), integers(6, 4, 3, 2), integers(6), integers(batch, 6, 3, 6)
    window = {"stride": (2, 1), "padding": 1, "dilation": 1, "groups": 1}
    grouped = {"stride": 1, "padding": (2, 0), "dilation": (2, 1), "groups": 2}
    weight2, y2 = integers(6, 2, 3, 2), integers(batch, 6, 6, 4)
    columns = {"kernel_size": (3, 2), "dilation": 1, "padding": 1, "stride": (2, 1)}
    pool = {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "dilation": 1, "ceil_mode": False}
    x_distinct = rng.permutation(x.size).reshape(x.shape).astype(dtype)
    _, indices = fastcnn.max_pool2d(x_distinct, **pool, return_indices=True)
    pooled = integers(*indices.shape)
    logits, labels = integers(batch, 7), np.arange(batch) % 7
    rows, matrix, row_bias, row_errors = integers(batch, 3, 5), integers(4, 5), integers(4), integers(batch, 3, 4)
    average = {"kernel_size": (4, 2), "stride": (2, 1), "padding": 1, "ceil_mode": False, "count_include_pad": True}  # by 8: exact
    return {
        "avg_pool2d": Call(fastcnn.avg_pool2d, {"input": x}, average),
        "avg_pool2d_backward": Call(fastcnn.avg_pool2d_backward, {"grad_output": pooled}, {"input_shape": x.shape, **average}),
        "conv2d": Call(fastcnn.conv2d, {"input": x, "weight": weight, "bias": bias}, window),
        "conv2d_grouped": Call(fastcnn.conv2d, {"input": x, "weight": weight2, "bias": bias}, grouped),
        "conv2d_input": Call(fastcnn.conv2d_input, {"weight": weight, "grad_output": y}, {"input_size": x.shape, **window}),
        "conv2d_input_grouped": Call(fastcnn.conv2d_input, {"weight": weight2, "grad_output": y2}, {"input_size": x.shape, **grouped}),
        "conv2d_weight": Call(fastcnn.conv2d_weight, {"input": x, "grad_output": y}, {"weight_size": weight.shape, **window}),
        "conv2d_weight_grouped": Call(fastcnn.conv2d_weight, {"input": x, "grad_output": y2}, {"weight_size": weight2.shape, **grouped}),
        "conv2d_backward": Call(fastcnn.conv2d_backward, {"grad_output": y, "input": x, "weight": weight}, window),
        "bias_gradient": Call(bias_gradient, {"grad_output": y}, {}),
        "im2col": Call(fastcnn.im2col, {"input": x}, columns),
        "col2im": Call(fastcnn.col2im, {"input": integers(batch, 24, 18)}, {"output_size": (6, 5), **columns}),
        "linear": Call(fastcnn.linear, {"input": rows, "weight": matrix, "bias": row_bias}, {}),
        "linear_backward": Call(fastcnn.linear_backward, {"grad_output": row_errors, "input": rows, "weight": matrix}, {}),
        "linear_input": Call(linear_input, {"grad_output": row_errors, "weight": matrix}, {}),
        "linear_weight": Call(linear_weight, {"grad_output": row_errors, "input": rows, "weight": matrix}, {}),
        "max_pool2d": Call(fastcnn.max_pool2d, {"input": x_distinct}, {**pool, "return_indices": True}),
        "max_pool2d_backward": Call(
            fastcnn.max_pool2d_backward, {"grad_output": pooled, "indices": indices}, {"input_shape": x.shape, **pool}
        ),
        "relu": Call(fastcnn.relu, {"input": x}, {}),
        "relu_backward": Call(fastcnn.relu_backward, {"grad_output": integers(*x.shape), "input": x}, {}),
        "softmax_cross_entropy": Call(
            fastcnn.softmax_cross_entropy, {"input": logits, "target": labels}, {"reduction": "none", "label_smoothing": 0.0}
        ),
        "softmax_cross_entropy_backward": Call(
            fastcnn.softmax_cross_entropy_backward,
            {"grad_output": integers(batch), "input": logits, "target": labels},
            {"reduction": "none", "label_smoothing": 0.0},
        ),
    }  # fmt: skip


def results(returned: Any) -> tuple[Any, ...]:
    """Return what a call returned as a tuple."""
    return returned if isinstance(returned, tuple) else (returned,)
