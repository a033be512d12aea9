"""The shape of a convolution over one to three axes."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..window import Axis


class Convolution(NamedTuple):
    """The shape of a convolution over some axes, the outermost first, and what `conv2d` may compute it by."""

    N: int
    C: int
    K: int
    axes: tuple[Axis, ...]
    groups: int
    algorithm: str
    precision: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C, ...)."""
        return self.N, self.C, *(axis.size for axis in self.axes)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(K, C / groups, ...)."""
        return self.K, self.C // self.groups, *(axis.kernel for axis in self.axes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, K, ...)."""
        return self.N, self.K, *(axis.output for axis in self.axes)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `conv2d` beside its arrays."""
        return {
            "stride": tuple(axis.stride for axis in self.axes),
            "padding": tuple((axis.before, axis.after) for axis in self.axes),
            "dilation": tuple(axis.dilation for axis in self.axes),
            "groups": self.groups,
            "algorithm": self.algorithm,
            "precision": self.precision,
        }
