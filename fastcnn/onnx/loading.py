"""Reading an .onnx file from a stranger: a regular file of protobuf, whose weights lie in it or beside it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from .. import files

_LARGEST = 2**31  # bytes: what protobuf can hold


def load(path: str | Path) -> Any:
    """Return the ModelProto of a file, with the weights that lie in files beside it.

    Raises
    ------
    OSError
        A file cannot be read.
    ValueError
        It holds no ONNX model, or names weights outside of its folder or beyond the end of their file.
    """
    with files.open_regular(path) as file:
        content = file.read(_LARGEST)
    if len(content) == _LARGEST:
        raise ValueError(f"{path} has {_LARGEST:,} bytes or more; larger weights lie in files beside the model")
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(f"{path} is no valid ONNX model: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    _fetch([tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL], Path(path))
    return model


def _fetch(tensors: list[Any], path: Path) -> None:
    """Read the data of tensors that lie in other files, if all of it can be there."""
    folder, sizes, claims = path.parent.resolve(), dict[Path, int](), []
    for tensor in tensors:
        told = {entry.key: entry.value for entry in tensor.external_data}
        name = f"{path}: the data of {tensor.name[:80]!r}"
        location = told.get("location", "")
        file = (folder / location.replace("\0", "/..")).resolve()  # behind links
        if not location or "\0" in location or not file.is_relative_to(folder):
            raise ValueError(f"{name} must lie in a file of the model's folder; got {location[:80]!r}")
        if file not in sizes:
            with files.open_regular(file) as opened:
                sizes[file] = opened.seek(0, 2)
        offset, size = _whole(name, told.get("offset", "0")), sizes[file]
        length = _whole(name, told["length"]) if "length" in told else max(size - offset, 0)
        if offset + length > size:
            raise ValueError(f"{name} must lie within the {size:,} bytes of {location[:80]!r}; got {length:,} from {offset:,} on")
        claims.append((tensor, file, offset, length))
    total = sum(length for *_, length in claims)
    if total > sum(sizes.values()):
        raise ValueError(f"{path}: tensors claim {total:,} bytes of files with {sum(sizes.values()):,}")
    for tensor, file, offset, length in claims:
        with open(file, "rb") as opened:
            opened.seek(offset)
            tensor.raw_data = opened.read(length)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{name} must have whole numbers for offset and length; got {text[:80]!r}")
    return int(text)


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a model, those of nodes and of graphs inside them too; protobuf bounds how deep these are."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _of_graph(graph)
