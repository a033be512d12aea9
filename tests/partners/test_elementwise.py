"""PyTorch's own samples of activations, softmax, normalisations, padding, dropout and losses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import fastcnn.functional as F
from fastcnn.ops.activation import ACTIVATIONS
from fastcnn.ops.activation._table import Number
from partners import opinfo

torch = opinfo.torch
NAMED = {"sigmoid": "sigmoid", "tanh": "tanh"}  # the others stand under nn.functional
COUNTS = {
    "celu": 3, "elu": 3, "gelu": 8, "hardshrink": 6, "hardsigmoid": 3, "hardswish": 4, "hardtanh": 5, "leaky_relu": 9, "logsigmoid": 3,
    "mish": 3, "relu6": 3, "selu": 3, "sigmoid": 3, "silu": 3, "softplus": 3, "softshrink": 5, "softsign": 3, "tanh": 1, "tanhshrink": 3,
    "threshold": 4,
}  # fmt: skip


def _full(name: str) -> str:
    return NAMED.get(name, f"nn.functional.{name}")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    limits = opinfo.LIMITS | ({torch.float64: 1e-7} if name == "hardsigmoid" else {})  # PyTorch divides by 6 in float32
    opinfo.check(_full(name), getattr(F, name), getattr(F, f"{name}_backward"), COUNTS[name], limits=limits)


_NUMBERS = (
    0.0, -0.5, 1.0, 2.0, -3.0, 20.0, -20.0, 1e-40, 1e-38, 1e-300, -1e-300, 3.4e38, 1e300, -1e300, math.inf, -math.inf, math.nan
)  # fmt: skip
_VALUES = (0.0, -0.0, 0.5, 1.0, 3.0, 20.0, 100.0, 1e-40, 1e38, math.inf, math.nan)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_odd_numbers_of_activations(name: str, dtype: type) -> None:
    """Every combination of odd parameters gives on odd values what PyTorch gives, or is refused as there."""
    function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    x = np.concatenate([_VALUES, np.negative(_VALUES), np.linspace(-4, 4, 23)]).astype(dtype)
    asked, refused = 0, 0
    parameters = ACTIVATIONS[name].parameters
    for numbers in itertools.product(*(_NUMBERS if isinstance(p, Number) else p.words for p in parameters)):
        named = {p.name: number for p, number in zip(parameters, numbers, strict=True)}
        if name == "softplus" and not named["threshold"] <= 80:  # there PyTorch's exponential overflows
            continue
        asked += 1
        if any(float(np.finfo(dtype).max) < abs(number) < math.inf for number in numbers if isinstance(number, float)):
            with pytest.raises(ValueError, match=rf"^{name}: "):  # there only if it is the first that PyTorch looks at
                getattr(F, name)(x, **named)
            refused += 1
            continue
        try:
            want = function(torch.from_numpy(x), **named).numpy()
        except (RuntimeError, ValueError, ZeroDivisionError):
            with pytest.raises(ValueError, match=rf"^{name}: "):
                getattr(F, name)(x, **named)
            refused += 1
            continue
        got, finite = getattr(F, name)(x, **named), np.isfinite(want)
        np.testing.assert_array_equal(np.where(finite, 0, got), np.where(finite, 0, want), err_msg=f"{named}")
        allowed = np.abs(want[finite]).max(initial=1e-30) * (1e-5 if dtype is np.float32 else 1e-7)
        assert np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0) <= allowed, named
    assert asked > refused


@pytest.mark.parametrize("name", ["gelu", "hardtanh", "softshrink"])
def test_refusals_of_activations(name: str) -> None:
    opinfo.check_errors(_full(name), getattr(F, name), 1)


def test_relu() -> None:
    opinfo.check("nn.functional.relu", F.relu, F.relu_backward, 4)


def test_prelu() -> None:
    opinfo.check("nn.functional.prelu", F.prelu, F.prelu_backward, 25)
    opinfo.check_errors("nn.functional.prelu", F.prelu, 3)


@pytest.mark.parametrize(
    ("full", "variant"), [(name, v) for name in ("softmax", "log_softmax", "nn.functional.softmin") for v in ("", "with_dtype")]
)
def test_softmax(full: str, variant: str) -> None:
    name = full.rpartition(".")[2]
    forward, pull = getattr(F, name), getattr(F, f"{name}_backward")

    def backward(dy: np.ndarray, x: np.ndarray, dim: int, dtype: Any = None) -> np.ndarray:
        return pull(dy, forward(x, dim, dtype=dtype), dim).astype(x.dtype)

    opinfo.check(full, forward, backward, 7, variant=variant)


# --- Normalisations ------------------------------------------------------------------------------------------------------


def _layer_norm_backward(dy: np.ndarray, x: np.ndarray, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    dx, dweight, dbias = F.layer_norm_backward(dy, x, shape, weight, eps)
    return dx, None if weight is None else dweight, None if bias is None else dbias


def _group_norm_backward(dy: np.ndarray, x: np.ndarray, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    dx, dweight, dbias = F.group_norm_backward(dy, x, groups, weight, eps)
    return dx, None if weight is None else dweight, None if bias is None else dbias


def _batch_norm_backward(
    dy: np.ndarray, x: np.ndarray, mean: Any, var: Any, weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:  # fmt: skip
    _, *saved = F.batch_norm(x, *_copies(mean, var), weight, bias, training, momentum, eps, return_saved=True)
    dx, dweight, dbias = F.batch_norm_backward(dy, x, *saved, weight, bias, training)
    return dx, None if weight is None else dweight, None if bias is None else dbias


def _instance_norm_backward(
    dy: np.ndarray, x: np.ndarray, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    dx, dweight, dbias = F.instance_norm_backward(dy, x, running_mean, running_var, weight, use_input_stats, eps)
    return dx, None if weight is None else dweight, None if bias is None else dbias


def _copies(*arrays: Any) -> Any:
    """Return arrays of our own: PyTorch's operation has moved the running moments of the sample already, and ours would do it again."""
    return [None if array is None else array.copy() for array in arrays]


