"""The optimisers: names, arguments, defaults and formulas of `torch.optim`, on NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .. import checks, scalars
from ..jit import Kernel
from . import _kernels
from .base import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + (1 - dampening) g; w -= lr v (or lr (g + momentum v) with Nesterov's look-ahead).

    The first step has v = g; without momentum v is g.

    Parameters
    ----------
    params, lr, weight_decay, l1
        See `Optimizer`.
    momentum, dampening : float
        momentum below 1.
    nesterov : bool
        Needs momentum, and no dampening.

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013; the form of `torch.optim.SGD`.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        l1: float = 0.0,
    ) -> None:
        self.momentum, self.dampening, self.nesterov = momentum, dampening, checks.flag("SGD", "nesterov", nesterov)
        super().__init__(params, lr, weight_decay, l1)

    def _check_settings(self) -> None:
        super()._check_settings()
        self.momentum = checks.number("SGD", "momentum", self.momentum, finite=False)
        self.dampening = checks.number("SGD", "dampening", self.dampening, finite=False)
        if not 0 <= self.momentum < 1 or (self.nesterov and self.momentum == 0):
            raise ValueError(f"SGD: momentum must be in [0, 1), and above 0 for nesterov; got {self.momentum}")
        if not -math.inf < self.dampening < math.inf or (self.nesterov and self.dampening != 0):
            raise ValueError(f"SGD: dampening must be finite, and 0 for nesterov; got {self.dampening}")

    def _memory(self) -> tuple[str, ...]:
        return ("momentum_buffer",)  # also without momentum, which may be assigned later

    def _numbers(self, count: int) -> tuple[float, ...]:
        share = 1.0 if count == 1 else 1 - self.dampening
        return self.lr, self.weight_decay, self.momentum, share, 0, 0, 0, self.l1

    def _kernel(self, dtype: np.dtype) -> Kernel:
        kernel: Kernel = _kernels.sgd(dtype, self.weight_decay != 0, self.l1 != 0, self.momentum != 0, bool(self.nesterov))
        return kernel


class Adam(Optimizer):
    """Adam: m, v = running means of g and g^2; w -= lr m' / (sqrt(v') + eps), with m', v' corrected for their start at 0.

    Parameters
    ----------
    params, lr, weight_decay, l1
        See `Optimizer`.
    betas : (float, float)
        What the running means keep at a step, each below 1.
    eps : float
        Above 0.
    amsgrad : bool
        Divide by the largest v so far (Reddi et al., 2018).

    References
    ----------
    D. Kingma & J. Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        l1: float = 0.0,
    ) -> None:
        self.betas, self.eps, self.amsgrad = betas, eps, checks.flag(type(self).__name__, "amsgrad", amsgrad)
        super().__init__(params, lr, weight_decay, l1)

    def _check_settings(self) -> None:
        super()._check_settings()
        name = type(self).__name__
        self.betas, self.eps = scalars.pair(name, "betas", self.betas), checks.number(name, "eps", self.eps, finite=False)
        if not all(0 <= beta < 1 for beta in self.betas) or not 0 < self.eps < math.inf:
            raise ValueError(f"{name}: betas must be in [0, 1) and eps positive; got {self.betas} and {self.eps}")

    def _memory(self) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if self.amsgrad else ""

    def _numbers(self, count: int) -> tuple[float, ...]:
        one, two = self.betas
        # lr m' / (sqrt(v') + eps) with both corrections gathered into two numbers
        root = math.sqrt(1 - two**count)
        decay = 1 - self.lr * self.weight_decay if self._decoupled else self.weight_decay
        return self.lr * root / (1 - one**count), self.eps * root, one, 1 - one, two, 1 - two, decay, self.l1

    def _kernel(self, dtype: np.dtype) -> Kernel:
        kernel: Kernel = _kernels.adam(dtype, self.weight_decay != 0, self.l1 != 0, self._decoupled, self.amsgrad)
        return kernel


