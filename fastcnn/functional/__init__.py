"""`torch.nn.functional` on NumPy arrays: every operation of this library under torch's name, each with its backward beside it.

Operations with kernels of their own stand in `fastcnn.ops`; those that are made of others, or of NumPy, stand here, a file for each family.
"""

from ..ops.batch_norm import batch_norm, batch_norm_backward
from ..ops.conv2d import conv2d, conv2d_backward, conv2d_input, conv2d_weight
from ..ops.im2col import col2im, im2col
from ..ops.linear import linear, linear_backward
from ..ops.max_pool2d import max_pool2d, max_pool2d_backward
from ..ops.relu import relu, relu_backward

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "conv2d_input",
    "conv2d_weight",
    "im2col",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "relu",
    "relu_backward",
]
