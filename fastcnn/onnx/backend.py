"""`onnx.backend.base.Backend` over our executor: prepare a model once, run it many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from . import loading, operators
from .executor import Executor
from .graph import Graph, UnsupportedError, Value, read, read_node
from .optimise import optimised


class PreparedModel(BackendRep):
    """A model that is ready to run; it may be called from several threads.

    Attributes
    ----------
    graph : Graph
        What is run: the model's graph after folding and fusing.
    nodes : int
        How many nodes the model had before.
    input_names, output_names : list of str
    """

    def __init__(self, graph: Graph, nodes: int) -> None:
        self.graph, self.nodes = graph, nodes
        self.input_names, self.output_names = [value.name for value in graph.inputs], [value.name for value in graph.outputs]
        self._executor = Executor(graph)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """Return the model's outputs.

        Parameters
        ----------
        inputs : ndarray, or a sequence of them in the model's order, or a mapping by name
            Of the dtypes and shapes that the model declares; the first run for new shapes makes a plan.

        Returns
        -------
        tuple of ndarray

        Raises
        ------
        TypeError, ValueError
            The inputs are not those of the model; the message names the input or the node.
        UnsupportedError
            The model needs something that is not computed here.
        """
        return tuple(self._executor.run(self.arrays(inputs)))

    def arrays(self, inputs: Any) -> list[Any]:
        """Return the inputs of `run` as a list in the model's order."""
        if isinstance(inputs, Mapping):
            missing, unknown = set(self.input_names) - set(inputs), set(inputs) - set(self.input_names)
            if missing or unknown:
                raise ValueError(f"run: inputs must be {self.input_names}; missing {sorted(missing)}, unknown {sorted(unknown)}")
            return [inputs[name] for name in self.input_names]
        return list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]

    @property
    def executor(self) -> Executor:
        """What runs the graph."""
        return self._executor


class FastcnnBackend(Backend):
    """The backend: all of it is class methods."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every operator of the model is known; what their attributes ask for shows when it is prepared or run."""
        try:
            for node in read(model).nodes:
                operators.find(node)
        except UnsupportedError:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", *, optimise: bool = True, **kwargs: Any) -> PreparedModel:
        """Return a model that is checked, folded and fused; see `fastcnn.onnx.prepare`."""
        _require_cpu(device)
        super().prepare(model, device, **kwargs)
        graph = read(model)
        for node in graph.nodes:
            operators.find(node)
        return PreparedModel(optimised(graph) if optimise else graph, len(graph.nodes))

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[np.ndarray, ...]:
        """Return the outputs of a single node; `opset_version` says which opset it is of (default: the newest)."""
        _require_cpu(device)
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        version = int(kwargs.get("opset_version", onnx.defs.onnx_opset_version()))
        made = read_node(node, {"": version})
        arrays = [np.asarray(array) for array in (inputs if isinstance(inputs, (tuple, list)) else [inputs])]
        present = [name for name in made.inputs if name]
        graph = Graph([made], {}, [Value(name, None, None) for name in present], [Value(name, None, None) for name in made.outputs if name])
        return tuple(Executor(graph).run(arrays))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a device is the CPU."""
        return device == "CPU" or device.startswith("CPU:")


def prepare_file(path: str | Path) -> PreparedModel:
    """Return the model of an .onnx file, ready to run; weights in files of its folder are read too.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no valid ONNX model.
    UnsupportedError
        The model needs something that is not computed here.
    """
    model = loading.load(path)
    try:
        return FastcnnBackend.prepare(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{path} is no valid ONNX model: {(str(error) or type(error).__name__).splitlines()[0]}") from error


def _require_cpu(device: str) -> None:
    if not FastcnnBackend.supports_device(device):
        raise ValueError(f"prepare: device must be 'CPU'; got {device!r}")
