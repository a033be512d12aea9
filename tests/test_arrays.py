"""Arrays in every form that NumPy knows: the same result as for the plain array, without touching or sharing its memory."""

import gc
import itertools
import os

import numpy as np
import pytest
from _calls import calls, is_parameter_gradient, results
from numpy.lib.stride_tricks import as_strided

import fastcnn
from fastcnn.jit import Kernel

F32, F64, I64 = np.float32, np.float64, np.int64
NAMES = list(calls())
WITH_LAYOUT = [name for name in NAMES if name.startswith(("conv2d", "bias", "max_pool2d", "avg_pool2d"))]
IN_PLANES = [name for name in NAMES if name.startswith(("conv", "im2col", "col2im")) and name not in WITH_LAYOUT]
JIT = os.environ.get("NUMBA_DISABLE_JIT") in (None, "", "0")


# --- Forms -------------------------------------------------------------------------------------------------------------


class Tagged(np.ndarray):
    """A subclass that must not be computed with: its arithmetic fails."""

    def __array_ufunc__(self, *args, **kwargs):
        raise AssertionError("a subclass reached a computation")


class Box:
    """What a CPU tensor of another library is: an object with `__array__`."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Capsule:
    """What knows DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Interface:
    """What tells the address of its memory and no more."""

    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__array_interface__


HOLDERS = (Box, Capsule, Interface)


