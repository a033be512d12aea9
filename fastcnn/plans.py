"""Calls remembered whole: one like an earlier one goes from the public function straight to the kernel.

To validate arguments, choose a variant and prepare its loops takes Python 5-10 us, as long as a small kernel runs. All of it depends on
the shapes, dtypes and memory formats of the arrays and on the other arguments, not on what the arrays hold. So a public function asks
its `Plans` first::

    key = PLANS.key((stride, padding, algorithm), input, weight)
    plan = PLANS.find(key)
    if plan is not None:
        return plan(input, weight)

and where it finds none, checks everything, makes a plan, and remembers it under the key. What is neither plain nor contiguous has no key
and is checked anew at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import checks, machine, tuning

_REMEMBERED = 1024  # plans of a function; then it starts afresh
_PLAIN = frozenset((int, str, type(None)))  # exactly: what equals a plan's argument must mean the same, and True == 1 == 1.0


class Plans:
    """The plans of one public function."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Callable[..., Any]] = {}

    @staticmethod
    def key(arguments: tuple[Any, ...], *arrays: Any) -> tuple[Any, ...] | None:
        """Return all that a call depends on, or None where it must be checked at every call.

        That is where an argument is no int, word, None or tuple of them, or where an array is no plain ndarray, or not aligned,
        writable and C-contiguous. An array that is left out is None.
        """
        if not _PLAIN.issuperset(map(type, arguments)):
            for value in arguments:
                if type(value) not in _PLAIN and not _is_plain(value):
                    return None
        key = [arguments, machine.thread_limit(), tuning.state()]
        for array in arrays:
            if type(array) is np.ndarray:
                if not array.flags.carray:
                    return None
                key += array.shape, array.dtype
            elif array is None:
                key.append(None)
            else:
                return None
        return tuple(key)

    def find(self, key: tuple[Any, ...] | None) -> Callable[..., Any] | None:
        """Return the plan of an earlier call."""
        return self._known.get(key) if key is not None else None

    def remember(self, key: tuple[Any, ...] | None, plan: Callable[..., Any], *arrays: np.ndarray | None) -> None:
        """Keep a plan for calls with this key; not where the call's `arrays` are in foreign byte order, which a plan would not convert."""
        if key is None or not all(array is None or array.dtype.isnative for array in arrays):
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = plan


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN or (type(value) is tuple and (_PLAIN.issuperset(map(type, value)) or all(map(_is_plain, value))))


def forward_plan(compute: Callable[..., None], allocate: Callable[[], np.ndarray], filters: int) -> Callable[..., np.ndarray]:
    """Return a plan of (input, weight, bias or None) that computes into a new array."""
    zeros = np.zeros(filters, allocate().dtype)

    def call(input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        y = allocate()
        compute(input.ravel(), weight.ravel(), zeros if bias is None else bias, y.ravel())
        return y

    return call


def allocating(compute: Callable[..., None], *allocators: Callable[[], np.ndarray]) -> Callable[..., list[np.ndarray]]:
    """Return a plan of arrays that computes into new ones, which it returns; `compute` takes the memory of both."""

    def planned(*arrays: np.ndarray) -> list[np.ndarray]:
        outputs = [allocate() for allocate in allocators]
        compute(*[array.ravel() for array in arrays], *[output.ravel() for output in outputs])
        return outputs

    return planned


def on_memory(
    run: Callable[..., None], problem: Any, arrays: Sequence[np.ndarray], images: Sequence[np.ndarray] = ()
) -> Callable[..., None]:
    """Return the direction `run` as a function of the flat memory of its arguments, for ones like `arrays`, which include the `images`.

    A variant that has a plan for such memory is taken at its word; the others get the arrays in their shapes.
    """
    plan = getattr(run, "plan", None)
    if plan is not None:
        planned: Callable[..., None] | None = plan(
            problem, channels_last=tuple(map(checks.is_channels_last, images)), dtype=arrays[0].dtype
        )
        if planned is not None:
            return planned
    views = [_shaping(array) for array in arrays]
    return lambda *memory: run(problem, *[view(flat) for view, flat in zip(views, memory, strict=True)])


def _shaping(array: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from flat memory to an array in the shape and format of this one."""
    shape = array.shape  # not the array, which the plan would keep alive
    if array.flags.c_contiguous:
        return lambda flat: flat.reshape(shape)
    return lambda flat: checks.image(flat, shape, channels_last=True)
