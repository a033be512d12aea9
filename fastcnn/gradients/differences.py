"""Central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import checks, scalars


def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Return the gradient of f at x by central differences: (f(x + eps e_i) - f(x - eps e_i)) / (2 eps) for every element i.

    Parameters
    ----------
    f : callable
        From an array to a number. It gets x itself, changed in place, so it may as well read parameters that x shares its memory with.
    x : float64 ndarray
        Changed in place, and as it was afterwards.
    eps : float
        Above 0. The error is eps^2 / 6 times the third derivative, and 1e-16 / eps times f for rounding.

    Returns
    -------
    float64 ndarray of the shape of x

    Raises
    ------
    TypeError
        x is no float64 array: in float32 a difference has no digits left.
    ValueError
        x is read-only, or eps not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import numerical_gradient
    >>> numerical_gradient(lambda x: float((x**2).sum()), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    """
    if not callable(f):
        raise TypeError(f"numerical_gradient: f must be a callable of an array; got {type(f).__name__}")
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"numerical_gradient: x must be a float64 array, as `x.astype(np.float64)` makes it; got {got}")
    checks.changeable("numerical_gradient", "x", x)
    step = scalars.positive("numerical_gradient", "eps", eps)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        above, below = beside(lambda: f(x), x, index, step)
        gradient[index] = (above - below) / (2 * step)
    return gradient


def beside(value: Callable[[], float], array: np.ndarray, index: tuple[int, ...], step: float) -> tuple[float, float]:
    """Return the value with an element of the array raised and lowered by `step`; the array is as it was afterwards."""
    kept = array[index]
    try:
        array[index] = kept + step
        above = float(value())
        array[index] = kept - step
        return above, float(value())
    finally:
        array[index] = kept
