"""A plan without Python: what its steps launch is recorded, checked, and run again as chains of launches.

A step is replaced by its launches if they alone make its results. That is found out, not assumed: its inputs are filled with other values,
and its launches must then write, bit for bit, what the step returns for these. What does more than launch kernels (NumPy functions, copies)
writes something else, and stays a call between two chains.

Memory is that of the recording run: as there, what is dead gives its memory to what comes. It belongs to the thread that recorded.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import machine, memory, workspace
from ..chain import Chain, Launch, launch_of, recording

if TYPE_CHECKING:
    from .executor import Plan, Step

Later = Callable[[], np.ndarray]  # returns an array once all memory is held

_MOST_BYTES = 2**28  # that a recording may hold; networks of so much take longer than what is saved


class Unrecordable(Exception):
    """There is nothing to gain, or memory has been given away."""


class RecordedPlan:
    """Chains of launches, and calls between them.

    Parameters
    ----------
    plan : Plan
        Which has run before: what a first run alone does must not be recorded.
    arrays : inputs of the plan

    Raises
    ------
    Unrecordable
    """

    def __init__(self, plan: Plan, arrays: Sequence[np.ndarray]) -> None:
        self._thread, self._running = threading.get_ident(), False
        self._memory = _Memory()
        self._launches: list[Launch] = []  # since the last call
        self._chains: list[Chain] = []
        calls: list[Callable[[], Callable[[], None]]] = []
        slots = plan.slots.copy()
        self._inputs = [memory.stored(array) for array in arrays]
        for slot, array in zip(plan.inputs, self._inputs, strict=True):
            slots[slot] = array
        self._copied = False  # whether calls read the inputs too, which must then lie where they lay
        with np.errstate(all="ignore"):
            for step in plan.steps:
                self._record(step, slots, [plan.slots[slot] is None for slot in step.reads], calls)
        self._close(calls)
        outputs = [self._memory.refer(slots[slot]) for slot in plan.outputs]
        self._copied |= any(self._reads_inputs(slots[slot]) for slot in plan.outputs)
        del slots
        self._memory.hold()
        self._parts: list[Callable[[], None]] = [make() for make in calls]
        self._outputs = [output() for output in outputs]
        if not self._chains:
            raise Unrecordable
        self._moved = [_moves(self._chains, array) for array in self._inputs]

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return the results for contiguous inputs like those recorded, or None where the calling thread must run the plan instead."""
        if self._running or self._thread != threading.get_ident():
            return None
        self._running = True
        try:
            for array, own, moved in zip(arrays, self._inputs, self._moved, strict=True):
                if self._copied:
                    own[...] = array
                else:
                    address = array.ctypes.data
                    for words, positions, offsets in moved:
                        words[positions] = offsets + address
            for part in self._parts:
                part()
            return [output.copy() for output in self._outputs]
        finally:
            self._running = False

    def _record(self, step: Step, slots: list[Any], variable: Sequence[bool], calls: list[Callable[[], Callable[[], None]]]) -> None:
        """Run a step on the slots, and note what it takes to run it again."""
        given = [slots[slot] for slot in step.reads]
        arrays = [array for array, varies in zip(given, variable, strict=True) if varies and array is not None]
        before = [array.tobytes() for array in arrays]
        with recording() as launches:
            made = step.run(*given)
        made = made if type(made) is tuple else (made,)
        results = [(slot, np.asarray(result)) for slot, result in zip(step.writes, made, strict=False) if slot >= 0]
        unchanged = [array.tobytes() for array in arrays] == before  # else it is no view of what it was given, but works in its place
        if launches and _repeats(step, given, arrays, [result for _, result in results], launches):
            for _, _, taken in launches:
                self._memory.use(taken)
            self._launches += [launch_of(*launch) for launch in launches]
        elif launches or not unchanged or not all(any(np.may_share_memory(result, array) for array in arrays) for _, result in results):
            self._close(calls)
            results = [(slot, _own(result, given)) for slot, result in results]
            calls.append(self._call(step, given, [result for _, result in results]))
        for slot, result in results:
            slots[slot] = result
        for slot in step.dead:
            slots[slot] = None

    def _call(self, step: Step, given: Sequence[Any], results: Sequence[np.ndarray]) -> Callable[[], Callable[[], None]]:
        """Return what makes the function that calls a step, and stores its results where those of the recording lie."""
        self._copied |= any(array is not None and self._reads_inputs(array) for array in given)
        taken = [None if array is None else self._memory.refer(array) for array in given]
        stored = [self._memory.refer(result) for result in results]

        def make() -> Callable[[], None]:
            inputs, outputs = [None if later is None else later() for later in taken], [later() for later in stored]

            def call() -> None:
                with np.errstate(all="ignore"):
                    made = step.run(*inputs)
                made = made if type(made) is tuple else (made,)
                wanted = [result for slot, result in zip(step.writes, made, strict=False) if slot >= 0]
                for output, result in zip(outputs, wanted, strict=True):
                    output[...] = result

            return call

        return make

    def _close(self, calls: list[Callable[[], Callable[[], None]]]) -> None:
        """Make a chain of the launches since the last call."""
        if self._launches:
            chain = Chain(self._launches, machine.get_threads())
            self._chains.append(chain)
            calls.append(lambda: chain.run)
            self._launches = []

    def _reads_inputs(self, array: np.ndarray) -> bool:
        return any(np.may_share_memory(array, own) for own in self._inputs)


