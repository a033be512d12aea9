"""Dropout of elements and of channels, scaled in training so that evaluation need not be."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, scalars


def dropout(
    input: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | int | None = None, return_mask: bool = False
) -> Any:
    """Return x with each element, with probability p, set to 0, and the others divided by 1 - p; the input itself in evaluation.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    p : float in [0, 1]
    training : bool
        False returns the input.
    rng : Generator, seed or None
        What draws; None draws afresh.
    return_mask : bool
        Also return which elements stay, which `dropout_backward` needs.

    Returns
    -------
    y : ndarray of the input's shape and dtype
    mask : ndarray of bool, if `return_mask`

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what was expected and what arrived.

    References
    ----------
    N. Srivastava et al., "Dropout", 2014.
    """
    op = "dropout"
    x = checks.array(op, "input", input, None)
    return _dropped(op, x, x.shape, p, training, rng, return_mask)


def dropout_backward(grad_output: Any, mask: Any, p: float = 0.5, training: bool = True) -> np.ndarray:
    """Return the gradient of `dropout`, or of `dropout2d`, with respect to its input.

    Parameters
    ----------
    grad_output : ndarray of the input's shape and dtype
    mask : ndarray of bool that broadcasts to that shape
        As the forward returned it.
    p, training
        As given to the forward.

    Returns
    -------
    ndarray of the input's shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `dropout`.
    """
    op = "dropout_backward"
    dy = checks.array(op, "grad_output", grad_output, None)
    kept = checks.array(op, "mask", mask, None, (np.dtype(bool),))
    if kept.ndim != dy.ndim or any(one not in (1, other) for one, other in zip(kept.shape, dy.shape, strict=True)):
        raise ValueError(f"{op}: mask must broadcast to grad_output's shape {dy.shape}; got {kept.shape}")
    p = _probability(op, p)
    return _scaled(dy, kept, p) if checks.flag(op, "training", training) else dy


def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | int | None = None, return_mask: bool = False
) -> Any:
    """Return x with each channel of each sample, with probability p, set to 0, and the others divided by 1 - p.

    Parameters
    ----------
    input : (N, C, H, W) or (N, C, L) float32 or float64
        Three axes are (N, C, L), as torch takes them still.
    p, training, rng, return_mask
        As of `dropout`; the mask is (N, C, 1, 1) or (N, C, 1).

    Returns
    -------
    y : ndarray of the input's shape and dtype
    mask : ndarray of bool, if `return_mask`

    Raises
    ------
    TypeError, ValueError
        As `dropout`.

    References
    ----------
    J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015, section 3.2.
    """
    op = "dropout2d"
    x = checks.array(op, "input", input, ("NCHW", "NCL"))
    return _dropped(op, x, (*x.shape[:2], *[1] * (x.ndim - 2)), p, training, rng, return_mask)


dropout2d_backward = dropout_backward


def _dropped(op: str, x: np.ndarray, shape: tuple[int, ...], p: Any, training: Any, rng: Any, return_mask: Any) -> Any:
    p = _probability(op, p)
    return_mask = checks.flag(op, "return_mask", return_mask)
    if not checks.flag(op, "training", training) or p == 0:
        return (x, np.ones(shape, bool)) if return_mask else x
    mask = np.asarray(scalars.generator(op, rng).random(shape, np.float32) >= p)
    y = _scaled(x, mask, p)
    return (y, mask) if return_mask else y


def _scaled(x: np.ndarray, mask: np.ndarray, p: float) -> np.ndarray:
    """Return x / (1 - p) where the mask is set; the memory order is kept."""
    with np.errstate(all="ignore"):
        return np.multiply(x, mask * x.dtype.type(1 / (1 - p) if p < 1 else 0), out=np.empty_like(x))


def _probability(op: str, p: Any) -> float:
    p = checks.number(op, "p", p, finite=False)
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: dropout probability has to be between 0 and 1, but got {p}")
    return p
