"""Graphs rewritten to compute the same in fewer steps: constants folded, normalisations taken into weights, epilogues fused.

Every pass takes a graph apart into chains of two nodes of which the first has no other reader. What a rewrite needs to know (that a scale
is per channel, that padding is zero) it reads from constants; where it cannot know, it leaves the nodes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .executor import evaluate
from .graph import OWN_DOMAIN, Graph, Node, UnsupportedError, without_dead_nodes

_IMPURE = frozenset(("Dropout", "RandomNormal", "RandomUniform"))
_LARGEST_FOLDED = 2**24  # elements of a result that is kept instead of computed


def optimised(graph: Graph) -> Graph:
    """Return a graph that computes the same, within rounding."""
    graph = replace(graph, nodes=list(graph.nodes), constants=dict(graph.constants))
    _fold_constants(graph)
    _drop_identities(graph)
    ranks = _ranks(graph)
    graph.nodes = [_to_affine(_Pair(graph, node, node, ranks)) or node for node in graph.nodes]
    for rewrite in (_pad_into_convolution, _affines, _affine_into_convolution, _bias_into_product, _epilogue):
        _pairs(graph, rewrite, ranks)
    graph.nodes = without_dead_nodes(graph.nodes, [value.name for value in graph.outputs])
    used = graph.uses()
    graph.constants = {name: array for name, array in graph.constants.items() if used[name]}
    return graph


# --- Constants and identities ------------------------------------------------------------------------------------------


def _fold_constants(graph: Graph) -> None:
    kept = []
    for node in graph.nodes:
        if node.kind in _IMPURE or not all(name in graph.constants for name in node.inputs if name):
            kept.append(node)
            continue
        try:
            results = evaluate(node, [graph.constants[name] if name else None for name in node.inputs])
        except UnsupportedError:
            results = ()
        if not results or sum(array.size for array in results) > _LARGEST_FOLDED:
            kept.append(node)
            continue
        for name, array in zip(node.outputs, results, strict=False):
            array = array.view()
            array.flags.writeable = False
            graph.constants[name] = array
    graph.nodes = kept


def _drop_identities(graph: Graph) -> None:
    """Let the readers of an identity read its input; one that makes a result of the graph stays."""
    wanted, uses = {value.name for value in graph.outputs}, graph.uses()
    source: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(source.get(name, name) for name in node.inputs))
        if _is_identity(graph, node, uses) and node.outputs[0] not in wanted:
            source[node.outputs[0]] = node.inputs[0]
        else:
            kept.append(node)
    graph.nodes = kept


def _is_identity(graph: Graph, node: Node, uses: Any) -> bool:
    if node.domain:
        return False
    if node.kind == "Dropout":
        if any(name and uses[name] for name in node.outputs[1:]):
            return False
        if node.version < 7:
            return bool(node.get("is_test", 0))
        training = node.inputs[2] if len(node.inputs) > 2 else ""
        return not training or (training in graph.constants and not graph.constants[training])
    return node.kind == "Identity"


# --- Pairs -------------------------------------------------------------------------------------------------------------


class _Pair(NamedTuple):
    """A node, and the only reader of its first output; `ranks` are those of the values whose rank is known."""

    graph: Graph
    first: Node
    second: Node
    ranks: dict[str, int]

    def constant(self, node: Node, index: int) -> np.ndarray | None:
        """Return an input of a node if it is a constant."""
        return self.graph.constants.get(node.inputs[index]) if index < len(node.inputs) else None

    def store(self, *arrays: np.ndarray) -> tuple[str, ...]:
        """Add constants, named after what the pair makes, and return their names."""
        names = []
        for array in arrays:
            name = f"{self.second.outputs[0]}:{len(self.graph.constants)}"
            array.flags.writeable = False
            self.graph.constants[name] = array
            names.append(name)
        return tuple(names)

    def other(self) -> str | None:
        """Return the second input of a sum or product of two; None where the pair's value is in it twice."""
        value = self.first.outputs[0]
        names = [name for name in self.second.inputs if name != value]
        return names[0] if len(names) == 1 and len(self.second.inputs) == 2 else None


