"""Whole ONNX models and their layers, beside ONNX Runtime."""
