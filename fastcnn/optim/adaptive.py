"""Optimisers whose steps have a scale of their own: Adadelta, Adamax, NAdam; as `torch.optim` has them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .. import checks, scalars
from ..jit import Kernel
from . import _adaptive_kernels as _kernels
from .algorithms import Adam
from .base import Optimizer


class Adadelta(Optimizer):
    """Adadelta: s = rho s + (1 - rho) g^2; u = sqrt(d + eps) / sqrt(s + eps) g; d = rho d + (1 - rho) u^2; w -= lr u.

    Parameters
    ----------
    params, lr, weight_decay, l1
        See `Optimizer`.
    rho : float
        What both running means keep at a step, below 1.
    eps : float
        Above 0.

    References
    ----------
    M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1; the form of `torch.optim.Adadelta`.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        l1: float = 0.0,
    ) -> None:
        self.rho, self.eps = rho, eps
        super().__init__(params, lr, weight_decay, l1)

    def _check_settings(self) -> None:
        super()._check_settings()
        scalars.between("Adadelta", "rho", self.rho, 0, 1, below=True)
        self.eps = scalars.positive("Adadelta", "eps", self.eps)

    def _memory(self) -> tuple[str, ...]:
        return "square_avg", "acc_delta"

    def _numbers(self, count: int) -> tuple[float, ...]:
        return self.lr, self.weight_decay, self.rho, 1 - self.rho, self.eps, 0, 0, self.l1

    def _kernel(self, dtype: np.dtype) -> Kernel:
        kernel: Kernel = _kernels.adadelta(dtype, self.weight_decay != 0, self.l1 != 0)
        return kernel


class Adamax(Adam):
    """Adamax: m = running mean of g; u = max(beta2 u, |g| + eps); w -= lr / (1 - beta1^t) m / u.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, l1
        See `Adam`.

    References
    ----------
    D. Kingma & J. Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 2; the form of `torch.optim.Adamax`.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        l1: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, l1=l1)

    def _memory(self) -> tuple[str, ...]:
        return "exp_avg", "exp_inf"

    def _numbers(self, count: int) -> tuple[float, ...]:
        one, two = self.betas
        return self.lr / (1 - one**count), self.weight_decay, one, 1 - one, two, self.eps, 0, self.l1

    def _kernel(self, dtype: np.dtype) -> Kernel:
        kernel: Kernel = _kernels.adamax(dtype, self.weight_decay != 0, self.l1 != 0)
        return kernel


class NAdam(Adam):
    """Adam that looks ahead as Nesterov's momentum does, with a momentum that grows over the steps.

    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); M_t = mu_1 ... mu_t; m, v = running means of g and g^2;
    w -= lr (mu_(t+1) m / (1 - M_(t+1)) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v / (1 - beta2^t)) + eps).

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, l1
        See `Adam`.
    momentum_decay : float
        At least 0.
    decoupled_weight_decay : bool
        Multiply w by 1 - lr weight_decay, as `AdamW` does, and leave the gradient alone.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", 2016; the form of `torch.optim.NAdam`.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        l1: float = 0.0,
    ) -> None:
        self.momentum_decay = momentum_decay
        self.decoupled_weight_decay = checks.flag("NAdam", "decoupled_weight_decay", decoupled_weight_decay)
        self._product_until = (0, 1.0, 0.0, 0.0)  # steps, M of them, and the settings it is of
        super().__init__(params, lr, betas, eps, weight_decay, l1=l1)

    def _check_settings(self) -> None:
        super()._check_settings()
        scalars.not_negative("NAdam", "momentum_decay", self.momentum_decay)

    def _memory(self) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    @property
    def _decoupled(self) -> bool:
        return self.decoupled_weight_decay

    def _momentum(self, count: int) -> float:
        return float(self.betas[0] * (1 - 0.5 * 0.96 ** (count * self.momentum_decay)))

    def _product(self, count: int) -> float:
        """Return mu_1 ... mu_count: one factor more than at the step before, where nothing was assigned in between."""
        settings = self.betas[0], self.momentum_decay
        steps, product, *known = self._product_until
        if tuple(known) != settings or steps > count:
            steps, product = 0, 1.0
        for step in range(steps + 1, count + 1):
            product *= self._momentum(step)
        self._product_until = (count, product, *settings)
        return product

    def _numbers(self, count: int) -> tuple[float, ...]:
        one, two = self.betas
        root, product = math.sqrt(1 - two**count), self._product(count)
        now, following = self._momentum(count), self._momentum(count + 1)
        of_mean, of_gradient = following / (1 - product * following), (1 - now) / (1 - product)
        decay = 1 - self.lr * self.weight_decay if self._decoupled else self.weight_decay
        return self.lr * root * of_mean, self.eps * root, one, 1 - one, two, 1 - two, decay, self.l1, self.lr * root * of_gradient

    def _kernel(self, dtype: np.dtype) -> Kernel:
        kernel: Kernel = _kernels.nadam(dtype, self.weight_decay != 0, self.l1 != 0, self._decoupled)
        return kernel
