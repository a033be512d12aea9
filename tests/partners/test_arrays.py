"""Arrays of other libraries as arguments: the results of NumPy's, on shared memory where the partner shares it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from _calls import calls, results

import fastcnn
from fastcnn import checks

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (extra 'partners')")


def _of_torch(array: np.ndarray) -> Any:
    return torch.from_numpy(array.copy())


def _of_torch_channels_last(array: np.ndarray) -> Any:
    tensor = torch.from_numpy(array.copy())
    return tensor.contiguous(memory_format=torch.channels_last) if array.ndim == 4 else tensor


def _of_torch_with_steps(array: np.ndarray) -> Any:
    spacious = torch.zeros([2 * size for size in array.shape], dtype=torch.from_numpy(array).dtype)
    view = spacious[tuple(slice(1, None, 2) for _ in array.shape)]
    view.copy_(torch.from_numpy(array))
    return view


def _of_torch_detached(array: np.ndarray) -> Any:
    tensor = torch.from_numpy(array.copy())
    return tensor.requires_grad_().detach() if array.dtype.kind == "f" else tensor


def _of_jax(array: np.ndarray) -> Any:
    jax = pytest.importorskip("jax", reason="JAX is not installed: pip install jax (extra 'partners')")
    with jax.enable_x64(True):
        return jax.numpy.asarray(array)


FORMS = {form.__name__[1:]: form for form in (_of_torch, _of_torch_channels_last, _of_torch_with_steps, _of_torch_detached, _of_jax)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", calls())
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_every_operation_takes_arrays_of_partners(name: str, form: str, dtype: Any) -> None:
    call = calls(dtype)[name]
    given = {argument: FORMS[form](array) for argument, array in call.arrays.items()}
    for got, want in zip(results(call(**given)), results(call()), strict=True):
        assert isinstance(got, (np.ndarray, np.generic))
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("form", FORMS)
def test_memory_is_shared(form: str) -> None:
    given = FORMS[form](np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5))
    first, second = (checks.array("conv2d", "input", given, "NCHW") for _ in range(2))
    assert np.shares_memory(first, second)


def test_a_tensor_with_gradient_is_refused() -> None:
    weight = torch.zeros(1, 1, 1, 1)
    with pytest.raises(TypeError, match=r"conv2d: input cannot be read as an array: .*requires grad.*detach\(\)"):
        fastcnn.conv2d(torch.zeros(1, 1, 2, 2, requires_grad=True), weight)
    with pytest.raises(TypeError, match=r"relu: input cannot be read as an array: .*requires grad"):
        fastcnn.relu(torch.zeros(3, requires_grad=True))


def test_a_tensor_elsewhere_is_refused() -> None:
    with pytest.raises(TypeError, match=r"conv2d: input cannot be read as an array: .*meta"):
        fastcnn.conv2d(torch.zeros(1, 1, 2, 2, device="meta"), torch.zeros(1, 1, 1, 1))


def test_dtypes_that_numpy_lacks_and_mixed_ones_are_refused() -> None:
    with pytest.raises(TypeError, match=r"relu: input cannot be read as an array: .*BFloat16"):
        fastcnn.relu(torch.zeros(3, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="expected arrays of one dtype"):
        fastcnn.conv2d(torch.zeros(1, 1, 2, 2), np.zeros((1, 1, 1, 1)))
