"""Any legal call: convolutions in every shape, movement, precision and memory, against the definition and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from _definitions import agree, convolution, require_gradients, transposed
from _strategies import FORMS, Window, channels, dtypes, forms, normal, seeds, windows
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fastcnn
from fastcnn import functional

# The same examples every time: a failure is news. `derandomize=False, max_examples=10000` looks for more.
PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
BATCHES = st.integers(0, 3)
ODD = Window((8, 5), (4, 2), (1, 3), (1, 2), ((1, 2), (0, 1)), "same")  # the odd element goes to the end; few examples have one


@PROPERTY
@given(windows(2, kernel=5), channels(9), BATCHES, dtypes, forms, forms, st.sampled_from(("NCHW", "NHWC")), seeds)
@example(ODD, (3, 5, 1), 2, np.float32, FORMS["stepped"], FORMS["contiguous"], "NHWC", 1)
def test_conv2d_is_its_reference(
    window: Window, sizes: tuple[int, int, int], N: int, dtype: Any, form: Any, other: Any, layout: str, seed: int
) -> None:
    C, K, groups = sizes
    x, weight, bias = normal(seed, dtype, (N, C, *window.size), (K, C // groups, *window.kernel), (K,))
    arguments = {**window.arguments, "groups": groups}

    def call(algorithm: str, *arrays: np.ndarray) -> list[np.ndarray]:
        image, filters, offsets = arrays
        if algorithm == "auto":
            image, filters = form(image), other(filters)
        turn = layout == "NHWC" and algorithm == "auto"
        image = image.transpose(0, 2, 3, 1) if turn else image
        options = {**arguments, "algorithm": algorithm, "layout": layout if turn else "NCHW"}
        y = fastcnn.conv2d(image, filters, offsets, **options)
        gradients = fastcnn.conv2d_backward(y, image, filters, **options)
        return [a.transpose(0, 3, 1, 2) if turn and number < 2 else a for number, a in enumerate((y, *gradients))]

    scales = call("reference", *map(np.abs, (x, weight, bias)))
    for got, want, scale in zip(call("auto", x, weight, bias), call("reference", x, weight, bias), scales, strict=True):
        agree(got, want, scale, 32)  # Winograd's algorithm rounds more
    defined = convolution(x, weight, bias, window.stride, window.sides, window.dilation, groups)
    agree(call("reference", x, weight, bias)[0], defined, scales[0])


@PROPERTY
@given(windows(2), channels(3), st.integers(1, 2), seeds)
def test_conv2d_reference_has_finite_differences(window: Window, sizes: tuple[int, int, int], N: int, seed: int) -> None:
    C, K, groups = sizes
    x, weight, bias = normal(seed, np.float64, (N, C, *window.size), (K, C // groups, *window.kernel), (K,))
    options = {**window.arguments, "groups": groups, "algorithm": "reference"}
    require_gradients(
        lambda *arrays: fastcnn.conv2d(*arrays, **options),
        (x, weight, bias),
        lambda dy: fastcnn.conv2d_backward(dy, x, weight, **options),
        seed,
    )


@pytest.mark.parametrize("dims", [1, 3])
def test_convolutions_over_other_axes_are_as_defined(dims: int) -> None:
    forward, backward = getattr(functional, f"conv{dims}d"), getattr(functional, f"conv{dims}d_backward")
    largest = {1: 20, 3: 5}[dims]

    @PROPERTY
    @given(windows(dims, largest, kernel=7 if dims == 1 else 3), channels(4), BATCHES, dtypes, forms, seeds)
    def check(window: Window, sizes: tuple[int, int, int], N: int, dtype: Any, form: Any, seed: int) -> None:
        C, K, groups = sizes
        x, weight, bias = normal(seed, dtype, (N, C, *window.size), (K, C // groups, *window.kernel), (K,))
        options, numbers = {**window.arguments, "groups": groups}, (window.stride, window.sides, window.dilation, groups)
        scale = convolution(*map(np.abs, (x, weight, bias)), *numbers)
        agree(forward(form(x), form(weight), bias, **options), convolution(x, weight, bias, *numbers), scale, 32)
        if dtype == np.float64 and N:
            require_gradients(
                lambda *arrays: convolution(*arrays, *numbers),
                (x, weight, bias),
                lambda dy: backward(form(dy), form(x), form(weight), **options),
                seed,
            )

    check()


@PROPERTY
@given(windows(2, largest=6, words=False), channels(4), BATCHES, dtypes, forms, seeds, st.data())
def test_conv_transpose2d_is_as_defined(
    window: Window, sizes: tuple[int, int, int], N: int, dtype: Any, form: Any, seed: int, data: st.DataObject
) -> None:
    """The window's output is the input here, so that what the padding cuts off leaves something."""
    C, K, groups = sizes
    more = data.draw(st.tuples(*(st.integers(0, max(s, d) - 1) for s, d in zip(window.stride, window.dilation, strict=True))))
    inputs = tuple(
        -(-(size + sum(side) - d * (k - 1) - 1) // s) + 1
        for size, k, s, d, side in zip(window.size, window.kernel, window.stride, window.dilation, window.sides, strict=True)
    )
    x, weight, bias = normal(seed, dtype, (N, C, *inputs), (C, K // groups, *window.kernel), (K,))
    options = {**window.arguments, "output_padding": more, "groups": groups}
    numbers = window.stride, window.sides, more, groups, window.dilation
    scale = transposed(*map(np.abs, (x, weight, bias)), *numbers)
    agree(functional.conv_transpose2d(form(x), form(weight), bias, **options), transposed(x, weight, bias, *numbers), scale, 32)
    if dtype == np.float64 and N:
        require_gradients(
            lambda *arrays: transposed(*arrays, *numbers),
            (x, weight, bias),
            lambda dy: functional.conv_transpose2d_backward(form(dy), form(x), form(weight), **options),
            seed,
        )


@PROPERTY
@given(windows(2), st.integers(1, 4), BATCHES, dtypes, forms, seeds)
@example(ODD, 3, 2, np.float32, FORMS["contiguous"], 1)
def test_columns_and_images_are_adjoint(window: Window, C: int, N: int, dtype: Any, form: Any, seed: int) -> None:
    """<im2col(x), c> = <x, col2im(c)>, and each is the other's backward."""
    arguments = {"kernel_size": window.kernel, **window.arguments}
    (x,) = normal(seed, dtype, (N, C, *window.size))
    columns = functional.im2col(form(x), **arguments)
    sides = functional.im2col(x, **{**arguments, "padding": window.sides})
    np.testing.assert_array_equal(columns, sides)
    (other,) = normal(seed + 1, dtype, columns.shape)
    image = functional.col2im(form(other), window.size, **arguments)
    np.testing.assert_array_equal(columns, functional.im2col(x, **arguments, algorithm="reference"))
    agree(np.asarray(np.vdot(columns, other)), np.asarray(np.vdot(x, image)), np.vdot(np.abs(columns), np.abs(other)), 32)
    np.testing.assert_array_equal(functional.im2col_backward(form(other), x.shape, **arguments), image)
    np.testing.assert_array_equal(functional.col2im_backward(form(x), window.size, **arguments), columns)
