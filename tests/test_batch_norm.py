"""Batch normalisation: in every memory format against the float64 reference, far from 0, its state, its errors."""

from __future__ import annotations

import numpy as np
import pytest
from test_arrays import FORMS

import fastcnn
from fastcnn import batch_norm, batch_norm_backward, machine
from fastcnn.agreement import Trial, error_share
from fastcnn.ops.batch_norm import OPERATION, BatchNormProblem

F32 = np.float32
MARGIN = 64
GRID = [
    pytest.param(direction, case.problem, id=f"{direction}-{case.name}")
    for direction in OPERATION.directions
    for case in [*OPERATION.problem.CASES, *OPERATION.problem.BENCH[1:2]]
]


def _last(image: np.ndarray) -> np.ndarray:
    """Return an (N, C, H, W) array whose memory is channels-last."""
    return np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _hosted(array: np.ndarray, channels_last: bool, poison: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (a copy in the middle of a larger array of `poison`, that array)."""
    turned = channels_last and array.ndim == 4
    source = array.transpose(0, 2, 3, 1) if turned else array
    around = np.full(array.size + 2 * MARGIN, poison, array.dtype)
    inside = around[MARGIN : MARGIN + array.size].reshape(source.shape)
    inside[...] = source
    return (inside.transpose(0, 3, 1, 2) if turned else inside), around


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("direction", "problem"), GRID)
def test_both_memory_formats_between_poison(direction: str, problem: BatchNormProblem, channels_last: bool, dtype: type) -> None:
    """NaN around the inputs would show in sums, a write beyond the outputs in their margins; threads change no bit."""
    trial = Trial(OPERATION, direction, problem, dtype, np.random.default_rng(1))
    run, bits = OPERATION.variants["direct"].directions[direction], []
    for threads in sorted({1, machine.max_threads()}):
        inputs = [_hosted(a, channels_last, np.nan) for a in trial.arguments]
        results = [_hosted(np.full_like(a, np.nan), channels_last, 7) for a in OPERATION.problem.outputs(problem, direction, dtype)]
        with machine.threads(threads):
            run(problem, *(a for a, _ in inputs), *(a for a, _ in results))
        for (got, around), (want, allowed) in zip(results, trial.expected, strict=True):
            assert error_share(got, want, allowed) <= 1
            assert (around[:MARGIN] == 7).all()
            assert (around[-MARGIN:] == 7).all()
        for (got, _), argument in zip(inputs, trial.arguments, strict=True):
            np.testing.assert_array_equal(got, argument)
        bits.append([got.tobytes() for got, _ in results])
    assert all(one == bits[0] for one in bits)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", [(128, 32, 14, 14), (64, 24, 28, 28), (4, 1, 300, 300), (1000, 3), (2, 3, 5000)])
def test_a_mean_of_10_000_with_deviation_1_costs_no_digits(shape: tuple[int, ...], layout: str) -> None:
    rng = np.random.default_rng(0)
    axes = (0, *range(2, len(shape)))
    x = (1e4 + rng.standard_normal(shape)).astype(F32)
    exact = x.astype(np.float64)
    mean, variance = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    normal = (exact - mean) / np.sqrt(variance + 1e-5)
    dy = rng.standard_normal(shape).astype(F32)
    turn = (lambda a: np.ascontiguousarray(np.moveaxis(a, 1, -1))) if layout == "NHWC" else np.ascontiguousarray
    running = np.zeros(shape[1], F32), np.ones(shape[1], F32)
    y, saved_mean, inverse = batch_norm(turn(x), *running, training=True, momentum=1.0, return_saved=True, layout=layout)
    np.testing.assert_allclose(y, turn(normal), rtol=0, atol=4e-6)
    pixels = x.size // shape[1]
    np.testing.assert_allclose(running[1], variance.ravel() * pixels / (pixels - 1), rtol=2e-6)
    np.testing.assert_allclose(saved_mean, mean.ravel(), rtol=0, atol=1e-6)
    dx, dweight, dbias = batch_norm_backward(turn(dy), turn(x), saved_mean, inverse, training=True, layout=layout)
    size = np.abs(dy * normal).sum(axes)
    assert (np.abs(dweight - (dy * normal).sum(axes)) < 1e-6 * size).all()
    assert (np.abs(dbias - dy.sum(axes, dtype=np.float64)) < 1e-6 * np.abs(dy).sum(axes)).all()
    want = (dy - dy.mean(axes, np.float64, keepdims=True) - normal * (dy * normal).mean(axes, keepdims=True)) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(dx, turn(want), rtol=0, atol=4e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_wild_first_pixel_spoils_nothing(layout: str) -> None:
    """A value from which distances were measured may lie far from all others: here the first of a million, and a border of zeros."""
    rng = np.random.default_rng(1)
    first, border = (1e4 + rng.standard_normal((4, 2, 300, 300)).astype(F32) for _ in range(2))
    first[0, :, 0, 0] = 0
    border[:, :, :3], border[:, :, -3:], border[..., :3], border[..., -3:] = 0, 0, 0, 0
    for x in (first, border):
        running = np.zeros(2, F32), np.zeros(2, F32)
        batch_norm(x if layout == "NCHW" else x.transpose(0, 2, 3, 1), *running, training=True, momentum=1.0, layout=layout)
        np.testing.assert_allclose(running[1], x.astype(np.float64).var((0, 2, 3), ddof=1), rtol=1e-5)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(7, 3), (3, 2, 5), (2, 3, 4, 3)])
def test_gradients_by_central_differences(shape: tuple[int, ...], training: bool, relu: bool) -> None:
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    C = shape[1]
    weight, bias, mean, variance = rng.uniform(0.5, 2, C), rng.standard_normal(C), rng.standard_normal(C), rng.uniform(1, 2, C)

    def forward(**keywords):
        return batch_norm(x, mean.copy(), variance.copy(), weight, bias, training, relu=relu, **keywords)

    _, saved_mean, inverse = forward(return_saved=True)
    gradients = batch_norm_backward(dy, x, saved_mean, inverse, weight, bias, training, relu=relu)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        for index in np.ndindex(*array.shape):
            kept = array[index]
            array[index] = kept + 1e-6
            above = (forward() * dy).sum()
            array[index] = kept - 1e-6
            below = (forward() * dy).sum()
            array[index] = kept
            assert gradient[index] == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7)


def test_running_statistics_move_as_in_torch() -> None:
    x = np.array([[1.0, -2.0], [3.0, 0.0], [8.0, 5.0]])
    mean, variance = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    batch_norm(x, mean, variance, training=True, momentum=0.25)
    np.testing.assert_allclose(mean, [0.75 * 1 + 0.25 * 4, 0.75 * 2 + 0.25 * 1])
    np.testing.assert_allclose(variance, [0.75 * 3 + 0.25 * 13, 0.75 * 4 + 0.25 * 13])
    kept = mean.copy(), variance.copy()
    batch_norm(x, mean, variance)
    batch_norm(np.zeros((0, 2)), mean, variance, training=True)
    np.testing.assert_array_equal((mean, variance), kept)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (4, 3), (2, 3, 4)])
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_every_form_of_every_array(shape: tuple[int, ...], form: str) -> None:
    rng = np.random.default_rng(3)
    x, dy = (rng.integers(-4, 5, shape).astype(F32) for _ in range(2))
    channels = dict(zip(("running_mean", "running_var", "weight", "bias"), rng.integers(1, 5, (4, 3)).astype(F32), strict=True))
    want = batch_norm(x, **channels)
    got = batch_norm(FORMS[form](x), **{name: FORMS[form](value) for name, value in channels.items()})
    np.testing.assert_array_equal(got, want)
    assert type(got) is np.ndarray
    assert got.flags.c_contiguous
    saved = np.array([1.0, 0, 2]), np.array([0.5, 0.25, 1.0])
    want = batch_norm_backward(dy, x, *saved, channels["weight"], training=True)
    got = batch_norm_backward(*(FORMS[form](a) for a in (dy, x, *saved, channels["weight"])), training=True)
    for one, plain in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, plain)


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 7), (2, 3, 5, 4)])
def test_channels_last_is_the_transposed_result(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    x, dy = rng.integers(-4, 5, (2, *shape)).astype(F32)
    saved = np.array([1.0, 0, 2]), np.array([0.5, 0.25, 1.0])
    turned = [np.moveaxis(a, 1, -1) for a in (x, dy)]
    np.testing.assert_array_equal(
        batch_norm(turned[0], *(s.astype(F32) for s in saved), layout="NHWC"),
        np.moveaxis(batch_norm(x, *(s.astype(F32) for s in saved)), 1, -1),
    )
    got = batch_norm_backward(turned[1], turned[0], *saved, training=True, layout="NHWC")
    want = batch_norm_backward(dy, x, *saved, training=True)
    np.testing.assert_array_equal(got[0], np.moveaxis(want[0], 1, -1))
    np.testing.assert_array_equal(got[1:], want[1:])


@pytest.mark.parametrize("training", [False, True])
def test_relu_in_the_same_pass(training: bool) -> None:
    x = np.random.default_rng(5).standard_normal((4, 3, 9, 8)).astype(F32)
    x[0, 0, 0, 0] = x[1, 1] = 0
    running = np.zeros(3, F32), np.ones(3, F32)
    plain = batch_norm(x, *(a.copy() for a in running), training=training)
    np.testing.assert_array_equal(batch_norm(x, *running, training=training, relu=True), fastcnn.relu(plain))


def test_nan_and_infinities_are_data() -> None:
    x = np.ones((2, 4, 3, 3), F32)
    x[0, 1, 1, 1], x[0, 2, 0, 0] = np.nan, np.inf
    for relu in (False, True):
        y = batch_norm(x, np.zeros(4, F32), np.ones(4, F32), training=True, relu=relu)
        assert np.isfinite(y[:, [0, 3]]).all()
        assert np.isnan(y[:, 1]).all()
        y = batch_norm(x, np.zeros(4, F32), np.ones(4, F32), relu=relu)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(x))


def test_an_empty_batch_and_empty_planes() -> None:
    for shape in ((0, 3, 2, 2), (0, 3), (2, 3, 0)):
        x, running = np.zeros(shape, F32), (np.zeros(3, F32), np.ones(3, F32))
        for training in (False, True):
            y, mean, inverse = batch_norm(x, *running, training=training, return_saved=True)
            dx, dweight, dbias = batch_norm_backward(y, x, mean, inverse, training=training)
            assert y.shape == dx.shape == shape
            np.testing.assert_array_equal((dweight, dbias), np.zeros((2, 3)))


def _frozen() -> np.ndarray:
    array = np.ones(3, F32)
    array.flags.writeable = False
    return array


X, ONES = np.ones((2, 3, 4, 4), F32), np.ones(3, F32)
MISTAKES = [
    ({"input": X[0, 0, 0]}, ValueError, r"input must be \(N, C, H, W\) or \(N, C, L\) or \(N, C\); got shape \(4,\)"),
    ({"input": X.astype(int)}, TypeError, "input must have dtype float32 or float64; got int64"),
    ({"input": X[:, :0]}, ValueError, "at least one channel"),
    ({"weight": np.ones(2, F32)}, ValueError, r"weight must have shape \(3,\) \(one per channel of the input\); got \(2,\)"),
    ({"bias": np.ones(3)}, TypeError, "expected arrays of one dtype; got input float32, bias float64"),
    ({"weight": [1, 1, 1]}, TypeError, "weight must be a NumPy array; got list"),
    ({"running_mean": None}, ValueError, "must both be arrays or both be None"),
    ({"running_mean": None, "running_var": None}, ValueError, "must be given in evaluation; got None"),
    ({"running_var": np.ones((3, 1), F32)}, ValueError, r"running_var must be \(C,\); got shape \(3, 1\)"),
    ({"running_mean": np.ones(4, F32), "training": True}, ValueError, r"running_mean must have shape \(3,\)"),
    ({"running_mean": _frozen(), "training": True}, ValueError, "running_mean must be writeable"),
    ({"running_mean": FORMS["object"](ONES), "training": True}, TypeError, "running_mean must be a NumPy array; got Box"),
    ({"input": X[:1, :, :1, :1], "training": True}, ValueError, r"more than one value per channel in training; got shape \(1, 3, 1, 1\)"),
    ({"training": 1}, TypeError, "training must be a bool; got int"),
    ({"relu": None}, TypeError, "relu must be a bool; got NoneType"),
    ({"eps": 0.0, "training": True}, ValueError, r"eps must be positive in training; got 0$"),
    ({"eps": -1e-5}, ValueError, r"eps must be non-negative; got -1e-05$"),
    ({"eps": "1"}, TypeError, "eps must be a float; got str"),
    ({"momentum": None}, TypeError, "momentum must be a float; got NoneType"),
    ({"momentum": np.nan}, ValueError, "momentum must be finite; got nan"),
    ({"layout": "CHWN"}, ValueError, "layout must be one of"),
    ({"algorithm": "fast"}, ValueError, "algorithm must be 'auto' or one of"),
]


@pytest.mark.parametrize(("changes", "error", "message"), MISTAKES)
def test_mistakes_are_named_and_change_nothing(changes: dict, error: type, message: str) -> None:
    running = np.zeros(3, F32), np.ones(3, F32)
    with pytest.raises(error, match=rf"^batch_norm: .*{message}"):
        batch_norm(**{"input": X, "running_mean": running[0], "running_var": running[1], **changes})
    np.testing.assert_array_equal(running, [np.zeros(3), np.ones(3)])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"grad_output": X[:1]}, ValueError, r"grad_output must have shape \(2, 3, 4, 4\) \(the input's shape\)"),
        ({"grad_output": X.astype(float)}, TypeError, "expected arrays of one dtype"),
        ({"mean": np.ones(2)}, ValueError, r"mean must have shape \(3,\)"),
        ({"inverse_deviation": None}, TypeError, "inverse_deviation must be a NumPy array; got NoneType"),
        ({"weight": np.ones(3)}, TypeError, "expected arrays of one dtype; got input float32, weight float64"),
        ({"training": "yes"}, TypeError, "training must be a bool"),
    ],
)
def test_mistakes_in_the_gradient(changes: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^batch_norm_backward: .*{message}"):
        batch_norm_backward(**{"grad_output": X, "input": X, "mean": ONES, "inverse_deviation": ONES, **changes})
