"""Exported models in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install onnxruntime (extra 'partners')")
pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx (extra 'onnx')")

from test_onnx_export import MODELS, _trained  # noqa: E402

from fastcnn.layers import Layer  # noqa: E402
from fastcnn.onnx import export  # noqa: E402

SINGLE = {name: entry for name, entry in MODELS.items() if name != "doubles"}  # for which ONNX Runtime has no convolution


@pytest.mark.parametrize(("model", "shape"), SINGLE.values(), ids=SINGLE)
def test_onnxruntime_computes_the_same(model: Layer, shape: tuple[int, ...], tmp_path: Path) -> None:
    model = _trained(model, shape)
    export(model, tmp_path / "model.onnx", shape)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        x = np.random.default_rng(batch).standard_normal((batch, *shape), np.float32)
        expected = model.eval()(x)
        (found,) = session.run(None, {"input": x})
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
