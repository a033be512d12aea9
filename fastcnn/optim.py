"""Optimisers: they change the parameters that they were given in place, from gradients under the same names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


class Optimizer:
    """Base of all optimisers: parameters by name, a learning rate that may be changed between steps, and a step.

    Parameters
    ----------
    params : mapping of name to ndarray
        Updated in place by `step`.
    lr : float
        Learning rate; assign `optimizer.lr` to follow a schedule.
    weight_decay : float
        Adds weight_decay * w to the gradient (an L2 penalty of weight_decay / 2 * sum w^2).
    """

    def __init__(self, params: Mapping[str, np.ndarray], lr: float, weight_decay: float = 0.0) -> None:
        name = type(self).__name__
        if not lr >= 0 or not weight_decay >= 0:
            raise ValueError(f"{name}: lr and weight_decay must not be negative; got {lr} and {weight_decay}")
        self.params = dict(params)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0

    def step(self, grads: Mapping[str, np.ndarray]) -> None:
        """Move every parameter that has a gradient.

        Raises
        ------
        ValueError
            A gradient's name is unknown, or its shape is not the parameter's.
        """
        self.steps += 1
        for name, grad in grads.items():
            param = self.params.get(name)
            if param is None or param.shape != grad.shape:
                expected = sorted(self.params) if param is None else param.shape
                raise ValueError(f"{type(self).__name__}: gradient {name!r} of shape {grad.shape}; expected {expected}")
            if self.weight_decay:
                grad = grad + param.dtype.type(self.weight_decay) * param
            self._update(name, param, grad)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return a copy of everything that the next step depends on, besides the parameters and the learning rate."""
        kept = {f"{kind}.{name}": array.copy() for kind in self._kept for name, array in getattr(self, kind).items()}
        return {"steps": np.array(self.steps), **kept}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state_dict`, all or nothing; ValueError where a name or a shape is not one of ours."""
        loaded: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in self._kept}
        for key, array in state.items():
            kind, _, name = key.partition(".")
            if key != "steps":
                if kind not in loaded or name not in self.params or np.shape(array) != self.params[name].shape:
                    raise ValueError(f"{type(self).__name__}: unknown state {key!r} of shape {np.shape(array)}")
                loaded[kind][name] = np.array(array, self.params[name].dtype)
        if "steps" not in state:
            raise ValueError(f"{type(self).__name__}: the state has no 'steps'")
        self.steps = int(state["steps"])
        for kind, arrays in loaded.items():
            setattr(self, kind, arrays)

    _kept: tuple[str, ...] = ()  # attributes that hold an array per parameter

    def _update(self, name: str, param: np.ndarray, grad: np.ndarray) -> None:
        raise TypeError(f"{type(self).__name__} defines no update")

    def _memory(self, store: dict[str, np.ndarray], name: str) -> np.ndarray:
        """Return the array that `store` keeps for a parameter, zeros at first."""
        if name not in store:
            store[name] = np.zeros_like(self.params[name])
        return store[name]


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + g; w -= lr v (or lr (g + momentum v) with Nesterov's look-ahead).

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013; the form of `torch.optim.SGD`.
    """

    _kept = ("velocity",)

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not 0 <= momentum < 1 or (nesterov and momentum == 0):
            raise ValueError(f"SGD: momentum must be in [0, 1), and above 0 for nesterov; got {momentum}")
        self.momentum, self.nesterov = momentum, nesterov
        self.velocity: dict[str, np.ndarray] = {}

    def _update(self, name: str, param: np.ndarray, grad: np.ndarray) -> None:
        if self.momentum:
            velocity = self._memory(self.velocity, name)
            velocity *= self.momentum
            velocity += grad
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        param -= param.dtype.type(self.lr) * grad


class Adam(Optimizer):
    """Adam: m, v = running means of g and g^2; w -= lr m' / (sqrt(v') + eps), with m', v' corrected for their start at 0.

    References
    ----------
    D. Kingma & J. Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1.
    """

    _kept = ("first", "second")

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not all(0 <= beta < 1 for beta in betas) or not eps > 0:
            raise ValueError(f"Adam: betas must be in [0, 1) and eps positive; got {betas} and {eps}")
        self.betas, self.eps = betas, eps
        self.first: dict[str, np.ndarray] = {}
        self.second: dict[str, np.ndarray] = {}

    def _update(self, name: str, param: np.ndarray, grad: np.ndarray) -> None:
        m, v = self._memory(self.first, name), self._memory(self.second, name)
        one, two = self.betas
        m *= one
        m += (1 - one) * grad
        v *= two
        v += (1 - two) * (grad * grad)
        # lr m' / (sqrt(v') + eps) with both corrections gathered into two numbers
        root = math.sqrt(1 - two**self.steps)
        update: Any = np.sqrt(v)
        update += param.dtype.type(self.eps * root)
        np.divide(m, update, out=update)
        update *= param.dtype.type(self.lr * root / (1 - one**self.steps))
        param -= update


class WeightAverage:
    """Exponential moving average of parameters: a = decay a + (1 - decay) w, after every step.

    Parameters
    ----------
    params : mapping of name to ndarray
    decay : float in [0, 1)
    """

    def __init__(self, params: Mapping[str, np.ndarray], decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"WeightAverage: decay must be in [0, 1); got {decay}")
        self.decay, self._source = decay, dict(params)
        self.params = {name: param.copy() for name, param in params.items()}

    def update(self) -> None:
        """Move the average towards the parameters as they are now."""
        for name, mean in self.params.items():
            mean += mean.dtype.type(1 - self.decay) * (self._source[name] - mean)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return a copy of the average."""
        return {name: mean.copy() for name, mean in self.params.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy an average from `state_dict`, all or nothing; ValueError where a name or a shape differs."""
        if {name: np.shape(array) for name, array in state.items()} != {name: mean.shape for name, mean in self.params.items()}:
            raise ValueError(f"WeightAverage: expected averages of {sorted(self.params)} in their shapes; got {sorted(state)}")
        for name, mean in self.params.items():
            mean[...] = state[name]