class _Memory:
    """What the arrays of a recording lie on, held when it is through.

    Until then, blocks that serve one result after the other are referred to weakly, or they would not be used again: they live as long as
    their thread keeps them.
    """

    def __init__(self) -> None:
        self._roots: dict[int, tuple[Callable[[], Any], int]] = {}

    def use(self, arrays: Sequence[np.ndarray]) -> None:
        """Hold the memory of arrays."""
        for array in arrays:
            self._root(array)

    def refer(self, array: np.ndarray) -> Later:
        """Hold the memory of an array, and return a function that returns the array, or another on the same memory."""
        root, lasting = self._root(array)
        if lasting:
            return lambda: array
        offset, shape, strides, dtype = array.ctypes.data - root.ctypes.data, array.shape, array.strides, array.dtype
        reference = self._roots[id(root)][0]
        return lambda: np.ndarray(shape, dtype, reference(), offset, strides)

    def hold(self) -> None:
        """Hold everything from now on; Unrecordable where something is gone, or where it is too much."""
        held = {key: reference() for key, (reference, _) in self._roots.items()}
        if any(root is None for root in held.values()) or sum(size for _, size in self._roots.values()) > _MOST_BYTES:
            del held
            memory.release()  # what was checked took twice as much as the plan does
            raise Unrecordable
        self._held = held
        for root in held.values():
            memory.adopt(root)

    def _root(self, array: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the array that owns the memory, and whether it is one of the thread's blocks."""
        root = _root(array)
        lasting = not memory.is_kept(root)
        self._roots.setdefault(id(root), ((lambda: root) if lasting else weakref.ref(root), 0 if lasting else root.nbytes))
        return root, lasting


def _own(result: np.ndarray, given: Sequence[Any]) -> np.ndarray:
    """Return an array that later results can be written to: the result itself, unless it is read-only or a view of what was given."""
    if result.flags.writeable and not any(array is not None and np.may_share_memory(result, array) for array in given):
        return result
    return np.array(result)


def _repeats(
    step: Step, given: Sequence[Any], arrays: Sequence[np.ndarray], results: Sequence[np.ndarray], launches: Sequence[tuple[int, int, Any]]
) -> bool:
    """Whether the launches of a step make its results, for other values of its inputs too, which are changed; so are the results.

    Before the launches run, nothing is right of what they have to write: neither results nor what lies on memory that others write, too.
    Afterwards the results are those of the changed inputs in any case, or the steps that follow would be tried on marks, which pass for
    anything.
    """
    try:
        chain = Chain([launch_of(*launch) for launch in launches], machine.get_threads())
    except ValueError:
        return False
    if not all(array.flags.writeable for array in (*arrays, *results)):
        return False
    for array in arrays:
        array[...] = _others(array)
    passing = _passing(launches, [*(array for array in given if array is not None), *results])
    made = step.run(*given)
    made = made if type(made) is tuple else (made,)
    wanted = [np.array(result) for slot, result in zip(step.writes, made, strict=False) if slot >= 0]
    del made
    for array in passing:
        array.fill(np.nan)
    for result, other in zip(results, wanted, strict=True):
        result[...] = _unlike(other)
    chain.run()
    if all(result.tobytes() == other.tobytes() for result, other in zip(results, wanted, strict=True)):
        return True
    for result, other in zip(results, wanted, strict=True):
        result[...] = other
    return False


def _passing(launches: Sequence[tuple[int, int, Sequence[np.ndarray]]], known: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what launches read or write besides `known` on memory that serves others between two runs: it keeps no value for them.

    Only numbers with a fraction: a kernel may take integers for addresses. The thread's workspace is given up, lest it be written here.
    """
    shared = workspace.release()

    def serves_others(array: np.ndarray) -> bool:
        return memory.is_kept(_root(array)) or (shared is not None and np.may_share_memory(array, shared))

    candidates = [array for _, _, taken in launches for array in taken if array.dtype.kind == "f"]
    return [array for array in candidates if serves_others(array) and not any(np.may_share_memory(array, other) for other in known)]


def _root(array: np.ndarray) -> np.ndarray:
    """Return the array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


_FACTORS = np.random.default_rng(0).uniform(0.5, 1.5, 4093)


def _others(array: np.ndarray) -> np.ndarray:
    """Return other values of the same range: those of elsewhere in the array, numbers with a fraction of other sizes too.

    Where these are zero, infinite or no number, other numbers of the array's size: such would pass for the values of anything.
    """
    mixed = np.roll(array.reshape(-1), array.size // 2 + 1)
    if array.dtype.kind == "f":
        factors = np.resize(_FACTORS, mixed.size)
        useful = np.isfinite(mixed) & (mixed != 0)
        size = np.abs(mixed[useful], dtype=np.float64).mean() if useful.any() else 1.0
        mixed = np.where(useful, mixed, size) * factors
    return mixed.astype(array.dtype, copy=False).reshape(array.shape)


def _unlike(values: np.ndarray) -> np.ndarray:
    """Return an array of which no element is the bits of that of `values`."""
    if values.dtype.kind == "f":
        return np.where(np.isnan(values), 0, np.nan).astype(values.dtype)
    return ~values


def _moves(chains: Sequence[Chain], array: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return (words, positions, offsets) of what in chains are addresses in an array."""
    found = []
    for chain in chains:
        distance = chain.words[chain.pointers] - array.ctypes.data
        inside = (distance >= 0) & (distance < array.nbytes)
        if inside.any():
            found.append((chain.words, chain.pointers[inside], distance[inside]))
    return found
