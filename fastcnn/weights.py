"""Weights in and out: files of named arrays, under the names of PyTorch's ``state_dict`` (``0.weight``, ``2.running_mean``).

A `torch.nn.Sequential` of the same layers as a `Sequential` here has the same names and shapes, so weights pass either way, by file or as
they are::

    weights.load_into(net, torch_net.state_dict())                # tensors on the CPU
    weights.save("net.safetensors", net)                          # which safetensors.torch.load_file reads
    torch_net.load_state_dict({name: torch.from_numpy(a) for name, a in net.state_dict().items()})
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import checks, extras, files, window
from .layers import Layer

FORMATS = (".npz", ".safetensors")
DTYPES = ("float16", "float32", "float64")


class Difference(NamedTuple):
    """Names in which a model and loaded weights differ.

    Attributes
    ----------
    missing_keys : list of str
        The model has them, the weights do not: they stay as they were.
    unexpected_keys : list of str
        The weights have them, the model does not: they are not used.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


def save(path: str | os.PathLike[str], source: Layer | Mapping[str, Any], dtype: str | None = None) -> None:
    """Write weights to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Ends in ``.npz`` (NumPy's, without pickle) or ``.safetensors`` (needs the package safetensors).
    source : Layer, or mapping of str to array
        Of a model every parameter and buffer; a mapping may hold tensors of the CPU.
    dtype : "float16", "float32" or "float64", optional
        What floats are rounded to in the file; whole numbers stay as they are. "float16" halves the file of a float32 model: 11 bits of
        precision from 6e-5 to 65504, fewer below, 0 below 3e-8. It is a form at rest only: `load_into` widens to the model's dtype.

    Raises
    ------
    TypeError
        `source` is neither, a name is no str, or a value no array.
    ValueError
        The path has another ending; `dtype` is another; or a finite value is beyond its range: the message names the parameter.
    ImportError
        The package safetensors is missing.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from fastcnn import weights
    >>> from fastcnn.layers import Linear, ReLU, Sequential
    >>> net, other = (Sequential(Linear(2, 3, rng=seed), ReLU(), Linear(3, 1, rng=seed)) for seed in (0, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights.save(f"{folder}/net.npz", net)
    ...     weights.load_into(other, f"{folder}/net.npz")
    Difference(missing_keys=[], unexpected_keys=[])
    >>> bool((net.params["2.weight"] == other.params["2.weight"]).all())
    True
    """
    kind, arrays = _format("save", path), _arrays("save", "source", source)
    if dtype is not None:
        dtype = checks.choice("save", "dtype", dtype, DTYPES)
        arrays = {name: _rounded(name, array, dtype) for name, array in arrays.items()}
    if kind == ".npz":
        files.save_arrays(path, arrays)
        return
    content = _safetensors().save(arrays)
    with files.replacing(path) as file:
        file.write(content)


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the named arrays of a file, which `save` or another program wrote; nothing in it is executed.

    Parameters
    ----------
    path : path-like
        Ends in ``.npz`` or ``.safetensors``.

    Raises
    ------
    ValueError
        The path has another ending, or the file is damaged, of another kind, or holds pickled objects.
    ImportError
        The package safetensors is missing.
    OSError
        The file cannot be read.
    """
    kind = _format("load", path)
    damage: tuple[type[Exception], ...] = (ValueError,)
    read: Callable[[Any], dict[str, np.ndarray]] = files.load_arrays
    if kind == ".safetensors":
        read = _load_safetensors
        package = extras.require("safetensors", "safetensors", "safetensors", "a .safetensors file")
        damage += (package.SafetensorError, KeyError, TypeError)  # of dtypes that NumPy does not have
    try:
        return read(path)
    except damage as error:
        raise ValueError(f"load: {path} is no {kind} file of arrays, or a damaged one: {error}") from error


def load_into(model: Layer, source: str | os.PathLike[str] | Mapping[str, Any], strict: bool = True) -> Difference:
    """Copy weights into a model's parameters and buffers, all or none.

    Parameters
    ----------
    model : Layer
    source : path-like, or mapping of str to array
        A file as of `load`, or weights as of ``state_dict()``, here or in PyTorch. Numbers of another precision are rounded to the
        model's, as in PyTorch.
    strict : bool
        Names must be the same; with False what is missing stays as it was, and what is unexpected is left out. Shapes must fit anyway.

    Returns
    -------
    Difference

    Raises
    ------
    TypeError
        `model` is no layer, `source` no mapping of arrays, or floats meet integers.
    ValueError
        Names or shapes differ; the message lists all of them.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"load_into: model must be a Layer; got {type(model).__name__}")
    checks.flag("load_into", "strict", strict)
    given = _arrays("load_into", "source", load(source) if isinstance(source, (str, os.PathLike)) else source)
    own = {**model.params, **model.buffers}
    difference = Difference([name for name in own if name not in given], [name for name in given if name not in own])
    mistakes = []
    if strict and difference.missing_keys:
        mistakes.append(f"Missing key(s) in state_dict: {_quoted(difference.missing_keys)}")
    if strict and difference.unexpected_keys:
        mistakes.append(f"Unexpected key(s) in state_dict: {_quoted(difference.unexpected_keys)}")
    shared = {name: (array, own[name]) for name, array in given.items() if name in own}
    mistakes += [
        f"size mismatch for {name}: copying a param with shape {array.shape} from checkpoint, the shape in current model is {old.shape}"
        for name, (array, old) in shared.items()
        if array.shape != old.shape
    ]
    if mistakes:
        raise ValueError(f"load_into: error(s) in loading state_dict for {type(model).__name__}: {'; '.join(mistakes)}")
    state = model.state_dict()
    for name, (array, old) in shared.items():
        if array.dtype.kind != old.dtype.kind:
            raise TypeError(f"load_into: {name} must be of {old.dtype}, or of another precision; got {array.dtype}")
        with np.errstate(over="ignore"):  # beyond float32 lies its infinity
            state[name] = array.astype(old.dtype)
    model.load_state_dict(state)
    return difference


