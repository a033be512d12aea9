"""`torch.nn.functional` on NumPy arrays: every operation of this library under torch's name, each with its backward beside it.

Operations with kernels of their own stand in `fastcnn.ops`; those that are made of others, or of NumPy, stand here, a file for each family.
"""

from ..ops.avg_pool2d import avg_pool2d, avg_pool2d_backward
from ..ops.batch_norm import batch_norm, batch_norm_backward
from ..ops.conv2d import conv2d, conv2d_backward, conv2d_input, conv2d_weight
from ..ops.im2col import col2im, col2im_backward, im2col, im2col_backward
from ..ops.linear import linear, linear_backward
from ..ops.max_pool2d import max_pool2d, max_pool2d_backward
from ..ops.relu import relu, relu_backward
from .adaptive_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
)
from .avg_pool import avg_pool1d, avg_pool1d_backward, avg_pool3d, avg_pool3d_backward
from .conv1d import conv1d, conv1d_backward, conv1d_input, conv1d_weight
from .conv3d import conv3d, conv3d_backward, conv3d_input, conv3d_weight
from .conv_transpose import (
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
)
from .max_pool import max_pool1d, max_pool1d_backward, max_pool3d, max_pool3d_backward
from .max_unpool import max_unpool1d, max_unpool1d_backward, max_unpool2d, max_unpool2d_backward, max_unpool3d, max_unpool3d_backward

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "batch_norm",
    "batch_norm_backward",
    "col2im",
    "col2im_backward",
    "conv1d",
    "conv1d_backward",
    "conv1d_input",
    "conv1d_weight",
    "conv2d",
    "conv2d_backward",
    "conv2d_input",
    "conv2d_weight",
    "conv3d",
    "conv3d_backward",
    "conv3d_input",
    "conv3d_weight",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "im2col",
    "im2col_backward",
    "linear",
    "linear_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "max_unpool1d",
    "max_unpool1d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "max_unpool3d",
    "max_unpool3d_backward",
    "relu",
    "relu_backward",
]
