"""PyTorch's OpInfo: the sample arguments with which PyTorch tests its own operations, given to ours and compared with PyTorch's results.

A test names the operation, how many samples there are, and how to call our forward and backward::

    def test_conv1d() -> None:
        opinfo.check("nn.functional.conv1d", conv1d, lambda dy, x, w, b=None, *rest, **more: conv1d_backward(dy, x, w, *rest, **more), 10)

The backward is called with the gradient of the output and the sample's arguments, and returns the gradients of the floating-point arrays
among the arguments, in their order (a single array may stand alone); None where there is no such argument.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (extra 'partners')")
pytest.importorskip("expecttest", reason="expecttest is not installed: pip install expecttest (extra 'partners')")

LIMITS = {torch.float32: 1e-5, torch.float64: 1e-12}  # relative to the largest result: gradients of long sums cancel


class Limit(NamedTuple):
    """How far results may differ: relative to the largest of them, or to `least` where that is larger."""

    relative: float
    least: float


def info(name: str, variant: str = "") -> Any:
    """Return PyTorch's description of an operation."""
    from torch.testing._internal.common_methods_invocations import op_db

    return next(op for op in op_db if op.name == name and op.variant_test_name == variant)


def plain(value: Any) -> Any:
    """Return an argument with NumPy arrays, which may lie in memory as the tensors do, in the place of tensors; dtypes likewise."""
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    if isinstance(value, torch.dtype):
        return np.dtype(str(value).removeprefix("torch."))
    if isinstance(value, (tuple, list)):
        return type(value)(plain(item) for item in value) if type(value) in (tuple, list) else tuple(map(plain, value))
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def samples(name: str, variant: str = "", dtype: Any = torch.float64) -> Iterator[Any]:
    """Yield PyTorch's samples."""
    yield from info(name, variant).sample_inputs("cpu", dtype, requires_grad=dtype.is_floating_point)


def check(
    name: str,
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    count: int,
    *,
    variant: str = "",
    dtypes: tuple[Any, ...] = (torch.float32, torch.float64),
    limits: dict[Any, float] = LIMITS,
    least: float = 1e-30,
) -> None:
    """Assert that results and gradients are PyTorch's on all samples, of which there must be `count`.

    `limits` are relative to the largest result, or to `least` where that is larger: where terms cancel, PyTorch's too are rounding errors.
    """
    for dtype in dtypes:
        seen = 0
        for sample in samples(name, variant, dtype):
            seen += 1
            with np.errstate(all="ignore"):
                _check_sample(info(name, variant).op, sample, forward, backward, Limit(limits.get(dtype, 0.0), least))
        assert seen == count, f"{name}: {seen} samples of {dtype}"


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Ignore PyTorch's warnings of what its own samples cost it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_sample(
    op: Callable[..., Any], sample: Any, forward: Callable[..., Any], backward: Callable[..., Any] | None, limit: Limit
) -> None:
    tensors = (sample.input, *sample.args)
    with no_warnings():
        expected = op(*tensors, **sample.kwargs)
    arguments, options = plain(tensors), plain(sample.kwargs)
    found = forward(*arguments, **options)
    several = isinstance(expected, (tuple, list))
    for one, other in zip(found if several else [found], expected if several else [expected], strict=True):
        agree(one, other, limit, f"{sample}: result")
    first = expected[0] if several else expected
    given = (*tensors, *sample.kwargs.values())
    wanted = [tensor for tensor in given if isinstance(tensor, torch.Tensor) and tensor.requires_grad]
    if backward is None or not first.requires_grad or not wanted:
        return
    dy = torch.randn(first.shape, dtype=first.dtype, generator=torch.Generator().manual_seed(first.numel()))
    gradients = torch.autograd.grad(first, wanted, dy, allow_unused=True)
    ours = backward(dy.numpy(), *arguments, **options)
    ours = [ours] if isinstance(ours, np.ndarray) else [gradient for gradient in ours if gradient is not None]
    assert len(ours) >= len(wanted), f"{sample}: {len(ours)} gradients for {len(wanted)} tensors"
    for number, (one, other) in enumerate(zip(ours, gradients, strict=False)):
        if other is not None:
            agree(one, other, limit, f"{sample}: gradient {number}")


def agree(found: Any, expected: Any, limit: Limit | float, where: str) -> None:
    """Assert same shape and dtype, and values within `limit` of the largest; NaN and infinities in the same places."""
    expected = expected.detach().numpy()
    found = np.asarray(found)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), f"{where}: {found.dtype} {found.shape}"
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=where)
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.where(finite, 0, found), np.where(finite, 0, expected), err_msg=where)
    scale = float(np.abs(expected[finite]).max(initial=0))
    difference = float(np.abs(found[finite] - expected[finite]).max(initial=0))
    allowed = limit * max(scale, 1e-30) if isinstance(limit, float) else limit.relative * max(scale, limit.least)
    assert difference <= allowed, f"{where}: off by {difference} of {scale}"


def check_errors(
    name: str,
    forward: Callable[..., Any],
    count: int,
    *,
    variant: str = "",
    other_words: dict[str, str] | None = None,
    accepted: tuple[str, ...] = (),
) -> None:
    """Assert that what PyTorch refuses, in `count` samples, raises ValueError or TypeError in PyTorch's words.

    `other_words` maps a regular expression of PyTorch's to ours, where PyTorch's speaks of what is not ours (of tensors on devices, say).
    `accepted` holds those of PyTorch's that must not be raised, where we compute what PyTorch does not.
    """
    seen = 0
    for error in info(name, variant).error_inputs("cpu"):
        seen += 1
        sample, words = error.sample_input, error.error_regex
        arguments, options = plain((sample.input, *sample.args)), plain(sample.kwargs)
        if words in accepted:
            assert np.isfinite(forward(*arguments, **options)).all()
            continue
        with pytest.raises((ValueError, TypeError), match=(other_words or {}).get(words, words)):
            forward(*arguments, **options)
    assert seen == count, f"{name}: {seen} refusals"