def test_layer_norm() -> None:
    opinfo.check(
        "nn.functional.layer_norm", F.layer_norm, _layer_norm_backward, 6, least=4.0
    )  # of one value PyTorch leaves rounding times 1 / sqrt(eps)


def test_group_norm() -> None:
    opinfo.check("nn.functional.group_norm", F.group_norm, _group_norm_backward, 21, least=1.0)
    opinfo.check_errors("nn.functional.group_norm", F.group_norm, 2)


def test_batch_norm() -> None:
    opinfo.check("nn.functional.batch_norm", F.batch_norm, _batch_norm_backward, 12, least=1.0)


def test_instance_norm() -> None:
    opinfo.check("nn.functional.instance_norm", F.instance_norm, _instance_norm_backward, 9)


def test_local_response_norm() -> None:
    opinfo.check("nn.functional.local_response_norm", F.local_response_norm, F.local_response_norm_backward, 11)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_moments(name: str) -> None:
    """They move as PyTorch's do."""
    rng = np.random.default_rng(0)
    x, mean, var = rng.standard_normal((3, 4, 5)), rng.standard_normal(4), rng.uniform(1, 2, 4)
    theirs = torch.tensor(mean), torch.tensor(var)
    getattr(torch.nn.functional, name)(torch.tensor(x), *theirs, None, None, True, 0.3)
    getattr(F, name)(x, mean, var, None, None, True, 0.3)
    np.testing.assert_allclose(mean, theirs[0].numpy(), rtol=1e-12)
    np.testing.assert_allclose(var, theirs[1].numpy(), rtol=1e-12)


# --- Padding, dropout, one_hot -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "count"), [("constant", 51), ("reflect", 12), ("replicate", 12), ("replicate_negative", 6), ("circular", 8)]
)
def test_pad(variant: str, count: int) -> None:
    opinfo.check("nn.functional.pad", F.pad, lambda dy, x, *rest: F.pad_backward(dy, x.shape, *rest), count, variant=variant)


