"""Whole networks beside ONNX Runtime: every layer with random weights, in batches of one and of several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx (extra 'onnx')")
runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install onnxruntime (extra 'partners')")

import fastcnn.onnx  # noqa: E402
from bench.onnx.models import MODELS, feeds  # noqa: E402

LIMIT = 1e-5  # of the largest result; two sums of thousands of terms in float32, layer after layer


def _expected(model: Any, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"bvlc_alexnet", "zfnet512"}))  # of the kind of VGG, and large
def test_agrees_with_onnx_runtime(name: str) -> None:
    model = MODELS[name]()
    prepared = fastcnn.onnx.prepare(model)
    for batch in (1, 3):
        inputs = feeds(model, batch)
        expected = _expected(model, inputs)
        for _ in range(2):  # the run that plans, and one that follows the plan
            for found, wanted in zip(prepared.run(inputs), expected, strict=True):
                assert found.shape == wanted.shape
                error = np.abs(found - wanted).max() / np.abs(wanted).max()
                assert error <= LIMIT, f"batch {batch}: off by {error:.1e} of the largest"
