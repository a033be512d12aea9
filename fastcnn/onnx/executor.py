"""Running a graph: a plan per shapes of the inputs, made while the graph runs for the first time.

A plan is a list of steps, each a function bound to its node (see `operators`), the slots that it reads and writes, and the slots that
nobody reads after it. Dropping these is all that reusing buffers takes: `fastcnn.memory` hands out again what nobody holds any more.

Images that convolutions make are channels-last in memory, and stay so as long as what follows keeps the order of its input, as NumPy's
functions do; results are made contiguous at the end. So every value has a memory format, decided when the plan is made, without any
conversion between nodes.

What depends on nothing but constants and the shapes of the inputs is computed while planning. A node whose result has another shape for
other values of its inputs (a Reshape to a computed shape) makes a plan of one use.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import checks, machine
from . import operators
from .graph import Graph, Node
from .operators import Inputs, Run
from .recorded import RecordedPlan, Unrecordable

_RECORDED_AT = 3  # runs of a plan, which is then expected to be run many times
_REMEMBERED = 16  # plans; weights are packed once for all of them where they may be
_RANDOM = frozenset(("Dropout",))  # in training: never computed while planning


class Step(NamedTuple):
    """A node, ready to run."""

    run: Run
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    dead: tuple[int, ...]
    node: Node


class Plan(NamedTuple):
    """A graph, ready to run on inputs of certain shapes: what its slots hold before the first step, and the steps."""

    slots: list[Any]
    steps: list[Step]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def run(self, arrays: Sequence[np.ndarray], watch: Callable[[Step, Callable[[], Any]], Any] | None = None) -> list[np.ndarray]:
        """Return the results for inputs of the plan's shapes; `watch` is given every step and what runs it."""
        slots = self.slots.copy()
        for slot, array in zip(self.inputs, arrays, strict=True):
            slots[slot] = array
        with np.errstate(all="ignore"):
            for step in self.steps:
                run, reads, writes, dead, _ = step
                given = [slots[slot] for slot in reads]
                try:
                    made = run(*given) if watch is None else watch(step, functools.partial(run, *given))
                except (LookupError, ArithmeticError) as error:  # an index from the inputs, say
                    raise ValueError(f"{step.node}: its inputs do not fit: {error}") from error
                del given
                if len(writes) == 1:
                    slots[writes[0]] = made if type(made) is not tuple else made[0]
                else:
                    for slot, array in zip(writes, made, strict=False):
                        if slot >= 0:
                            slots[slot] = array
                made = None
                for slot in dead:
                    slots[slot] = None
        return _results([slots[slot] for slot in self.outputs], arrays)


