"""Fused operations and layers: the same as their parts, one after the other, in values, gradients, corners and errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastcnn
from fastcnn import machine, registry
from fastcnn.agreement import Trial
from fastcnn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, fused
from fastcnn.ops.conv2d import Conv2dProblem
from fastcnn.ops.conv2d_relu_max_pool2d import Conv2dReluMaxPool2dProblem
from fastcnn.ops.max_pool2d import MaxPool2dProblem

RELU, POOL = (registry.operations()[name] for name in ("conv2d_relu", "conv2d_relu_max_pool2d"))
F32, F64 = np.float32, np.float64


def _image(array: np.ndarray, layout: str) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if layout == "NHWC" else array


# --- Variants: what the generic grid of test_variants leaves out -------------------------------------------------------


@pytest.mark.parametrize("op", [RELU, POOL], ids=["relu", "pool"])
def test_channels_last_memory_gives_the_same(op) -> None:
    for direction in op.directions:
        for variant, case in op.accepted(direction, op.problem.CASES):
            problem = case.problem
            arguments = op.problem.arguments(problem, direction, F32, np.random.default_rng(3))
            results = []
            for last in (False, True):

                def ordered(array: np.ndarray, problem=problem, last=last) -> np.ndarray:
                    image = last and array.shape in (problem.input_shape, problem.output_shape)
                    return _image(array, "NHWC").transpose(0, 3, 1, 2) if image else array

                got = [ordered(a) for a in op.problem.outputs(problem, direction, F32)]
                for output in got:
                    output.fill(np.nan if output.dtype.kind == "f" else 255)
                op.run(variant, direction, problem, [ordered(a) for a in arguments], got)
                results.append(got)
            growth = op.variants[variant].directions[direction].error_growth
            limit = 1e-4 if growth < 1000 else 1e-2  # bfloat16
            for plain, other in zip(*results, strict=True):
                if plain.dtype.kind == "f" or growth == 1:  # a rounding may change the winner
                    np.testing.assert_allclose(plain, other, rtol=limit, atol=limit, err_msg=f"{variant} {direction} {case.name}")


TINY = [
    Conv2dReluMaxPool2dProblem(Conv2dProblem(1, 1, 3, 3, 1, 2, 2), MaxPool2dProblem(1, 1, 2, 2, 2, 2, 1, 1, 2, 2)),
    Conv2dReluMaxPool2dProblem(Conv2dProblem(1, 1, 3, 4, 3, 1, 2), MaxPool2dProblem(1, 3, 3, 3, 2, 2, 1, 1, 2, 2)),
]


@pytest.mark.parametrize("problem", TINY)
@pytest.mark.parametrize("direction", POOL.directions)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_smallest_problems(problem, direction: str, dtype: type) -> None:
    for op, its in ((POOL, problem), (RELU, problem.conv)):
        trial = Trial(op, direction, its, dtype, np.random.default_rng(0))
        for name, variant in op.variants.items():
            if variant.refuses(its, direction) is None:
                assert trial.error(variant.directions[direction]) <= 1, (op.name, name)


@pytest.mark.parametrize("direction", POOL.directions)
@pytest.mark.parametrize("name", ["mnist-24c5", "mnist-32c3"])
def test_large_enough_for_threads(name: str, direction: str) -> None:
    for op in (POOL, RELU):
        problem = next(case.problem for case in op.problem.BENCH if case.name == name)
        if direction not in op.variants["direct"].directions:
            continue
        small = (
            problem._replace(N=16) if op is RELU else problem._replace(conv=problem.conv._replace(N=16), pool=problem.pool._replace(N=16))
        )
        trial = Trial(op, direction, small, F32, np.random.default_rng(4))
        for threads in {1, machine.max_threads()}:
            with machine.threads(threads):
                assert trial.error(op.variants["direct"].directions[direction]) <= 1


# --- Public functions against their parts -------------------------------------------------------------------------------

CALLS = {
    "plain": ((2, 3, 11, 10), (5, 3, 3, 3), {}, {"pool_kernel": 2}),
    "padded": ((1, 4, 9, 8), (8, 4, 3, 3), {"padding": 1}, {"pool_kernel": (3, 2)}),
    "strided": ((2, 2, 15, 14), (16, 2, 3, 3), {"stride": 2, "padding": ((1, 0), (2, 1))}, {"pool_kernel": 2}),
    "overlapping": ((1, 3, 12, 12), (7, 3, 3, 3), {}, {"pool_kernel": 3, "pool_stride": 2, "pool_padding": 1, "pool_ceil_mode": True}),
    "grouped-dilated": ((1, 4, 12, 12), (6, 2, 3, 3), {"groups": 2, "dilation": 2}, {"pool_kernel": 2}),
}


def _parts(x, w, b, conv, pool, layout):
    """Return (y, backward), computed one operation after the other."""
    z = fastcnn.relu(fastcnn.conv2d(x, w, b, **conv, layout=layout))
    names = {"pool_kernel": "kernel_size", "pool_stride": "stride", "pool_padding": "padding", "pool_ceil_mode": "ceil_mode"}
    pool = {names[name]: value for name, value in pool.items()}
    y, indices = fastcnn.max_pool2d(z, **pool, return_indices=True, layout=layout)

    def backward(dy):
        dz = fastcnn.relu_backward(fastcnn.max_pool2d_backward(dy, indices, z.shape, **pool, layout=layout), z)
        return fastcnn.conv2d_backward(dz, x, w, **conv, layout=layout)

    return y, backward


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize(("shape", "filters", "conv", "pool"), CALLS.values(), ids=CALLS)
def test_equals_its_parts(shape, filters, conv, pool, dtype: type, layout: str) -> None:
    """On small integers, where ties abound and sums are exact, except in Winograd's transforms."""
    rng = np.random.default_rng(1)
    x, w = (rng.integers(-3, 4, size).astype(dtype) for size in (shape, filters))
    x, b = _image(x, layout), rng.integers(-3, 4, len(w)).astype(dtype)
    conv = {**conv, "precision": "highest"}
    want, backward = _parts(x, w, b, conv, pool, layout)
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, b, **conv, **pool, return_winners=True, layout=layout)
    np.testing.assert_array_equal(y, want)
    assert winners.dtype == np.uint8
    assert winners.shape == y.shape
    np.testing.assert_array_equal(fastcnn.conv2d_relu_max_pool2d(x, w, b, **conv, **pool, layout=layout), y)
    dy = rng.integers(-3, 4, y.shape).astype(dtype)
    got = fastcnn.conv2d_relu_max_pool2d_backward(dy, winners, y, x, w, **conv, **pool, layout=layout)
    for array, expected in zip(got, backward(dy), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == dtype
        assert array.flags.c_contiguous
    none, dweight, dbias = fastcnn.conv2d_relu_max_pool2d_backward(
        dy, winners, y, x, w, **conv, **pool, layout=layout, input_gradient=False
    )
    assert none is None
    np.testing.assert_array_equal(dweight, got[1])
    np.testing.assert_array_equal(dbias, got[2])
    z = fastcnn.conv2d_relu(x, w, b, **conv, layout=layout)
    np.testing.assert_array_equal(z, fastcnn.relu(fastcnn.conv2d(x, w, b, **conv, layout=layout)))
    dz = rng.integers(-3, 4, z.shape).astype(dtype)
    parts = fastcnn.conv2d_backward(fastcnn.relu_backward(dz, z), x, w, **conv, layout=layout)
    for array, expected in zip(fastcnn.conv2d_relu_backward(dz, z, x, w, **conv, layout=layout), parts, strict=True):
        np.testing.assert_array_equal(array, expected)
    one, place = fastcnn.conv2d_relu_max_pool2d(x[0], w, b, **conv, **pool, return_winners=True, layout=layout)
    np.testing.assert_array_equal(one, y[0])
    np.testing.assert_array_equal(place, winners[0])


@pytest.mark.parametrize("algorithm", ["direct", "unfused", "reference"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_nan_wins_and_passes(algorithm: str, layout: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(-3, 4, (2, 2, 9, 9)).astype(F32)
    x[0, 0, 3, 4], x[1, 1, 8, 8], x[1, 0, 0, 0] = np.nan, np.nan, np.inf
    x, w, b = _image(x, layout), rng.integers(1, 3, (17, 2, 2, 2)).astype(F32), np.zeros(17, F32)
    want, _ = _parts(x, w, b, {"precision": "highest"}, {"pool_kernel": 2}, layout)
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, b, return_winners=True, algorithm=algorithm, layout=layout)
    np.testing.assert_array_equal(y, want)
    assert np.isnan(y).any()
    dy = np.ones_like(y)
    dbias = fastcnn.conv2d_relu_max_pool2d_backward(dy, winners, y, x, w, algorithm=algorithm, layout=layout)[2]
    passed = ~(y <= 0)
    np.testing.assert_array_equal(dbias, passed.sum(axis=(0, 2, 3) if layout == "NCHW" else (0, 1, 2)))


def test_a_network_learns_nothing_from_an_empty_batch() -> None:
    """Also where the variants that the first layer of MNIST's networks takes are weighed against one another."""
    x, w = np.zeros((0, 28, 28, 1), F32), np.ones((24, 1, 5, 5), F32)
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, return_winners=True, layout="NHWC")
    assert y.shape == (0, 12, 12, 24)
    dx, dweight, dbias = fastcnn.conv2d_relu_max_pool2d_backward(y, winners, y, x, w, layout="NHWC")
    assert dx.shape == x.shape
    assert not dweight.any()
    assert not dbias.any()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_empty_batch(layout: str) -> None:
    x, w = _image(np.zeros((0, 3, 8, 8), F32), layout), np.ones((4, 3, 3, 3), F32)
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, return_winners=True, layout=layout)
    assert y.shape == winners.shape == ((0, 4, 3, 3) if layout == "NCHW" else (0, 3, 3, 4))
    dx, dweight, dbias = fastcnn.conv2d_relu_max_pool2d_backward(y, winners, y, x, w, layout=layout)
    assert dx.shape == x.shape
    assert not dweight.any()
    assert not dbias.any()
    z = fastcnn.conv2d_relu(x, w, layout=layout)
    dx, dweight, dbias = fastcnn.conv2d_relu_backward(z, z, x, w, layout=layout)
    assert dx.shape == x.shape
    assert not dweight.any()
    assert not dbias.any()


def test_infinite_weights_do_not_meet_padding() -> None:
    x, w = np.ones((1, 1, 6, 6), F32), np.ones((1, 1, 3, 3), F32)
    y, winners = fastcnn.conv2d_relu_max_pool2d(x, w, padding=1, return_winners=True)
    w[0, 0, 0, 0] = np.inf
    arguments = np.ones_like(y), winners, y, x, w
    got, want = (fastcnn.conv2d_relu_max_pool2d_backward(*arguments, padding=1, algorithm=name)[0] for name in ("direct", "unfused"))
    np.testing.assert_array_equal(got, want)


X, W, Y = np.zeros((1, 2, 6, 6), F32), np.zeros((3, 2, 3, 3), F32), np.zeros((1, 3, 2, 2), F32)
WON = np.zeros(Y.shape, np.uint8)
FORWARD = [
    ({"input": X[0, 0]}, ValueError, r"input must be \(N, C, H, W\) or \(C, H, W\)"),
    ({"input": X.astype(int)}, TypeError, "input must have dtype float32 or float64"),
    ({"weight": W.astype(F64)}, TypeError, "expected arrays of one dtype"),
    ({"weight": W[:, :1]}, ValueError, "to have 1 channels, but got 2"),
    ({"bias": np.zeros(2, F32)}, ValueError, r"bias must have shape \(3,\)"),
    ({"stride": 0}, ValueError, "stride must be between 1"),
    ({"groups": 2}, ValueError, "groups=2"),
    ({"padding": "some"}, ValueError, "padding must be 'same'"),
    ({"layout": "CHWN"}, ValueError, "layout must be one of"),
    ({"precision": "low"}, ValueError, "precision must be one of"),
    ({"algorithm": "none"}, ValueError, "algorithm must be 'auto' or one of"),
    ({"padding": 2**31 - 1}, ValueError, "would take .* GiB"),
]
POOLED = [
    ({"pool_kernel": 0}, ValueError, "pool_kernel must be between 1"),
    ({"pool_kernel": 2.0}, TypeError, "pool_kernel must be an int"),
    ({"pool_kernel": (17, 16)}, ValueError, "pool_kernel must have at most 256 pixels; got 17 x 16"),
    ({"pool_kernel": 5}, ValueError, "Kernel size can't be greater than actual input size"),
    ({"pool_stride": 0}, ValueError, "stride must be between 1"),
    ({"pool_padding": 2}, ValueError, "pool_padding must be at most half of pool_kernel, 1; got 2"),
    ({"pool_ceil_mode": 1}, TypeError, "pool_ceil_mode must be a bool"),
    ({"return_winners": 1}, TypeError, "return_winners must be a bool"),
    ({"algorithm": "direct", "pool_stride": 1}, ValueError, "the pooling's stride is 1 x 1, its window 2 x 2"),
    ({"algorithm": "direct", "pool_padding": 1}, ValueError, "the pooling has padding"),
]
BACKWARD = [
    ({"grad_output": Y[:, :2]}, ValueError, r"grad_output must have shape \(1, 3, 2, 2\)"),
    ({"output": Y[..., :1]}, ValueError, r"output must have shape \(1, 3, 2, 2\)"),
    ({"output": Y.astype(F64)}, TypeError, "expected arrays of one dtype"),
    ({"winners": WON.astype(int)}, TypeError, "winners must have dtype uint8"),
    ({"winners": WON + np.uint8(4)}, ValueError, "winners must be between 0 and 3"),
    ({"winners": WON[:, :2]}, ValueError, r"winners must have shape \(1, 3, 2, 2\)"),
    ({"input_gradient": 1}, TypeError, "input_gradient must be a bool"),
]


@pytest.mark.parametrize(
    ("function", "changes", "error", "message"),
    [(fastcnn.conv2d_relu, *row) for row in FORWARD] + [(fastcnn.conv2d_relu_max_pool2d, *row) for row in FORWARD + POOLED],
)
def test_a_bad_argument_of_forward_is_refused(function, changes, error, message: str) -> None:
    with pytest.raises(error, match=rf"^{function.__name__}: .*{message}"):
        function(**{"input": X, "weight": W, **changes})


@pytest.mark.parametrize(("changes", "error", "message"), BACKWARD)
def test_a_bad_argument_of_backward_is_refused(changes, error, message: str) -> None:
    given = {"grad_output": Y, "winners": WON, "output": Y, "input": X, "weight": W, **changes}
    with pytest.raises(error, match=rf"^conv2d_relu_max_pool2d_backward: .*{message}"):
        fastcnn.conv2d_relu_max_pool2d_backward(**given)


def test_a_winner_in_the_padding_is_refused() -> None:
    x, y = np.zeros((1, 2, 6, 6), F32), np.zeros((1, 3, 3, 3), F32)
    with pytest.raises(ValueError, match="one lies in the padding"):
        fastcnn.conv2d_relu_max_pool2d_backward(y, np.zeros(y.shape, np.uint8), y, x, W, pool_padding=1)


# --- Sequential ----------------------------------------------------------------------------------------------------------


def _net(dtype: type, order: str = "relu-pool", **options) -> Sequential:
    """Return two convolutions, each with ReLU and pooling, and a dense layer for images of 2 x 16 x 15."""
    middle = [ReLU(), MaxPool2d(2)] if order == "relu-pool" else [MaxPool2d(2), ReLU()]
    layers = [Conv2d(2, 5, 3, dtype=dtype, rng=1), *middle, Conv2d(5, 9, 2, bias=False, padding=1, dtype=dtype, rng=2), *middle]
    return Sequential(*layers, Flatten(), Linear(9 * 4 * 3, 4, dtype=dtype, rng=3), **options)


@pytest.mark.parametrize("order", ["relu-pool", "pool-relu"])
@pytest.mark.parametrize("input_gradient", [True, False])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_a_network_computes_the_same_fused(order: str, input_gradient: bool, dtype: type) -> None:
    nets = _net(dtype, order), _net(dtype, order, fuse=False)
    x = np.random.default_rng(0).standard_normal((3, 2, 16, 15)).astype(dtype)
    dy = np.random.default_rng(1).standard_normal((3, 4)).astype(dtype)
    tolerance = 1e-5 if dtype == F32 else 1e-13
    saved = [net.apply(x)[1] for net in nets]
    assert [len(s) for s in saved] == [8, 8]
    assert [isinstance(s, fused.Saved) for s in saved[0]] == [True, False, False, True, False, False, False, False]
    assert not any(isinstance(s, fused.Saved) for s in saved[1])
    for got, want in zip(*(net(x) for net in nets), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    dx, want_dx = (net.backward(dy, input_gradient) for net in nets)
    if input_gradient:
        np.testing.assert_allclose(dx, want_dx, rtol=tolerance, atol=tolerance)
    else:
        assert dx is want_dx is None
    assert list(nets[0].params) == list(nets[1].params) == ["0.weight", "0.bias", "3.weight", "7.weight", "7.bias"]
    assert set(nets[0].grads) == set(nets[0].params)
    for name, want in nets[1].grads.items():
        np.testing.assert_allclose(nets[0].grads[name], want, rtol=tolerance, atol=tolerance, err_msg=name)
    assert repr(nets[0]) == repr(nets[1])
    assert nets[0].summary((2, 16, 15)) == nets[1].summary((2, 16, 15))


@pytest.mark.parametrize("order", ["relu-pool", "pool-relu"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_by_central_differences(order: str, channels_last: bool) -> None:
    net, rng = _net(F64, order), np.random.default_rng(0)
    x = rng.standard_normal((2, 2, 16, 15))
    if channels_last:
        x = _image(x, "NHWC").transpose(0, 3, 1, 2)
    dy = rng.standard_normal((2, 4))
    net.forward(x)
    dx = net.backward(dy)
    grads = {name: grad.copy() for name, grad in net.grads.items()}
    for array, gradient in [(x, dx), *((net.params[name], grads[name]) for name in grads)]:
        for index in list(np.ndindex(*array.shape))[:: max(1, array.size // 40)]:
            kept, eps = array[index], 1e-6
            array[index] = kept + eps
            above = (net.forward(x) * dy).sum()
            array[index] = kept - eps
            below = (net.forward(x) * dy).sum()
            array[index] = kept
            assert gradient[index] == pytest.approx((above - below) / (2 * eps), rel=1e-5, abs=1e-6)


class _OtherConv(Conv2d):
    """A layer of somebody's own."""


class _OtherReLU(ReLU):
    """Another."""


class _OtherPool(MaxPool2d):
    """And another."""


@pytest.mark.parametrize(
    ("layers", "steps"),
    [
        ([Conv2d(1, 2, 3), ReLU(), MaxPool2d(2)], [3]),
        ([Conv2d(1, 2, 3), MaxPool2d(2), ReLU()], [3]),
        ([Conv2d(1, 2, 3), ReLU(), Conv2d(2, 2, 3), MaxPool2d(2)], [2, 1, 1]),
        ([ReLU(), Conv2d(1, 2, 3), ReLU()], [1, 2]),
        ([_OtherConv(1, 2, 3), ReLU(), MaxPool2d(2)], [1, 1, 1]),
        ([Conv2d(1, 2, 3), _OtherReLU(), MaxPool2d(2)], [1, 1, 1]),
        ([Conv2d(1, 2, 3), ReLU(), _OtherPool(2)], [2, 1]),
        ([], []),
    ],
)
def test_what_is_fused(layers: list, steps: list[int]) -> None:
    assert fused.plan(layers) == steps
    net, plain = Sequential(*layers), Sequential(*layers, fuse=False)
    x = np.random.default_rng(0).standard_normal((2, 1, 12, 12)).astype(F32)
    np.testing.assert_allclose(net(x), plain(x), rtol=1e-5, atol=1e-5)
    dy = np.ones_like(plain(x))
    np.testing.assert_allclose(net.backward(dy), plain.backward(dy), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool", [MaxPool2d(3, 2), MaxPool2d(2, padding=1), MaxPool2d(2, ceil_mode=True), MaxPool2d(2, dilation=2)])
@pytest.mark.parametrize("pool_first", [False, True])
def test_other_poolings_are_computed_as_well(pool: MaxPool2d, pool_first: bool) -> None:
    layers = [Conv2d(2, 4, 3, rng=0), pool, ReLU()] if pool_first else [Conv2d(2, 4, 3, rng=0), ReLU(), pool]
    net, plain = Sequential(*layers), Sequential(*layers, fuse=False)
    x = np.random.default_rng(0).standard_normal((2, 2, 11, 11)).astype(F32)
    np.testing.assert_allclose(net(x), plain(x), rtol=1e-5, atol=1e-5)
    dy = np.random.default_rng(1).standard_normal(plain(x).shape).astype(F32)
    np.testing.assert_allclose(net.backward(dy), plain.backward(dy), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 2, 5), F32), ValueError, r"Conv2d: input must be \(N, C, H, W\)"),
        (np.zeros((2, 3, 12, 12), F32), ValueError, "^conv2d(_relu)?: .* to have 2 channels, but got 3"),
        (np.zeros((2, 2, 12, 12), F64), TypeError, "expected arrays of one dtype"),
        (np.zeros((2, 2, 3, 3), F32), ValueError, "^max_pool2d: .*Output size is too small"),
    ],
)
def test_errors_speak_of_the_layer_that_is_wrong(x, error, message: str) -> None:
    with pytest.raises(error, match=message):
        Sequential(Conv2d(2, 4, 3), ReLU(), MaxPool2d(2))(x)
    with pytest.raises(TypeError, match="Sequential: fuse must be a bool"):
        Sequential(fuse=1)


def test_threads_share_a_fused_network() -> None:
    """`apply` and `pull_back` change nothing in the layers: shards in threads give what they give one after the other."""
    net = _net(F32)
    shards = [np.random.default_rng(i).standard_normal((2, 2, 16, 15)).astype(F32) for i in range(8)]

    def step(x: np.ndarray) -> dict[str, np.ndarray]:
        y, saved = net.apply(x)
        return net.pull_back(saved, np.ones_like(y))[1]

    want = [step(x) for x in shards]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(step, shards), want, strict=True):
            for name in expected:
                np.testing.assert_array_equal(got[name], expected[name])
