"""Weights in files and out: npz and safetensors, whole or not at all, and what does not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import weights
from fastcnn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential

FORMATS = ["npz", "safetensors"]


def _net(seed: int = 0, dtype: Any = np.float32) -> Sequential:
    return Sequential(
        Conv2d(1, 3, 3, rng=seed, dtype=dtype),
        ReLU(),
        BatchNorm2d(3, dtype=dtype),
        MaxPool2d(2),
        Sequential(Flatten(), Linear(12, 4, rng=seed, dtype=dtype)),
    )


def _trained(seed: int = 0, dtype: Any = np.float32) -> Sequential:
    net = _net(seed, dtype)
    net(np.random.default_rng(seed).standard_normal((4, 1, 6, 6)).astype(dtype))
    return net


NAMES = ["0.bias", "0.weight", "2.bias", "2.num_batches_tracked", "2.running_mean", "2.running_var", "2.weight", "4.1.bias", "4.1.weight"]


def _require_equal(found: Any, expected: Any) -> None:
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_model_comes_back_bit_for_bit(ending: str, dtype: Any, tmp_path: Path) -> None:
    path, net, other = tmp_path / "new" / f"net.{ending}", _trained(1, dtype), _net(2, dtype)
    weights.save(path, net)
    found = weights.load(path)
    assert sorted(found) == NAMES
    _require_equal(found, net.state_dict())
    assert weights.load_into(other, path) == ([], [])
    _require_equal(other.state_dict(), net.state_dict())
    assert other.buffers["2.num_batches_tracked"] == 1
    x = np.random.default_rng(3).standard_normal((2, 1, 6, 6)).astype(dtype)
    np.testing.assert_array_equal(other.eval()(x), net.eval()(x))


@pytest.mark.parametrize("ending", FORMATS)
def test_mappings_of_any_arrays(ending: str, tmp_path: Path) -> None:
    values = {
        "stepped": np.arange(24.0).reshape(2, 3, 4)[:, ::2].transpose(2, 0, 1),
        "foreign": np.arange(3, dtype=np.dtype(">f4")),
        "halves": np.ones(2, np.float16),
        "single": np.array(3, np.int64),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 2)),
        "not numbers": np.array([np.nan, np.inf, -0.0]),
    }
    weights.save(tmp_path / f"a.{ending}", values)
    found = weights.load(tmp_path / f"a.{ending}")
    _require_equal(found, {name: array.astype(array.dtype.newbyteorder("=")) for name, array in values.items()})
    assert str(found["not numbers"][2]) == "-0.0"


def test_loading_changes_arrays_in_place() -> None:
    net, other = _trained(1), _net(2)
    held = other.params["0.weight"]
    weights.load_into(other, net.state_dict())
    assert other.layers[0].params["weight"] is held
    np.testing.assert_array_equal(held, net.params["0.weight"])


def test_precision_is_the_models() -> None:
    net, other = _trained(1, np.float64), _net(2)
    net.params["0.bias"][0] = 1e300
    weights.load_into(other, net.state_dict())
    assert other.params["0.bias"][0] == np.inf
    assert other.params["0.weight"].dtype == np.float32
    np.testing.assert_array_equal(other.params["0.weight"], net.params["0.weight"].astype(np.float32))
    weights.load_into(other, {name: a.astype(np.float16) if a.dtype.kind == "f" else a for name, a in _trained(3).state_dict().items()})
    assert other.params["0.weight"].dtype == np.float32


@pytest.mark.parametrize("ending", FORMATS)
def test_float16_weights_at_rest(ending: str, tmp_path: Path) -> None:
    """Half the bytes; what is loaded are the weights rounded to 11 bits, in the model's dtype; predictions hardly differ."""
    net = Sequential(Flatten(), Linear(36, 200, rng=0), ReLU(), BatchNorm1d(200), Linear(200, 10, rng=1))
    x = np.random.default_rng(3).standard_normal((8, 1, 6, 6)).astype(np.float32)
    net(x)
    whole, half = tmp_path / f"whole.{ending}", tmp_path / f"half.{ending}"
    weights.save(whole, net)
    weights.save(half, net, dtype="float16")
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    found = weights.load(half)
    for name, value in net.state_dict().items():
        expected = value.astype(np.float16) if value.dtype == np.float32 else value
        np.testing.assert_array_equal(found[name], expected, strict=True)
    assert found["3.num_batches_tracked"] == 1
    for dtype in (np.float32, np.float64):
        other = Sequential(Flatten(), Linear(36, 200, dtype=dtype), ReLU(), BatchNorm1d(200, dtype=dtype), Linear(200, 10, dtype=dtype))
        assert weights.load_into(other, half) == ([], [])
        for name, value in other.params.items():
            assert value.dtype == dtype
            np.testing.assert_array_equal(value, found[name])
            normal = np.abs(value) > 6.2e-5
            np.testing.assert_allclose(value[normal], net.params[name][normal], rtol=2**-11)
        got, want = other.eval()(x.astype(dtype)), net.eval()(x)
        assert 0 < np.linalg.norm(got - want) / np.linalg.norm(want) < 2e-3


