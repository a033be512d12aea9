"""Legal calls of activations, softmax, dense layers, normalisations, padding and dropout."""

from __future__ import annotations

import inspect
import math

from fastcnn import functional
from fastcnn.ops.activation import ACTIVATIONS
from tests.fuzz.legal import ALGORITHMS, DTYPES, Draw, array, batch, chance, flag, legal, number, one_of, optional

_SETTINGS = {  # legal values of the parameters of activations, whatever the function
    "alpha": (0.25, 2.0), "lambd": (0.0, 1.0), "beta": (0.5, 2.0), "threshold": (0.0, 20.0), "min_val": (-2.0, 0.0), "max_val": (0.5, 2.0),
    "negative_slope": (0.0, 0.5), "value": (-1.0, 1.0),
}  # fmt: skip


def shape_of(draw: Draw, least: int = 1, most: int = 4) -> tuple[int, ...]:
    """Draw the shape of a small array."""
    return tuple(one_of(draw, 1, 2, 3, 4) for _ in range(one_of(draw, *range(least, most + 1))))


def both(*names: str) -> tuple[str, ...]:
    """Return the names of functions and of their gradients."""
    return tuple(f"functional.{name}{suffix}" for name in names for suffix in ("", "_backward"))


def _opening(name: str) -> str:
    return f"F.{name.rpartition('.')[2]}("


