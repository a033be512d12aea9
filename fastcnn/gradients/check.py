"""The gradient check: a copy in float64, evaluated beside each of its parameters and inputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import checks, scalars, window
from ..layers import Layer
from .differences import beside
from .result import Checked, GradientCheck

_LEAST = 1e-8  # of a denominator
_ROUNDING = 50 * np.finfo(np.float64).eps  # of a value, relative to the sizes that are summed in it; a few times what was seen
_CLOSER = 16  # times nearer a second look is taken


def gradient_check(
    model: Any,
    input: np.ndarray,
    target: np.ndarray | None = None,
    loss: Any = None,
    *,
    eps: float = 1e-5,
    tolerance: float = 1e-5,
    samples: int | None = 100,
    seed: int = 0,
    input_gradient: bool = True,
) -> GradientCheck:
    """Compare the gradients that a layer, a model or a loss computes with central differences, in float64; nothing given is changed.

    An element passes where its relative error |a - b| / max(1e-8, |a| + |b|) is within the tolerance; the 1e-8 is raised to what the
    rounding of the differences allows to see. Where it is not, a second look is taken 16 times closer, as the first may have stepped
    across a corner of ReLU or another winner of a maximum. If the slopes on both sides differ there too, and the gradient lies between
    them, the element is at a kink, where any slope between is right: it is counted and not judged.

    Parameters
    ----------
    model : Layer, or loss
        What is checked is a copy, in float64, in the mode (training or evaluation) that the model is in. Dropout draws the same at every
        evaluation, and frozen layers are left out.
    input : ndarray
        What the model takes, or the loss as predictions; read as float64.
    target : ndarray, optional
        For a loss.
    loss : optional
        Object with ``forward(predictions, target)`` and ``backward()``, e.g. of `fastcnn.losses`. Without it a layer's outputs are added
        up with random weights.
    eps : float
        Step of the differences.
    tolerance : float
    samples : int or None
        Elements looked at of each array, drawn at random if it has more; None looks at all. Each costs two forwards.
    seed : int
        Of the elements and of the weights of the sum.
    input_gradient : bool
        False leaves out the input.

    Returns
    -------
    GradientCheck
        ``print`` shows it, ``passed`` is the verdict.

    Raises
    ------
    TypeError
        `model` is neither a layer nor a loss; or it computes in another precision.
    ValueError
        A loss without a target, or a target without a loss; or a number out of its range.

    References
    ----------
    A. Karpathy et al., "CS231n: Gradient checks", for relative errors and kinks.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import gradient_check
    >>> from fastcnn.layers import Conv2d, Flatten, Linear, ReLU, Sequential
    >>> from fastcnn.losses import SoftmaxCrossEntropy
    >>> net = Sequential(Conv2d(1, 2, 3, rng=0), ReLU(), Flatten(), Linear(8, 3, rng=1))
    >>> images = np.random.default_rng(0).standard_normal((2, 1, 4, 4))
    >>> gradient_check(net, images, np.array([0, 2]), SoftmaxCrossEntropy()).passed
    True
    """
    op = "gradient_check"
    step = scalars.between(op, "eps", scalars.positive(op, "eps", eps), 1e-150, 1e150)  # beyond, a division by it overflows
    allowed = scalars.between(op, "tolerance", scalars.positive(op, "tolerance", tolerance), 1e-100, math.inf)
    count = None if samples is None else window.integer(op, "samples", samples, 1)
    rng = np.random.default_rng(window.integer(op, "seed", seed, 0))
    if not isinstance(model, Layer):
        if loss is not None or not _is_loss(model):
            raise TypeError(f"{op}: model must be a Layer, or a loss with forward and backward; got {type(model).__name__}")
        model, loss = None, model
    if loss is not None and not _is_loss(loss):
        raise TypeError(f"{op}: loss must have forward(predictions, target) and backward(); got {type(loss).__name__}")
    if (loss is None) != (target is None):
        raise ValueError(f"{op}: target and loss belong together; got {'a loss' if target is None else 'a target'} alone")
    x = checks.array(op, "input", input, None, None)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{op}: input must hold real numbers; got dtype {x.dtype}")
    subject = _Subject(model, x, target, loss, rng)
    wanted = checks.flag(op, "input_gradient", input_gradient)
    rows = [_check(subject, *array, step, allowed, count, rng) for array in subject.arrays(wanted)]
    return GradientCheck(tuple(rows), step, allowed)


class _Subject:
    """What is checked, as a function of arrays that may be changed in place."""

    def __init__(self, model: Layer | None, x: np.ndarray, target: Any, loss: Any, rng: np.random.Generator) -> None:
        self.model = None if model is None else _in_float64(model)
        self.x, self.target, self.loss = np.array(x, np.float64), target, copy.deepcopy(loss)
        self.states = {name: rng.bit_generator.state for name, rng in self._generators().items()}
        y = self._output()
        if y.dtype != np.float64:
            raise TypeError(f"gradient_check: the model must compute in float64, as its parameters and input are; its output is {y.dtype}")
        self.weights = rng.standard_normal(y.shape)

    def _generators(self) -> dict[str, np.random.Generator]:
        return {} if self.model is None else self.model.generators()

    def _output(self) -> np.ndarray:
        for name, rng in self._generators().items():
            rng.bit_generator.state = self.states[name]
        return self.x if self.model is None else self.model.forward(self.x)

    def value(self) -> float:
        """Return the loss, or the weighted sum of outputs."""
        y = self._output()
        return float(np.vdot(self.weights, y)) if self.loss is None else float(self.loss.forward(y, self.target))

    def scale(self) -> float:
        """Return the size of what is summed up in `value`, which its rounding is relative to."""
        return abs(self.value()) if self.loss is not None else float(np.vdot(np.abs(self.weights), np.abs(self._output())))

    def arrays(self, input_gradient: bool) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        """Yield (name, array, its gradient or None where it is frozen)."""
        self.value()
        dy = self.weights if self.loss is None else self.loss.backward()
        dx = dy if self.model is None else self.model.backward(dy, input_gradient)
        if input_gradient:
            yield "input", self.x, np.array(dx)
        if self.model is not None:
            grads = {name: np.array(grad) for name, grad in self.model.grads.items()}
            trained = self.model.trainable_params
            for name, param in self.model.params.items():
                yield name, param, grads[name] if name in trained else None


def _check(
    subject: _Subject,
    name: str,
    array: np.ndarray,
    gradient: np.ndarray | None,
    eps: float,
    tolerance: float,
    samples: int | None,
    rng: np.random.Generator,
) -> Checked:
    row = Checked(name, array.shape, verdict="frozen" if gradient is None else "empty")
    if gradient is None or array.size == 0:
        return row
    if gradient.shape != array.shape:
        raise ValueError(f"gradient_check: the gradient of {name} must have its shape {array.shape}; got {gradient.shape}")
    places = np.arange(array.size) if samples is None or samples >= array.size else np.sort(rng.choice(array.size, samples, replace=False))
    scale = subject.scale()
    checked = kinks = 0
    worst: tuple[float, tuple[int, ...], float, float] = (-1.0, (), 0.0, 0.0)
    for place in places:
        index = tuple(int(i) for i in np.unravel_index(place, array.shape))
        computed = float(gradient[index])
        for step in (eps, eps / _CLOSER):
            above, below = beside(subject.value, array, index, step)
            numerical = (above - below) / (2 * step)
            error = _error(computed, numerical, max(_LEAST, _ROUNDING * scale / step / tolerance))
            if error <= tolerance:
                break
        else:
            if _at_kink(computed, (subject.value() - below) / step, (above - subject.value()) / step):
                kinks += 1
                continue
        checked += 1
        if error > worst[0]:
            worst = (error, index, computed, numerical)
    if not checked:
        return row._replace(kinks=kinks, verdict="kinks only")
    return Checked(name, array.shape, checked, kinks, *worst, verdict="ok" if worst[0] <= tolerance else "wrong")


def _error(computed: float, numerical: float, least: float) -> float:
    """Return the relative error; infinite where one of the gradients is NaN or infinite."""
    error = abs(computed - numerical) / max(least, abs(computed) + abs(numerical))
    return error if math.isfinite(error) else math.inf


def _at_kink(computed: float, left: float, right: float) -> bool:
    """Whether the slopes on both sides differ, as a curve's do not so close, and the gradient computed is between them."""
    low, high = sorted((left, right))
    slack = 1e-4 * (abs(left) + abs(right))
    return high - low > 10 * slack and low - slack <= computed <= high + slack


def _in_float64(model: Layer) -> Layer:
    """Return a copy of a model whose parameters and buffers are float64; arrays that layers share stay shared."""
    arrays = [array for array in (*model.params.values(), *model.buffers.values()) if array.dtype.kind == "f"]
    return copy.deepcopy(model, {id(array): array.astype(np.float64) for array in arrays})


def _is_loss(thing: Any) -> bool:
    return all(callable(getattr(thing, name, None)) for name in ("forward", "backward")) and not isinstance(thing, type)
