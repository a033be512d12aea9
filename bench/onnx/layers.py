"""The convolutions and matrix products of an ONNX model, each beside ONNX Runtime's own, inside its whole network.

    python -m bench.onnx.layers model.onnx --batch 1 --threads 1

ONNX Runtime alone on one Conv node also reorders its input and output, which it does not do between the layers of a network. So its figures
are from its profile of the whole model. Ours are prepared convolutions on channels-last images, in the model's order, with the ReLU and the
residual that ONNX Runtime fused too; inputs are written before each call, as the layer before would, and weights come from wherever the
other layers' have left them. The two take turns, round by round.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastcnn
from fastcnn.machine import set_threads

onnx: Any = importlib.import_module("onnx")  # have no types
onnxruntime: Any = importlib.import_module("onnxruntime")
_PAUSE_SECONDS = 0.05  # ONNX Runtime's threads spin for a while after a run
_AT_ONCE = 2  # runs, the last of which counts: the one before finds the caches full of the other side's arrays, and the core's clock low


class Layer(NamedTuple):
    """A Conv or Gemm of the optimised model as ONNX Runtime runs it."""

    name: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    relu: bool = False
    residual: bool = False

    def __str__(self) -> str:
        size = "x".join(map(str, self.x))
        if len(self.weight) == 2:
            return f"{size} -> {self.weight[0]}"
        kind = f"dw{self.weight[2]}" if self.groups > 1 else f"{self.weight[0]}k{self.weight[2]}"
        return f"{size} {kind}{f's{self.stride[0]}' if self.stride[0] > 1 else ''}{' + residual' if self.residual else ''}"


class Peer:
    """An ONNX Runtime session that profiles its nodes."""

    def __init__(self, model: str, batch: int, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_profiling, options.log_severity_level = True, 3
        self._folder = tempfile.TemporaryDirectory(prefix="fastcnn-layers-")
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        options.optimized_model_filepath = str(Path(self._folder.name) / "optimised.onnx")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._nodes = {node.name: node for node in onnx.load(options.optimized_model_filepath).graph.node}
        image = self._session.get_inputs()[0]
        shape = (batch, *image.shape[1:])
        self._feed = {image.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
        self.seconds: list[float] = []

    def run(self) -> None:
        """Run the model once."""
        start = time.perf_counter()
        self._session.run(None, self._feed)
        self.seconds.append(time.perf_counter() - start)

    def finish(self, skip: int) -> tuple[list[tuple[Layer, float]], dict[str, float]]:
        """Return the layers with their median seconds, and those of all other operators; the runs after `skip` count, the last at once."""
        file = Path(self._session.end_profiling())
        taken: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in json.loads(file.read_text()):
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                taken[event["name"].removesuffix("_kernel_time")].append(event)
        self._folder.cleanup()
        layers, others = [], defaultdict[str, float](float)
        for name, events in taken.items():
            seconds = float(np.median([event["dur"] for event in events[skip::_AT_ONCE]])) * 1e-6
            layer = self._layer(name, events[0]["args"])
            if layer is None:
                others[events[0]["args"]["op_name"]] += seconds
            else:
                layers.append((layer, seconds))
        return layers, dict(others)

    def _layer(self, name: str, arguments: dict[str, Any]) -> Layer | None:
        kind = arguments["op_name"]
        if kind not in ("Conv", "FusedConv", "Gemm", "FusedGemm"):
            return None
        shapes = [tuple(next(iter(shape.values()))) for shape in arguments["input_type_shape"]]
        node = self._nodes[name]
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        relu = given.get("activation", b"") == b"Relu"
        if "Gemm" in kind:
            outputs = arguments["output_type_shape"][0]["float"][-1]  # of the weight, which was packed, the profile tells nothing
            return Layer(name, shapes[0], (outputs, shapes[0][1]), relu=relu)
        top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
        groups, (R, S) = given.get("group", 1), given["kernel_shape"]
        K, C = arguments["output_type_shape"][0]["float"][1], shapes[0][1] // groups  # ONNX Runtime pads weights to whole vectors
        stride, dilation = (tuple(given.get(key, (1, 1))) for key in ("strides", "dilations"))
        residual = len(node.input) > 3 and bool(node.input[3])
        return Layer(name, shapes[0], (K, C, R, S), stride, ((top, bottom), (left, right)), dilation, groups, relu, residual)


def ours(layer: Layer, first: bool) -> tuple[str, Callable[[], Any], Callable[[], Any]]:
    """Return what serves a layer, a function that writes its input, and one that computes it."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    weight, bias = normal(*layer.weight) / np.float32(np.sqrt(np.prod(layer.weight[1:]))), normal(layer.weight[0])
    if len(layer.weight) == 2:
        x = normal(*layer.x)
        return "linear", lambda: np.negative(x, out=x), lambda: fastcnn.linear(x, weight, bias)
    N, C, H, W = layer.x
    x = normal(N, C, H, W) if first else normal(N, H, W, C)
    convolve = fastcnn.prepare_conv2d(weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups, relu=layer.relu)
    problem = convolve._problem_of(layer.x)
    _, K, P, Q = problem.output_shape
    inputs = [x, normal(N, P, Q, K)] if layer.residual else [x]
    call = functools.partial(convolve.planned((N, C, H, W), not first, layer.residual), *inputs)
    return convolve.variant(problem), lambda: [np.negative(array, out=array) for array in reversed(inputs)], call


