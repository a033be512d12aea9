"""The table of operators: how a node becomes a function of arrays.

An operator is a function that *binds* a node: it takes the node and what is known of its inputs, and returns a function that takes the
input arrays (None for one that is left out) and returns the output, or a tuple of outputs where the operator can have several. All that
depends on attributes, shapes and constants happens while binding, once::

    @operator("Flatten")
    def flatten(node: Node, inputs: Inputs) -> Run:
        axis = node.get("axis", 1)
        return lambda x: x.reshape(math.prod(x.shape[:axis]), -1)

A bound function may be called again with arrays of the same shapes, dtypes and memory formats, and with the same constants. It must not
write to its inputs, and may return views of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ... import checks
from ..graph import Node, UnsupportedError

Run = Callable[..., Any]
Bind = Callable[[Node, "Inputs"], Run]

_OPERATORS: dict[tuple[str, str], Bind] = {}


class Inputs:
    """The inputs of a node while it is bound: samples, of which some are constants.

    Attributes
    ----------
    depends_on_values : bool
        Whether the binding read an input that is no constant: the function then serves this very call only.
    """

    def __init__(self, arrays: Sequence[np.ndarray | None], constant: Sequence[bool]) -> None:
        self._arrays, self._constant = arrays, constant
        self.depends_on_values = False

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a sample of an input that must be there: its shape and dtype are those of every call."""
        array = self.get(index)
        if array is None:
            raise ValueError(f"input {index} is missing")
        return array

    def get(self, index: int) -> np.ndarray | None:
        """Return a sample, None for an input that is left out."""
        return self._arrays[index] if index < len(self._arrays) else None

    def is_constant(self, index: int) -> bool:
        """Whether the input has the same values in every call; so has one that is left out."""
        return index >= len(self._arrays) or self._constant[index]

    def values(self, index: int) -> np.ndarray | None:
        """Return the values of an input on which the binding depends, None for one that is left out."""
        if not self.is_constant(index):
            self.depends_on_values = True
        return self.get(index)

    def integers(self, index: int) -> tuple[int, ...] | None:
        """Return the values of an input as a tuple of ints."""
        values = self.values(index)
        return None if values is None else tuple(int(value) for value in values.reshape(-1))


def operator(*kinds: str, domain: str = "") -> Callable[[Bind], Bind]:
    """Enter a function into the table, for one or more kinds of node."""

    def enter(bind: Bind) -> Bind:
        for kind in kinds:
            if (domain, kind) in _OPERATORS:
                raise ValueError(f"operator {kind} is defined twice")
            _OPERATORS[domain, kind] = bind
        return bind

    return enter


def plain(**functions: Run) -> None:
    """Enter functions of arrays that depend on no attribute, by the kind of node."""
    for kind, function in functions.items():
        operator(kind)(_binder(function))


def _binder(function: Run) -> Bind:
    return lambda node, inputs: function


def find(node: Node) -> Bind:
    """Return what binds a node; UnsupportedError where nothing does."""
    bind = _OPERATORS.get((node.domain, node.kind))
    if bind is None:
        raise UnsupportedError(f"operator {node.kind}{f' of {node.domain}' if node.domain else ''} is not supported")
    return bind


def kinds() -> list[str]:
    """Return the kinds of node of the standard domain that are supported."""
    return sorted(kind for domain, kind in _OPERATORS if not domain)


@contextlib.contextmanager
def naming(node: Node) -> Iterator[None]:
    """Say what is wrong with a node with its name, as a ValueError whatever its attributes and inputs ran into."""
    try:
        yield
    except UnsupportedError:
        raise
    except (ValueError, TypeError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{node}: {error}") from error
    except (LookupError, ArithmeticError, AttributeError, StopIteration, MemoryError, RecursionError) as error:
        raise ValueError(f"{node}: its attributes or inputs do not fit: {type(error).__name__}: {error}") from error


def require_memory(node: Node, shape: Sequence[int], dtype: Any) -> tuple[int, ...]:
    """Return a result's shape; ValueError where it has a negative size, or more elements than the machine's memory can hold."""
    if any(size < 0 for size in shape):
        raise ValueError(f"sizes must be at least 0; got {tuple(shape)}")
    checks.require_memory(node.kind, "the result", tuple(shape), np.dtype(dtype).itemsize)
    return tuple(shape)


def refuse(node: Node, reason: str) -> UnsupportedError:
    """Return the error of a node with something unusual."""
    return UnsupportedError(f"{node}: {reason} is not supported")


def listed(node: Node, inputs: Inputs, index: int, name: str) -> tuple[int, ...] | None:
    """Return sizes or axes that newer opsets take as an input and older ones as an attribute; None where they are left out."""
    given = inputs.integers(index) if len(inputs) > index else node.get(name)
    return None if given is None else tuple(given)


def axis_of(node: Node, ndim: int, default: int = 0, name: str = "axis") -> int:
    """Return an axis attribute, counted from the front."""
    axis = int(node.get(name, default))
    if not -ndim <= axis <= ndim:  # ndim itself is behind the last one, which Flatten may ask for
        raise ValueError(f"{name} must be at least {-ndim} and at most {ndim}; got {axis}")
    return axis + ndim if axis < 0 else axis