_Rewrite = Callable[[_Pair], "Node | None"]


def _pairs(graph: Graph, rewrite: _Rewrite, ranks: dict[str, int]) -> None:
    """Replace pairs of nodes until `rewrite`, which returns a node or None, finds no more; the node takes the place of the second."""
    done: list[Node] = []
    makers: dict[str, int] = {}
    uses = graph.uses()
    pending = list(reversed(graph.nodes))
    while pending:
        node = pending.pop()
        pairs = [_Pair(graph, done[makers[name]], node, ranks) for name in node.inputs if name in makers]
        pairs.sort(key=lambda pair: makers[pair.first.outputs[0]], reverse=True)  # the latest first: what it reads is made by then
        made = _rewritten(pairs, uses, rewrite)
        if made is None:
            for name in node.outputs:
                makers[name] = len(done)
            done.append(node)
        else:
            uses.subtract(name for name in node.inputs if name)
            uses.update(name for name in made.inputs if name)
            pending.append(made)
    graph.nodes = without_dead_nodes(done, [value.name for value in graph.outputs])


def _rewritten(pairs: Sequence[_Pair], uses: Any, rewrite: _Rewrite) -> Node | None:
    """Return what the first pair that can be rewritten becomes; None where none can."""
    for pair in pairs:
        first = pair.first
        made = rewrite(pair) if uses[first.outputs[0]] == 1 else None
        if made is not None:
            if first.outputs[0] not in made.inputs:  # nobody reads it any more, nor what it read
                uses.subtract(name for name in first.inputs if name)
                uses[first.outputs[0]] = 1  # the reader, which goes too
            return made
    return None


_KEEP_RANK = frozenset(
    ("BatchNormalization", "Relu", "Clip", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Dropout", "LRN", "Pad")
)


def _ranks(graph: Graph) -> dict[str, int]:
    """Return the ranks that are known: those of inputs, of what convolutions make, and of what follows them."""
    ranks = {value.name: len(value.shape) for value in graph.inputs if value.shape is not None}
    ranks |= {name: array.ndim for name, array in graph.constants.items()}
    for node in graph.nodes:
        given = [ranks.get(name) for name in node.inputs]
        rank = None
        if node.kind in ("Conv", "ConvTranspose"):
            rank = given[1]
        elif node.kind in _KEEP_RANK:
            rank = given[0]
        elif node.kind in ("Add", "Sum", "Mul", "Sub") and None not in given:
            rank = max(rank for rank in given if rank is not None)
        if rank is not None:
            ranks[node.outputs[0]] = rank
    return ranks


def _is_convolution(node: Node) -> bool:
    return node.kind == "Conv" and node.domain == ""


def _pad_into_convolution(pair: _Pair) -> Node | None:
    """Make a frame of zeros around the pixels the convolution's own."""
    pad, conv = pair.first, pair.second
    if pad.kind != "Pad" or pad.domain or not _is_convolution(conv) or conv.inputs[0] != pad.outputs[0]:
        return None
    if pad.get("mode", "constant") != "constant" or conv.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    if pad.version < 11:
        widths, value, axes = pad.get("pads"), pad.get("value", 0.0), None
    else:
        given, fill, axes = pair.constant(pad, 1), pair.constant(pad, 2), pair.constant(pad, 3)
        if given is None or (fill is None and len(pad.inputs) > 2 and pad.inputs[2]) or (axes is None and len(pad.inputs) > 3):
            return None
        widths, value = given.tolist(), 0.0 if fill is None else float(fill.reshape(()))
    weight = pair.constant(conv, 1)
    if weight is None or value != 0 or axes is not None or min(widths) < 0:
        return None
    ndim, count = weight.ndim, weight.ndim - 2
    if len(widths) != 2 * ndim or any(widths[:2]) or any(widths[ndim : ndim + 2]):
        return None
    own = conv.get("pads", (0,) * (2 * count)) if conv.get("auto_pad", "NOTSET") == "NOTSET" else (0,) * (2 * count)
    pads = tuple(int(a + b) for a, b in zip(own, (*widths[2:ndim], *widths[ndim + 2 :]), strict=True))
    attributes = {**conv.attributes, "pads": pads, "auto_pad": "NOTSET"}
    return replace(conv, inputs=(pad.inputs[0], *conv.inputs[1:]), attributes=attributes)


def _to_affine(pair: _Pair) -> Node | None:
    """Turn a normalisation by stored statistics into a factor and a shift per channel."""
    norm = pair.second
    if norm.kind != "BatchNormalization" or norm.domain or len([name for name in norm.outputs if name]) > 1:
        return None
    if norm.get("training_mode", 0) or not norm.get("spatial", 1) or (norm.version < 7 and not norm.get("is_test", 0)):
        return None
    given = [pair.constant(norm, index) for index in range(1, 5)]
    if any(array is None for array in given):
        return None
    scale, bias, mean, variance = (np.asarray(array, np.float64) for array in given)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + norm.get("epsilon", 1e-5))
    return _affine(pair, norm, norm.inputs[0], factor, bias - mean * factor, pair.graph.constants[norm.inputs[1]].dtype)


