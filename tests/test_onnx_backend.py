"""ONNX's own tests of backends: all that come with the onnx package, of which what we refuse is listed here with the reason."""

from __future__ import annotations

import re
import unittest
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx (extra 'onnx')")

from onnx.backend.test.loader import load_model_tests  # noqa: E402

from fastcnn.onnx import FastcnnBackend, UnsupportedError  # noqa: E402

VERSION = tuple(map(int, onnx.__version__.split(".")[:2]))
LISTED = 1, 23  # the release whose tests the list was made for; older ones have fewer
MISTAKEN = {  # tests that older releases of onnx have wrong, and a release that has them right
    "adam_multiple": (1, 23),  # up to 1.18 its node lacks the epsilon that its answer has
    "averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True": (1, 18),  # 1.16 counts what lies beyond the padding
}
UNSUPPORTED = {
    "a number format that NumPy does not have": (
        r"^(cast|castlike|dequantizelinear|quantizelinear)_.*(FLOAT4|FLOAT8|INT2|INT4|BFLOAT16|float4|float8|int2|int4|e[45]m[23]|e8m0)",
        r"_bf16|bfloat16",
        r"^qlinearmatmul_.*float",
    ),
    "text": (r"^(string|str|strnorm|strnormalizer|regex|equal_string|ai_onnx_ml_label)|_STRING", r"tfidf"),
    "sequences and optional values": (r"sequence|optional|_seq$|_opt$|_seq_none$", r"^split_to_"),
    "subgraphs": (r"^(if|loop|scan)\d*(_|$)", r"^scan9", r"^range_.*_expanded$", r"^affine_grid_.*_expanded$", r"^linear_attention"),
    "gradients as a node": (r"^gradient_of",),
    "attention": (r"^(attention|flexattention|rotary_embedding|swiglu)(?!.*_expanded$)", r"^swiglu_float16|^tensorscatter"),
    "recurrent networks": (r"^(gru|lstm|rnn|simple_rnn)_", r"^causal_conv_with_state"),
    "quantised arithmetic": (r"^(dynamic)?quantizelinear", r"^dequantizelinear", r"^(qlinear|matmulinteger|convinteger)"),
    "trees and encoders of ai.onnx.ml": (r"^ai_onnx_ml_",),
    "images and boxes": (r"^(gridsample|affine_grid|roialign|.*deform_conv)", r"^(nonmaxsuppression|image_decoder|center_crop)"),
    "antialias, and crops, of Resize": (r"^resize_.*(antialias|tf_crop)",),
    "spectra and their windows": (r"^(dft|stft|melweightmatrix)", r"^(blackman|hamming|hann)window(_symmetric)?$"),
    "shifts of signed numbers": (r"^bitshift_.*_int",),
    "random numbers": (r"^bernoulli",),
    "others that no network of images needs": (r"^(bitcast|compress|cumprod|det|scatternd|unique)_", r"^scatternd$"),
}  # fmt: skip

CORE = frozenset((
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "MaxUnpool", "Upsample", "Dropout",
    "BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN", "Gemm", "MatMul", "Add", "Mul", "Sum",
    "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign", "Gelu",
    "Clip", "Softmax", "LogSoftmax", "Pad", "Flatten", "Reshape", "Concat", "Transpose", "Unsqueeze", "Constant", "ConstantOfShape",
))  # fmt: skip
LIGHT = {"bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512"}
COUNTED = {"Col2Im": 5, "SoftmaxCrossEntropyLoss": 34, "NegativeLogLikelihoodLoss": 18, "Adam": 2, "Momentum": 3, "Adagrad": 2}


class _Outcome(NamedTuple):
    passed: set[str]
    refused: set[str]
    failed: dict[str, str]
    operators: dict[str, set[str]]


class _Repeated:
    """A prepared model of which every run is several: step by step, recorded, and replayed, all of the same bits."""

    def __init__(self, model: Any) -> None:
        self.model, self.recorded = model, 0

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        results = self.model.run(inputs, **options)
        if not any(node.kind == "Dropout" for node in self.model.graph.nodes):  # draws anew at every run
            for _ in range(4):
                again = self.model.run(inputs, **options)
                assert [(a.dtype, a.shape, a.tobytes()) for a in again] == [(a.dtype, a.shape, a.tobytes()) for a in results]
        _Backend.recorded += len(self.model.executor._recorded)
        return tuple(results)


