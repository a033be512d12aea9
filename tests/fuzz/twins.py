"""The same call in PyTorch, where it has one: what it refuses and we accept is a failure, unless it is a listed extension.

Only what we accept is asked, with arrays of at most a million elements: on absurd sizes PyTorch crashes, or takes all memory.
"""

from __future__ import annotations

import importlib
import warnings
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tests.fuzz.judge import Outcome, arrays_in
from tests.fuzz.vocabulary import vocabulary
from tests.fuzz.words import Box

_MOST = 10**6


class Verdict(NamedTuple):
    """What PyTorch says: "agrees", "disagrees", "extension" or "not asked"; and why."""

    kind: str
    detail: str = ""


def torch() -> Any:
    """Return PyTorch, or None where it is not installed."""
    try:
        found = importlib.import_module("torch")
    except ImportError:
        return None
    found.set_num_threads(1)
    return found


_OWN = ("algorithm", "precision", "return_saved", "relu", "rng", "return_mask")  # arguments that PyTorch does not have
_ARRAYS = ("input", "weight", "bias", "target", "tensor", "grad_output", "indices", "running_mean", "running_var")
_OF_CHANNELS = ("weight", "bias", "running_mean", "running_var")  # of normalisations
_NAMES = {"im2col": "unfold", "col2im": "fold"}
_IN_GRAD = {f"conv{d}d_{what}" for d in (1, 2, 3) for what in ("input", "weight")}


def compare(peer: Any, name: str, arguments: dict[str, str], outcome: Outcome) -> Verdict:
    """Return what PyTorch makes of a call of ours."""
    room, _, short = name.rpartition(".")
    if outcome.kind != "returned" or room != "functional" or not _asked(peer, short, arguments):
        return Verdict("not asked")
    given = {key: eval(value, dict(vocabulary())) for key, value in arguments.items() if key not in _OWN}
    if any(array.size > _MOST for value in given.values() for array in arrays_in(value)):
        return Verdict("not asked")
    reason = extension(short, given)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = {key: _plain(peer, value, key not in _ARRAYS) for key, value in given.items()}
            if plain.get("dtype") is not None:
                plain["dtype"] = getattr(peer, np.dtype(plain["dtype"]).name)
            theirs = _call(peer, short, plain)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, OverflowError) as error:
        if reason:
            return Verdict("extension", reason)
        if "can't allocate memory" in str(error):  # a worker has little, and PyTorch copies what we do not
            return Verdict("not asked")
        return Verdict("disagrees", f"PyTorch refuses: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    if reason:
        return Verdict("extension", reason)
    wrong = _differs(outcome.result, theirs)
    if wrong and not _differs(outcome.result, _rounded(peer, short, plain), least=1e-8):
        return Verdict("agrees")
    return Verdict("disagrees", wrong) if wrong else Verdict("agrees")


def _asked(peer: Any, short: str, arguments: dict[str, str]) -> bool:
    if short.endswith("_backward") or short.startswith("global_") or "'NHWC'" in arguments.values():
        return False
    if any("True" in arguments.get(key, "") for key in ("return_saved", "relu", "return_mask")):  # np.bool_(True) too
        return False  # other results than PyTorch's
    if short == "dropout2d" or (short == "dropout" and "'training'" not in arguments):
        return False  # chance
    return short in _IN_GRAD or hasattr(peer.nn.functional, _NAMES.get(short, short)) or hasattr(peer, short)


def _call(peer: Any, short: str, given: dict[str, Any]) -> Any:
    functional = peer.nn.functional
    if short in _IN_GRAD:
        return getattr(peer.nn.grad, short)(**given)
    function = getattr(functional, _NAMES.get(short, short), None) or getattr(peer, short)
    named = {key: value for key, value in given.items() if key != "tensor"}  # one_hot's, which PyTorch takes without its name
    return function(*[given[key] for key in given.keys() - named.keys()], **named)


def _plain(peer: Any, value: Any, is_size: bool = False) -> Any:
    """Return an argument as PyTorch takes it: tensors for arrays in any form, plain numbers for NumPy's."""
    if isinstance(value, Box):
        value = value.array
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu" and is_size:
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        array = np.array(value, dtype=value.dtype.newbyteorder("="), order="C", subok=False)
        return peer.from_numpy(array)
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(peer, item, is_size) for item in value)
    return value