@legal(*both(*ACTIVATIONS, "relu"))
def _activation(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    shape, dtype = one_of(draw, (), (0,), shape_of(draw)), one_of(draw, *DTYPES)
    found = {"input": array(draw, "reals", shape, dtype)}
    if name.endswith("_backward"):
        found["grad_output"] = array(draw, "reals", shape, dtype)
    for parameter in inspect.signature(getattr(functional, name.rpartition(".")[2])).parameters:
        if parameter == "approximate":
            found[parameter] = repr(one_of(draw, "none", "tanh"))
        elif parameter in _SETTINGS:
            found[parameter] = number(draw, *_SETTINGS[parameter])
    return _opening(name), found | ({"algorithm": repr(one_of(draw, *ALGORITHMS[:-1]))} if chance(draw, 4) else {})


@legal(*both("prelu"))
def _prelu(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    shape, dtype = shape_of(draw, 2), one_of(draw, *DTYPES)
    found = {"input": array(draw, "reals", shape, dtype), "weight": array(draw, "reals", (one_of(draw, 1, shape[1]),), dtype)}
    return _opening(name), found | ({"grad_output": array(draw, "reals", shape, dtype)} if name.endswith("_backward") else {})


@legal(*both("softmax", "log_softmax", "softmin"))
def _softmax(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    shape, dtype = shape_of(draw), one_of(draw, *DTYPES)
    dim = {"dim": repr(one_of(draw, *range(-len(shape), len(shape))))}
    if name.endswith("_backward"):
        return _opening(name), {"grad_output": array(draw, "reals", shape, dtype), "output": array(draw, "shares", shape, dtype), **dim}
    return _opening(name), {
        "input": array(draw, "reals", shape, dtype),
        **dim,
        **optional(draw, dtype=lambda: one_of(draw, "'f4'", "None")),
    }


@legal(*both("linear"))
def _linear(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    I, O, dtype = one_of(draw, 1, 3, 5), one_of(draw, 1, 4, 9), one_of(draw, *DTYPES)
    rows = one_of(draw, (), (1,), (3,), (2, 3), (0,))
    found = {"input": array(draw, "ints", (*rows, I), dtype), "weight": array(draw, "ints", (O, I), dtype)}
    if name.endswith("_backward"):
        found |= {"grad_output": array(draw, "ints", (*rows, O), dtype)}
    else:
        found |= optional(draw, bias=lambda: array(draw, "ints", (O,), dtype))
    return _opening(name), {**found, **optional(draw, precision=lambda: repr(one_of(draw, "highest", "high", "medium")))}


@legal(*both("batch_norm"))
def _batch_norm(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    C, dtype, last = one_of(draw, 1, 3, 5), one_of(draw, *DTYPES), chance(draw, 4)
    rest = (2, 3) if last else one_of(draw, (), (3,), (2, 3))
    x = (2, *rest, C) if last else (2, C, *rest)
    channel = lambda kind="shares": array(draw, kind, (C,), dtype)  # noqa: E731
    found = {"input": array(draw, "reals", x, dtype), **optional(draw, weight=channel, bias=channel)}
    if name.endswith("_backward"):
        found |= {"grad_output": array(draw, "reals", x, dtype), "mean": channel(), "inverse_deviation": channel()}
    else:
        found |= {"running_mean": channel(), "running_var": channel()}
        found |= optional(draw, momentum=lambda: number(draw, 0, 1), eps=lambda: "1e-05", return_saved=lambda: flag(draw))
    found |= optional(draw, training=lambda: flag(draw), relu=lambda: flag(draw))
    if found.get("relu") == "True" and name.endswith("_backward"):
        found |= {"weight": channel(), "bias": channel()}
    return _opening(name), found | ({"layout": "'NHWC'"} if last else {})


@legal(*both("layer_norm", "group_norm", "instance_norm"))
def _norm(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    groups, dtype, backward = one_of(draw, 1, 2, 3), one_of(draw, *DTYPES), name.endswith("_backward")
    shape = (one_of(draw, 1, 2), groups * one_of(draw, 1, 2), one_of(draw, 2, 3), *one_of(draw, (), (2,)))
    found = {"input": array(draw, "reals", shape, dtype)}
    of = (shape[1],)
    if "layer_norm" in name:
        of = shape[-one_of(draw, 1, 2) :]
        found["normalized_shape"] = repr(of)
    elif "group_norm" in name:
        found["num_groups"] = repr(groups)
    parameter = lambda: array(draw, "reals", of, dtype)  # noqa: E731
    found |= optional(draw, weight=parameter, **({} if backward else {"bias": parameter}), eps=lambda: number(draw, 1e-3, 1))
    if "instance_norm" in name and chance(draw, 2):
        found |= {"running_mean": parameter(), "running_var": array(draw, "shares", of, dtype), "use_input_stats": flag(draw)}
    return _opening(name), found | ({"grad_output": array(draw, "reals", shape, dtype)} if backward else {})


@legal(*both("local_response_norm"))
def _responses(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    shape, dtype = shape_of(draw, 3, 5), one_of(draw, *DTYPES)
    found = {"input": array(draw, "reals", shape, dtype), "size": repr(one_of(draw, 1, 2, 3, 5))}
    found |= optional(draw, alpha=lambda: number(draw, 0, 1), beta=lambda: number(draw, 0, 2), k=lambda: number(draw, 0.5, 2))
    return _opening(name), found | ({"grad_output": array(draw, "reals", shape, dtype)} if name.endswith("_backward") else {})


@legal(*both("pad"))
def _pad(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    mode = one_of(draw, "constant", "reflect", "replicate", "circular")
    axes = one_of(draw, 1, 2) if mode == "constant" else 1
    shape = tuple(one_of(draw, 3, 4) for _ in range(axes + 1 + chance(draw, 2)))
    sides = tuple(one_of(draw, 0, 1, 2, -1) for _ in range(2 * axes))
    found = {"pad": repr(sides), "mode": repr(mode)} | ({"value": number(draw, -2, 2)} if mode == "constant" and chance(draw, 2) else {})
    if not name.endswith("_backward"):
        return _opening(name), {"input": array(draw, "ints", shape, one_of(draw, *DTYPES, "i4")), **found}
    ends = (0,) * (2 * (len(shape) - axes)) + tuple(n for pair in list(zip(sides[::2], sides[1::2], strict=True))[::-1] for n in pair)
    padded = tuple(n + ends[2 * i] + ends[2 * i + 1] for i, n in enumerate(shape))
    return _opening(name), {"grad_output": array(draw, "ints", padded, one_of(draw, *DTYPES)), "input_shape": repr(shape), **found}


@legal("functional.dropout", "functional.dropout2d", "functional.dropout_backward")
def _dropout(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    shape, dtype = (batch(draw), one_of(draw, 1, 3), 2, 3), one_of(draw, *DTYPES)
    found = optional(draw, p=lambda: number(draw, 0, 1), training=lambda: flag(draw))
    if name.endswith("_backward"):
        mask = (*shape[:2], 1, 1) if chance(draw, 2) else shape
        return _opening(name), {"grad_output": array(draw, "reals", shape, dtype), "mask": f"ints({mask}) > 0", **found}
    return _opening(name), {"input": array(draw, "reals", shape, dtype), **found, "rng": "0", "return_mask": flag(draw)}


@legal("functional.one_hot")
def _one_hot(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    classes, shape = one_of(draw, 1, 3, 5), shape_of(draw, 0, 3)
    labels = f"labels({shape}, {classes}, {one_of(draw, 'i8', 'i4', 'u1')!r})"
    return _opening(name), {"tensor": labels, "num_classes": repr(one_of(draw, -1, classes, classes + math.prod(shape)))}
