"""Gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .. import checks, scalars
from . import _kernels
from ._segments import Segments, by_dtype


def clip_grad_norm(grads: Mapping[str, np.ndarray], max_norm: float, error_if_nonfinite: bool = False) -> float:
    """Scale all gradients, in place, by min(1, max_norm / (norm + 1e-6)), norm = sqrt(sum of all g^2); return the norm.

    Parameters
    ----------
    grads : mapping of name to ndarray
        float32 or float64, changed in place.
    max_norm : float
    error_if_nonfinite : bool
        Raise instead of scaling by what is not finite, which makes every gradient 0 or NaN.

    Returns
    -------
    float
        The norm before, summed up in float64; the same for any number of threads.

    Raises
    ------
    TypeError
        A gradient is no array of float32 or float64.
    ValueError
        A gradient is read-only; `max_norm` is negative or NaN; or `error_if_nonfinite` and the norm is not finite.

    References
    ----------
    R. Pascanu et al., "On the difficulty of training recurrent neural networks", 2013; `torch.nn.utils.clip_grad_norm_`.
    """
    max_norm = checks.number("clip_grad_norm", "max_norm", max_norm, finite=False)
    checks.flag("clip_grad_norm", "error_if_nonfinite", error_if_nonfinite)
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm: max_norm must not be negative; got {max_norm}")
    groups = [Segments(arrays) for arrays in by_dtype("clip_grad_norm", scalars.mapping("clip_grad_norm", "grads", grads))]
    total = 0.0
    for group in groups:
        group.fetch()
        sums = np.empty((len(group.jobs), _kernels.LANES))
        group.launch(_kernels.squares(group.dtype), 1, group.addresses, sums)
        with np.errstate(over="ignore", invalid="ignore"):
            total += float(sums.sum())
    norm = math.sqrt(total)
    if error_if_nonfinite and not math.isfinite(norm):
        raise ValueError(f"clip_grad_norm: the norm of the gradients is {norm}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # NaN too
        for group in groups:
            group.launch(_kernels.scale(group.dtype), 2, group.addresses, np.array([factor]))
            group.store()
    return norm
