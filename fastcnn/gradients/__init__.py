"""Gradients by central differences: of any function, and beside the gradients that a layer, a loss or a model computes."""

from .check import gradient_check
from .differences import numerical_gradient
from .result import Checked, GradientCheck

__all__ = ["Checked", "GradientCheck", "gradient_check", "numerical_gradient"]
