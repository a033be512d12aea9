"""The public boundary: every bad argument of every function is a ValueError or TypeError that says what is wrong, at once."""

import inspect
import math
import os
import re
import time
from fractions import Fraction

import numpy as np
import pytest
from _calls import calls, is_parameter_gradient, results

import fastcnn

F32, F64, I64 = np.float32, np.float64, np.int64
CALLS = calls()
SPEAKERS = {"set_threads": "threads"}  # who speaks in the errors, where it is not the function itself
LARGEST = 2**31 - 1


def zeros(*shape, dtype=F32):
    """Return an array of any size that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


# --- The table: (function, changed arguments, exception, what its message says) -----------------------------------------

ROWS = []


def refuse(names, message, error=ValueError, /, **changes):
    """Add a row per function, each with those of the changes that it has a parameter for."""
    for name in names.split():
        known = inspect.signature(CALLS[name].function).parameters
        ROWS.append((name, {argument: value for argument, value in changes.items() if argument in known}, error, message))


CONV = "conv2d conv2d_input conv2d_weight conv2d_backward"
GRADIENTS = "conv2d_input conv2d_weight conv2d_backward"
TRANSPOSED = "conv_transpose2d conv_transpose2d_backward"
COLUMNS = "im2col col2im"
POOL = "max_pool2d max_pool2d_backward"
AVERAGE = "avg_pool2d avg_pool2d_backward"
POOLS = f"{POOL} {AVERAGE}"
LINEAR = "linear linear_backward linear_input linear_weight"
LOSS = "softmax_cross_entropy softmax_cross_entropy_backward"

# Arrays of the wrong kind, for every array of every function.
for name, call in CALLS.items():
    if name.endswith("grouped"):
        continue
    for argument, array in call.arrays.items():
        for wrong in (array.tolist(), "abc", b"abc", 1.5, F32(1), None, F32, {}, object(), (array,), memoryview(array)):
            if wrong is None and argument == "bias":
                continue
            refuse(name, rf"{argument} must be a NumPy array; got {type(wrong).__name__}", TypeError, **{argument: wrong})
        masked = np.ma.masked_array(array, mask=False)
        refuse(name, rf"{argument} must not be a masked array \(its mask would be ignored\)", TypeError, **{argument: masked})
        numbers = {"target": "an?|integer labels", "indices": "int64"}.get(argument, "float32 or float64")
        kinds = ["complex64", "O", "M8[s]", "m8[s]", "bool", "S4", "U4", "i4,f4"]
        if argument not in ("target", "indices"):
            kinds += ["float16"] + (["longdouble"] if np.dtype("longdouble") != np.dtype("float64") else [])
            kinds += [] if name == "max_pool2d" else ["int32", "uint8", "int64"]
        elif argument == "indices":
            kinds += ["int32", "uint64", "float32"]
        elif argument == "target":
            kinds += ["float32", "float64"]
        for kind in kinds:
            wrong = np.zeros(array.shape, kind)
            refuse(name, rf"{argument} must .*{numbers}.*; got (dtype )?{re.escape(str(wrong.dtype))}", TypeError, **{argument: wrong})
        any_shape = name.startswith(("linear", "relu")) and argument in ("input", "grad_output")
        if not any_shape:
            for wrong in (array[None, None], array.reshape(-1)[0:1].reshape(())):
                shape = re.escape(str(wrong.shape))
                refuse(name, rf"{argument} must be \([A-Z], .*; got shape {shape}|{argument} must be \(\w,\).*; got shape {shape}",
                       **{argument: wrong})  # fmt: skip
    floats = [argument for argument, array in call.arrays.items() if array.dtype == F32]
    for argument in floats if len(floats) > 1 and not name.startswith("softmax") else ():
        changed = call.arrays[argument].astype(F64)
        refuse(name, rf"expected arrays of one dtype; got .*{argument} float64", TypeError, **{argument: changed})

# Numbers that are no sizes, for every size of every function.
SIZES = {
    **{name: {"stride": 1, "dilation": 1, "padding": 0, "groups": 1} for name in CONV.split()},
    **{name: {"stride": 1, "dilation": 1, "padding": 0, "groups": 1, "output_padding": 0} for name in TRANSPOSED.split()},
    "im2col": {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0},
    "im2col_backward": {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0},
    **{name: {"output_size": 1, "kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0} for name in ("col2im", "col2im_backward")},
    **{name: {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0} for name in POOL.split()},
    **{name: {"kernel_size": 1, "stride": 1, "padding": 0} for name in AVERAGE.split()},
}
for name, arguments in SIZES.items():
    for argument, least in arguments.items():
        is_pool = name in POOLS.split()
        can_be_none = argument == "stride" and is_pool
        takes_words = argument == "padding" and not is_pool and name not in TRANSPOSED.split()
        pairs = argument != "groups"
        for wrong in (1.5, 1.0, math.nan, math.inf, True, np.True_, b"1", F32(1), 1j, {}, object(), Fraction(1), np.ones(2, int),
                      *(() if can_be_none else (None,)), *(() if takes_words else ("1", "same"))):  # fmt: skip
            refuse(name, rf"{argument} must be an int; got {type(wrong).__name__}", TypeError, **{argument: wrong})
        for wrong in ((1, 1.5), [True, 1], (1, None), (1, "1"), (1, math.nan)) if pairs else ((1, 1), [1]):
            refuse(name, rf"{argument} must be an int; got (float|bool|NoneType|str|tuple|list)", TypeError, **{argument: wrong})
        for wrong in (least - 1, -5, 2**31, 2**62, 2**70, -(2**70), np.int64(-1), *(((1, least - 1), [2**63, 1]) if pairs else ())):
            low = any(number < least for number in (wrong if isinstance(wrong, (tuple, list)) else (wrong,)))
            words = rf"{argument} must be between {least} and {LARGEST}; got"
            if is_pool and low:
                words = (
                    f"{argument} must be greater than zero, but got"
                    if least
                    else "pad must be non-negative: padding must be at least 0; got"
                )
            refuse(name, rf"{words} -?\d+$", **{argument: wrong})
        for wrong in (*(() if can_be_none else ((),)), (1, 1, 1), [1] * 5) if pairs else ():
            refuse(name, rf"{argument} must be an int or a pair \(height, width\); got [(\[]", **{argument: wrong})
for name in (CONV + " " + COLUMNS).split():
    for wrong in ("", "SOME", "full", "1", "same "):
        refuse(name, rf"padding must be 'same', 'valid', an int, a pair or two pairs; got '{wrong}'", padding=wrong)
    for wrong in (((1,), (1, 1)), ((1, 1), ()), ((1, 1, 1), (1, 1))):
        refuse(name, r"padding must be \(\(top, bottom\), \(left, right\)\); got a side [(\[]", padding=wrong)
    refuse(name, r"padding must be an int; got float nan", TypeError, padding=((1, math.nan), (0, 0)))
    refuse(name, r"padding must be between 0 and \d+; got -1", padding=((1, 0), (-1, 0)))
    refuse(name, r"padding must be an int; got tuple \(1, 1\)", TypeError, padding=(1, (1, 1)))
refuse(POOLS, "padding must be an int; got tuple", TypeError, padding=((1, 1), (1, 1)))
refuse(POOLS, r"pad should be at most half of effective kernel size, but got pad=2, kernel_size=2 and dilation=1$", padding=(1, 2))
for wrong, error in ((0, ValueError), (2**31, ValueError), (-(2**31), ValueError), (2.0, TypeError), (True, TypeError), ("2", TypeError)):
    refuse(AVERAGE, r"divisor must be not zero|divisor_override must be (an int; got \w+|at most \d+ in size; got)", error,
           divisor_override=wrong)  # fmt: skip

refuse(TRANSPOSED, "padding must be an int; got str 'same'", TypeError, padding="same")
refuse(TRANSPOSED, r"padding must be \(\(top, bottom\), \(left, right\)\); got a side", padding=((1,), (1, 1)))

# Shapes as arguments.
for name, argument, letters in (("conv2d_input", "input_size", "N, C, H, W"), ("conv2d_weight", "weight_size", "K, C, R, S"),
                                ("max_pool2d_backward avg_pool2d_backward", "input_shape", "N, C, H, W"),
                                ("im2col_backward", "input_shape", "N, C, H, W")):  # fmt: skip
    for wrong in (5, None, "abcd", (), (1, 2, 3), (1, 2, 3, 4, 5), {}, math.nan):
        refuse(name, rf"{argument} must be a shape \({letters}\); got ", **{argument: wrong})
    for wrong in ((2, 4, 6, 5.0), (2, 4, 6, None), (2, 4, True, 5), (2, 4, math.nan, 5), (2, "4", 6, 5)):
        refuse(name, rf"{argument}\[\d\] must be an int; got ", TypeError, **{argument: wrong})
    for wrong in ((2, 4, 6, -1), (2, 4, 2**62, 5), (2**70, 4, 6, 5)):
        refuse(name, rf"{argument}\[\d\] must be between 0 and {LARGEST}; got -?\d+", **{argument: wrong})

# Words.
for name in CALLS:
    if name != "bias_gradient" and not name.endswith("grouped"):
        for wrong in ("fastest", "", None, 3, b"auto", "AUTO", ("auto",)):
            refuse(name, rf"algorithm must be 'auto' or one of \[.*'reference'.*\]; got {re.escape(repr(wrong))}", algorithm=wrong)
for name in f"{CONV} {POOLS} bias_gradient".split():
    for wrong in ("NCWH", "nchw", None, 3, ("NCHW",)):
        refuse(name, rf"layout must be one of \('NCHW', 'NHWC'\); got {re.escape(repr(wrong))}", layout=wrong)
for wrong in ("avg", "", None, 1, True, ("mean",)):
    refuse(LOSS, rf"reduction must be one of \('mean', 'sum', 'none'\); got {re.escape(repr(wrong))}", reduction=wrong)
for wrong in (None, 1, "yes", 0.0):
    refuse(POOLS, rf"ceil_mode must be a bool; got {type(wrong).__name__}", TypeError, ceil_mode=wrong)
    refuse(AVERAGE, rf"count_include_pad must be a bool; got {type(wrong).__name__}", TypeError, count_include_pad=wrong)
for wrong in (None, "0.1", True, 1j, np.zeros(2)):
    refuse(LOSS, rf"label_smoothing must be a float; got {type(wrong).__name__}", TypeError, label_smoothing=wrong)
for wrong in (-0.1, 1.1, math.nan, math.inf, -1):
    refuse(LOSS, rf"label_smoothing must be between 0 and 1; got {wrong}", label_smoothing=wrong)
refuse("conv2d conv2d_weight conv2d_backward conv2d_input",
       r"algorithm 'direct' cannot compute \w+ of this problem: dilation is not 1", algorithm="direct", dilation=2,
       padding=(2, 1), grad_output=zeros(2, 6, 3, 5))  # fmt: skip
refuse("conv2d", r"algorithm 'winograd' cannot compute forward of this problem: the kernel is 3 x 2, not 3 x 3", algorithm="winograd")
for wrong in ("low", "HIGH", None, 1, "high\0"):
    refuse("conv2d conv2d_weight conv2d_backward conv2d_input", r"precision must be one of .*'highest'", precision=wrong)

# Shapes that do not go together.
refuse("conv2d", r"Given groups=1, weight of size \[6, 3, 3, 2\], expected input\[2, 4, 6, 5\] to have 3 channels, but got 4 channels",
       weight=zeros(6, 3, 3, 2))  # fmt: skip
refuse("conv2d_input conv2d_backward", r"Given groups=1, weight of size \[6, 3, 3, 2\], expected input\[2, 4, 6, 5\] to have 3 channels",
       weight=zeros(6, 3, 3, 2))  # fmt: skip
refuse("conv2d_weight", r"Given groups=1, weight of size \[6, 3, 3, 2\], expected input\[2, 4, 6, 5\]", weight_size=(6, 3, 3, 2))
refuse(CONV, r"Given groups=2, weight of size \[6, 4, 3, 2\], expected input\[2, 4, 6, 5\] to have 8 channels", groups=2)
refuse("conv2d", r"Given groups=2, expected weight to be divisible by 2 at dimension 0, but got \[5, 2, 3, 2\]", groups=2,
       weight=zeros(5, 2, 3, 2))  # fmt: skip
refuse("conv2d", r"expected input\[2, 5, 4, 6\] to have 4 channels, but got 5 channels", layout="NHWC")
for shape in ((0, 4, 3, 2), (6, 4, 0, 2), (6, 4, 3, 0), (6, 0, 3, 2)):
    refuse("conv2d conv2d_input conv2d_backward", rf"weight must have no size 0; got shape {re.escape(str(shape))}",
           weight=zeros(*shape))  # fmt: skip
refuse("conv2d_weight", r"weight must have no size 0; got shape \(6, 4, 0, 2\)", weight_size=(6, 4, 0, 2))
for shape in ((5,), (0,), (7,), (1,)):
    refuse("conv2d", rf"bias must have shape \(6,\) .*; got \({shape[0]},\)", bias=zeros(*shape))
    refuse("linear", rf"bias must have shape \(4,\) .*; got \({shape[0]},\)", bias=zeros(*shape))
for shape in ((2, 6, 3, 5), (1, 6, 3, 6), (2, 5, 3, 6), (2, 6, 0, 6), (0, 6, 3, 6)):
    refuse(GRADIENTS, rf"grad_output must have shape \(2, 6, 3, 6\) \(.*output.*\); got {re.escape(str(shape))}",
           grad_output=zeros(*shape))  # fmt: skip
refuse("conv2d_input", r"input_size must be a shape \(C, H, W\); got \(2, 4, 6, 5\)", grad_output=zeros(6, 3, 6))
refuse("conv2d_weight conv2d_backward", r"grad_output must be \(N, C, H, W\); got shape \(6, 3, 6\)", grad_output=zeros(6, 3, 6))
TOO_LARGE = r"Calculated padded input size per channel: \(8 x 7\)\. Kernel size: \({} x {}\)\. Kernel size can't be greater than actual"
refuse("conv2d conv2d_input conv2d_backward", TOO_LARGE.format(9, 2), weight=zeros(6, 4, 9, 2))
refuse("conv2d_weight", TOO_LARGE.format(3, 8), weight_size=(6, 4, 3, 8))
refuse(f"{CONV} {COLUMNS}", TOO_LARGE.format(3, 8), dilation=(1, 7))
refuse(f"{CONV} {COLUMNS}", TOO_LARGE.format(2 * LARGEST + 1, LARGEST + 1), dilation=LARGEST)
refuse("im2col", TOO_LARGE.format(9, 2), kernel_size=(9, 2))
TOO_SMALL = r"Given input size: \(4x6x5\)\. Calculated output size: \(4x0x6\)\. Output size is too small$"
refuse(POOLS, TOO_SMALL, kernel_size=(9, 2))
refuse("im2col", r"input must have at least one channel; got .*\(2, 0, 6, 5\)", input=zeros(2, 0, 6, 5))
NO_PIXELS = r"Expected 3D or 4D \(batch mode\) tensor with optional 0 dim batch size for input: no size but the batch's may be 0; got .*"
for sizes in ((2, 0, 6, 5), (2, 4, 0, 5), (2, 4, 6, 0)):
    refuse("max_pool2d avg_pool2d", NO_PIXELS + re.escape(str(sizes)), input=zeros(*sizes))
    refuse("max_pool2d_backward avg_pool2d_backward", NO_PIXELS + re.escape(str(sizes)), input_shape=sizes)
for height, width in ((0, 5), (6, 0)):
    message = rf"height and width of the input must not be 0; got {height} x {width}"
    refuse("conv2d im2col", message, input=zeros(2, 4, height, width), padding=1)

# Columns that do not fit.
refuse("col2im", r"input must have a multiple of kernel height x width = 6 rows; got 25", input=zeros(2, 25, 18))
refuse("col2im", r"input must have a multiple of kernel height x width = 6 rows; got 0", input=zeros(2, 0, 18))
refuse("col2im", r"input must have shape \(2, 24, 18\) \(windows 3 x 6 .*\(6, 5\)\); got \(2, 24, 17\)", input=zeros(2, 24, 17))
refuse("col2im", r"input must have shape \(1, 24, 18\) \(windows .*\); got \(1, 24, 19\)", input=zeros(24, 19))
refuse("col2im", r"input must have shape \(2, 24, 30\) \(windows 5 x 6 .*; got \(2, 24, 18\)", output_size=(7, 5), padding=(2, 1))
refuse("col2im", r"input must have a multiple of .* = 4611686014132420609 rows; got 24", kernel_size=LARGEST)

refuse(
    "im2col_backward", r"grad_output must have shape \(2, 24, 18\) \(windows 3 x 6 .*\); got \(2, 24, 17\)", grad_output=zeros(2, 24, 17)
)
refuse("col2im_backward", r"grad_output must have shape \(2, 4, 6, 5\) \(the size of the .*\); got \(2, 4, 5, 6\)",
       grad_output=zeros(2, 4, 5, 6))  # fmt: skip

# Convolutions over other axes, in torch's words.
WORDS = {"stride": "non-positive stride is not supported", "padding": "negative padding is not supported",
         "dilation": "dilation should be greater than zero", "groups": "non-positive groups is not supported",
         "output_padding": "negative output_padding is not supported"}  # fmt: skip
for name in f"{CONV} {TRANSPOSED} conv1d conv1d_backward conv3d conv3d_backward".split():
    for argument, words in WORDS.items():
        if argument != "output_padding" or name in TRANSPOSED:
            refuse(name, rf"{words}: {argument} must be between \d and \d+; got -3$", **{argument: -3})
for name, given, triple, sides in (
    ("conv1d", (1, 1), r"a tuple \(width,\)", r"\(\(left, right\),\)"),
    ("conv3d", (1, 1), r"a triple \(depth, height, width\)", r"\(\(front, back\), \(top, bottom\), \(left, right\)\)"),
):
    for argument in ("stride", "padding", "dilation"):
        refuse(f"{name} {name}_input {name}_weight {name}_backward", rf"{argument} must be an int or {triple}; got \(1, 1\)",
               **{argument: given})  # fmt: skip
    spoilt = ((1, 1),) * (2 if name == "conv3d" else 0) + ((1,),)
    refuse(name, rf"padding must be {sides}; got a side \(1,\)", padding=spoilt)
    refuse(name, r"padding must be 'same', 'valid', an int, a t\w+ or .* pairs?.*; got 'full'", padding="full")
refuse("conv1d", r"Given groups=7, expected weight to be at least 7 at dimension 0, but got weight of size \[6, 2, 3\] instead", groups=7)
refuse("conv1d", r"Given groups=4, expected weight to be divisible by 4 at dimension 0, but got \[6, 2, 3\]", groups=4)
refuse(
    "conv3d", r"Given groups=3, weight of size \[6, 2, 2, 3, 2\], expected input\[2, 4, 3, 4, 5\] to have 6 channels, but got 4", groups=3
)
refuse("conv1d", "weight should have at least three dimensions: weight must be .*K, C, S.*; got shape .6, 2.", weight=zeros(6, 2))
refuse("conv3d", "padding must be an int; got tuple", TypeError, padding=(1, (1, 1), 1))
refuse("conv3d", "Expected 4-dimensional input for 4-dimensional weight: weight must be", weight=zeros(6, 2, 3, 2))
refuse("conv1d", r"Calculated padded input size per channel: \(8\)\. Kernel size: \(9\)\.", dilation=4)
refuse("conv3d", r"Calculated padded input size per channel: \(4 x 6 x 5\)\. Kernel size: \(2 x 3 x 6\)\.", dilation=(1, 1, 5))
refuse("conv1d", "width of the input must not be 0; got 0", input=zeros(2, 4, 0))
refuse("conv3d", "depth, height and width of the input must not be 0; got 3 x 0 x 5", input=zeros(2, 4, 3, 0, 5))
refuse("conv1d conv3d conv_transpose2d", r"bias must have shape \(6,\) .*; got \(5,\)", bias=zeros(5))
refuse("conv1d_input", r"input_size must be a shape \(N, C, W\); got \(4, 7\)", input_size=(4, 7))
refuse("conv1d_input conv1d_weight conv1d_backward", r"grad_output must have shape \(2, 6, 3\) \(the forward's output as .N, K, Q.\); got",
       grad_output=zeros(2, 6, 4))  # fmt: skip
refuse("conv3d", r"algorithm 'depthwise' cannot compute forward of this problem", algorithm="depthwise")
refuse("conv1d conv3d", r"precision must be one of .*'highest'", precision="low")
refuse(TRANSPOSED, r"Given transposed=1, weight of size \[6, 3, 3, 2\], expected input\[2, 4, 3, 4\] to have 6 channels",
       weight=zeros(6, 3, 3, 2))  # fmt: skip
refuse(
    TRANSPOSED, r"output padding must be smaller than either stride or dilation, but got output_padding: \(3, 2\)", output_padding=(3, 2)
)
refuse(TRANSPOSED, r"Calculated output size per channel: \(-\d+ x -\d+\)\. Output size is too small", padding=20)
refuse(TRANSPOSED, r"the sizes of the input's axes must not be 0; got \(0, 4\)", input=zeros(2, 4, 0, 4))
refuse("conv_transpose2d_backward", r"grad_output must have shape \(2, 6, 9, 5\) .*; got \(2, 6, 9, 4\)", grad_output=zeros(2, 6, 9, 4))

# Indices and labels out of range.
INDICES = CALLS["max_pool2d_backward"].arrays["indices"]
for wrong in (30, 2**62, -2, -(2**63)):
    spoilt = INDICES.copy()
    spoilt[1, 2, 0, 1] = wrong
    refuse("max_pool2d_backward", r"indices must be between -1 and H\*W - 1 = 29; got -?\d+ to -?\d+", indices=spoilt)
refuse("max_pool2d_backward", r"indices must have shape \(2, 4, 3, 6\) \(grad_output's.*; got \(2, 4, 3, 5\)", indices=INDICES[..., 1:])
refuse("max_pool2d_backward", r"grad_output must have shape \(2, 4, 3, 6\) \(the forward's output.*\); got \(2, 4, 3, 5\)",
       indices=INDICES[..., 1:], grad_output=zeros(2, 4, 3, 5))  # fmt: skip
refuse(
    "max_pool2d_backward avg_pool2d_backward",
    r"grad_output must have shape \(3, 4, 3, 6\) .*; got \(2, 4, 3, 6\)",
    input_shape=(3, 4, 6, 5),
)
refuse("max_pool2d_backward", r"grad_output must have shape \(2, 4, 4, 6\) .*; got \(2, 4, 3", input_shape=(2, 4, 7, 5), ceil_mode=True)
for label, kind in ((7, "int64"), (-1, "int64"), (-100, "int32"), (255, "uint8"), (2**63, "uint64"), (-(2**63), "int64")):
    refuse(LOSS, rf"target labels must be between 0 and 6; got {label}$", target=np.array([0, label], kind))
refuse(LOSS, r"target must have shape \(2,\) \(one label per row of the input\); got \(3,\)", target=np.zeros(3, int))
refuse(LOSS, r"target must have shape \(2, 7\) \(probabilities for every logit\); got \(2, 6\)", target=zeros(2, 6))
refuse(LOSS, r"expected arrays of one dtype; got input float32, target float64", TypeError, target=np.zeros((2, 7)))
refuse(LOSS, r"expected arrays of one dtype; got input float32, target int64", TypeError, target=np.zeros((2, 7), int))
refuse(LOSS, r"input must have at least one class; got shape \(2, 0\)", input=zeros(2, 0))
refuse("softmax_cross_entropy_backward", r"grad_output must have shape \(2,\) \(reduction is 'none'\); got \(3,\)", grad_output=zeros(3))
refuse("softmax_cross_entropy_backward", r"grad_output must have shape \(\) \(reduction is 'mean'\); got \(2,\)", reduction="mean")
refuse("relu_backward", r"grad_output must have shape \(2, 4, 6, 5\) \(the input's shape\); got \(4, 6, 5\)", grad_output=zeros(4, 6, 5))
refuse("linear linear_backward linear_weight", r"input must be \(\.\.\., 5\) for weight \(4, 5\); got shape \(2, 6\)", input=zeros(2, 6))
refuse("linear linear_backward linear_weight", r"input must be \(\.\.\., 5\) for weight \(4, 5\); got shape \(\)", input=zeros())
refuse("linear_backward linear_weight", r"grad_output must have shape \(2, 3, 4\) \(.*output\); got \(6, 4\)", grad_output=zeros(6, 4))
refuse("linear_input", r"grad_output must be \(\.\.\., 4\) for weight \(4, 5\); got shape \(2, 5\)", grad_output=zeros(2, 5))
refuse("linear_input", r"grad_output must be \(\.\.\., 4\) for weight \(4, 5\); got shape \(\)", grad_output=zeros())

# Results that no machine can hold: refused before anything is allocated.
HUGE = r"of shape \(.*\) would take [\d,]+ GiB; this machine has [\d,]+"
refuse("conv2d", HUGE, padding=LARGEST, stride=1)
refuse("conv1d conv3d", HUGE, padding=LARGEST, stride=1)
refuse("conv_transpose2d", HUGE, stride=LARGEST)
refuse("im2col", HUGE, padding=LARGEST, stride=1)
refuse("im2col", HUGE, kernel_size=LARGEST, padding=LARGEST, stride=1)
refuse("conv2d_input", HUGE, input_size=(2, 4, LARGEST, LARGEST), padding=0, stride=LARGEST, grad_output=zeros(2, 6, 1, 1))
refuse("conv2d_weight", HUGE, weight_size=(LARGEST, 4, 2**20, 2**20), padding=2**20, stride=LARGEST, grad_output=zeros(2, LARGEST, 1, 1))
refuse("col2im", HUGE, output_size=LARGEST, kernel_size=1, padding=0, stride=LARGEST, input=zeros(2, 24, 1))
refuse("max_pool2d_backward avg_pool2d_backward", HUGE, input_shape=(2, 4, LARGEST, LARGEST), kernel_size=LARGEST, padding=0, stride=1,
       grad_output=zeros(2, 4, 1, 1), indices=zeros(2, 4, 1, 1, dtype=I64))  # fmt: skip
refuse("linear", HUGE, input=zeros(2**22, 5), weight=zeros(2**22, 5), bias=None)

# What a first round of hostile calls got past the checks.
for wrong in (None, 1, "yes", 0.0):
    refuse("max_pool2d", rf"return_indices must be a bool; got {type(wrong).__name__}", TypeError, return_indices=wrong)
for reduction in ("mean", "sum"):
    for wrong in (None, "abc", object(), {}, 1j, True, [1.0], np.ma.masked_array(1.0), np.zeros((), complex)):
        refuse("softmax_cross_entropy_backward", rf"grad_output must be a number or a float array; got {type(wrong).__name__}", TypeError,
               reduction=reduction, grad_output=wrong)  # fmt: skip
refuse("softmax_cross_entropy_backward", "expected arrays of one dtype; got .*float64", TypeError, grad_output=np.zeros(2))
refuse("conv2d im2col max_pool2d avg_pool2d", r"stride must be between 1 and \d+; got", stride=10**5000)
refuse("conv2d im2col max_pool2d avg_pool2d", r"stride must be an int or a pair", stride=[1] * 1000)
refuse("conv2d_input", r"input_size must be a shape", input_size=(1,) * 1000)
refuse("conv2d relu im2col linear", "algorithm must be", algorithm=np.array(["auto", "direct"]))
refuse("conv2d max_pool2d", "layout must be", layout=np.array(["NCHW", "NHWC"]))
refuse(LOSS, "reduction must be", reduction=np.array(["mean", "sum"]))
refuse("bias_gradient", r"grad_output", grad_output=np.zeros((2, 0, 3, 3), F32))
refuse("relu softmax_cross_entropy", "input", input=zeros(2**20, 2**20))
refuse("conv2d", HUGE, input=np.zeros((0, 4, 6, 5), F32), padding=LARGEST, stride=1)
refuse("conv2d", r"conv2d: .*height", input=np.zeros((2, 4, 0, 5), F32), padding=3, dilation=2)
IDS = [f"{row[0]}-{'-'.join(row[1])}" for row in ROWS]


@pytest.mark.parametrize(("name", "changes", "error", "message"), ROWS, ids=IDS)
def test_a_bad_argument_is_refused_at_once_and_by_name(name, changes, error, message):
    start = time.thread_time()
    with pytest.raises(error) as caught:
        CALLS[name](**changes)
    assert time.thread_time() - start < 1
    assert caught.type is error, caught.type
    text = str(caught.value)
    assert re.match(rf"({SPEAKERS.get(name, name)}): ", text), text
    assert re.search(message, text), text
    assert len(text) < 400


@pytest.mark.parametrize("count", [0, -1, 10**9, 2**70, 1.5, math.nan, True, None, "2", (1,)])
@pytest.mark.parametrize("name", ["threads", "set_threads"])
def test_a_bad_thread_count_is_refused_and_changes_nothing(name, count):
    before = fastcnn.get_threads()
    error = ValueError if type(count) is int else TypeError
    with pytest.raises(error, match=r"threads: count must be (an int; got \w+|between 1 and \d+ \(usable cores\); got -?\d+)$"):
        result = getattr(fastcnn, name)(count)
        result.__enter__()
    assert fastcnn.get_threads() == before


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="plain Python takes its time over nine million pixels")
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_legal_but_absurd_is_refused_or_quick(threads):
    one = np.ones((1, 1, 1, 1), F32)
    with fastcnn.threads(min(threads, fastcnn.get_threads())):
        for far in (2**30, LARGEST):
            for run in (
                lambda far=far: fastcnn.conv2d(one, one, stride=far, padding=far),
                lambda far=far: fastcnn.conv2d_weight(one, one.shape, np.ones((1, 1, 3, 3), F32), stride=far, padding=far),
                lambda far=far: fastcnn.conv2d_input(one.shape, one, np.ones((1, 1, 3, 3), F32), stride=far, padding=far),
                lambda far=far: fastcnn.max_pool2d(np.ones((1, 1, 9, 9), F32), far, 1, padding=far // 2),
            ):
                start = time.perf_counter()
                try:
                    run()
                except ValueError as error:
                    assert "padding" in str(error)  # noqa: PT017
                assert time.perf_counter() - start < 10
        dy = np.ones((1, 1, 1, 1), F32)
        start = time.perf_counter()
        assert fastcnn.conv2d_input((1, 1, 3000, 3000), one, dy, stride=3000).sum() == 1  # not a step per phase of the stride
        assert time.perf_counter() - start < 10


def test_what_cannot_be_read_as_an_array_says_why():
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("call detach() first")

    class Masked:
        def __array__(self, dtype=None, copy=None):
            return np.ma.masked_array([1.0], [True])

    with pytest.raises(TypeError, match=r"relu: input cannot be read as an array: call detach\(\) first") as caught:
        fastcnn.relu(Broken())
    assert isinstance(caught.value.__cause__, RuntimeError)
    if isinstance(np.asanyarray(Masked()), np.ma.MaskedArray):
        with pytest.raises(TypeError, match="relu: input must not be a masked array"):
            fastcnn.relu(Masked())


def test_memory_of_another_device_is_refused():
    class Elsewhere:
        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, **keywords):
            raise AssertionError("its memory must not be asked for")

    with pytest.raises(TypeError, match=r"relu: input cannot be read as an array: it lies on DLPack's device \(2, 0\)"):
        fastcnn.relu(Elsewhere())


# --- Valid at the edge -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", CALLS)
def test_an_empty_batch_gives_an_empty_result_and_zero_parameter_gradients(name, dtype):
    call, full = calls(dtype, batch=0)[name], results(calls(dtype)[name]())
    got = results(call())
    assert len(got) == len(full)
    for i, (empty, sample) in enumerate(zip(got, full, strict=True)):
        assert empty.shape == (sample.shape if is_parameter_gradient(name, i) else (0, *sample.shape[1:]))
        assert empty.dtype == sample.dtype
        assert not empty.any()


@pytest.mark.parametrize("algorithm", ["im2col", "reference"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_empty_batch_in_every_layout(layout, algorithm):
    x, dy = (np.zeros(shape if layout == "NCHW" else (0, *shape[2:], shape[1]), F32) for shape in ((0, 3, 6, 5), (0, 4, 4, 4)))
    weight = np.ones((4, 3, 3, 2), F32)
    assert fastcnn.conv2d(x, weight, layout=layout, algorithm=algorithm).shape == dy.shape
    dx, dweight, dbias = fastcnn.conv2d_backward(dy, x, weight, layout=layout, algorithm=algorithm)
    assert (dx.shape, dweight.shape, dbias.shape) == (x.shape, weight.shape, (4,))
    assert not dweight.any()
    assert not dbias.any()
    y, indices = fastcnn.max_pool2d(x, 2, return_indices=True, layout=layout)
    assert y.shape == indices.shape == fastcnn.max_pool2d(zeros(1, *x.shape[1:]), 2, layout=layout)[:0].shape
    assert fastcnn.max_pool2d_backward(y, indices, x.shape, 2, layout=layout).shape == x.shape


def test_a_loss_over_an_empty_batch_is_as_in_torch():
    logits, labels = zeros(0, 3), np.zeros(0, int)
    assert np.isnan(fastcnn.softmax_cross_entropy(logits, labels))
    assert fastcnn.softmax_cross_entropy(logits, labels, "sum") == 0
    assert fastcnn.softmax_cross_entropy(logits, labels, "none").shape == (0,)
    assert fastcnn.softmax_cross_entropy_backward(1.0, logits, labels).shape == (0, 3)


@pytest.mark.parametrize("number", [2, np.int8(2), np.uint64(2), np.array(2), [2], (2, 2), [np.int32(2), 2]])
def test_every_kind_of_integer_is_a_size(number):
    x, weight = np.ones((1, 2, 6, 6), F32), np.ones((1, 2, 2, 2), F32)
    assert fastcnn.conv2d(x, weight, stride=number, padding=number, dilation=number).shape == (1, 1, 4, 4)
    assert fastcnn.max_pool2d(x, number, number).shape == (1, 2, 3, 3)
    if not (isinstance(number, list) and len(number) == 1):
        assert fastcnn.im2col(x, number, stride=number).shape == (1, 8, 9)
        assert fastcnn.col2im(np.ones((1, 8, 9), F32), [6, 6], number, stride=number).shape == (1, 2, 6, 6)


def test_columns_want_one_number_or_two_as_in_torch():
    """Convolutions and poolings take a list of one as well."""
    x = np.ones((1, 2, 6, 6), F32)
    for wrong in ({"kernel_size": [2]}, {"dilation": (1,)}, {"padding": [0]}, {"stride": (1,)}):
        settings = {"kernel_size": 2, **wrong}
        with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} equals to 2, but got size 1"):
            fastcnn.im2col(x, **settings)
        with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} equals to 2, but got size 1"):
            fastcnn.col2im(np.ones((1, 8, 25), F32), (6, 6), **settings)
    with pytest.raises(ValueError, match="expected output_size equals to 2, but got size 1"):
        fastcnn.col2im(np.ones((1, 8, 25), F32), [6], 2)


def test_a_stride_and_a_padding_far_beyond_the_image_are_legal():
    one = np.ones((1, 1, 1, 1), F32)
    far = {"stride": 10**6, "padding": 10**6}
    want = np.zeros((1, 1, 3, 3))
    want[0, 0, 1, 1] = 1
    for algorithm in ("auto", "im2col"):
        np.testing.assert_array_equal(fastcnn.conv2d(one, one, algorithm=algorithm, **far), want)
    np.testing.assert_array_equal(fastcnn.im2col(one, 1, **far), want.reshape(1, 1, 9))