def _arrays(op: str, name: str, source: Any) -> dict[str, np.ndarray]:
    """Return named arrays of a model or a mapping, each native and C-contiguous."""
    if isinstance(source, Layer):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        raise TypeError(f"{op}: {name} must be a Layer or a mapping of str to array; got {type(source).__name__}")
    found = {}
    for key, value in source.items():
        if not isinstance(key, str):
            raise TypeError(f"{op}: {name} must have names of str; got {type(key).__name__}")
        array = checks.array(op, f"{name}[{key!r}]", value, None, None)
        if array.dtype.name == "bfloat16":  # which NumPy knows from a package only, and no model here computes in
            array = array.astype(np.float32)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{op}: {name}[{key!r}] must hold numbers; got dtype {array.dtype}")
        found[key] = checks.contiguous(array)
    return found


def _rounded(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """Return floats in another precision; ValueError where a finite one would become infinite."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype)
    lost = np.isinf(rounded) & np.isfinite(array)
    if lost.any():
        count, largest = np.count_nonzero(lost), np.abs(array[lost]).max()
        raise ValueError(
            f"save: {name} must lie within +-{np.finfo(dtype).max:g} to be saved as {dtype}; got {count} beyond it, up to {largest:g}"
        )
    return rounded


def _format(op: str, path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{op}: path must be a path; got {type(path).__name__}")
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"{op}: path must end in {' or '.join(FORMATS)}; got {window.shown(str(path))}")
    return ending


def _safetensors() -> Any:
    return extras.require("safetensors.numpy", "safetensors", "safetensors", "a .safetensors file")


def _load_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    found = _safetensors()
    files.open_regular(path).close()  # the package would wait for a pipe
    arrays: dict[str, np.ndarray] = found.load_file(path)
    return arrays


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