@pytest.mark.parametrize("ending", FORMATS)
def test_what_float16_cannot_hold_is_refused_by_name(ending: str, tmp_path: Path) -> None:
    path, net = tmp_path / f"a.{ending}", _trained()
    net.buffers["2.running_var"][1:] = 65504, -7e4  # the largest that float16 has, and one beyond
    message = r"save: 2\.running_var must lie within \+-65504 to be saved as float16; got 1 beyond it, up to 70000"
    with pytest.raises(ValueError, match=message):
        weights.save(path, net, dtype="float16")
    assert not path.exists()
    with pytest.raises(ValueError, match=r"save: a must lie within \+-3\.40282e\+38 to be saved as float32; got 2"):
        weights.save(path, {"a": np.array([1e39, 1, -1e300])}, dtype="float32")
    values = np.array([np.inf, -np.inf, np.nan, -0.0, 65519.0, 1e-9], np.float32)  # 65519 rounds to 65504
    weights.save(path, {"a": values, "b": np.array([2**40])}, dtype="float16")
    found = weights.load(path)
    np.testing.assert_array_equal(found["a"], np.array([np.inf, -np.inf, np.nan, -0.0, 65504, 0], np.float16), strict=True)
    assert found["b"][0] == 2**40
    weights.save(path, {"a": np.ones(2, np.float16)}, dtype="float64")
    assert weights.load(path)["a"].dtype == np.float64
    for other in ("bfloat16", np.float16):
        with pytest.raises(ValueError, match=r"save: dtype must be one of \('float16', 'float32', 'float64'\)"):
            weights.save(path, {}, dtype=other)


def test_differences_are_all_listed_and_nothing_is_loaded() -> None:
    net = _net()
    before, state = net.state_dict(), _trained(1).state_dict()
    del state["0.bias"], state["2.running_var"]
    state["9.weight"] = np.zeros(3)
    state["4.1.weight"] = state["4.1.weight"].T
    with pytest.raises(ValueError, match="loading state_dict for Sequential") as caught:
        weights.load_into(net, state)
    for part in (
        'Missing key(s) in state_dict: "0.bias", "2.running_var"',
        'Unexpected key(s) in state_dict: "9.weight"',
        "size mismatch for 4.1.weight: copying a param with shape (12, 4) from checkpoint, the shape in current model is (4, 12)",
    ):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match=r"loading state_dict for Sequential: size mismatch for 4\.1\.weight"):
        weights.load_into(net, state, strict=False)
    _require_equal(net.state_dict(), before)


def test_not_strict_loads_what_both_have() -> None:
    net, state = _net(), _trained(1).state_dict()
    bias = net.state_dict()["0.bias"]
    del state["0.bias"]
    state["9.weight"] = np.zeros(3)
    difference = weights.load_into(net, state, strict=False)
    assert difference.missing_keys == ["0.bias"]
    assert difference.unexpected_keys == ["9.weight"]
    np.testing.assert_array_equal(net.params["0.bias"], bias)
    np.testing.assert_array_equal(net.params["0.weight"], state["0.weight"])


@pytest.mark.parametrize(
    ("model", "state", "message"),
    [
        ("net", {}, "load_into: model must be a Layer; got str"),
        (_net(), [1], "load_into: source must be a Layer or a mapping of str to array; got list"),
        (_net(), {1: np.zeros(1)}, "load_into: source must have names of str; got int"),
        (_net(), {"0.bias": [1.0]}, r"load_into: source\['0.bias'\] must be a NumPy array; got list"),
        (_net(), {"0.bias": np.array(["a", "b", "c"])}, r"load_into: source\['0.bias'\] must hold numbers; got dtype <U1"),
        (_net(), {"0.bias": np.zeros(3, complex)}, "must hold numbers; got dtype complex128"),
        (_net(), {"0.bias": np.zeros(3, object)}, "must hold numbers; got dtype object"),
        (
            _net(),
            {**_net().state_dict(), "0.bias": np.zeros(3, int)},
            "load_into: 0.bias must be of float32, or of another precision; got int64",
        ),
        (_net(), {**_net().state_dict(), "2.num_batches_tracked": np.zeros(())}, "2.num_batches_tracked must be of int64"),
    ],
)
def test_what_is_no_weight_is_refused(model: Any, state: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        weights.load_into(model, state)


def test_strict_must_be_a_bool() -> None:
    with pytest.raises(TypeError, match="load_into: strict must be a bool"):
        weights.load_into(_net(), {}, strict=1)


@pytest.mark.parametrize("path", ["net.pt", "net", "npz"])
def test_other_endings_are_refused(path: str, tmp_path: Path) -> None:
    for function in (lambda p: weights.save(p, {}), weights.load, lambda p: weights.load_into(_net(), p)):
        with pytest.raises(ValueError, match=r"path must end in \.npz or \.safetensors; got"):
            function(tmp_path / path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="path must be a path; got int"):
        weights.load(3)


@pytest.mark.parametrize("ending", FORMATS)
def test_damaged_files_are_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"net.{ending}"
    weights.save(path, _net())
    whole = path.read_bytes()
    for content in (b"", b"no weights", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"load: .*net\.{ending} is no \.{ending} file of arrays, or a damaged one"):
            weights.load(path)
    with pytest.raises(FileNotFoundError):
        weights.load(tmp_path / f"none.{ending}")


def test_pickled_content_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"is no \.npz file of arrays"):
        weights.load(tmp_path / "a.npz")
    with pytest.raises(TypeError, match="must hold numbers"):
        weights.save(tmp_path / "b.npz", {"a": np.array([{}], object)})
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failed_save_leaves_the_old_file(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"net.{ending}"
    weights.save(path, _net())
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        weights.save(path, _trained(1))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_without_safetensors_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for function in (lambda: weights.save(tmp_path / "a.safetensors", _net()), lambda: weights.load(tmp_path / "a.safetensors")):
        with pytest.raises(ImportError, match=r'a \.safetensors file needs safetensors: pip install "fastcnn\[safetensors\]"'):
            function()
