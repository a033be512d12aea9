"""Whole networks as ONNX models, for tests and benchmarks against other runtimes."""
