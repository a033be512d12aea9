"""Weights from PyTorch's models into ours and back: by name, and by files that both read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (extra 'partners')")

from fastcnn import weights  # noqa: E402
from fastcnn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential  # noqa: E402

IMAGES = np.random.default_rng(0).standard_normal((6, 3, 10, 9)).astype(np.float32)


def _ours() -> Sequential:
    return Sequential(
        Conv2d(3, 8, 3, padding=1), BatchNorm2d(8), ReLU(), MaxPool2d(2), Conv2d(8, 6, (3, 2), stride=2, groups=2, bias=False), Flatten(),
        Dropout(0.4), Sequential(Linear(24, 5), BatchNorm1d(5, affine=False), ReLU()), Linear(5, 4),
    )  # fmt: skip


def _theirs(seed: int = 0) -> Any:
    """Return PyTorch's model of the same layers, after two steps of training."""
    nn = torch.nn
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 6, (3, 2), stride=2, groups=2, bias=False), nn.Flatten(), nn.Dropout(0.4),
        nn.Sequential(nn.Linear(24, 5), nn.BatchNorm1d(5, affine=False), nn.ReLU()), nn.Linear(5, 4),
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.from_numpy(IMAGES)).square().sum().backward()
        optimizer.step()
    return net


def _require_same(ours: Sequential, theirs: Any) -> None:
    expected = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    assert list(ours.state_dict()) != []
    assert set(ours.state_dict()) == set(expected)
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, expected[name], strict=True)
    np.testing.assert_allclose(ours.eval()(IMAGES), theirs.eval()(torch.from_numpy(IMAGES)).detach().numpy(), rtol=0, atol=1e-5)


def test_a_state_dict_of_torch_loads() -> None:
    ours, theirs = _ours(), _theirs()
    assert weights.load_into(ours, theirs.state_dict()) == ([], [])
    _require_same(ours, theirs)
    assert ours.buffers["1.num_batches_tracked"] == 2


def test_and_goes_back() -> None:
    ours, theirs = _ours(), _theirs()
    ours(IMAGES)
    keys = theirs.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})
    assert not keys.missing_keys
    assert not keys.unexpected_keys
    _require_same(ours, theirs)


def test_by_safetensors_both_ways(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed: pip install safetensors")
    ours, theirs = _ours(), _theirs()
    safetensors.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    weights.load_into(ours, tmp_path / "theirs.safetensors")
    _require_same(ours, theirs)
    ours.train()(IMAGES)
    weights.save(tmp_path / "ours.safetensors", ours)
    other = _theirs(1)
    other.load_state_dict(safetensors.load_file(tmp_path / "ours.safetensors"))
    _require_same(ours, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_rounded(dtype: Any, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed: pip install safetensors")
    ours, theirs = _ours(), _theirs().to(dtype)
    safetensors.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    weights.load_into(ours, tmp_path / "theirs.safetensors")
    _require_same(ours, theirs.float())


def test_parameters_that_track_gradients_are_refused() -> None:
    with pytest.raises(TypeError, match=r"source\['0.weight'\] cannot be read as an array: .*requires grad"):
        weights.load_into(_ours(), dict(_theirs().named_parameters()))


def test_a_file_of_torch_by_npz(tmp_path: Path) -> None:
    ours, theirs = _ours(), _theirs()
    weights.save(tmp_path / "theirs.npz", theirs.state_dict())
    weights.load_into(ours, tmp_path / "theirs.npz")
    _require_same(ours, theirs)
