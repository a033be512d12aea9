"""Activations as layers: ReLU, those of the table of `fastcnn.ops.activation`, identity, step, PReLU, and softmax."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from .. import checks, scalars, window
from ..functional.activation import prelu, prelu_backward
from ..ops.activation import ACTIVATIONS, FUNCTIONS, settings
from ..ops.relu import relu, relu_backward
from ..ops.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from .base import Layer


class ReLU(Layer):
    """max(x, 0); see `fastcnn.relu`."""

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        y = relu(x)
        return y, y  # positive where x is: x itself need not live on

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (relu_backward(dy, saved) if input_gradient else None), {}


class Activation(Layer):
    """Base of the activations of the table, which differ in the entry that they name and have its parameters, in torch's order.

    Attributes
    ----------
    settings : dict of str to float or str
        The parameters by name.
    """

    name: ClassVar[str] = ""  # in the table

    def __init__(self, *parameters: Any, **named: Any) -> None:
        super().__init__()
        self.settings = settings(type(self).__name__, self.name, parameters, named)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return FUNCTIONS[self.name].forward(x, *self.settings.values()), x

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (FUNCTIONS[self.name].backward(dy, saved, *self.settings.values()) if input_gradient else None), {}

    def flops(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape)

    def _describe(self) -> str:
        changed = [p.name for p in ACTIVATIONS[self.name].parameters if self.settings[p.name] != p.default]
        return ", ".join(f"{name}={self.settings[name]}" for name in changed)


class CELU(Activation):
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1)); parameters: alpha; see `fastcnn.functional.celu`."""

    name = "celu"


class ELU(Activation):
    """x where x > 0, else alpha (exp(x) - 1); parameters: alpha; see `fastcnn.functional.elu`."""

    name = "elu"


class GELU(Activation):
    """x times the distribution function of the standard normal; parameters: approximate; see `fastcnn.functional.gelu`."""

    name = "gelu"


class Hardshrink(Activation):
    """x where |x| > lambd, else 0; parameters: lambd; see `fastcnn.functional.hardshrink`."""

    name = "hardshrink"


class Hardsigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6; see `fastcnn.functional.hardsigmoid`."""

    name = "hardsigmoid"


class Hardswish(Activation):
    """x min(max(x + 3, 0), 6) / 6; see `fastcnn.functional.hardswish`."""

    name = "hardswish"


class Hardtanh(Activation):
    """min(max(x, min_val), max_val); parameters: min_val, max_val; see `fastcnn.functional.hardtanh`."""

    name = "hardtanh"


class LeakyReLU(Activation):
    """x where x > 0, else negative_slope x; parameters: negative_slope; see `fastcnn.functional.leaky_relu`."""

    name = "leaky_relu"


class LogSigmoid(Activation):
    """log(1 / (1 + exp(-x))); see `fastcnn.functional.logsigmoid`."""

    name = "logsigmoid"


class Mish(Activation):
    """x tanh(log(1 + exp(x))); see `fastcnn.functional.mish`."""

    name = "mish"


class ReLU6(Activation):
    """min(max(x, 0), 6); see `fastcnn.functional.relu6`."""

    name = "relu6"


class SELU(Activation):
    """Self-normalising: 1.0507 x where x > 0, else 1.7581 (exp(x) - 1); see `fastcnn.functional.selu`."""

    name = "selu"


class Sigmoid(Activation):
    """1 / (1 + exp(-x)); see `fastcnn.functional.sigmoid`."""

    name = "sigmoid"


class SiLU(Activation):
    """x / (1 + exp(-x)); see `fastcnn.functional.silu`."""

    name = "silu"


class Softplus(Activation):
    """log(1 + exp(beta x)) / beta; parameters: beta, threshold; see `fastcnn.functional.softplus`."""

    name = "softplus"


class Softshrink(Activation):
    """x moved by lambd towards 0, at most to it; parameters: lambd; see `fastcnn.functional.softshrink`."""

    name = "softshrink"


class Softsign(Activation):
    """x / (1 + |x|); see `fastcnn.functional.softsign`."""

    name = "softsign"


class Tanh(Activation):
    """tanh(x); see `fastcnn.functional.tanh`."""

    name = "tanh"


class Tanhshrink(Activation):
    """x - tanh(x); see `fastcnn.functional.tanhshrink`."""

    name = "tanhshrink"


class Threshold(Activation):
    """x where x > threshold, else value; parameters: threshold, value; see `fastcnn.functional.threshold`."""

    name = "threshold"


class Identity(Layer):
    """Return x: what stands where a model offers a choice of activations and none is wanted. Takes any arguments, as torch's does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return x, ()

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (dy if input_gradient else None), {}


class Step(Layer):
    """Heaviside's function, the perceptron's: 1 where x > 0, else 0 (NaN stays). Its gradient is 0, so nothing before it learns.

    References
    ----------
    F. Rosenblatt, "The Perceptron", 1958; `torch.heaviside` with values of 0.
    """

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        x = checks.array("Step", "input", x, None)
        return checks.like(np.heaviside(checks.memory_order(x), x.dtype.type(0)), x), x.shape

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not input_gradient:
            return None, {}
        dy = checks.array("Step", "gradient", dy, None)
        checks.same_shape("Step", "gradient", dy, saved, "the output's")
        return checks.like(np.zeros_like(checks.memory_order(dy)), dy), {}

    def flops(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape)


class PReLU(Layer):
    """x where x > 0, else weight x, with one weight or one of every channel that is learnt; see `fastcnn.functional.prelu`.

    Parameters
    ----------
    num_parameters : int
        1, or the channels.
    init : float
        What the weights start at.
    dtype : float32 or float64
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = np.float32) -> None:
        super().__init__()
        self.num_parameters = window.integer("PReLU", "num_parameters", num_parameters, 1)
        value, kind = checks.number("PReLU", "init", init, finite=False), scalars.dtype("PReLU", dtype)
        checks.require_memory("PReLU", "the weight", (self.num_parameters,), kind.itemsize)
        with np.errstate(over="ignore"):
            self.params = {"weight": np.full(self.num_parameters, value, kind)}

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return prelu(x, self.params["weight"]), x

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if not (input_gradient or self.trainable):
            return None, {}
        dx, dweight = prelu_backward(dy, saved, self.params["weight"])
        return (dx if input_gradient else None), ({"weight": dweight} if self.trainable else {})

    def flops(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape)

    def _describe(self) -> str:
        return str(self.num_parameters)


class Softmax(Layer):
    """exp(x) / sum of exp(x) along an axis; see `fastcnn.functional.softmax`.

    Parameters
    ----------
    dim : int
        The axis, counted with the batch's.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = window.integer(type(self).__name__, "dim", dim, -window.LARGEST)

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        y = softmax(x, self.dim)
        return y, y

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (softmax_backward(dy, saved, self.dim) if input_gradient else None), {}

    def flops(self, shape: tuple[int, ...]) -> int:
        return 3 * math.prod(shape)

    def _describe(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of `Softmax`; see `fastcnn.functional.log_softmax`."""

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        y = log_softmax(x, self.dim)
        return y, y

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        return (log_softmax_backward(dy, saved, self.dim) if input_gradient else None), {}
