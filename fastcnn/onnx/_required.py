"""Where the onnx package is missing, importing this says what to install."""

from ..extras import require

require("onnx", "ONNX", "onnx", "fastcnn.onnx")
