"""What a library's file gives to its worker: ways to compute a problem, each ready to be called and to be checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Contender(NamedTuple):
    """One configuration of a library on one problem.

    Parameters
    ----------
    call : callable
        What is timed: computes the result and returns it, or whatever `result` needs.
    result : callable
        Makes an (N, K, P, Q), (N, C, H, W) or (K, C / groups, R, S) array from what `call` returned.
    """

    call: Callable[[], Any]
    result: Callable[[Any], np.ndarray]


# A library's module defines ``builders(problem, direction, arguments, threads)``: functions that make its contenders, by name. They are
# called one by one, so that a configuration that cannot be built fails alone. ``pin(threads)`` sets the thread count before every sample.
Builders = dict[str, Callable[[], Contender]]


def last_to_first(array: Any) -> np.ndarray:
    """Return an (N, H, W, C) array as an (N, C, H, W) view."""
    return np.asarray(array).transpose(0, 3, 1, 2)


def first_to_last(array: np.ndarray) -> np.ndarray:
    """Return an (N, C, H, W) array as a contiguous (N, H, W, C) one."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))