class _Backend(FastcnnBackend):
    recorded = 0

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **options: Any) -> Any:
        return _Repeated(super().prepare(model, device, **options))

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        return True  # the tests would skip what is not: every refusal shall come from a run


class _Result(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.passed: set[str] = set()
        self.refused: set[str] = set()
        self.failed: dict[str, str] = {}

    def addSuccess(self, test: Any) -> None:
        self.passed.add(_name(test))

    def addError(self, test: Any, error: Any) -> None:
        if issubclass(error[0], UnsupportedError):
            self.refused.add(_name(test))
        else:
            self.failed[_name(test)] = f"{error[0].__name__}: {error[1]}"

    addFailure = addError

    def addSkip(self, test: Any, reason: str) -> None:
        self.failed[_name(test)] = f"skipped: {reason}"


def _name(test: Any) -> str:
    return str(test._testMethodName).removeprefix("test_").removesuffix("_cpu")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> _Outcome:
    """Run everything once."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNX_HOME", str(tmp_path_factory.mktemp("onnx")))  # where the tests unpack what the package brings
        warnings.simplefilter("ignore")  # of NumPy, as onnx makes its data
        from onnx.backend.test import BackendTest

        cases = BackendTest(_Backend, __name__).test_cases
        operators = dict(_operators())
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="onnx")
        result = _Result()
        for case in cases.values():
            for name in unittest.defaultTestLoader.getTestCaseNames(case):
                if name.endswith("_cpu"):
                    case(name).run(result)
    return _Outcome(result.passed, result.refused, result.failed, operators)


def _operators() -> Iterator[tuple[str, set[str]]]:
    for kind in ("node", "real", "simple", "pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            if case.model is not None:
                model = case.model
            elif case.model_dir:
                model = onnx.load(Path(case.model_dir) / "model.onnx")
            else:
                model = onnx.load(Path(onnx.__file__).parents[1] / case.url)
            yield case.name.removeprefix("test_"), {node.op_type for node in model.graph.node}


def _right(names: Iterable[str]) -> set[str]:
    """Return those of onnx's tests that are not mistaken in the release that is installed."""
    return {name for name in names if MISTAKEN.get(name, (0,)) <= VERSION}


def _reason(name: str) -> str | None:
    return next((reason for reason, patterns in UNSUPPORTED.items() if any(re.search(p, name) for p in patterns)), None)


def test_plans_were_recorded(outcome: _Outcome) -> None:
    """So that the runs of a test were not all of one kind."""
    assert outcome.passed
    assert _Backend.recorded >= (150 if VERSION >= LISTED else 80)


def test_nothing_fails(outcome: _Outcome) -> None:
    assert {name: outcome.failed[name] for name in _right(outcome.failed)} == {}


def test_refusals_are_listed(outcome: _Outcome) -> None:
    assert [name for name in sorted(outcome.refused) if _reason(name) is None] == []


@pytest.mark.parametrize("reason", UNSUPPORTED)
def test_list_is_not_stale(outcome: _Outcome, reason: str) -> None:
    if VERSION < LISTED:
        pytest.skip(f"onnx {onnx.__version__} has fewer tests than onnx {LISTED[0]}.{LISTED[1]}, which the list is for")
    for pattern in UNSUPPORTED[reason]:
        assert any(re.search(pattern, name) for name in outcome.refused), f"{pattern} matches no test that is refused"


def test_core_of_convolutional_networks(outcome: _Outcome) -> None:
    core = {name for name, operators in outcome.operators.items() if operators <= CORE and not re.search("_expanded", name)}
    refused = core - outcome.passed
    assert len(core & outcome.passed) >= 263, f"{len(core & outcome.passed)} pass; not {sorted(refused)}"


def test_published_networks(outcome: _Outcome) -> None:
    """With constant weights, which nearly any mistake leaves right: see tests/partners/test_onnx_models.py for others."""
    assert {name for name in outcome.operators if name in LIGHT} == LIGHT <= outcome.passed


@pytest.mark.parametrize(("operator", "count"), COUNTED.items())
def test_losses_and_optimisers(outcome: _Outcome, operator: str, count: int) -> None:
    tests = {name for name, operators in outcome.operators.items() if operators == {operator}}
    assert len(tests) >= count
    assert _right(tests) <= outcome.passed