def stepped(a):
    spacious = np.full([2 * size + 1 for size in a.shape], 77, a.dtype)
    view = spacious[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def unaligned(a):
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    view = buffer[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned or a.itemsize == 1 or not a.size
    return view


def field(a):
    records = np.zeros(a.shape, [("tag", np.uint8), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


def read_only(a):
    frozen = a.copy()
    frozen.flags.writeable = False
    return frozen


def odd_strides(a):
    """Return `a` with strides that no layout has on its axes of length 1."""
    strides = [stride if size > 1 else 12 * a.itemsize for size, stride in zip(a.shape, a.strides, strict=True)]
    return as_strided(a.copy(), a.shape, strides)


def with_axes(order):
    def form(a):
        axes = [*range(a.ndim - len(order)), *(a.ndim - len(order) + i for i in order)] if a.ndim >= len(order) else range(a.ndim)
        return a.transpose(axes).copy().transpose(np.argsort(axes))

    return form


FORMS = {
    "fortran": np.asfortranarray,
    "channels_last": with_axes((1, 2, 0)),
    "swapped_images": with_axes((0, 2, 1)),
    "swapped_batch": lambda a: a.swapaxes(0, min(1, a.ndim - 1)).copy().swapaxes(0, min(1, a.ndim - 1)),
    "negative_strides": lambda a: np.flip(np.flip(a).copy()),
    "negative_rows": lambda a: a[::-1].copy()[::-1],
    "stepped": stepped,
    "read_only": read_only,
    "read_only_stepped": lambda a: np.broadcast_to(stepped(a), a.shape),
    "byte_swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "byte_swapped_stepped": lambda a: stepped(a.astype(a.dtype.newbyteorder())),
    "unaligned": unaligned,
    "field_of_records": field,
    "subclass": lambda a: a.copy().view(Tagged),
    "matrix": lambda a: np.asmatrix(a.copy()) if a.ndim == 2 else a.copy(),
    "odd_strides": odd_strides,
    "object": lambda a: Box(a.copy()),
    "object_read_only_fortran": lambda a: Box(read_only(np.asfortranarray(a))),
    "dlpack": lambda a: Capsule(a.copy()),
    "dlpack_stepped": lambda a: Capsule(stepped(a)),
    "array_interface": lambda a: Interface(a.copy()),
    "array_interface_fortran": lambda a: Interface(np.asfortranarray(a)),
}


def raw(value):
    """Return the elements that an array (or an object that holds one) has now."""
    return np.array(value.array if isinstance(value, HOLDERS) else value, copy=True, subok=False)


def require_fresh(got, inputs, channels_last=False):
    """Check what every result promises: an array of its own, plain and C-contiguous."""
    if not isinstance(got, np.ndarray):  # a scalar loss
        assert isinstance(got, np.generic)
        return
    assert type(got) is np.ndarray
    assert got.dtype.isnative
    assert got.flags.aligned
    assert got.flags.writeable
    assert (got.transpose(0, 2, 3, 1) if channels_last else got).flags.c_contiguous
    for value in inputs:
        assert not np.shares_memory(got, value.array if isinstance(value, HOLDERS) else value)


def require_same(call, changes, want, channels_last=False):
    before = {name: raw(value) for name, value in changes.items()}
    got = results(call(**changes))
    assert len(got) == len(want)
    for one, plain in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, plain)
        assert one.dtype == plain.dtype
        assert one.shape == plain.shape
        require_fresh(one, changes.values(), channels_last)
    for name, value in changes.items():
        np.testing.assert_array_equal(raw(value), before[name])
    for one in got:  # writing to a result must not reach an input
        if isinstance(one, np.ndarray):
            one[...] = 99
    for name, value in changes.items():
        np.testing.assert_array_equal(raw(value), before[name])


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [F32, F64], ids=["float32", "float64"])
def test_every_form_of_every_array_gives_the_same_result(name, form, dtype):
    for batch in (2, 1):
        call = calls(dtype, batch)[name]
        want = results(call())
        keeps_order = name.startswith("relu") and form == "channels_last"
        for argument, array in call.arrays.items():
            require_same(call, {argument: FORMS[form](array)}, want, keeps_order and argument == "input")
        require_same(call, {argument: FORMS[form](array) for argument, array in call.arrays.items()}, want, keeps_order)


@pytest.mark.parametrize("name", NAMES)
def test_zero_strides(name):
    call = calls()[name]
    for argument, array in call.arrays.items():
        for keep in range(2 if array.ndim > 1 else 1):
            one = array[tuple(slice(0, 1) for _ in array.shape)] if not keep else array[:1]
            repeated = np.broadcast_to(one, array.shape)
            assert 0 in repeated.strides
            require_same(call, {argument: repeated}, results(call(**{argument: repeated.copy()})))


@pytest.mark.parametrize("shape", list(itertools.product((1, 2), (1, 3), (1, 4), (1, 5))))
def test_odd_strides_on_any_axes_of_length_1(shape):
    """What lies both as NCHW and as NHWC in memory is the same either way, whatever strides NumPy shows."""
    rng = np.random.default_rng(1)
    _, c, h, w = shape
    x = rng.integers(-4, 5, shape).astype(F32)
    for k, r, s in ((1, 1, 1), (17, h, 1), (3, 1, w)):
        weight = rng.integers(-4, 5, (k, c, r, s)).astype(F32)
        want = fastcnn.conv2d(x, weight, algorithm="reference")
        dy = rng.integers(-4, 5, want.shape).astype(F32)
        wanted = fastcnn.conv2d_backward(dy, x, weight, algorithm="reference")
        for form in (odd_strides, FORMS["channels_last"], FORMS["fortran"]):
            np.testing.assert_array_equal(fastcnn.conv2d(form(x), form(weight)), want)
            for got, gradient in zip(fastcnn.conv2d_backward(form(dy), form(x), form(weight)), wanted, strict=True):
                np.testing.assert_array_equal(got, gradient)
    pooled, indices = fastcnn.max_pool2d(x, (h, 1), return_indices=True, algorithm="reference")
    for form in (odd_strides, FORMS["channels_last"]):
        got = fastcnn.max_pool2d(form(x), (h, 1), return_indices=True)
        np.testing.assert_array_equal(got[0], pooled)
        np.testing.assert_array_equal(got[1], indices)
        np.testing.assert_array_equal(fastcnn.im2col(form(x), (h, 1)), fastcnn.im2col(x, (h, 1), algorithm="reference"))
        np.testing.assert_array_equal(fastcnn.relu(form(x)), np.maximum(x, 0))


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"])
def test_max_pooling_takes_integers_in_every_form(kind):
    x = np.random.default_rng(2).integers(0, 100, (2, 3, 6, 5)).astype(kind)
    x[0, 0, 0, 0], x[0, 0, 5, 4] = (np.iinfo(kind).max, np.iinfo(kind).min) if x.dtype.kind in "iu" else (np.inf, -np.inf)
    want = fastcnn.max_pool2d(x, 2, padding=1, return_indices=True, algorithm="reference")
    for form in ("fortran", "channels_last", "stepped", "byte_swapped", "read_only", "field_of_records"):
        got = fastcnn.max_pool2d(FORMS[form](x), 2, padding=1, return_indices=True)
        for one, plain in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, plain)
            assert one.dtype == plain.dtype


def test_labels_of_every_integer_type_and_form():
    logits, labels = np.random.default_rng(3).standard_normal((4, 5)), np.array([0, 4, 2, 4])
    want = fastcnn.softmax_cross_entropy(logits, labels)
    for kind, form in itertools.product(("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"), FORMS.values()):
        assert fastcnn.softmax_cross_entropy(logits, form(labels.astype(kind))) == want


def test_one_array_may_serve_as_several_arguments():
    x = np.random.default_rng(4).integers(-4, 5, (4, 4, 3, 3)).astype(F32)
    np.testing.assert_array_equal(fastcnn.conv2d(x, x), fastcnn.conv2d(x, x.copy()))
    np.testing.assert_array_equal(fastcnn.relu_backward(x, x), np.maximum(x, 0))
    part = x[:, :, :1, :1]
    apart = fastcnn.conv2d_backward(part.copy(), x.copy(), x.copy())
    for got, want in zip(fastcnn.conv2d_backward(part, x, x), apart, strict=True):
        np.testing.assert_array_equal(got, want)


def test_relu_keeps_the_shape_and_the_memory_order_of_any_array():
    for shape in ((0,), (3,), (2, 0, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 1, 2, 2)):
        x = np.arange(-3, np.prod(shape, dtype=int) - 3, dtype=F32).reshape(shape)
        for got in (fastcnn.relu(x), fastcnn.relu_backward(x, x)):
            np.testing.assert_array_equal(got, np.maximum(x, 0))
            assert got.shape == shape
    last = np.zeros((2, 5, 4, 3), F32).transpose(0, 3, 1, 2)
    assert fastcnn.relu(last).strides == last.strides
    assert fastcnn.relu_backward(np.zeros(last.shape, F32), last).strides == last.strides


def test_relu_of_a_single_number_is_a_single_number():
    x = np.array(2, F32)
    assert fastcnn.relu(x).shape == fastcnn.relu_backward(x, x).shape == ()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", list(itertools.product((1, 2), (1, 3), (1, 4), (1, 5))))
def test_pooling_gradient_where_an_image_is_in_both_layouts_at_once(shape, layout):
    x = np.random.default_rng(9).permutation(int(np.prod(shape))).reshape(shape).astype(F32)
    if layout == "NHWC":
        x = x.transpose(0, 2, 3, 1)
    window = {"kernel_size": 2, "stride": 1, "padding": 1, "layout": layout}
    y, indices = fastcnn.max_pool2d(x, **window, return_indices=True)
    dy = np.arange(y.size, dtype=F32).reshape(y.shape)
    got = fastcnn.max_pool2d_backward(dy, indices, x.shape, **window)
    np.testing.assert_array_equal(got, fastcnn.max_pool2d_backward(dy, indices, x.shape, **window, algorithm="reference"))


# --- One compilation per dtype -----------------------------------------------------------------------------------------


def compiled_signatures():
    """Return every (kernel, dtypes and ranks of its arguments) that is compiled by now, with repetitions."""
    found = []
    for thing in gc.get_objects():
        if type(thing) is Kernel:  # isinstance would ask a dead weak reference for its class
            found += [(id(thing), str(key)) for key in thing._native]
            found += [(id(thing._codes), str([(getattr(t, "dtype", t), getattr(t, "ndim", None)) for t in key])) for key in thing._codes]
    return sorted(found)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.skipif(not JIT, reason="nothing is compiled under NUMBA_DISABLE_JIT")
@pytest.mark.parametrize("threads", [1, 2])
def test_no_form_of_an_array_compiles_a_kernel_again(threads):
    if threads > fastcnn.get_threads():
        pytest.skip("one core")
    with fastcnn.threads(threads):
        every = calls()
        for call in every.values():
            call()
            call(**{argument: FORMS["channels_last"](array) for argument, array in call.arrays.items()})
        before = compiled_signatures()
        assert before
        for call, form in itertools.product(every.values(), FORMS.values()):
            call(**{argument: form(array) for argument, array in call.arrays.items()})
        assert compiled_signatures() == before
        assert len(set(before)) == len(before)  # no two that differ in layout or mutability only


# --- Layouts, single images --------------------------------------------------------------------------------------------


def in_layout(argument, array):
    """Return an image-like argument as NHWC; others as they are."""
    is_image = argument in ("input", "grad_output", "indices") and array.ndim == 4
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if is_image else array


@pytest.mark.parametrize("dtype", [F32, F64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", WITH_LAYOUT)
def test_channels_last_is_the_transposed_result(name, dtype):
    call = calls(dtype)[name]
    changes = {argument: in_layout(argument, array) for argument, array in call.arrays.items()}
    for size in ("input_size", "input_shape"):
        if size in call.others:
            n, c, h, w = call.others[size]
            changes[size] = (n, h, w, c)
    is_image = {"conv2d_backward": (True, False, False), "bias_gradient": (False,), "max_pool2d": (True, True)}
    for i, (got, want) in enumerate(zip(results(call(**changes, layout="NHWC")), results(call()), strict=True)):
        image = is_image.get(name, ("weight" not in name,))[i]
        np.testing.assert_array_equal(got, want.transpose(0, 2, 3, 1) if image else want)
        require_fresh(got, [v for v in changes.values() if isinstance(v, np.ndarray)])


@pytest.mark.parametrize(("name", "layout"), [*itertools.product(WITH_LAYOUT, ("NCHW", "NHWC")), *((name, "NCHW") for name in IN_PLANES)])
def test_a_single_image_is_a_batch_of_one(name, layout):
    call, keywords = calls(batch=1)[name], {"layout": layout} if name in WITH_LAYOUT else {}
    batch = {argument: in_layout(argument, array) if layout == "NHWC" else array for argument, array in call.arrays.items()}
    for size in ("input_size", "input_shape"):
        if size in call.others:
            n, c, *pixels = call.others[size]
            keywords[size] = (n, c, *pixels) if layout == "NCHW" else (n, *pixels, c)
    want = results(call(**batch, **keywords))
    single = {argument: array if argument in ("weight", "bias") else array[0] for argument, array in batch.items()}
    keywords.update({size: keywords[size][1:] for size in ("input_size", "input_shape") if size in keywords})
    for i, (got, of_batch) in enumerate(zip(results(call(**single, **keywords)), want, strict=True)):
        np.testing.assert_array_equal(got, of_batch if is_parameter_gradient(name, i) else of_batch[0])
        require_fresh(got, single.values())


# --- NaN, infinities, zeros --------------------------------------------------------------------------------------------


def kinds_of_numbers(a):
    return np.select([np.isnan(a), np.isposinf(a), np.isneginf(a)], [1, 2, 3], 0)


@pytest.mark.parametrize("algorithm", ["auto", "im2col"])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("window", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": ((0, 3), (1, 2))}, {"padding": 4}])
def test_convolution_loses_no_nan_and_makes_none(special, window, algorithm):
    rng = np.random.default_rng(5)
    x, weight = rng.integers(-2, 3, (2, 5, 9, 8)).astype(F32), rng.integers(-2, 3, (18, 5, 3, 2)).astype(F32)
    for layout, spoilt in itertools.product(("NCHW", "NHWC"), ("input", "weight", "grad_output", "both")):
        a, w = x.copy(), weight.copy()
        dy = np.ones(fastcnn.conv2d(x, weight, **window).shape, F32)
        if spoilt in ("input", "both"):
            a[0, 3, 4, 4], a[1, 0, 0, 7], a[1, 4, 8, 0] = special, -special, special
        if spoilt in ("weight", "both"):
            w[7, 2, 1, 0] = w[17, 4, 2, 1] = special
        if spoilt in ("grad_output", "both"):
            dy[0, 7, 0, 0], dy[1, 17, -1, -1] = special, special
        if layout == "NHWC":
            a, dy = a.transpose(0, 2, 3, 1), dy.transpose(0, 2, 3, 1)
        keywords = {**window, "layout": layout}
        with np.errstate(invalid="ignore"):
            got, want = [
                (fastcnn.conv2d(a, w, algorithm=which, **keywords), *fastcnn.conv2d_backward(dy, a, w, algorithm=which, **keywords))
                for which in (algorithm, "reference")
            ]
        for one, other in zip(got, want, strict=True):
            kinds, wanted = kinds_of_numbers(one), kinds_of_numbers(other)
            np.testing.assert_array_equal(kinds, wanted)
            np.testing.assert_array_equal(one[wanted == 0], other[wanted == 0])


@pytest.mark.parametrize("name", ["linear", "linear_backward", "conv2d_grouped", "conv2d_input_grouped", "conv2d_weight_grouped"])
def test_infinities_are_data_and_give_no_warning(name):
    call = calls()[name]
    call(**{argument: np.where(array > 0, np.inf, 0).astype(F32) for argument, array in call.arrays.items()})


def test_relu_of_nan_infinities_and_zeros():
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45], F32)
    np.testing.assert_array_equal(fastcnn.relu(x), np.array([np.nan, np.nan, np.inf, 0, 0, 0, 1e-45, 0], F32))
    np.testing.assert_array_equal(fastcnn.relu_backward(np.full(8, 3, F32), x), [3, 3, 3, 0, 0, 0, 3, 0])
    np.testing.assert_array_equal(fastcnn.relu_backward(np.full(8, np.nan, F32), x), [np.nan] * 3 + [0] * 3 + [np.nan, 0])


@pytest.mark.parametrize("algorithm", ["auto", "reference"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_max_pooling_of_nan_infinities_ties_and_zeros(layout, algorithm):
    def pool(rows, kernel, **keywords):
        x = np.array(rows, F32)[None, None]
        if layout == "NHWC":
            x = x.transpose(0, 2, 3, 1)
        y, indices = fastcnn.max_pool2d(x, kernel, return_indices=True, layout=layout, algorithm=algorithm, **keywords)
        return y.ravel().tolist(), indices.ravel().tolist()

    nan, inf = np.nan, np.inf
    y, indices = pool([[1, nan], [inf, 2]], 2)
    assert np.isnan(y).all()
    assert indices == [1]
    assert pool([[7, 7], [7, 7]], 2) == ([7], [0])  # the first of equals
    assert pool([[1, 7], [7, 7]], 2) == ([7], [1])
    assert pool([[-inf, -inf], [-inf, -inf]], 2) == ([-inf], [0])
    assert pool([[-inf, -inf]], (1, 2), padding=(0, 1), stride=1) == ([-inf] * 3, [0, 0, 1])
    assert pool([[-5, -6]], (1, 2), padding=(0, 1), stride=1) == ([-5, -5, -6], [0, 0, 1])  # padding is -inf, not 0
    y, indices = pool([[-0.0, 0.0]], (1, 2))
    assert np.signbit(y).all()  # equal: the first wins
    assert indices == [0]


def test_the_loss_survives_extreme_logits_and_passes_nan_on():
    x = np.array([[1e4, -1e4, 0], [-np.inf, 0, 0], [np.nan, 0, 0], [3e38, 3e38, -3e38]], F32)
    with np.errstate(all="ignore"):  # Python's own arithmetic warns where the kernels are not compiled
        loss = fastcnn.softmax_cross_entropy(x, np.array([1, 1, 1, 0]), "none")
        gradient = fastcnn.softmax_cross_entropy_backward(np.ones(4, F32), x, np.array([1, 1, 1, 0]), "none")
    np.testing.assert_allclose(loss, [2e4, np.log(2), np.nan, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[1, -1, 0], [0, -0.5, 0.5], [np.nan] * 3, [-0.5, 0.5, 0]], atol=1e-6)


# --- Padding words and ceil_mode ---------------------------------------------------------------------------------------


def test_same_padding_is_ceil_of_size_by_stride_with_the_odd_zero_at_the_end():
    rng = np.random.default_rng(6)
    for size, kernel, stride, dilation in itertools.product((1, 2, 5, 8), (1, 2, 3, 4), (1, 2, 3, 9), (1, 2)):
        extent = dilation * (kernel - 1) + 1
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + extent - size, 0)
        x, weight = rng.integers(-4, 5, (1, 2, size, 6)).astype(F32), rng.integers(-4, 5, (3, 2, kernel, 1)).astype(F32)
        padded = np.pad(x, ((0, 0), (0, 0), (total // 2, total - total // 2), (0, 0)))
        keywords = {"stride": (stride, 1), "dilation": (dilation, 1)}
        for word in ("same", "SAME"):
            got = fastcnn.conv2d(x, weight, padding=word, **keywords)
            assert got.shape == (1, 3, outputs, 6)
            np.testing.assert_array_equal(got, fastcnn.conv2d(padded, weight, **keywords, algorithm="reference"))
        columns = fastcnn.im2col(x, (kernel, 1), padding="same", **keywords)
        np.testing.assert_array_equal(columns, fastcnn.im2col(padded, (kernel, 1), **keywords, algorithm="reference"))
        dy = rng.integers(-4, 5, got.shape).astype(F32)
        want = fastcnn.conv2d_input(padded.shape, weight, dy, **keywords, algorithm="reference")
        gradient = fastcnn.conv2d_input(x.shape, weight, dy, padding="same", **keywords)
        np.testing.assert_array_equal(gradient, want[:, :, total // 2 : total // 2 + size])


def test_valid_padding_drops_a_rim_whose_gradient_is_0():
    rng = np.random.default_rng(7)
    for size, kernel, stride in itertools.product((3, 5, 8), (1, 2, 3), (1, 2, 3, 9)):
        outputs = -(-(size - kernel + 1) // stride)
        x, weight = rng.integers(1, 5, (1, 2, size, size)).astype(F32), rng.integers(1, 5, (3, 2, kernel, kernel)).astype(F32)
        for word in ("valid", "VALID", 0):
            assert fastcnn.conv2d(x, weight, stride=stride, padding=word).shape == (1, 3, outputs, outputs)
        gradient = fastcnn.conv2d_input(x.shape, weight, np.ones((1, 3, outputs, outputs), F32), stride=stride, padding="valid")
        read = np.zeros(size, bool)
        for start in range(0, outputs * stride, stride):
            read[start : start + kernel] = True
        np.testing.assert_array_equal(gradient[0, 0] > 0, np.outer(read, read))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "floor", "ceil"),
    [
        (5, 2, 2, 0, 1, 2, 3),
        (4, 2, 3, 0, 1, 1, 2),  # starts at 3, the last pixel
        (3, 2, 4, 0, 1, 1, 1),  # would start at 4, beyond the image
        (3, 2, 3, 0, 1, 1, 1),  # would start at 3, just beyond
        (4, 3, 2, 1, 1, 2, 3),
        (3, 3, 2, 1, 1, 2, 2),
        (1, 2, 2, 1, 1, 1, 1),  # would start at 1, in the padding after: dropped
        (2, 2, 3, 1, 1, 1, 1),  # would start at 2, in the padding after, too
        (7, 3, 3, 0, 2, 1, 2),
        (6, 1, 4, 0, 1, 2, 2),
        (10, 3, 3, 0, 1, 3, 4),
        (28, 3, 2, 0, 1, 13, 14),
    ],
)
def test_ceil_mode_rounds_up_and_drops_windows_that_start_beyond_the_image(size, kernel, stride, padding, dilation, floor, ceil):
    x = np.random.default_rng(8).permutation(2 * size * 3).reshape(1, 2, size, 3).astype(F32)
    keywords = {"kernel_size": (kernel, 1), "stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1)}
    for mode, outputs in ((False, floor), (True, ceil)):
        for layout in ("NCHW", "NHWC"):
            image = x if layout == "NCHW" else x.transpose(0, 2, 3, 1)
            y, indices = fastcnn.max_pool2d(image, **keywords, ceil_mode=mode, return_indices=True, layout=layout)
            y, indices = (a if layout == "NCHW" else a.transpose(0, 3, 1, 2) for a in (y, indices))
            assert y.shape == indices.shape == (1, 2, outputs, 3)
            for p in range(outputs):
                rows = [h for h in range(p * stride - padding, p * stride - padding + kernel * dilation, dilation) if 0 <= h < size]
                np.testing.assert_array_equal(y[:, :, p], x[:, :, rows].max(axis=2))
                np.testing.assert_array_equal(np.take_along_axis(x.reshape(1, 2, -1), indices[:, :, p], 2), y[:, :, p])
