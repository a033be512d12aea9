"""The commands ``fastcnn onnx run|bench|summary MODEL``."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from .. import archive, files, info, machine, timing
from .backend import PreparedModel, prepare_file
from .executor import Step
from .graph import OWN_DOMAIN, Node, UnsupportedError, Value, as_array


class _Mistake(Exception):
    """What the user must mend, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Mistake(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str], prog: str = "fastcnn onnx") -> int:
    """Run one command and return its exit code: 0, or 2 for what the user must mend."""
    try:
        arguments = _parser(prog).parse_args(argv)
        with machine.threads(machine.get_threads() if arguments.threads is None else arguments.threads):
            arguments.run(arguments)
    except (_Mistake, UnsupportedError, ValueError, TypeError, MemoryError) as mistake:
        print(f"fastcnn: {mistake}", file=sys.stderr)
        return 2
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=prog, description="Run, time or describe an ONNX model.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="compute the model's outputs for given or random inputs")
    run.add_argument("--save", type=Path, metavar="FILE", help="write the outputs as .npz")
    run.set_defaults(run=_run)
    bench = commands.add_parser("bench", help="time the model, in all and by operator; beside ONNX Runtime, where it is installed")
    bench.add_argument("--rounds", type=int, default=30, metavar="N", help="samples at most (default: 30)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="also write the figures, and the machine, as JSON")
    bench.set_defaults(run=_bench)
    summary = commands.add_parser("summary", help="list what is run: nodes, shapes, parameters, FLOPs, what was fused")
    summary.set_defaults(run=_summary)
    for command in (run, bench, summary):
        command.add_argument("model", type=Path, metavar="MODEL", help="an .onnx file")
        command.add_argument("--input", action="append", default=[], metavar="[NAME=]FILE", help="an .npy, .npz or .pb; repeatable")
        command.add_argument("--batch", type=int, default=1, metavar="N", help="of random inputs, where it is free (default: 1)")
        command.add_argument("--size", action="append", default=[], metavar="NAME=N", help="another free size; repeatable")
        command.add_argument("--seed", type=int, default=0, metavar="N", help="of random inputs (default: 0)")
        command.add_argument("--threads", type=int, metavar="N", help="default: all usable cores")
    return parser


# --- Inputs ------------------------------------------------------------------------------------------------------------


def _prepared(arguments: argparse.Namespace) -> tuple[PreparedModel, list[np.ndarray]]:
    try:
        model = prepare_file(arguments.model)
    except OSError as error:
        raise _Mistake(f"cannot read {arguments.model}: {error.strerror or error}") from error
    given = _given(model, arguments.input)
    rng, sizes = np.random.default_rng(arguments.seed), dict(map(_size, arguments.size))
    arrays = [given[value.name] if value.name in given else _random(value, arguments.batch, sizes, rng) for value in model.graph.inputs]
    return model, arrays


def _size(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdigit():
        raise _Mistake(f"--size must be NAME=N; got {text!r}")
    return name, int(number)


def _given(model: PreparedModel, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the inputs that files hold, by name; a file without a name is the next input, an .npz names its own."""
    found: dict[str, np.ndarray] = {}
    for text in texts:
        name, _, path = text.rpartition("=")
        for own, array in _read(Path(path)).items():
            free = [value.name for value in model.graph.inputs if value.name not in found]
            chosen = own or name or next(iter(free), "")
            if chosen not in model.input_names:
                raise _Mistake(f"--input {text}: the model's inputs are {model.input_names}; got {chosen!r}")
            found[chosen] = array
    return found


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name, "" where it has none."""
    try:
        if path.suffix == ".npz":
            return files.load_arrays(path)
        with files.open_regular(path) as file:
            if path.suffix == ".pb":
                return {"": as_array(onnx.load_tensor_from_string(file.read()))}
            return {"": archive.read_npy(file)}
    except (OSError, ValueError, DecodeError, UnsupportedError) as error:
        raise _Mistake(f"cannot read {path}: {error}") from error


def _random(value: Value, batch: int, sizes: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    if value.shape is None or value.dtype is None:
        raise _Mistake(f"the model does not say what its input {value.name!r} is like; give it by --input")
    shape = []
    for axis, size in enumerate(value.shape):
        if not isinstance(size, int):
            known = sizes.get(str(size), batch if axis == 0 else None)
            if known is None:
                raise _Mistake(f"input {value.name!r} has the free size {size!r}; give it by --size {size}=N")
            size = known
        shape.append(size)
    if value.dtype.kind == "f":
        return rng.standard_normal(shape).astype(value.dtype)
    return rng.integers(0, 2, shape).astype(value.dtype)


# --- Commands ----------------------------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> None:
    model, arrays = _prepared(arguments)
    outputs = dict(zip(model.output_names, model.run(arrays), strict=True))
    for name, array in outputs.items():
        print(f"{name}  {array.dtype} {array.shape}")
        if array.size and array.dtype.kind in "fiu":
            print(f"  from {array.min():.6g} to {array.max():.6g}, mean {array.mean():.6g}")
        if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind == "f":
            for row in array[:8]:
                best = np.argsort(row)[::-1][:5]
                print("  highest: " + ", ".join(f"{place} ({row[place]:.4g})" for place in best))
    if arguments.save:
        try:
            named = arguments.save.suffix == ".npz"
            files.save_arrays(arguments.save if named else arguments.save.with_name(f"{arguments.save.name}.npz"), outputs)
        except OSError as error:
            raise _Mistake(f"cannot write --save {arguments.save}: {error.strerror}") from error


def _bench(arguments: argparse.Namespace) -> None:
    if arguments.rounds < 1:
        raise _Mistake(f"--rounds must be at least 1; got {arguments.rounds}")
    start = time.perf_counter()
    model, arrays = _prepared(arguments)
    model.run(arrays)
    ready = time.perf_counter() - start
    runners: dict[str, Callable[[], Any]] = {"fastcnn": lambda: model.run(arrays)}
    peer = _onnxruntime(arguments.model, dict(zip(model.input_names, arrays, strict=True)))
    if peer is not None:
        runners["onnxruntime"] = peer
    found = timing.measure(runners, arguments.rounds, 10.0)
    print(info.headline())
    print(f"\n{arguments.model.name}, inputs {', '.join(str(array.shape) for array in arrays)}; first result after {ready:.2f} s")
    for name, took in found.items():
        print(f"  {name:12} {took.median * 1e3:9.2f} ms  (quartiles {took.low * 1e3:.2f} to {took.high * 1e3:.2f})")
    if "onnxruntime" in found:
        print(f"  fastcnn takes {found['fastcnn'].median / found['onnxruntime'].median:.2f} times as long as ONNX Runtime")
    else:
        print("  (ONNX Runtime is not installed, or does not run this model)")
    rows = _by_operator(model, arrays, min(arguments.rounds, 10))
    whole = sum(seconds for _, seconds, _ in rows)
    print(f"\n  {'operator':28} {'nodes':>5} {'ms':>9} {'share':>6}")
    for name, seconds, count in rows:
        print(f"  {name:28} {count:5} {seconds * 1e3:9.3f} {seconds / whole:6.1%}")
    if arguments.json:
        record = {
            "machine": info.describe(),
            "model": arguments.model.name,
            "seconds": {name: took.median for name, took in found.items()},
            "operators": [{"operator": name, "seconds": seconds, "nodes": count} for name, seconds, count in rows],
        }
        try:
            files.save_json(arguments.json, record)
        except OSError as error:
            raise _Mistake(f"cannot write --json {arguments.json}: {error.strerror}") from error


def _by_operator(model: PreparedModel, arrays: Sequence[np.ndarray], rounds: int) -> list[tuple[str, float, int]]:
    """Return (what it is called, seconds in all, nodes) of every operator, each node at its median."""
    plan, taken = model.executor.plan(arrays), defaultdict(list)

    def watch(step: Step, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = run()
        taken[id(step)].append(time.perf_counter() - start)
        return made

    for _ in range(rounds):
        plan.run(arrays, watch)
    seconds: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    for step in plan.steps:
        seconds[_title(step.node)] += float(np.median(taken[id(step)]))
        counts[_title(step.node)] += 1
    return [(name, seconds[name], counts[name]) for name in sorted(seconds, key=seconds.__getitem__, reverse=True)]


def _onnxruntime(path: Path, feeds: dict[str, np.ndarray]) -> Callable[[], Any] | None:
    """Return ONNX Runtime on the same model and threads; None where it is not there, or cannot."""
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = machine.get_threads(), 1, 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        session.run(None, feeds)
    except Exception as error:  # whatever it has against the model is no reason not to time ours
        print(f"ONNX Runtime: {error}", file=sys.stderr)
        return None
    return lambda: session.run(None, feeds)


class _Line(NamedTuple):
    """What a step is, makes and costs."""

    title: str
    name: str
    shapes: str
    parameters: int
    flops: int


def _summary(arguments: argparse.Namespace) -> None:
    model, arrays = _prepared(arguments)
    lines: list[_Line] = []
    constants = model.graph.constants

    def watch(step: Step, run: Callable[[], Any]) -> Any:
        made = run()
        results = made if isinstance(made, tuple) else (made,)
        weights = [constants[name] for name in step.node.inputs if name in constants]
        lines.append(
            _Line(
                _title(step.node), step.node.outputs[0], " ".join(str(np.shape(result)) for result in results),
                sum(weight.size for weight in weights if weight.dtype.kind == "f"), _flops(step.node, constants, np.shape(results[0])),
            )
        )  # fmt: skip
        return made

    model.executor.plan(arrays).run(arrays, watch)
    for value, array in zip(model.graph.inputs, arrays, strict=True):
        print(f"input  {value.name}  {array.dtype} {value.shape}")
    for value in model.graph.outputs:
        print(f"output {value.name}")
    widths = [max((len(str(field)) for field in column), default=0) for column in zip(*lines, strict=True)]
    print(f"\n{'operator':{widths[0]}}  {'result':{widths[1]}}  {'shape':{widths[2]}}  {'parameters':>12} {'MFLOP':>10}")
    for line in lines:
        print(
            f"{line.title:{widths[0]}}  {line.name:{widths[1]}}  {line.shapes:{widths[2]}}  {line.parameters:12,} {line.flops / 1e6:10.2f}"
        )
    stored = sum(array.size for array in constants.values() if array.dtype.kind == "f")
    print(f"\n{len(lines)} steps for {model.nodes} nodes; {stored:,} parameters, {sum(line.flops for line in lines) / 1e9:.3f} GFLOP")


def _title(node: Node) -> str:
    """Return what a node does in a few words."""
    words = [node.kind]
    if node.domain == OWN_DOMAIN:
        low, high = node.get("low"), node.get("high")
        words += ["+ residual"] if node.get("residual") else []
        words += ["+ Relu"] if (low, high) == (0, None) else [] if low is high is None else [f"+ Clip({low}, {high})"]
    if node.kind in ("Conv", "ConvTranspose"):
        words.insert(1, "grouped" if node.get("group", 1) > 1 else "")
    return " ".join(word for word in words if word)


def _flops(node: Node, constants: dict[str, np.ndarray], shape: tuple[int, ...]) -> int:
    """Return the FLOPs of convolutions and of products with a constant matrix, which are what counts."""
    weight = constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None or weight.ndim < 2:
        return 0
    size = int(np.prod(shape))
    if node.kind == "Conv":
        return 2 * size * int(np.prod(weight.shape[1:]))
    return 2 * size * (weight.size // max(shape[-1], 1)) if node.kind in ("Gemm", "MatMul", "Linear") else 0