class AdamW(Adam):
    """Adam with decoupled weight decay: w is multiplied by 1 - lr weight_decay, and the gradient left alone.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, l1
        As of `Adam`.

    References
    ----------
    I. Loshchilov & F. Hutter, "Decoupled Weight Decay Regularization", 2019; the form of `torch.optim.AdamW`.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        l1: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, l1=l1)

    @property
    def _decoupled(self) -> bool:
        return True


class RMSprop(Optimizer):
    """RMSprop: s = alpha s + (1 - alpha) g^2; u = g / (sqrt(s) + eps); v = momentum v + u; w -= lr v (lr u without momentum).

    Parameters
    ----------
    params, lr, weight_decay, l1
        See `Optimizer`.
    alpha : float
        In [0, 1).
    eps : float
        Above 0.
    momentum : float
        Below 1.
    centered : bool
        Divide by the deviation of g instead, sqrt(s - mean(g)^2) (Graves, 2013).

    References
    ----------
    T. Tieleman & G. Hinton, "Lecture 6.5 - rmsprop", 2012; the form of `torch.optim.RMSprop`.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        l1: float = 0.0,
    ) -> None:
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, checks.flag("RMSprop", "centered", centered)
        super().__init__(params, lr, weight_decay, l1)

    def _check_settings(self) -> None:
        super()._check_settings()
        scalars.between("RMSprop", "alpha", self.alpha, 0, 1, below=True)
        scalars.between("RMSprop", "momentum", self.momentum, 0, 1, below=True)
        self.eps = scalars.positive("RMSprop", "eps", self.eps)

    def _memory(self) -> tuple[str, ...]:
        return "square_avg", "grad_avg" if self.centered else "", "momentum_buffer"

    def _numbers(self, count: int) -> tuple[float, ...]:
        return self.lr, self.weight_decay, self.alpha, 1 - self.alpha, self.eps, self.momentum, 0, self.l1

    def _kernel(self, dtype: np.dtype) -> Kernel:
        kernel: Kernel = _kernels.rmsprop(dtype, self.weight_decay != 0, self.l1 != 0, self.momentum != 0, self.centered)
        return kernel


class Adagrad(Optimizer):
    """Adagrad: s += g^2; w -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) at step t = 1, 2 ...

    Parameters
    ----------
    params, lr, weight_decay, l1
        See `Optimizer`.
    lr_decay : float
    initial_accumulator_value : float
        What s begins with.
    eps : float
        Above 0.

    References
    ----------
    J. Duchi, E. Hazan & Y. Singer, "Adaptive Subgradient Methods", 2011; the form of `torch.optim.Adagrad`.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        l1: float = 0.0,
    ) -> None:
        self.lr_decay, self.eps = lr_decay, eps
        super().__init__(params, lr, weight_decay, l1)
        begin = scalars.not_negative("Adagrad", "initial_accumulator_value", initial_accumulator_value)
        for kept in self.state.values():
            if begin > float(np.finfo(kept["sum"].dtype).max):
                raise ValueError(f"Adagrad: initial_accumulator_value must fit {kept['sum'].dtype}; got {begin:g}")
            kept["sum"].fill(begin)

    def _check_settings(self) -> None:
        super()._check_settings()
        scalars.not_negative("Adagrad", "lr_decay", self.lr_decay)
        self.eps = scalars.positive("Adagrad", "eps", self.eps)

    def _memory(self) -> tuple[str, ...]:
        return ("sum",)

    def _numbers(self, count: int) -> tuple[float, ...]:
        return self.lr / (1 + (count - 1) * self.lr_decay), self.weight_decay, self.eps, 0, 0, 0, 0, self.l1

    def _kernel(self, dtype: np.dtype) -> Kernel:
        kernel: Kernel = _kernels.adagrad(dtype, self.weight_decay != 0, self.l1 != 0)
        return kernel
