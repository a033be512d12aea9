"""Legal calls of losses, as functions and as objects."""

from __future__ import annotations

from tests.fuzz.legal import DTYPES, Draw, array, flag, legal, number, one_of, optional
from tests.fuzz.legal_elements import both, shape_of

_DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits")
_OBJECTS = {
    "MSELoss": "mse_loss", "L1Loss": "l1_loss", "SmoothL1Loss": "smooth_l1_loss", "HuberLoss": "huber_loss", "KLDivLoss": "kl_div",
    "BCELoss": "binary_cross_entropy", "BCEWithLogitsLoss": "binary_cross_entropy_with_logits", "NLLLoss": "nll_loss",
    "CrossEntropyLoss": "cross_entropy",
}  # fmt: skip


def _pair(draw: Draw, name: str, shape: tuple[int, ...], dtype: str) -> dict[str, str]:
    kind = "shares" if name.startswith(("binary", "kl")) else "reals"
    first = "reals" if name.endswith("logits") else kind
    return {"input": array(draw, first, shape, dtype), "target": array(draw, kind, shape, dtype)}


def _settings(draw: Draw, name: str, shape: tuple[int, ...], dtype: str) -> dict[str, str]:
    weight = lambda: array(draw, "shares", shape, dtype)  # noqa: E731
    given = {
        "mse_loss": {"weight": weight}, "l1_loss": {"weight": weight}, "binary_cross_entropy": {"weight": weight},
        "smooth_l1_loss": {"beta": lambda: number(draw, 0, 2)}, "huber_loss": {"delta": lambda: number(draw, 0.1, 2), "weight": weight},
        "kl_div": {"log_target": lambda: flag(draw)}, "binary_cross_entropy_with_logits": {"weight": weight, "pos_weight": weight},
    }  # fmt: skip
    return optional(draw, **given[name])


def _gradient(draw: Draw, reduction: str, shape: tuple[int, ...], dtype: str) -> dict[str, str]:
    return {"grad_output": array(draw, "reals", shape, dtype) if reduction == "none" else number(draw, -2, 2)}


@legal(*both(*_DISTANCES))
def _distance(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    short = name.rpartition(".")[2]
    shape, dtype, base = shape_of(draw, 0, 3), one_of(draw, *DTYPES), short.removesuffix("_backward")
    reduction = one_of(draw, "mean", "sum", "none", *(("batchmean",) if base == "kl_div" else ()))
    found = {**_pair(draw, base, shape, dtype), "reduction": repr(reduction), **_settings(draw, base, shape, dtype)}
    return f"F.{short}(", found | (_gradient(draw, reduction, shape, dtype) if short != base else {})


def _classes(draw: Draw, name: str) -> tuple[dict[str, str], tuple[int, ...], str]:
    """Return arguments of a loss of classes, the shape of its losses and the dtype."""
    C, dtype, rest = one_of(draw, 1, 3, 7), one_of(draw, *DTYPES), one_of(draw, (), (2,), (2, 3))
    N = one_of(draw, 1, 2, 4)
    shape, losses = (N, C, *rest), (N, *rest)
    if not rest and one_of(draw, True, False, False, False):
        shape, losses = (C,), ()
    soft = name == "cross_entropy" and one_of(draw, True, False, False)
    found = {"input": array(draw, "reals", shape, dtype)}
    found["target"] = array(draw, "shares", shape, dtype) if soft else f"labels({losses}, {C}, {one_of(draw, 'i8', 'i8', 'i4', 'u1')!r})"
    found |= optional(draw, weight=lambda: array(draw, "shares", (C,), dtype), ignore_index=lambda: repr(one_of(draw, 0, -100, 1)))
    if name == "cross_entropy":
        found |= optional(draw, label_smoothing=lambda: number(draw, 0, 1))
    return found, losses, dtype


@legal(*both("nll_loss", "cross_entropy"))
def _of_classes(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    short = name.rpartition(".")[2]
    found, losses, dtype = _classes(draw, short.removesuffix("_backward"))
    reduction = one_of(draw, "mean", "sum", "none")
    found["reduction"] = repr(reduction)
    return f"F.{short}(", found | (_gradient(draw, reduction, losses, dtype) if short.endswith("_backward") else {})


def _rows(draw: Draw, labels_only: bool = False) -> tuple[dict[str, str], int, str]:
    N, C, dtype = one_of(draw, 1, 2, 4), one_of(draw, 1, 3, 7, 70), one_of(draw, *DTYPES)
    soft = not labels_only and one_of(draw, True, False, False)
    target = array(draw, "shares", (N, C), dtype) if soft else f"labels(({N},), {C}, {one_of(draw, 'i8', 'u1')!r})"
    return {"input": array(draw, "reals", (N, C), dtype), "target": target}, N, dtype


@legal("softmax_cross_entropy", "softmax_cross_entropy_backward")
def _fused(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found, N, dtype = _rows(draw)
    reduction = one_of(draw, "mean", "sum", "none")
    found |= {"reduction": repr(reduction)} | optional(draw, label_smoothing=lambda: number(draw, 0, 1))
    return f"fastcnn.{name}(", found | (_gradient(draw, reduction, (N,), dtype) if name.endswith("_backward") else {})


@legal("losses.SoftmaxCrossEntropy")
def _object_of_rows(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    step = one_of(draw, True, False)
    found, _, _ = _rows(draw, step)
    return f"{'one_pass' if step else 'loss'}({name}, ", found | optional(draw, label_smoothing=lambda: number(draw, 0, 1))


@legal(*(f"losses.{name}" for name in _OBJECTS))
def _object(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    function = _OBJECTS[name.rpartition(".")[2]]
    if function in _DISTANCES:
        shape, dtype = shape_of(draw, 0, 3), one_of(draw, *DTYPES)
        found = {**_pair(draw, function, shape, dtype), **_settings(draw, function, shape, dtype)}
        if name == "losses.HuberLoss":
            found.pop("weight", None)  # as torch's has none
    else:
        found, _, _ = _classes(draw, function)
    return f"loss({name}, ", {**found, "reduction": repr(one_of(draw, "mean", "sum"))}
