"""What penalties of the weights add to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checks, scalars


def l2_penalty(params: Mapping[str, np.ndarray], weight_decay: float) -> float:
    """Return weight_decay / 2 * sum w^2, whose gradient weight_decay * w is what optimisers add for `weight_decay`.

    Parameters
    ----------
    params : mapping of name to ndarray
    weight_decay : float

    Returns
    -------
    float
        Summed up in float64.

    Raises
    ------
    TypeError, ValueError
        `weight_decay` is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.optim import l1_penalty, l2_penalty
    >>> params = {"weight": np.array([3.0, -4.0])}
    >>> l2_penalty(params, 0.1), l1_penalty(params, 0.1)
    (1.25, 0.7000000000000001)
    """
    share = checks.number("l2_penalty", "weight_decay", weight_decay)
    arrays = _arrays("l2_penalty", params)
    return share / 2 * sum(float(np.square(w, dtype=np.float64).sum()) for w in arrays) if share else 0.0


def l1_penalty(params: Mapping[str, np.ndarray], l1: float) -> float:
    """Return l1 * sum |w|, whose gradient l1 * sign(w) is what optimisers add for `l1`; arguments, result and errors as of `l2_penalty`."""
    share = checks.number("l1_penalty", "l1", l1)
    arrays = _arrays("l1_penalty", params)
    return share * sum(float(np.abs(w).sum(dtype=np.float64)) for w in arrays) if share else 0.0


def _arrays(op: str, params: Any) -> list[np.ndarray]:
    found = scalars.mapping(op, "params", params)
    return [checks.array(op, repr(name), array, None) for name, array in found.items()]
