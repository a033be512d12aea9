"""ONNX models: what is fused computes the same, plans serve every shape, and mistakes are named."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx (extra 'onnx')")

import fastcnn.onnx  # noqa: E402
from fastcnn import machine, memory  # noqa: E402
from fastcnn.cli import main  # noqa: E402
from fastcnn.onnx import PreparedModel, UnsupportedError  # noqa: E402
from fastcnn.onnx.recorded import RecordedPlan  # noqa: E402
from fastcnn.workspace import workspace  # noqa: E402

helper, numpy_helper, FLOAT = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
RNG = np.random.default_rng(5)


def _random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


IMAGE = ("N", 6, 9, 8)
WEIGHTS = {
    "w": _random(6, 6, 3, 3), "w1": _random(6, 6, 1, 1), "b": _random(6), "scale": _random(6), "shift": _random(6), "mean": _random(6),
    "variance": np.abs(_random(6)) + np.float32(0.5), "per_channel": _random(6, 1, 1), "per_image": _random(1, 6, 1, 1),
    "per_column": _random(8), "one": _random(1, 1, 1, 1), "zero": np.zeros((), np.float32), "six": np.array(6, np.float32),
    "three": np.array(3, np.float32), "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]), "all_pads": np.array([0, 1, 1, 1, 0, 0, 1, 1]),
    "infinite": np.full(6, np.inf, np.float32), "matrix": _random(432, 5), "row": _random(5), "rows": _random(1, 5),
}  # fmt: skip


def _model(
    *nodes: tuple[str, str, str, dict[str, Any]] | tuple[str, str, str],
    outputs: str = "y",
    shape: tuple[Any, ...] = IMAGE,
    opset: int = 17,
    weights: dict[str, np.ndarray] | None = None,
) -> Any:
    """Return a model of x, and perhaps of r, which is like it, from nodes (kind, inputs, outputs, attributes)."""
    made = [
        helper.make_node(kind, ["" if name == "_" else name for name in a.split()], b.split(), **(rest[0] if rest else {}))
        for kind, a, b, *rest in nodes
    ]
    used = {name for node in made for name in node.input}
    inputs = [helper.make_tensor_value_info(name, FLOAT, shape) for name in ("x", "r") if name in used]
    results = [helper.make_tensor_value_info(name, FLOAT, ["any"]) for name in outputs.split()]
    stored = [numpy_helper.from_array(value, name) for name, value in (weights or WEIGHTS).items() if name in used]
    graph = helper.make_graph(made, "graph", inputs, results, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


CONV = ("Conv", "x w b", "c", {"pads": [1, 1, 1, 1]})
NORM = ("BatchNormalization", "c scale shift mean variance", "n")

FUSED = {
    "conv-norm-relu": ([CONV, NORM, ("Relu", "n", "y")], 1),
    "conv-norm": ([("Conv", "x w", "c"), ("BatchNormalization", "c scale shift mean variance", "y")], 1),
    "conv-relu6": ([CONV, ("Clip", "c zero six", "y")], 1),
    "conv-limits": ([CONV, ("Clip", "c zero three", "y")], 1),
    "conv-upper-limit": ([CONV, ("Clip", "c _ three", "y")], 1),
    "conv-residual-relu": ([CONV, NORM, ("Add", "n x", "s"), ("Relu", "s", "y")], 1),
    "residual-conv-relu": ([CONV, ("Sum", "x c", "s"), ("Relu", "s", "y")], 1),
    "two-branches": ([CONV, ("Conv", "x w1", "d"), ("Add", "c d", "s"), ("Clip", "s zero six", "y")], 2),
    "residual-is-a-result": ([CONV, ("Relu", "c", "e"), ("Conv", "e w1", "d"), ("Add", "d e", "s"), ("Relu", "s", "y")], 2),
    "residual-of-another-shape": ([CONV, ("Add", "c one", "s"), ("Relu", "s", "y")], 1),
    "doubled": ([CONV, ("Add", "c c", "s"), ("Relu", "s", "y")], 2),
    "affine": ([("BatchNormalization", "x scale shift mean variance", "n"), ("Mul", "n per_channel", "m"), ("Relu", "m", "y")], 1),
    "affine-conv-affine": ([CONV, ("Mul", "c per_image", "m"), ("Add", "per_channel m", "a"), ("Relu", "a", "y")], 1),
    "per-column": ([CONV, ("Mul", "c per_column", "m"), ("Relu", "m", "y")], 3),
    "pad-conv": ([("Pad", "x pads", "p"), ("Conv", "p w", "y", {"pads": [0, 1, 0, 0], "strides": [2, 1]})], 1),
    "pad-of-channels": ([("Pad", "x all_pads", "p"), ("Conv", "p w7", "y")], 2),
    "pad-reflected": ([("Pad", "x pads", "p", {"mode": "reflect"}), ("Conv", "p w", "y")], 2),
    "infinite-scale": ([CONV, ("BatchNormalization", "c infinite shift mean variance", "y")], 2),
    "two-readers": ([CONV, ("Relu", "c", "d"), ("Sigmoid", "c", "e"), ("Add", "d e", "y")], 4),
    "product": ([("Flatten", "x", "f"), ("MatMul", "f matrix", "m"), ("Add", "m row", "a"), ("Relu", "a", "y")], 2),
    "gemm-relu": ([("Flatten", "x", "f"), ("Gemm", "f matrix rows", "m", {"alpha": 0.5, "beta": 2.0}), ("Relu", "m", "y")], 2),
    "sum-relu": ([("Add", "x r", "s"), ("Relu", "s", "y")], 1),
    "identities": ([("Identity", "x", "i"), ("Dropout", "i", "d"), CONV, ("Identity", "c", "j"), ("Relu", "j", "y")], 1),
    "folded": ([("Unsqueeze", "b axes", "u"), ("Mul", "x u", "y")], 1),
}  # fmt: skip
MORE = {**WEIGHTS, "w7": _random(6, 7, 3, 3), "axes": np.array([0, 2, 3])}


@pytest.mark.parametrize("name", FUSED)
def test_fused_is_the_same(name: str) -> None:
    nodes, steps = FUSED[name]
    model = _model(*nodes, weights=MORE)
    plain, fused = fastcnn.onnx.prepare(model, optimise=False), fastcnn.onnx.prepare(model)
    assert len(fused.graph.nodes) == steps, [str(node) for node in fused.graph.nodes]
    for batch in (2, 1):
        inputs = [_random(batch, *IMAGE[1:]) for _ in fused.input_names]
        inputs[0][0, 0, 0, 0] = np.nan
        before = [array.copy() for array in inputs]
        want = plain.run(inputs)[0]
        for _ in range(2):  # the run that plans, and one that follows the plan
            np.testing.assert_allclose(fused.run(inputs)[0], want, rtol=1e-4, atol=1e-4)
        for array, untouched in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(array, untouched)


def test_results_of_the_graph_are_kept() -> None:
    model = _model(CONV, NORM, ("Relu", "n", "y"), ("Identity", "y", "z"), ("Reshape", "y shape", "flat"), outputs="c n y z flat x2 k",
                   weights={**WEIGHTS, "shape": np.array([-1])})  # fmt: skip
    model.graph.node.extend([helper.make_node("Identity", ["x"], ["x2"]), helper.make_node("Identity", ["b"], ["k"])])
    prepared, x = fastcnn.onnx.prepare(model), _random(2, *IMAGE[1:])
    want = fastcnn.onnx.prepare(model, optimise=False).run([x])
    for _ in range(2):
        found = prepared.run(x)
        for one, other in zip(found, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        for i, array in enumerate(found):
            assert array.flags.c_contiguous
            assert not any(np.shares_memory(array, other) for other in (x, *found[:i]))
            array[...] = 0  # is the caller's: the next run must not see it


def test_every_value_is_dropped_once() -> None:
    prepared, x = fastcnn.onnx.prepare(_model(*FUSED["two-readers"][0])), _random(1, *IMAGE[1:])
    plan = prepared.executor.plan([x])
    written = {slot for step in plan.steps for slot in step.writes} | set(plan.inputs)
    dropped = [slot for step in plan.steps for slot in step.dead]
    assert sorted(dropped) == sorted(written - set(plan.outputs))
    for number, step in enumerate(plan.steps):
        assert not any(slot in later.reads for slot in step.dead for later in plan.steps[number + 1 :])


def test_a_plan_serves_later_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, x = fastcnn.onnx.prepare(_model(CONV, ("Relu", "c", "y"))), _random(2, *IMAGE[1:])
    first = prepared.run(x)[0]
    monkeypatch.setattr(prepared.executor, "_first_run", None)
    np.testing.assert_array_equal(prepared.run({"x": x})[0], first)
    np.testing.assert_array_equal(prepared.run([np.asfortranarray(x)])[0], first)
    with pytest.raises(TypeError):
        prepared.run(x[:1])  # another batch needs a plan of its own


def test_shapes_that_depend_on_values() -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "s"], ["m"]), helper.make_node("Softmax", ["m"], ["y"])], "graph",
        [helper.make_tensor_value_info("x", FLOAT, [6]), helper.make_tensor_value_info("s", onnx.TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("y", FLOAT, ["any"])],
    )  # fmt: skip
    prepared = fastcnn.onnx.prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    for shape in ((2, 3), (3, 2), (2, 3)):
        y = prepared.run([np.zeros(6, np.float32), np.array(shape)])[0]
        np.testing.assert_allclose(y, np.full(shape, 1 / shape[1]), rtol=1e-6)


def test_shapes_of_inputs_are_constants_of_a_plan() -> None:
    nodes = [
        ("Shape", "x", "s"), ("Gather", "s zero_index", "n"), ("Unsqueeze", "n zero_index", "u"), ("Concat", "u rest", "t", {"axis": 0}),
        ("Reshape", "x t", "y"),
    ]  # fmt: skip
    weights = {"zero_index": np.array([0]), "rest": np.array([-1])}
    nodes[2] = ("Identity", "n", "u")
    prepared = fastcnn.onnx.prepare(_model(*nodes, weights=weights))
    for batch in (1, 3):
        x = _random(batch, *IMAGE[1:])
        np.testing.assert_array_equal(prepared.run(x)[0], x.reshape(batch, -1))
        assert [step.node.kind for step in prepared.executor.plan([x]).steps] == ["Reshape"]


def test_empty_batch() -> None:
    prepared = fastcnn.onnx.prepare(_model(CONV, NORM, ("Relu", "n", "a"), ("GlobalAveragePool", "a", "g"), ("Flatten", "g", "y")))
    assert prepared.run(_random(0, *IMAGE[1:]))[0].shape == (0, 6)


def test_several_threads() -> None:
    prepared = fastcnn.onnx.prepare(_model(*FUSED["conv-residual-relu"][0]))
    inputs = [_random(batch, *IMAGE[1:]) for batch in (1, 2, 3, 4)]
    want = [prepared.run(x)[0] for x in inputs]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            if not np.array_equal(prepared.run(inputs[number])[0], want[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


DILATED = {"pads": [2, 2, 2, 2], "dilations": [2, 2]}  # is computed by launches and by BLAS
RECORDED = {
    "launches alone": (CONV, ("Relu", "c", "a"), ("Conv", "a w1 b", "y")),
    "views between": (CONV, ("Reshape", "c shape", "v"), ("Conv", "v w1 b", "y")),
    "calls between": (CONV, ("Sin", "c", "a"), ("Conv", "a w1 b", "y")),
    "a call first": (("Sin", "x", "a"), ("Conv", "a w1 b", "y")),
    "a call last, which reads the input": (CONV, ("Sub", "c x", "y")),
    "a residual": (CONV, ("Conv", "c w1 b", "d"), ("Add", "d x", "e"), ("Relu", "e", "y")),
    "dilated": (("Conv", "x w b", "c", DILATED), ("Conv", "c w b", "d", DILATED), ("Conv", "d w1 b", "y")),
    "transposed": (
        ("ConvTranspose", "x w1 b", "c", {"strides": [2, 3]}),
        ("ConvTranspose", "c w1 b", "d", {"strides": [3, 2]}),
        ("Conv", "d w1 b", "y"),
    ),
    "a dense layer": (CONV, ("Flatten", "c", "f"), ("Gemm", "f matrix row", "g"), ("Softmax", "g", "y")),
}


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_is_the_same(name: str) -> None:
    """Bit for bit, for values that it was not recorded with; results are nobody else's."""
    weights = {**WEIGHTS, "shape": np.array([0, 6, 8, 9])}
    prepared = fastcnn.onnx.prepare(_model(*RECORDED[name], weights=weights))
    inputs = [_random(2, *IMAGE[1:]) for _ in range(8)]
    plan = prepared.executor.plan([inputs[0]])
    want = [plan.run([x])[0].copy() for x in inputs]
    got = [prepared.run(x)[0] for x in inputs]
    assert len(prepared.executor._recorded) == 1
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not any(np.may_share_memory(a, b) for i, a in enumerate(got) for b in (*got[:i], *inputs))
    recorded = next(iter(prepared.executor._recorded.values()))
    assert recorded.run([inputs[1]]) is not None
    recorded._running = True  # as when a signal handler runs the model meanwhile
    np.testing.assert_array_equal(prepared.run(inputs[1])[0], want[1])


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
def test_another_thread_runs_step_by_step() -> None:
    prepared, x = fastcnn.onnx.prepare(_model(CONV, ("Relu", "c", "y"))), _random(2, *IMAGE[1:])
    want = [prepared.run(x)[0] for _ in range(5)][-1]
    recorded, found = next(iter(prepared.executor._recorded.values())), []
    thread = threading.Thread(target=lambda: found.extend((recorded.run([x]), prepared.run(x)[0])))
    thread.start()
    thread.join()
    assert found[0] is None
    np.testing.assert_array_equal(found[1], want)


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
def test_the_memory_of_a_recording_is_nobody_elses() -> None:
    """Of blocks that are large enough to be handed out again: what is asked for later does not lie on them."""
    x = _random(32, *IMAGE[1:])
    plan = fastcnn.onnx.prepare(_model(CONV, ("Conv", "c w1 b", "d"), ("Conv", "d w1 b", "y"))).executor.plan([x])
    want = plan.run([x])[0].copy()
    recorded = RecordedPlan(plan, [x])
    others = [memory.empty(want.shape, want.dtype) for _ in range(8)]
    for other in others:
        other.fill(np.nan)
    result = recorded.run([x])
    assert result is not None
    np.testing.assert_array_equal(result[0], want)
    assert all(np.isnan(other).all() for other in others)


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
def test_a_recording_that_runs_is_not_entered_again() -> None:
    """As by a signal handler, which would write into what the run that it interrupts reads."""
    x = _random(1, *IMAGE[1:])
    prepared = fastcnn.onnx.prepare(_model(CONV, ("Sin", "c", "s"), ("Conv", "s w1 b", "y")))
    plan = prepared.executor.plan([x])
    inside: list[object] = []

    def look(c: np.ndarray) -> np.ndarray:
        inside.append(recorded[0].run([x]) if recorded else None)
        return np.sin(c)

    recorded: list[RecordedPlan] = []
    recorded.append(RecordedPlan(plan._replace(steps=[plan.steps[0], plan.steps[1]._replace(run=look), plan.steps[2]]), [x]))
    inside.clear()
    result = recorded[0].run([x])
    assert inside == [None]
    assert result is not None
    np.testing.assert_array_equal(result[0], plan.run([x])[0])