@pytest.mark.parametrize(("name", "count"), [("dropout", 19), ("dropout2d", 13)])
def test_dropout(name: str, count: int) -> None:
    """Where p or the mode leaves nothing to chance as PyTorch's; else the elements that stay are scaled as PyTorch scales them."""
    function, pull = getattr(F, name), getattr(F, f"{name}_backward")
    seen = certain = 0
    for sample in opinfo.samples(f"nn.functional.{name}"):
        seen += 1
        x, options = opinfo.plain(sample.input), {"p": 0.5, "training": True, **sample.kwargs}
        y, mask = function(x, **options, return_mask=True, rng=1)
        assert y.shape == x.shape
        if options["p"] in (0, 1) or not options["training"]:
            certain += 1
            with opinfo.no_warnings():
                want = getattr(torch.nn.functional, name)(sample.input, **options)
            want.sum().backward()
            np.testing.assert_array_equal(y, want.detach().numpy())
            np.testing.assert_array_equal(pull(np.ones_like(x), mask, **options), sample.input.grad.numpy())
        else:
            np.testing.assert_array_equal(y, np.where(mask, x * 2, 0))
            np.testing.assert_array_equal(pull(x, mask, **options), y)
    assert (seen, certain) == (count, {"dropout": 15, "dropout2d": 10}[name])


def test_one_hot() -> None:
    opinfo.check("nn.functional.one_hot", F.one_hot, None, 6, dtypes=(torch.int64,))


# --- Losses --------------------------------------------------------------------------------------------------------------

LOSSES = {
    "mse_loss": 6, "l1_loss": 6, "smooth_l1_loss": 8, "huber_loss": 9, "kl_div": 16, "binary_cross_entropy": 11,
    "binary_cross_entropy_with_logits": 26, "nll_loss": 61, "cross_entropy": 21,
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    opinfo.check(f"nn.functional.{name}", getattr(F, name), getattr(F, f"{name}_backward"), LOSSES[name])


@pytest.mark.parametrize(("name", "count"), [("l1_loss", 2), ("huber_loss", 3)])
def test_refusals_of_losses(name: str, count: int) -> None:
    opinfo.check_errors(f"nn.functional.{name}", getattr(F, name), count)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_label_smoothing(soft: bool, weighted: bool, reduction: str) -> None:
    """No sample of PyTorch's has any; with classes that are ignored, in (N, C, D)."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 5, 4))
    target = rng.dirichlet(np.ones(5), (3, 4)).transpose(0, 2, 1) if soft else rng.integers(0, 5, (3, 4))
    weight = rng.uniform(0.5, 2, 5) if weighted else None
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": 0.2} | ({} if soft else {"ignore_index": 2})
    leaf = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.cross_entropy(leaf, torch.tensor(target), None if weight is None else torch.tensor(weight), **options)
    dy = np.asarray(rng.standard_normal(tuple(want.shape)))
    want.backward(torch.tensor(dy))
    opinfo.agree(F.cross_entropy(x, target, weight, **options), want, 1e-12, "loss")
    opinfo.agree(F.cross_entropy_backward(dy, x, target, weight, **options)[0], leaf.grad, 1e-12, "gradient")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_corners_and_values_that_are_no_numbers(name: str, dtype: Any) -> None:
    """Values and gradients where formulas change over, at infinities and NaN; against float64, as PyTorch's float32 is less exact."""
    numbers = [-100, -20, -6, -3, -1, -0.5, -1e-4, -0.0, 0, 1e-4, 0.5, 1, 3, 6, 19.9, 20, 20.1, 100, np.nan]
    x = np.array(numbers + [-np.inf, np.inf] * (name != "softsign"), dtype)  # whose gradient is NaN in PyTorch, and 0 here
    leaf = torch.tensor(x.astype(np.float64), requires_grad=True)
    parameters = (0.5, -2.0) if name == "threshold" else ()
    want = getattr(torch.nn.functional, name)(leaf, *parameters)
    dy = np.linspace(1, 2, len(x)).astype(dtype)
    (gradient,) = torch.autograd.grad(want, leaf, torch.tensor(dy.astype(np.float64)))
    limit = 1e-6 if dtype == np.float32 else 1e-7 if name == "hardsigmoid" else 1e-14
    np.testing.assert_allclose(getattr(F, name)(x, *parameters), want.detach().numpy(), rtol=limit, atol=limit)
    np.testing.assert_allclose(getattr(F, f"{name}_backward")(dy, x, *parameters), gradient.numpy(), rtol=limit, atol=limit)
