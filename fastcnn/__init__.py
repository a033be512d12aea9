"""High-performance CNN kernels for CPUs, in NumPy and Numba: `torch.nn.functional`'s operations on NumPy arrays."""

from . import functional
from .gradients import gradient_check, numerical_gradient
from .machine import get_threads, set_threads, threads
from .ops.avg_pool2d import avg_pool2d, avg_pool2d_backward
from .ops.batch_norm import batch_norm, batch_norm_backward
from .ops.conv2d import PreparedConv2d, conv2d, conv2d_backward, conv2d_input, conv2d_weight, prepare_conv2d
from .ops.conv2d_relu import conv2d_relu, conv2d_relu_backward
from .ops.conv2d_relu_max_pool2d import conv2d_relu_max_pool2d, conv2d_relu_max_pool2d_backward
from .ops.im2col import col2im, col2im_backward, im2col, im2col_backward
from .ops.linear import linear, linear_backward
from .ops.max_pool2d import max_pool2d, max_pool2d_backward
from .ops.relu import relu, relu_backward
from .ops.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward
from .tuning import tuned

__version__ = "0.1.0"

__all__ = [
    "PreparedConv2d",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "col2im",
    "col2im_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_input",
    "conv2d_relu",
    "conv2d_relu_backward",
    "conv2d_relu_max_pool2d",
    "conv2d_relu_max_pool2d_backward",
    "conv2d_weight",
    "functional",
    "get_threads",
    "gradient_check",
    "im2col",
    "im2col_backward",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "numerical_gradient",
    "prepare_conv2d",
    "relu",
    "relu_backward",
    "set_threads",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "threads",
    "tuned",
]
