"""ONNX: networks out as models (`export`)."""

from .export import export

__all__ = ["export"]