def test_what_is_not_launched_alone_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose kernel reads a copy that Python made: its launches would read the old copy."""
    prepared, x = fastcnn.onnx.prepare(_model(CONV, ("Conv", "c w1 b", "y"))), _random(1, *IMAGE[1:])
    plan = prepared.executor.plan([x])
    first = plan.steps[0]
    copying = first._replace(run=lambda x, *rest: first.run(x.copy(), *rest))
    changed = plan._replace(steps=[copying, *plan.steps[1:]])
    recorded = RecordedPlan(changed, [x])
    assert len(recorded._parts) == 2  # a call, and a chain
    for _ in range(2):
        x = _random(1, *IMAGE[1:])
        np.testing.assert_array_equal(recorded.run([x])[0], plan.run([x])[0])


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
def test_what_follows_a_call_is_tried_on_its_results() -> None:
    """Not on what stood there to see whether the launches alone would write it."""
    prepared, x = fastcnn.onnx.prepare(_model(CONV, ("Sin", "c", "s"), ("Conv", "s w1 b", "y"))), _random(1, *IMAGE[1:])
    first, second, third = prepared.executor.plan([x]).steps
    given: list[np.ndarray] = []
    copying = first._replace(run=lambda x, *rest: first.run(x, *rest).copy("K"))
    looking = second._replace(run=lambda c: given.append(c.copy()) or np.sin(c))
    RecordedPlan(prepared.executor.plan([x])._replace(steps=[copying, looking, third]), [x])
    assert len(given) == 1
    assert np.isfinite(given[0]).all()


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_inputs_that_pass_for_any_result_prove_nothing(value: float) -> None:
    """A model recorded while it is given images without a number in them, the launches of whose steps read a copy."""
    prepared, x = fastcnn.onnx.prepare(_model(CONV, ("Conv", "c w1 b", "d"), ("Conv", "d w1 b", "y"))), _random(1, *IMAGE[1:])
    plan = prepared.executor.plan([x])
    copying = [step._replace(run=lambda x, *rest, run=step.run: run(x.copy(), *rest)) for step in plan.steps[:2]]
    recorded = RecordedPlan(plan._replace(steps=[*copying, plan.steps[2]]), [np.full_like(x, value)])
    assert len(recorded._parts) == 3  # two calls, and a chain
    np.testing.assert_array_equal(recorded.run([x])[0], plan.run([x])[0])


@pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: nothing is launched")
@pytest.mark.parametrize("taken", [lambda size, dtype: memory.empty((size,), dtype), workspace], ids=["a block", "the workspace"])
def test_what_others_write_keeps_no_value_between_two_runs(taken: Any) -> None:
    """Weights of zero make the same of whatever is read; memory that is handed out again may hold a NaN at the next run."""
    weights = {name: np.zeros_like(WEIGHTS[name]) for name in ("w", "w1", "b")}
    prepared, x = fastcnn.onnx.prepare(_model(CONV, ("Conv", "c w1 b", "y"), weights=weights)), _random(32, *IMAGE[1:])
    plan = prepared.executor.plan([x])
    first = plan.steps[0]

    def copying(x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        passed = taken(x.size, x.dtype).reshape(x.shape)
        passed[...] = x
        return first.run(passed, *rest)

    recorded = RecordedPlan(plan._replace(steps=[first._replace(run=copying), plan.steps[1]]), [x])
    assert len(recorded._parts) == 2  # a call, and a chain


def test_what_works_in_place_is_no_view() -> None:
    prepared, x = fastcnn.onnx.prepare(_model(CONV, ("Sin", "c", "s"), ("Conv", "s w1 b", "y"))), _random(1, *IMAGE[1:])
    plan = prepared.executor.plan([x])
    in_place = plan.steps[1]._replace(run=lambda c: np.sin(c, out=c))
    recorded = RecordedPlan(plan._replace(steps=[plan.steps[0], in_place, plan.steps[2]]), [x])
    assert len(recorded._parts) == 3
    for _ in range(2):
        x = _random(1, *IMAGE[1:])
        np.testing.assert_array_equal(recorded.run([x])[0], plan.run([x])[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pooling_and_neighbours_by_definition(dtype: Any, channels_last: bool) -> None:
    x = RNG.standard_normal((2, 5, 7, 8)).astype(dtype)
    x[0, 1, 3, 3], x[1, 2, 0, 0] = np.nan, np.inf
    if channels_last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    window = {"kernel_shape": [3, 4], "strides": [2, 3], "pads": [1, 2, 0, 1]}
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 0), (2, 1)), constant_values=-np.inf)
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 4), (2, 3))[:, :, ::2, ::3]
    inside = np.isfinite(views) | np.isnan(views) | (views > 0)
    squares = np.pad(np.square(x.astype(np.float64)), ((0, 0), (1, 2), (0, 0), (0, 0)))
    near = sum(squares[:, i : i + 5] for i in range(4))
    with np.errstate(invalid="ignore"):
        want = {
            "MaxPool": (views.max((-2, -1)), window),
            "AveragePool": (np.where(inside, views, 0).sum((-2, -1)) / inside.sum((-2, -1)), window),
            "GlobalAveragePool": (x.astype(np.float64).mean((2, 3), keepdims=True), {}),
            "LRN": (x / (1.5 + 0.2 / 4 * near) ** 0.75, {"size": 4, "alpha": 0.2, "beta": 0.75, "bias": 1.5}),
        }
    for kind, (expected, attributes) in want.items():
        node = helper.make_node(kind, ["x"], ["y"], **attributes)
        found = fastcnn.onnx.run_node(node, [x])[0]
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ([], ValueError, r"run: the model has 1 inputs, \['x'\]; got 0"),
        ([np.zeros((1, 6, 9, 8))], TypeError, "run: input 'x' must have dtype float32; got float64"),
        ([np.zeros((1, 5, 9, 8), np.float32)], ValueError, r"run: input 'x' must have shape \(N, 6, 9, 8\); got \(1, 5, 9, 8\)"),
        ([np.zeros((6, 9, 8), np.float32)], ValueError, "must have shape"),
        ([[1.0]], TypeError, "must be a NumPy array"),
        ({"z": np.zeros(1)}, ValueError, r"missing \['x'\], unknown \['z'\]"),
    ],
)
def test_wrong_inputs(inputs: Any, error: type[Exception], words: str) -> None:
    prepared = fastcnn.onnx.prepare(_model(CONV, ("Relu", "c", "y")))
    with pytest.raises(error, match=words):
        prepared.run(inputs)


def test_what_is_not_supported_is_named() -> None:
    model = _model(("Det", "x", "y"))
    assert not fastcnn.onnx.is_compatible(model)
    with pytest.raises(UnsupportedError, match="operator Det is not supported"):
        fastcnn.onnx.prepare(model)
    assert fastcnn.onnx.supports_device("CPU")
    assert not fastcnn.onnx.supports_device("CUDA:0")
    with pytest.raises(ValueError, match="device must be 'CPU'; got 'CUDA'"):
        fastcnn.onnx.prepare(_model(CONV, ("Relu", "c", "y")), "CUDA")


def test_mistakes_in_nodes_are_said_with_their_name() -> None:
    prepared = fastcnn.onnx.prepare(_model(("Conv", "x w", "y", {"kernel_shape": [3, 3], "strides": [0, 1]})))
    with pytest.raises(ValueError, match=r"Conv 'y': .*strides must be between 1"):
        prepared.run(_random(1, *IMAGE[1:]))


def test_run_node_by_opset() -> None:
    node, x = helper.make_node("Softmax", ["x"], ["y"]), _random(2, 3, 4)
    last = fastcnn.onnx.run_node(node, [x])[0]
    flattened = fastcnn.onnx.run_node(node, x, opset_version=11)[0]
    np.testing.assert_allclose(last.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(flattened.sum((1, 2)), 1, rtol=1e-6)


def test_run_model() -> None:
    x = _random(1, *IMAGE[1:])
    np.testing.assert_array_equal(fastcnn.onnx.run_model(_model(("Relu", "x", "y")), [x])[0], np.maximum(x, 0))


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_onnx_is_optional() -> None:
    assert _python("import fastcnn, sys; sys.exit('onnx' in sys.modules)").returncode == 0
    missing = _python("import sys; sys.modules['onnx'] = None; import fastcnn.onnx")
    line = 'fastcnn.onnx needs ONNX: pip install "fastcnn[onnx]"'
    assert line in missing.stderr.splitlines()[-1]
    command = _python("import sys; sys.modules['onnx'] = None; from fastcnn.cli import main; sys.exit(main(['onnx', 'run', 'm.onnx']))")
    assert command.returncode == 2
    assert command.stderr.startswith(f"fastcnn: {line}")
    assert command.stderr.count("\n") == 1


# --- The commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Any) -> str:
    path = tmp_path / "model.onnx"
    nodes = [CONV, NORM, ("Relu", "n", "a"), ("GlobalAveragePool", "a", "g"), ("Flatten", "g", "y")]
    onnx.save(_model(*nodes), path)
    return str(path)


def test_command_run(file: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    x = _random(2, *IMAGE[1:])
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    onnx.save_tensor(numpy_helper.from_array(x), tmp_path / "x.pb")
    want = PreparedModel.run(fastcnn.onnx.prepare(onnx.load(file)), x)[0]
    for given in ("x.npy", "x.npz", "x.pb"):
        assert main(["onnx", "run", file, "--input", str(tmp_path / given), "--save", str(tmp_path / "out.npz")]) == 0
        assert "y  float32 (2, 6)" in capsys.readouterr().out
        np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["y"], want)
    assert main(["onnx", "run", file, "--batch", "3", "--threads", "1"]) == 0
    assert "y  float32 (3, 6)" in capsys.readouterr().out


def test_command_bench(file: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert main(["onnx", "bench", file, "--rounds", "2", "--threads", "1", "--json", str(tmp_path / "rows.json")]) == 0
    out = capsys.readouterr().out
    assert "1 thread(s)" in out
    assert "Conv + Relu" in out
    record = json.loads((tmp_path / "rows.json").read_text())
    assert record["seconds"]["fastcnn"] > 0
    assert [row["operator"] for row in record["operators"]].count("Conv + Relu") == 1


def test_command_summary(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["onnx", "summary", file, "--batch", "2"]) == 0
    out = capsys.readouterr().out
    assert "3 steps for 5 nodes; 330 parameters, 0.000 GFLOP" in out  # 324 weights and 6 biases, which hold the normalisation
    assert f"{2 * 2 * 6 * 9 * 8 * 54 / 1e6:.2f}" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none.onnx"], "cannot read none.onnx"),
        (["run", "FILE", "--input", "z=none.npy"], "cannot read none.npy"),
        (["run", "FILE", "--size", "N"], "--size must be NAME=N"),
        (["bench", "FILE", "--rounds", "0"], "--rounds must be at least 1"),
        (["run", "FILE", "--threads", "0"], "threads"),
        (["fly", "FILE"], "invalid choice"),
        (["run"], "MODEL"),
        (["run", "TEXT"], "is no valid ONNX model"),
    ],
)
def test_command_mistakes(file: str, tmp_path: Any, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model at all")
    assert main(["onnx", *[{"FILE": file, "TEXT": str(text)}.get(word, word) for word in arguments]]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastcnn: ")
    assert words in error
    assert error.count("\n") == 1