def extension(short: str, given: dict[str, Any]) -> str:
    """Return why we accept what PyTorch refuses, or nothing."""
    padding, stride = given.get("padding"), given.get("stride")
    x = next(arrays_in(given.get("input")), np.empty(0))  # in a box, too
    if isinstance(padding, (tuple, list)) and any(isinstance(side, (tuple, list)) for side in padding):
        return "asymmetric padding"
    if short.startswith("adaptive_") and "1d" in short and given.get("output_size") == (None,):
        return "None keeps the length, in a tuple too"
    if short.startswith("adaptive_") and given.get("output_size") is None:
        return "None keeps all lengths"
    if short in _IN_GRAD and short.endswith("weight") and len(given["weight_size"]) > np.ndim(given["input"]):
        return "a single image in gradients too"
    if short in _IN_GRAD and short.endswith("input") and len(given["input_size"]) < np.ndim(given["weight"]):
        return "a single image in gradients too"
    windows = given.get("kernel_size"), stride
    if short.startswith("max_unpool") and any(isinstance(size, (tuple, list)) and len(size) == 1 for size in windows):
        return "one size in a tuple, as in pooling"
    if short in _IN_GRAD and isinstance(padding, str):
        return "the words of padding in gradients too"
    if short in ("layer_norm", "rms_norm") and not isinstance(given["normalized_shape"], (tuple, list)):
        return "one length alone, as in torch.nn.LayerNorm"
    if short == "one_hot":
        return "labels of every integer type"
    if (short == "max_pool1d" or short.startswith("adaptive_max_pool")) and x.dtype.kind in "iu":
        return "integers too, as in PyTorch's max_pool2d and max_pool3d"
    if short == "avg_pool3d" and np.less(x.shape[-3:], given["kernel_size"]).any():
        return "windows larger than the image, as along one and two axes"
    if short == "instance_norm" and len(x) == 0:
        return "no samples, with parameters too"
    if short == "pad" and x.dtype == bool:
        return "bools in every mode"
    if short in ("batch_norm", "instance_norm", "group_norm") and any(_infinite(given.get(key)) for key in _OF_CHANNELS):
        return "infinite parameters: which infinities meet, and make NaN, depends on the order of sums and products"
    targets = list(arrays_in(given.get("target")))
    if short in ("nll_loss", "cross_entropy") and any(target.dtype.kind in "iu" and target.dtype != np.int64 for target in targets):
        return "labels of every integer type"
    if any(isinstance(value, Fraction) or (type(value) is int and abs(value) >= 2**63) for value in given.values()):
        return "every kind of number is a float where one is asked for"
    if isinstance(padding, str) and (short in ("im2col", "col2im") or stride not in (None, 1)):
        return "padding='same' with any stride, as in TensorFlow; the words in im2col too"
    return ""


def _rounded(peer: Any, short: str, given: dict[str, Any]) -> Any:
    """Return PyTorch's results of float64, rounded to float32: where a call loses digits, or overflows, its own may be the wrong ones."""

    def to(dtype: Any, value: Any) -> Any:
        return value.to(dtype) if isinstance(value, peer.Tensor) and value.is_floating_point() else value

    results = _call(peer, short, {key: to(peer.float64, value) for key, value in given.items()})
    return tuple(to(peer.float32, value) for value in (results if isinstance(results, (tuple, list)) else (results,)))


def _infinite(value: Any) -> bool:
    return any(array.dtype.kind == "f" and bool(np.isinf(np.asarray(array)).any()) for array in arrays_in(value))


def _differs(ours: Any, theirs: Any, least: float = 1e-30) -> str:
    """Return how results differ, or nothing; errors are relative to the largest value, or to `least` where that is larger."""
    one, other = (value if isinstance(value, (tuple, list)) else (value,) for value in (ours, theirs))
    if len(one) != len(other):
        return f"{len(one)} results; PyTorch has {len(other)}"
    for mine, tensor in zip(one, other, strict=True):
        got, want = np.asarray(mine), tensor.detach().numpy()
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"{got.dtype} {got.shape}; PyTorch has {want.dtype} {want.shape}"
        if got.dtype.kind != "f":
            named = got != -1  # the place of a maximum in padding alone, where PyTorch names one outside of the image
            if not np.array_equal(got[named], want[named]):
                return f"other values: {got.ravel()[:6]}; PyTorch has {want.ravel()[:6]}"
            continue
        finite = np.isfinite(want)
        if not np.array_equal(np.where(finite, 0, got), np.where(finite, 0, want), equal_nan=True):
            return f"other NaN or infinities: {got.ravel()[:6]}; PyTorch has {want.ravel()[:6]}"
        scale = float(np.abs(want[finite]).max(initial=least))
        off = float(np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0))
        if off > scale * (1e-4 if got.dtype == np.float32 else 1e-9):
            return f"off by {off:g} of {scale:g}"
    return ""
