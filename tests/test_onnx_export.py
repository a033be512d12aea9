"""Networks written as ONNX models compute what they compute here: judged by onnx's own checker and reference."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx (extra 'test')")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from fastcnn import layers, models  # noqa: E402
from fastcnn.layers import (  # noqa: E402
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from fastcnn.onnx import export  # noqa: E402
from fastcnn.onnx.export import NODES, OPSET  # noqa: E402


def _trained(model: Layer, shape: tuple[int, ...]) -> Layer:
    """Return the model after two forwards in training, so that its statistics are not those of the beginning."""
    rng = np.random.default_rng(0)
    for name, array in model.params.items():
        if name.endswith(("weight", "bias")) and array.ndim == 1:
            array += rng.uniform(-0.3, 0.3, array.shape).astype(array.dtype)
    dtype = next((array.dtype for array in model.params.values()), np.float32)
    for _ in range(2):
        model.train()(rng.standard_normal((8, *shape)).astype(dtype))
    return model


F64: dict[str, Any] = {"dtype": np.float64, "rng": 1}
MODELS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    **{name: (make(28, 0), (1, 28, 28)) for name, make in models.MODELS.items() if "digit" in name or "lenet" in name},
    # the reference's convolutions are slow
    **{name: (make(12, 0), (1, 12, 12)) for name, make in models.MODELS.items() if not ("digit" in name or "lenet" in name)},
    "convolutions": (
        Sequential(
            Conv2d(4, 6, (3, 2), stride=(2, 1), padding=((1, 0), (2, 1)), rng=1),
            Conv2d(6, 6, 3, padding="same", groups=3, bias=False, rng=2),
            Conv2d(6, 2, 2, stride=2, padding="same", dilation=2, rng=3),
            Conv2d(2, 3, 1, padding="valid", rng=4),
        ),
        (4, 9, 8),
    ),
    "pools": (Sequential(MaxPool2d(3, 2, 1), MaxPool2d((2, 1), 1), MaxPool2d(2, ceil_mode=True)), (2, 13, 11)),
    "pool, rounded up into its padding": (MaxPool2d(3, 3, 1, ceil_mode=True), (2, 9, 7)),
    "pool, rounded up": (MaxPool2d(2, 3, ceil_mode=True), (2, 8, 6)),
    "pool, dilated": (MaxPool2d(2, 2, 1, dilation=2, ceil_mode=True), (1, 8, 9)),
    "normalised": (
        Sequential(BatchNorm2d(3, eps=0.1), Flatten(), BatchNorm1d(60, affine=False), Linear(60, 4, bias=False, rng=1)),
        (3, 4, 5),
    ),
    "rows": (Sequential(Linear(5, 4, rng=1), ReLU(), Linear(4, 2, bias=False, rng=2)), (3, 5)),
    "signals": (BatchNorm1d(3), (3, 5)),
    "nested": (Sequential(Sequential(Conv2d(1, 2, 3, rng=1), ReLU()), Sequential(Flatten(), Sequential(Linear(32, 3, rng=2)))), (1, 6, 6)),
    "residual": (
        Sequential(
            Residual(Conv2d(2, 2, 3, padding=1, rng=1), BatchNorm2d(2), ReLU()),
            Residual(ReLU(), Conv2d(2, 4, 2, stride=2, rng=2), shortcut=Sequential(Conv2d(2, 4, 1, stride=2, rng=3), BatchNorm2d(4))),
            Residual(Residual(Dropout(0.5, rng=1)), shortcut=Conv2d(4, 4, 1, rng=4)),
        ),
        (2, 6, 8),
    ),
    "nothing but dropout": (Sequential(Dropout(0.5, rng=1)), (3,)),
    "activations": (
        Sequential(
            layers.Sigmoid(),
            Linear(6, 6, rng=1),
            layers.Tanh(),
            Linear(6, 6, rng=2),
            layers.SELU(),
            layers.ELU(0.7),
            layers.LeakyReLU(0.2),
            layers.Hardswish(),
            Linear(6, 6, rng=3),
            layers.SiLU(),
            layers.Mish(),
            layers.GELU(),
            layers.GELU("tanh"),
            layers.PReLU(),
        ),
        (6,),
    ),
    "more activations": (
        Sequential(
            layers.Hardtanh(-1.5, 2.0),
            layers.ReLU6(),
            Linear(6, 6, rng=1),
            layers.Softshrink(0.1),
            layers.Hardshrink(0.05),
            layers.Tanhshrink(),
            Linear(6, 6, rng=2),
            layers.Softplus(2.0),
            Linear(6, 6, rng=3),
            layers.Threshold(-0.1, 0.3),
            layers.LogSigmoid(),
            layers.Softsign(),
            layers.Hardsigmoid(),
            layers.LayerNorm(6),
            layers.LogSoftmax(-1),
        ),
        (6,),
    ),
    "of channels": (
        Sequential(
            layers.PReLU(3),
            layers.AvgPool2d((3, 2), 2, 1, count_include_pad=False),
            layers.AvgPool2d(3, 1, 1),
            layers.Dropout2d(0.3, rng=1),
            layers.LayerNorm((3, 6, 8), elementwise_affine=False),
            layers.AdaptiveAvgPool2d((2, 4)),
            layers.AdaptiveAvgPool2d(1),
            Flatten(),
            layers.Softmax(1),
        ),
        (3, 12, 14),
    ),
    "doubles": (Sequential(Conv2d(1, 2, 3, **F64), BatchNorm2d(2, dtype=np.float64), Flatten(), Linear(32, 3, **F64)), (1, 6, 6)),
}


@pytest.mark.parametrize(("model", "shape"), MODELS.values(), ids=MODELS)
def test_reference_computes_the_same(model: Layer, shape: tuple[int, ...], tmp_path: Path) -> None:
    model = _trained(model, shape)
    export(model, tmp_path / "model.onnx", shape)
    assert model.training  # still
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [entry.version for entry in proto.opset_import] == [OPSET]
    dtype = next((array.dtype for array in model.params.values()), np.dtype(np.float32))
    evaluator = ReferenceEvaluator(proto)
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, *shape)).astype(dtype)
        expected = model.eval()(x)
        (found,) = evaluator.run(None, {"input": x})
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=0, atol=(1e-5 if dtype == np.float32 else 1e-12) * np.abs(expected).max())


def test_every_layer_is_tried() -> None:
    tried: set[type] = set()

    def collect(layer: Layer) -> None:
        tried.add(type(layer))
        for inner in layer.children().values():
            collect(inner)

    for model, _ in MODELS.values():
        collect(model)
    assert tried == set(NODES)


def test_parameters_keep_their_names(tmp_path: Path) -> None:
    model = MODELS["nested"][0]
    export(model, tmp_path / "model.onnx", (1, 6, 6))
    proto = onnx.load(tmp_path / "model.onnx")
    assert {constant.name for constant in proto.graph.initializer} == set(model.params)
    dims = [
        [d.dim_param or d.dim_value for d in end.type.tensor_type.shape.dim]
        for ends in (proto.graph.input, proto.graph.output)
        for end in ends
    ]
    assert dims == [["N", 1, 6, 6], ["N", 3]]


class Mine(ReLU):
    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return -x, None


@pytest.mark.parametrize(
    ("model", "shape", "kind", "message"),
    [
        (Sequential(ReLU(), Sequential(Mine())), (3,), TypeError, r"must consist of .*Conv2d.*; got Mine \(layer 1.0\)"),
        (Mine(), (3,), TypeError, "got Mine$"),
        ("net", (3,), TypeError, "model must be a Layer; got str"),
        (ReLU(), 3, ValueError, "input_shape must be the shape of one sample"),
        (ReLU(), (), ValueError, "input_shape must be the shape of one sample"),
        (ReLU(), (3, 0), ValueError, r"input_shape\[1\] must be between 1"),
        (ReLU(), (3, 2.5), TypeError, r"input_shape\[1\] must be an int"),
        (Conv2d(3, 4, 3), (2, 5, 5), ValueError, r"Conv2d: input must be \(N, 3, H, W\); got shape \(N, 2, 5, 5\)"),
        (Conv2d(3, 4, 3), (3,), ValueError, r"Conv2d: input must be \(N, 3, H, W\); got shape \(N, 3\)"),
        (MaxPool2d(2), (4, 4), ValueError, r"MaxPool2d: input must be \(N, C, H, W\)"),
        (Linear(3, 2), (4,), ValueError, "Linear: input must be"),
        (Sequential(BatchNorm2d(2, track_running_stats=False)), (2, 3, 3), ValueError, "BatchNorm2d 0 has no running statistics"),
        (layers.AvgPool2d(2, ceil_mode=True), (2, 5, 5), ValueError, "must have no ceil_mode"),
        (layers.AdaptiveAvgPool2d(2), (2, 5, 5), ValueError, "must divide its input, 5 x 5"),
        (layers.GroupNorm(1, 2), (2, 5, 5), TypeError, "got GroupNorm$"),
        (Sequential(Linear(2, 2), Linear(2, 2, dtype=np.float64)), (2,), TypeError, "expected arrays of one dtype"),
    ],
)
def test_refusals_leave_no_file(model: Any, shape: Any, kind: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message):
        export(model, tmp_path / "model.onnx", shape)
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in [name for name in sys.modules if name.startswith("fastcnn.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r'fastcnn\.onnx needs ONNX: pip install "fastcnn\[onnx\]"'):
        importlib.import_module("fastcnn.onnx")
