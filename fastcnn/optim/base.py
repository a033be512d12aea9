"""What every optimiser is: parameters by name, a learning rate that may change between steps, and a step in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checks, scalars
from ..jit import Kernel
from ._segments import Segments, address, by_dtype
from .penalties import l1_penalty, l2_penalty


class Optimizer:
    """Base of all optimisers.

    A subclass says which memory it keeps of each parameter (`_memory`), which numbers a step works with (`_numbers`) and which kernel
    does the work (`_kernel`).

    Parameters
    ----------
    params : mapping of name to ndarray
        float32 or float64; updated in place by `step`. The arrays must stay the same objects.
    lr : float
        Learning rate; assign `optimizer.lr` to follow a schedule.
    weight_decay : float
        Adds weight_decay * w to the gradient (an L2 penalty of weight_decay / 2 * sum w^2), unless the optimiser says otherwise.
    l1 : float
        Adds l1 * sign(w) to the gradient (an L1 penalty of l1 * sum |w|), whose sign of 0 is 0.

    Attributes
    ----------
    state : dict of str to dict of str to ndarray
        What is remembered of each parameter, under torch's names: views that `step` changes.

    Raises
    ------
    TypeError
        A parameter is no array of float32 or float64.
    ValueError
        A parameter is read-only, or a number is out of its range.
    """

    def __init__(self, params: Mapping[str, np.ndarray], lr: float, weight_decay: float = 0.0, l1: float = 0.0) -> None:
        self.params = dict(scalars.mapping(type(self).__name__, "params", params))
        self.lr, self.weight_decay, self.l1 = lr, weight_decay, l1
        self._check_settings()
        self._build()

    @property
    def steps(self) -> int:
        """Steps taken: of the parameter that was in most of them, where gradients were missing."""
        return max((count for group in self._groups for count in group.counts), default=0)

    def step(self, grads: Mapping[str, np.ndarray]) -> None:
        """Move every parameter that has a gradient; the others, and what is remembered of them, stay as they are.

        Parameters
        ----------
        grads : mapping of name to ndarray
            In any memory order; read only.

        Raises
        ------
        ValueError
            A gradient's name is unknown, or its shape is not the parameter's, or a setting (the learning rate, say) is out of its range.
            Nothing has changed then.
        TypeError
            A gradient is no array of real numbers.
        """
        self._check_settings()
        addresses, kept = [[0] * len(group.counts) for group in self._groups], []
        for name, grad in scalars.mapping(type(self).__name__, "grads", grads).items():
            place = self._places.get(name)
            if place is None:
                raise ValueError(f"{type(self).__name__}: gradient {name!r} of shape {np.shape(grad)}; expected {sorted(self.params)}")
            number, index, shape, dtype = place
            if type(grad) is not np.ndarray or grad.shape != shape or grad.dtype != dtype or not grad.flags.carray:
                grad = self._readable(name, grad, shape, dtype)
            kept.append(grad)  # what was made on the way here lives until the kernel has read it
            addresses[number][index] = address(grad)
        for group, found in zip(self._groups, addresses, strict=True):
            self._step_group(group, found)

    def penalty(self) -> float:
        """Return what `weight_decay` and `l1` add to the loss that is minimised, now: weight_decay / 2 sum w^2 + l1 sum |w|.

        Over all parameters, biases too, as they decay too; for the history of the loss. A decoupled decay is no penalty, and left out.
        """
        return l2_penalty(self.params, 0.0 if self._decoupled else self.weight_decay) + l1_penalty(self.params, self.l1)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all that the next step depends on but the settings given to the constructor.

        ``lr``, and for each parameter ``<name>.step`` and its memory, ``<name>.exp_avg`` for example.
        """
        found = {"lr": np.array(float(self.lr))}
        for group in self._groups:
            for name, count in zip(group.segments.names, group.counts, strict=True):
                found[f"{name}.step"] = np.array(count, np.int64)
                found |= {f"{name}.{kind}": value.copy() for kind, value in self.state[name].items()}
        return found

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned, all of it or nothing.

        Raises
        ------
        TypeError, ValueError
            A name is missing or unknown, a shape differs, or what is there is no number, or none that the dtype holds; a count or the
            learning rate is out of its range.
        """
        op, own = type(self).__name__, self.state_dict()
        scalars.mapping(op, "state", state)
        if set(state) != set(own):
            missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
            raise ValueError(f"{op}: state misses {missing} and has unknown {unknown}")
        new = {}
        for name, value in own.items():
            new[name] = scalars.state(op, name, state[name], value)
            if name.endswith(".step") and value.dtype == np.int64 and (new[name] < 0 or new[name] != state[name]):
                raise ValueError(f"{op}: {name} must be a count; got {state[name]}")
        scalars.not_negative(op, "lr", float(new["lr"]))
        self.lr = float(new["lr"])
        for group in self._groups:
            group.counts = [int(new[f"{name}.step"]) for name in group.segments.names]
            for name in group.segments.names:
                for kind, memory in self.state[name].items():
                    memory[...] = new[f"{name}.{kind}"]

    # --- What subclasses define ---

    def _memory(self) -> tuple[str, ...]:
        """Return torch's names of what is kept of each parameter, in the order of the kernel's arguments; "" for what is not used."""
        raise TypeError(f"{type(self).__name__} defines no _memory")

    def _numbers(self, count: int) -> tuple[float, ...]:
        """Return the numbers that the kernel works with in step `count` of a parameter, 1 for the first."""
        raise TypeError(f"{type(self).__name__} defines no _numbers")

    def _kernel(self, dtype: np.dtype) -> Kernel:
        raise TypeError(f"{type(self).__name__} defines no _kernel")

    @property
    def _decoupled(self) -> bool:
        """Whether the weight decay is applied beside the gradient, and no penalty."""
        return False

    def _check_settings(self) -> None:
        """Raise for a setting that is no number or out of its range: at the start and before every step, as it may have been assigned."""
        for setting in ("lr", "weight_decay", "l1"):
            setattr(self, setting, checks.number(type(self).__name__, setting, getattr(self, setting), finite=False))
        lr, decay = self.lr, self.weight_decay
        if not 0 <= lr < math.inf or not 0 <= decay < math.inf:
            name = type(self).__name__
            raise ValueError(f"{name}: lr and weight_decay must not be negative, and must be finite; got {lr} and {decay}")
        if not 0 <= self.l1 < math.inf:
            raise ValueError(f"{type(self).__name__}: l1 must not be negative, and must be finite; got {self.l1}")

    # --- One launch for all parameters of a dtype ---

    def _build(self) -> None:
        """Lay out the memory and note the addresses of the parameters."""
        self._groups = [_Group(arrays, self._memory()) for arrays in by_dtype(type(self).__name__, self.params)]
        self._places = {
            name: (number, index, group.segments.shapes[index], group.segments.dtype)
            for number, group in enumerate(self._groups)
            for index, name in enumerate(group.segments.names)
        }
        self.state = {name: kept for group in self._groups for name, kept in group.views(self._memory()).items()}

    def _step_group(self, group: _Group, addresses: list[int]) -> None:
        if all(addresses):
            counts = [count + 1 for count in group.counts]
        else:
            counts = [count + (place != 0) for count, place in zip(group.counts, addresses, strict=True)]
        rows = {count: self._numbers(max(count, 1)) for count in set(counts)}
        numbers = np.array(list(rows.values()) if len(rows) == 1 else [rows[count] for count in counts], np.float64)  # nearly always one
        segments = group.segments
        segments.fetch()
        segments.launch(
            self._kernel(segments.dtype), group.streams, segments.addresses, np.array(addresses, np.int64), numbers, *group.memory
        )
        segments.store()
        group.counts = counts

    def _readable(self, name: str, grad: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a gradient as an array that kernels can read, or raise."""
        op = type(self).__name__
        if np.shape(grad) != shape:
            raise ValueError(f"{op}: gradient {name!r} of shape {np.shape(grad)}; expected {shape}")
        grad = np.asarray(grad)
        if grad.dtype.kind not in "fiu":
            raise TypeError(f"{op}: gradient {name!r} must hold real numbers; got dtype {grad.dtype}")
        return np.require(grad, dtype, ["C", "A"]).reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but addresses, for `copy` and `pickle`: in another process, or of copied arrays, they are others."""
        derived = ("_groups", "_places", "state")
        settings = {name: value for name, value in self.__dict__.items() if name not in derived}
        return {"settings": settings, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state["settings"])
        self._build()
        self.load_state_dict(state["state"])

    def __repr__(self) -> str:
        settings = {name: value for name, value in self.__dict__.items() if name not in ("params", "state") and not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in settings.items())})"


class _Group:
    """The parameters of one dtype, and what is remembered of them."""

    def __init__(self, arrays: dict[str, np.ndarray], memory: tuple[str, ...]) -> None:
        self.segments = Segments(arrays)
        self.counts = [0] * len(arrays)
        nothing = np.empty(0, self.segments.dtype)
        self.memory = [self.segments.flat() if name else nothing for name in memory]
        self.streams = 3 + 2 * sum(map(bool, memory))  # elements read and written for each parameter

    def views(self, names: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
        """Return the memory of each parameter by name and kind."""
        kinds = {name: self.segments.views(flat) for name, flat in zip(names, self.memory, strict=True) if name}
        return {name: {kind: views[name] for kind, views in kinds.items()} for name in self.segments.names}