def _affine(pair: _Pair, node: Node, x: str, factor: np.ndarray, shift: np.ndarray, dtype: np.dtype) -> Node | None:
    with np.errstate(all="ignore"):
        factor, shift = factor.astype(dtype), shift.astype(dtype)
    if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        return None  # what is infinite times 0 must stay so
    return Node("Affine", (x, *pair.store(factor, shift)), node.outputs[:1], domain=OWN_DOMAIN, name=node.name)


def _per_channel(pair: _Pair, channels: int, ndim: int) -> np.ndarray | None:
    """Return the constant that the second node applies to all pixels of a channel alike, as one value per channel."""
    name = pair.other()
    constant = None if name is None else pair.graph.constants.get(name)
    if constant is None or constant.dtype.kind != "f":
        return None
    shape = (1,) * (ndim - constant.ndim) + constant.shape
    if constant.ndim > ndim or any(size != 1 for axis, size in enumerate(shape) if axis != 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(constant.reshape(-1).astype(np.float64), channels)


def _channels(pair: _Pair) -> tuple[int, int] | None:
    """Return (channels, rank) of what the first node makes, where they are known."""
    first, rank = pair.first, pair.ranks.get(pair.first.outputs[0])
    is_affine = first.kind == "Affine" and first.domain == OWN_DOMAIN
    of_channels = pair.constant(first, 1) if is_affine or _is_convolution(first) else None
    return None if of_channels is None or rank is None else (len(of_channels), rank)


def _affines(pair: _Pair) -> Node | None:
    """Take up a product or sum with a constant per channel, behind a convolution or another one."""
    node, sizes = pair.second, _channels(pair)
    if node.domain or node.kind not in ("Mul", "Add") or sizes is None or node.version < 7:
        return None
    values = _per_channel(pair, *sizes)
    if values is None:
        return None
    before = pair.first
    if before.kind == "Affine":
        factor, shift, x = *(np.asarray(pair.constant(before, i), np.float64) for i in (1, 2)), before.inputs[0]
        dtype = pair.graph.constants[before.inputs[1]].dtype
    else:
        factor, shift, x = np.ones(sizes[0]), np.zeros(sizes[0]), before.outputs[0]
        dtype = pair.graph.constants[before.inputs[1]].dtype
    if node.kind == "Mul":
        return _affine(pair, node, x, factor * values, shift * values, dtype)
    return _affine(pair, node, x, factor, shift + values, dtype)


def _affine_into_convolution(pair: _Pair) -> Node | None:
    """Take a factor and a shift of every channel into the weights and the bias that made it."""
    conv, affine = pair.first, pair.second
    if not _is_convolution(conv) or affine.kind != "Affine" or affine.domain != OWN_DOMAIN:
        return None
    weight, bias = pair.constant(conv, 1), pair.constant(conv, 2)
    if weight is None or (bias is None and len(conv.inputs) > 2 and conv.inputs[2]):
        return None
    factor, shift = (np.asarray(pair.constant(affine, index), np.float64) for index in (1, 2))
    if factor.shape != (len(weight),):
        return None
    with np.errstate(all="ignore"):
        new_weight = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
        new_bias = ((0.0 if bias is None else bias) * factor + shift).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return None
    return replace(conv, inputs=(conv.inputs[0], *pair.store(new_weight, new_bias)), outputs=affine.outputs)


def _bias_into_product(pair: _Pair) -> Node | None:
    """Take a row that is added into the product of matrices before it."""
    product, add = pair.first, pair.second
    if product.kind != "MatMul" or product.domain or add.kind != "Add" or add.domain or add.version < 7:
        return None
    name, weight = pair.other(), pair.constant(product, 1)
    row = None if name is None else pair.graph.constants.get(name)
    if row is None or weight is None or weight.ndim != 2 or row.shape != weight.shape[1:]:
        return None
    return Node("Linear", (*product.inputs, str(name)), add.outputs, {}, product.version, OWN_DOMAIN, product.name)


_LIMITED = frozenset(
    (("Conv", ""), ("Gemm", ""), ("Conv", OWN_DOMAIN), ("Gemm", OWN_DOMAIN), ("Affine", OWN_DOMAIN), ("Linear", OWN_DOMAIN))
)


def _epilogue(pair: _Pair) -> Node | None:
    """Apply a residual that is added to a convolution, and limits, as its sums are stored."""
    first, second = pair.first, pair.second
    if second.domain or first.get("low") is not None or first.get("high") is not None:
        return None
    if second.kind in ("Add", "Sum") and first.kind == "Conv" and not first.get("residual") and second.version >= 7:
        other = pair.other()
        if other is None or (pair.constant(first, 1) is None):
            return None
        inputs = first.inputs if len(first.inputs) == 3 else (*first.inputs, "")
        return _extended(first, (*inputs, other), second.outputs, residual=True)
    if (first.kind, first.domain) not in _LIMITED and not (first.kind in ("Add", "Sum") and len(first.inputs) == 2 and first.version >= 7):
        return None
    limits = _limits(pair)
    if limits is None:
        return None
    if first.kind in ("Add", "Sum"):
        return Node(
            "Sum", first.inputs, second.outputs, dict(zip(("low", "high"), limits, strict=True)), domain=OWN_DOMAIN, name=first.name
        )
    return _extended(first, first.inputs, second.outputs, low=limits[0], high=limits[1])


def _extended(node: Node, inputs: tuple[str, ...], outputs: tuple[str, ...], **attributes: Any) -> Node:
    return replace(node, inputs=inputs, outputs=outputs, attributes={**node.attributes, **attributes}, domain=OWN_DOMAIN)


def _limits(pair: _Pair) -> tuple[float | None, float | None] | None:
    """Return the limits from below and above that the second node sets."""
    node = pair.second
    if node.kind == "Relu":
        return 0.0, None
    if node.kind != "Clip":
        return None
    if node.version < 11:
        low, high = float(node.get("min", -math.inf)), float(node.get("max", math.inf))
    else:
        given = [pair.constant(node, index) for index in (1, 2)]
        if any(array is None and len(node.inputs) > index and node.inputs[index] for index, array in zip((1, 2), given, strict=True)):
            return None
        low, high = (
            default if array is None else float(array.reshape(())) for array, default in zip(given, (-math.inf, math.inf), strict=True)
        )
    return (None if low == -math.inf else low), (None if high == math.inf else high)
