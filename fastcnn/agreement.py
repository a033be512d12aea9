"""How closely a variant must agree with its operation's reference in float64, and whether it does."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .registry import Operation


def tolerance(terms: int, magnitude: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the largest error allowed: min(K + 4, 6 sqrt(K) + 8) u A, plus (K + 2) times the smallest subnormal.

    Parameters
    ----------
    terms : int
        K, the terms in one sum; 0 stands for an exact result.
    magnitude : float64 ndarray
        A, the same sums over absolute values.
    dtype : float32 or float64
        What the result was computed in. In float64 the bound doubles, as the reference rounds too.

    Returns
    -------
    float64 ndarray of the shape of `magnitude`

    References
    ----------
    N. Higham & T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41 (2019), section 3.
    """
    if terms == 0:
        return np.zeros(magnitude.shape)
    info = np.finfo(dtype)
    u = float(info.eps) / 2 * (2 if info.dtype == np.float64 else 1)
    # Products of small numbers underflow, each by less than a subnormal.
    return min(terms + 4, 6 * math.sqrt(terms) + 8) * u * magnitude + (terms + 2) * float(info.smallest_subnormal)


def error_share(got: np.ndarray, want: np.ndarray, allowed: np.ndarray) -> float:
    """Return the largest error as a share of `allowed`: above 1 is wrong, inf where NaN, Inf or an exact value is missed."""
    with np.errstate(all="ignore"):
        share = np.abs(got.astype(np.float64) - want) / allowed
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    share = np.where(same, 0, np.where(np.isnan(share), np.inf, share))
    return float(share.max(initial=0))


class Trial:
    """Random inputs for one direction of a problem, and what must come out of them.

    Parameters
    ----------
    op : Operation
    direction : str
    problem : the operation's problem
    dtype : float32 or float64
    rng : Generator
    """

    def __init__(self, op: Operation, direction: str, problem: Any, dtype: Any, rng: np.random.Generator) -> None:
        self.op, self.direction, self.problem, self.dtype = op, direction, problem, np.dtype(dtype)
        self.arguments: tuple[np.ndarray, ...] = op.problem.arguments(problem, direction, dtype, rng)

    @functools.cached_property
    def expected(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(result of the reference in float64, error allowed) for every output."""
        terms = self.op.problem.reduction(self.problem, self.direction)
        want = self._reference(self.arguments)
        if terms == 0:
            return [(w, tolerance(0, w, self.dtype)) for w in want]
        if hasattr(self.op.problem, "magnitude"):
            exact = tuple(np.asarray(a, np.float64) for a in self.arguments)
            sizes = self.op.problem.magnitude(self.problem, self.direction, exact)
            each = sizes if isinstance(sizes, tuple) else (sizes,) * len(want)
            return [(w, tolerance(terms, size, self.dtype)) for w, size in zip(want, each, strict=True)]
        sums = self._reference([np.abs(a) if a.dtype.kind == "f" else a for a in self.arguments])
        return [(w, tolerance(terms, _magnitude(w, a), self.dtype)) for w, a in zip(want, sums, strict=True)]

    def error(self, run: Callable[..., None]) -> float:
        """Run a variant's function on outputs filled with NaN and return its largest error as a share of what it is allowed."""
        growth = getattr(run, "error_growth", 1.0)
        got = self.op.problem.outputs(self.problem, self.direction, self.dtype)
        for output in got:
            output.fill(np.nan if output.dtype.kind == "f" else np.iinfo(output.dtype).min)
        run(self.problem, *self.arguments, *got)
        return max(error_share(g, want, growth * allowed) for g, (want, allowed) in zip(got, self.expected, strict=True))

    def call(self, run: Callable[..., None]) -> Callable[[], None]:
        """Return `run` bound to the inputs and to outputs of its own, ready to be timed."""
        outputs = self.op.problem.outputs(self.problem, self.direction, self.dtype)
        return functools.partial(run, self.problem, *self.arguments, *outputs)

    def _reference(self, arguments: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        outputs = self.op.problem.outputs(self.problem, self.direction, np.float64)
        exact = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arguments]
        self.op.run("reference", self.direction, self.problem, exact, outputs)
        return tuple(outputs)


def check(op: Operation, variant: str, direction: str, problem: Any, dtype: Any, rng: np.random.Generator) -> float:
    """Return the largest error of a variant on random inputs, as a share of the tolerance: above 1 is wrong."""
    return Trial(op, direction, problem, dtype, rng).error(op.variants[variant].directions[direction])


def _magnitude(want: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return `sums`, the operation on absolute values, where they bound `want` as sums of products do; else its maximum."""
    size = np.abs(want)
    bounded = (sums * (1 + 1e-9) >= size) | np.isnan(want)
    return sums if bounded.all() else np.full(want.shape, size.max())
