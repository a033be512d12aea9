"""Legal uses of layers: made, called with an input, and pulled back."""

from __future__ import annotations

import inspect
from typing import Any

from hypothesis import strategies as st

from fastcnn import layers
from fastcnn.ops.activation import ACTIVATIONS
from tests._strategies import channels, windows
from tests.fuzz.legal import DTYPES, Draw, array, batch, chance, flag, legal, number, one_of, optional, sizes
from tests.fuzz.legal_elements import _SETTINGS, shape_of
from tests.fuzz.legal_pools import _Sliding
from tests.fuzz.legal_windows import moving

_TABLE = [name for name in layers.__all__ if getattr(getattr(layers, name), "name", None) in ACTIVATIONS]
_PLAIN = ("ReLU", "Identity", "Step", "Flatten")
NET = "layers.Sequential(layers.Conv2d(1, 3, 3, rng=0), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(), layers.Linear(27, 3, rng=1))"


def _use(draw: Draw, name: str, arguments: dict[str, str], shape: tuple[int, ...], dtype: str = "f4") -> tuple[str, dict[str, str]]:
    """Return a use of a layer: mostly a forward and a backward, at times what it tells of shapes, or a state that it loads."""
    if chance(draw, 5):
        return f"shaped({name}, ", {"shape": repr(shape[1:]), **arguments}
    found = {"x": array(draw, "reals", shape, dtype), **arguments}
    return f"layer({name}, ", found | optional(draw, training=lambda: flag(draw))


def _dtype(draw: Draw, dtype: str) -> dict[str, str]:
    return {"dtype": f"np.{'float32' if dtype == 'f4' else 'float64'}"} if dtype == "f8" or chance(draw, 4) else {}


@legal(*(f"layers.{name}" for name in (*_PLAIN, *_TABLE)))
def _activation(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    kind = getattr(layers, name.rpartition(".")[2])
    found: dict[str, str] = {}
    for parameter in ACTIVATIONS[kind.name].parameters if getattr(kind, "name", "") else ():
        if parameter.name in _SETTINGS:
            found[parameter.name] = number(draw, *_SETTINGS[parameter.name])
        elif parameter.name == "approximate":
            found[parameter.name] = repr(one_of(draw, "none", "tanh"))
    return _use(draw, name, found, shape_of(draw), one_of(draw, *DTYPES))


@legal("layers.PReLU", "layers.Softmax", "layers.LogSoftmax", "layers.Dropout", "layers.Dropout2d")
def _of_one_number(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    shape = (batch(draw), 3, 2, 2)
    made: dict[str, Any] = {
        "layers.PReLU": {"num_parameters": lambda: repr(one_of(draw, 1, 3)), "init": lambda: number(draw, 0, 1)},
        "layers.Softmax": {"dim": lambda: repr(one_of(draw, 0, 1, -1))},
        "layers.LogSoftmax": {"dim": lambda: repr(one_of(draw, 0, 1, -1))},
    }
    dropout = {"p": lambda: number(draw, 0, 1), "rng": lambda: repr(one_of(draw, 0, 7, None))}
    return _use(draw, name, optional(draw, **made.get(name, dropout)), shape)


@legal("layers.Linear")
def _linear(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    I, O, dtype = one_of(draw, 1, 3, 5), one_of(draw, 1, 4), one_of(draw, *DTYPES)
    found = {"in_features": repr(I), "out_features": repr(O), "rng": "0", **_dtype(draw, dtype)}
    found |= optional(draw, bias=lambda: flag(draw), init=lambda: repr(one_of(draw, "he_normal", "orthogonal", "zeros")))
    if chance(draw, 6):
        weight = f"{{'weight': {array(draw, 'ints', (O, I), dtype)}, 'bias': {array(draw, 'ints', (O,), dtype)}}}"
        return f"loaded({name}, ", {"state": weight, **{key: value for key, value in found.items() if key != "bias"}}
    return _use(draw, name, found, (batch(draw), I), dtype)


@legal("layers.Conv2d")
def _conv(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    w, (C, K, groups), dtype = draw(windows(2, largest=5, kernel=3)), draw(channels(3)), one_of(draw, *DTYPES)
    found = {"in_channels": repr(C), "out_channels": repr(K), "kernel_size": sizes(draw, w.kernel), "groups": repr(groups), "rng": "0"}
    found |= {**moving(draw, w), **_dtype(draw, dtype), **optional(draw, bias=lambda: flag(draw))}
    return _use(draw, name, found, (batch(draw), C, *w.size), dtype)


@legal("layers.MaxPool2d", "layers.AvgPool2d", "layers.AdaptiveAvgPool2d")
def _pool(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    if name.endswith("AdaptiveAvgPool2d"):
        return _use(draw, name, {"output_size": repr(one_of(draw, 1, (2, 1), (None, 3)))}, (batch(draw), 2, 4, 5))
    w = _Sliding(draw, 2, "Max" in name)
    return _use(draw, name, w.arguments(draw, "Max" in name), (batch(draw), 2, *w.size), one_of(draw, *DTYPES))


@legal("layers.BatchNorm1d", "layers.BatchNorm2d", "layers.GroupNorm", "layers.LayerNorm")
def _norm(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    C, dtype = one_of(draw, 2, 4), one_of(draw, *DTYPES)
    shape = (3, C, *((2, 2) if "1d" not in name else one_of(draw, (), (3,))))
    found: dict[str, str] = {
        "BatchNorm": {"num_features": repr(C)}, "GroupNorm": {"num_groups": repr(one_of(draw, 1, 2)), "num_channels": repr(C)},
        "LayerNorm": {"normalized_shape": repr(one_of(draw, 2, (2, 2), (C, 2, 2)))},
    }[name.removeprefix("layers.").rstrip("12d")]  # fmt: skip
    known = inspect.signature(getattr(layers, name.removeprefix("layers."))).parameters
    more = {"eps": lambda: number(draw, 1e-3, 1), "affine": lambda: flag(draw), "momentum": lambda: number(draw, 0, 1)}
    more |= {"track_running_stats": lambda: flag(draw), "elementwise_affine": lambda: flag(draw)}
    found |= optional(draw, **{key: make for key, make in more.items() if key in known})
    return _use(draw, name, {**found, **_dtype(draw, dtype)}, shape, dtype)


@legal("layers.Sequential", "layers.Residual")
def _nested(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    inside = ["layers.Conv2d(2, 2, 3, padding=1, rng=0)", "layers.ReLU()", "layers.BatchNorm2d(2)", "layers.Dropout(0.5, rng=0)"]
    body = draw(st.lists(st.sampled_from(inside), min_size=1, max_size=4))
    found = {"x": array(draw, "reals", (batch(draw), 2, 4, 4), "f4"), "body": f"[{', '.join(body)}]"}
    if name.endswith("Residual"):
        return f"layer({name}, ", found | optional(draw, shortcut=lambda: one_of(draw, "None", "layers.Conv2d(2, 2, 1, rng=0)"))
    return f"layer({name}, ", found | optional(draw, fuse=lambda: flag(draw))


@legal("layers.prepare")
def _prepared(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {"x": array(draw, "reals", (batch(draw), 1, 8, 8), "f4"), "model": NET}
    return "applied(layers.prepare, ", found | optional(draw, precision=lambda: repr(one_of(draw, "highest", "high", "medium")))
