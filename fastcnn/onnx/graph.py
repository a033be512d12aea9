"""An ONNX graph as plain Python: nodes with decoded attributes, constants as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

OWN_DOMAIN = "fastcnn"  # of nodes that the optimiser makes
_STANDARD = ("", "ai.onnx")


class UnsupportedError(NotImplementedError):
    """The model needs something that this backend does not compute; the message names it."""


@dataclass(slots=True, eq=False)
class Node:
    """One operation: the names of what it reads (an empty one is left out) and makes, and the opset that says what it means."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    domain: str = ""
    name: str = ""

    def get(self, attribute: str, default: Any = None) -> Any:
        """Return an attribute, or the default where the node leaves it out."""
        return self.attributes.get(attribute, default)

    def __str__(self) -> str:
        return f"{self.kind} {self.name or ', '.join(self.outputs)!r}"


@dataclass(slots=True)
class Value:
    """What a model declares of an input or output; a size is an int, the name of a free one, or None."""

    name: str
    dtype: np.dtype | None
    shape: tuple[int | str | None, ...] | None


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which they can be computed, constants by name."""

    nodes: list[Node]
    constants: dict[str, np.ndarray]
    inputs: list[Value]
    outputs: list[Value]
    name: str = ""

    def uses(self) -> Counter[str]:
        """Return how often each value is read, being a result of the graph counted as once."""
        return Counter(name for node in self.nodes for name in node.inputs if name) + Counter(value.name for value in self.outputs)

    def makers(self) -> dict[str, Node]:
        """Return the node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs if name}


def read(model: Any) -> Graph:
    """Return the graph of a ModelProto."""
    versions = {"" if opset.domain in _STANDARD else opset.domain: opset.version for opset in model.opset_import}
    graph = model.graph
    constants = {tensor.name: as_array(tensor) for tensor in graph.initializer}
    if graph.sparse_initializer:
        raise UnsupportedError("sparse initializers are not supported")
    nodes = [read_node(node, versions) for node in graph.node]
    inputs = [_value(value) for value in graph.input if value.name not in constants]
    return Graph(nodes, constants, inputs, [_value(value) for value in graph.output], graph.name)


def read_node(node: Any, versions: dict[str, int]) -> Node:
    """Return a NodeProto with its attributes decoded."""
    domain = "" if node.domain in _STANDARD else node.domain
    attributes = {attribute.name: _attribute(attribute) for attribute in node.attribute}
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes, versions.get(domain, 1), domain, node.name)


def as_array(tensor: Any) -> np.ndarray:
    """Return a TensorProto as a read-only array."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise UnsupportedError(f"the data of {tensor.name!r} lies outside of the model; load it with onnx.load(path)")
    try:
        array: np.ndarray = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"tensor {tensor.name!r} of dims {list(tensor.dims)[:8]} does not hold what it claims: {reason}") from error
    if array.shape != tuple(tensor.dims):  # -1 is no size
        raise ValueError(f"tensor {tensor.name!r} must have sizes of at least 0; got dims {list(tensor.dims)[:8]}")
    array.flags.writeable = False
    return array


def dtype_of(element_type: int) -> np.dtype:
    """Return the dtype of a TensorProto's element type; UnsupportedError for one that is not NumPy's own."""
    if element_type not in _NUMPY_TYPES:
        known = element_type in onnx.TensorProto.DataType.values()
        name = onnx.TensorProto.DataType.Name(element_type) if known else element_type
        raise UnsupportedError(f"elements of type {name} are not supported")
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type))


_NUMPY_TYPES = frozenset(
    getattr(onnx.TensorProto, name)
    for name in ["FLOAT", "FLOAT16", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL"]
)


def without_dead_nodes(nodes: Iterable[Node], wanted: Iterable[str]) -> list[Node]:
    """Return the nodes on which the wanted values depend, in their order."""
    needed, kept = set(wanted), []
    for node in reversed(list(nodes)):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _value(value: Any) -> Value:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedError(f"{value.name!r} is no tensor ({kind})")
    tensor = value.type.tensor_type
    dtype = dtype_of(tensor.elem_type) if tensor.elem_type else None
    if not tensor.HasField("shape"):
        return Value(value.name, dtype, None)
    return Value(value.name, dtype, tuple(_size(axis) for axis in tensor.shape.dim))


def _size(axis: Any) -> int | str | None:
    if axis.HasField("dim_value"):
        return int(axis.dim_value)
    return axis.dim_param or None


def _attribute(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.TENSOR:
        return as_array(value)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return tuple(text.decode() for text in value)
    return tuple(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value
