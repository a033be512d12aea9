"""One small valid call of every public function, for tests that change one argument at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import fastcnn
from fastcnn import functional
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
        "im2col_backward": Call(
            functional.im2col_backward, {"grad_output": integers(batch, 24, 18)}, {"input_shape": x.shape, **columns}
        ),
        "col2im_backward": Call(functional.col2im_backward, {"grad_output": x}, {"output_size": (6, 5), **columns}),
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
        **_other_convolutions(integers, batch),
    }  # fmt: skip


def _other_convolutions(integers: Any, batch: int) -> dict[str, Call]:
    """Return the calls of the convolutions over one and three axes and of a transposed one; `integers` makes an array of a shape."""
    found = {}
    for name, x, weight, y, window in (
        ("conv1d", (4, 7), (6, 2, 3), (6, 3), {"stride": 2, "padding": ((1, 0),), "dilation": 1, "groups": 2}),
        ("conv3d", (4, 3, 4, 5), (6, 2, 2, 3, 2), (6, 3, 4, 4), {"stride": 1, "padding": ((0, 1), (1, 1), (0, 0)), "groups": 2}),
    ):
        arrays = {"input": integers(batch, *x), "weight": integers(*weight), "grad_output": integers(batch, *y)}
        sizes = {"input_size": (batch, *x), "weight_size": weight}
        for suffix, wanted in (("", "input weight"), ("_input", "weight grad_output"), ("_weight", "input grad_output"),
                               ("_backward", "grad_output input weight")):  # fmt: skip
            given = {key: arrays[key] for key in wanted.split()}
            others = {f"{suffix[1:]}_size": sizes[f"{suffix[1:]}_size"]} if suffix in ("_input", "_weight") else {}
            bias = {"bias": integers(6)} if not suffix else {}
            found[name + suffix] = Call(getattr(functional, name + suffix), {**given, **bias}, {**others, **window})
    window = {"stride": (3, 2), "padding": (1, 2), "output_padding": (0, 1), "groups": 2, "dilation": (2, 1)}
    image, weight, errors = integers(batch, 4, 3, 4), integers(4, 3, 3, 2), integers(batch, 6, 9, 5)
    found["conv_transpose2d"] = Call(functional.conv_transpose2d, {"input": image, "weight": weight, "bias": integers(6)}, window)
    found["conv_transpose2d_backward"] = Call(
        functional.conv_transpose2d_backward, {"grad_output": errors, "input": image, "weight": weight}, window
    )
    return found


def is_parameter_gradient(name: str, number: int) -> bool:
    """Whether a result of a call, counted from 0, has no batch axis."""
    if name == "bias_gradient" or name.removesuffix("_grouped").endswith("_weight"):
        return True
    return name.startswith(("conv", "linear")) and name.endswith("_backward") and number > 0


def results(returned: Any) -> tuple[Any, ...]:
    """Return what a call returned as a tuple."""
    return returned if isinstance(returned, tuple) else (returned,)