class Executor:
    """A graph and its plans; may be run from several threads."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._plans: dict[Any, Plan] = {}
        self._runs: dict[Any, int] = {}  # of plans that are not recorded yet
        self._recorded: dict[Any, RecordedPlan] = {}
        self._lock = threading.Lock()
        for node in graph.nodes:
            operators.find(node)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the results for inputs in the graph's order."""
        arrays = self._checked(arrays)
        key = self._key(arrays)
        recorded = self._recorded.get(key)
        results = recorded.run(arrays) if recorded is not None else None
        if results is not None:
            return results
        plan = self._plans.get(key)
        if plan is None:
            return self._first_run(arrays)[1]
        try:
            if key in self._runs:
                self._count(key, plan, arrays)
        except (LookupError, ArithmeticError):
            self._runs[key] = 1  # the plan says which node it is
        return plan.run(arrays)

    def plan(self, arrays: Sequence[np.ndarray]) -> Plan:
        """Return the plan for inputs like these, making one where there is none."""
        arrays = self._checked(arrays)
        return self._plans.get(self._key(arrays)) or self._first_run(arrays)[0]

    def _count(self, key: Any, plan: Plan, arrays: Sequence[np.ndarray]) -> None:
        """Count a run, and record the plan when there were enough."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            runs = self._runs.pop(key, 0) + 1
            if runs < _RECORDED_AT:
                self._runs[key] = runs
            elif not machine.jit_is_disabled():
                with contextlib.suppress(Unrecordable):
                    self._recorded[key] = RecordedPlan(plan, arrays)
        finally:
            self._lock.release()

    def _key(self, arrays: Sequence[np.ndarray]) -> Any:
        return machine.thread_limit(), *[(array.shape, array.dtype) for array in arrays]

    def _first_run(self, arrays: Sequence[np.ndarray]) -> tuple[Plan, list[np.ndarray]]:
        with self._lock:  # packing weights twice would be a waste
            planning = _Planning(self.graph, arrays)
            plan = planning.plan()
            if planning.reusable:
                if len(self._plans) >= _REMEMBERED:
                    for remembered in (self._plans, self._runs, self._recorded):
                        remembered.clear()
                key = self._key(arrays)
                self._plans[key], self._runs[key] = plan, 1
        return plan, planning.results

    def _checked(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        if len(arrays) != len(self.graph.inputs):
            names = [value.name for value in self.graph.inputs]
            raise ValueError(f"run: the model has {len(names)} inputs, {names}; got {len(arrays)}")
        return [self._checked_input(value, array) for value, array in zip(self.graph.inputs, arrays, strict=True)]

    def _checked_input(self, value: Any, given: Any) -> np.ndarray:
        given = np.asarray(given) if isinstance(given, np.generic) else given  # a scalar is an array without axes
        array = checks.contiguous(checks.array("run", f"input {value.name!r}", given, None, None))
        if value.dtype is not None and array.dtype != value.dtype:
            raise TypeError(f"run: input {value.name!r} must have dtype {value.dtype}; got {array.dtype}")
        if value.shape is not None:
            fits = len(value.shape) == array.ndim and all(
                not isinstance(size, int) or size == length for size, length in zip(value.shape, array.shape, strict=True)
            )
            if not fits:
                wanted = ", ".join(str(size if size is not None else "?") for size in value.shape)
                raise ValueError(f"run: input {value.name!r} must have shape ({wanted}); got {array.shape}")
        return array


class _Planning:
    """The first run of a graph, step by step, in which the steps of later ones are bound."""

    def __init__(self, graph: Graph, arrays: Sequence[np.ndarray]) -> None:
        self._graph, self._arrays = graph, arrays
        self._numbers: dict[str, int] = {}
        self._values: list[Any] = []
        self._constant: list[bool] = []
        self.reusable = True
        self.results: list[np.ndarray] = []

    def plan(self) -> Plan:
        """Run, and return the plan."""
        graph = self._graph
        for name, array in graph.constants.items():
            self._slot(name, array, True)
        inputs = tuple(self._slot(value.name, array, False) for value, array in zip(graph.inputs, self._arrays, strict=True))
        last_reader = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
        kept = {value.name for value in graph.outputs}
        steps: list[Step] = []
        with np.errstate(all="ignore"):
            for number, node in enumerate(graph.nodes):
                step = self._step(node)
                dead = [name for name in dict.fromkeys(node.inputs) if name and last_reader[name] == number and name not in kept]
                dead += [name for name in node.outputs if name and name not in last_reader and name not in kept]
                slots = tuple(slot for slot in map(self._numbers.__getitem__, dead) if not self._constant[slot])
                for slot in slots:
                    self._values[slot] = None
                if step is not None:
                    steps.append(step._replace(dead=slots))
                elif slots and steps:
                    steps[-1] = steps[-1]._replace(dead=steps[-1].dead + slots)
        for value in graph.outputs:
            if value.name not in self._numbers:
                raise ValueError(f"the graph's output {value.name!r} is made by no node")
        outputs = tuple(self._numbers[value.name] for value in graph.outputs)
        self.results = _results([self._values[slot] for slot in outputs], self._arrays)
        slots_before = [value if constant else None for value, constant in zip(self._values, self._constant, strict=True)]
        return Plan(slots_before, steps, inputs, outputs)

    def _slot(self, name: str, value: Any, constant: bool) -> int:
        self._numbers[name] = len(self._values)
        self._values.append(value)
        self._constant.append(constant)
        return self._numbers[name]

    def _step(self, node: Node) -> Step | None:
        """Run a node; return its step unless its results are constants."""
        names = node.inputs
        for name in names:
            if name and name not in self._numbers:
                raise ValueError(f"{node}: its input {name!r} is made by no node before it")
        reads = tuple(self._numbers[name] if name else self._nothing() for name in names)
        given = [self._values[slot] for slot in reads]
        inputs = Inputs(given, [self._constant[slot] for slot in reads])
        run = bind(node, inputs)
        with operators.naming(node):
            made = run(*given)
        results = made if type(made) is tuple else (made,)
        constant = node.kind not in _RANDOM and (all(self._constant[slot] for slot in reads) or node.kind in ("Shape", "Size"))
        self.reusable &= not inputs.depends_on_values
        writes = tuple(
            self._slot(name, _frozen(result) if constant else np.asarray(result), constant) if name else -1
            for name, result in zip(node.outputs, results, strict=False)
        )
        return None if constant else Step(run, reads, writes, (), node)

    def _nothing(self) -> int:
        """Return the slot of what is left out."""
        return self._numbers[""] if "" in self._numbers else self._slot("", None, True)


def bind(node: Node, inputs: Inputs) -> Run:
    """Return the function of a node; what is wrong with it is said with its name."""
    with operators.naming(node):
        return operators.find(node)(node, inputs)


def evaluate(node: Node, arrays: Sequence[np.ndarray | None]) -> tuple[Any, ...]:
    """Return the results of a node for constant inputs."""
    run = bind(node, Inputs(arrays, [True] * len(arrays)))
    with np.errstate(all="ignore"), operators.naming(node):
        made = run(*arrays)
    return tuple(np.asarray(array) for array in (made if type(made) is tuple else (made,)))


def _frozen(value: Any) -> np.ndarray:
    array: np.ndarray = np.asarray(value).view()
    array.flags.writeable = False
    return array


def _results(values: Sequence[Any], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the values as contiguous arrays of their own: not constants, nor views of the inputs or of each other."""
    found: list[np.ndarray] = []
    for value in values:
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        if not array.flags.writeable or any(np.may_share_memory(array, other) for other in (*inputs, *found)):
            array = array.copy()
        found.append(array)
    return found