def table(rows: Sequence[tuple[Layer, str, float, float]], others: dict[str, float]) -> str:
    """Return a Markdown table of equal layers together, those that lose most first."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for layer, variant, their_seconds, our_seconds in rows:
        groups[str(layer), variant].append((their_seconds, our_seconds))
    lines = ["| layer | times | variant | ours, us | ONNX Runtime, us | ratio | lost, us |", "|---|--:|---|--:|--:|--:|--:|"]
    sums = {key: np.array(values).sum(axis=0) * 1e6 for key, values in groups.items()}
    for (name, variant), (theirs, own) in sorted(sums.items(), key=lambda item: item[1][0] - item[1][1]):
        n = len(groups[name, variant])
        lines.append(f"| {name} | {n} | {variant} | {own / n:.0f} | {theirs / n:.0f} | {own / theirs:.2f} | {own - theirs:.0f} |")
    theirs, own = sum(sums.values())
    lines.append(f"| all | {len(rows)} | | {own:.0f} | {theirs:.0f} | {own / theirs:.2f} | {own - theirs:.0f} |")
    lines += ["", "ONNX Runtime's other operators, us: " + ", ".join(f"{name} {1e6 * value:.0f}" for name, value in others.items())]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure a model's layers and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.onnx.layers", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("model", help="an ONNX file whose first input is (N, C, H, W)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(argv)
    set_threads(options.threads)
    probe = Peer(options.model, options.batch, options.threads)
    probe.run()
    layers = [layer for layer, _ in probe.finish(0)[0]]
    work = [ours(layer, first=i == 0) for i, layer in enumerate(layers)]
    peer, samples = Peer(options.model, options.batch, options.threads), np.zeros((options.rounds + 1, len(layers)))
    for number in range(options.rounds + 1):  # the first round warms up
        for _ in range(_AT_ONCE):
            peer.run()
        time.sleep(_PAUSE_SECONDS if options.threads > 1 else 0)
        for _ in range(_AT_ONCE):
            for i, (_, write, call) in enumerate(work):
                write()
                start = time.perf_counter()
                call()
                samples[number, i] = time.perf_counter() - start
    timed, others = peer.finish(2 * _AT_ONCE - 1)
    own = np.median(samples[1:], axis=0)
    print(table([(layer, work[i][0], seconds, own[i]) for i, (layer, seconds) in enumerate(timed)], others))
    print(f"ONNX Runtime's whole model: {1e3 * np.median(peer.seconds[1:]):.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
