"""Launches recorded, and run again as one: a network without Python between its layers.

    with recording() as launches:
        y = layer(x)                                                         # launches kernels, which also run
    chain = Chain([launch_of(*launch) for launch in launches], threads)
    chain.run()                                                              # the same kernels on the same memory

A launch of its own costs Python a few microseconds and, on several threads, ten more: the threading layer hands it over to a thread, which
must be awake, and waits for it. In a chain the threads meet once. Then each takes jobs of the step at hand, first of its own share, which
lies in its cache, then of the others', and goes on to the next step when all jobs are done. One who comes late, or never, leaves its
share to the rest; so nobody waits but for jobs that are running.

Only launches are recorded. What else computed between them - a NumPy function, say - is not, and whoever records must make sure that there
was nothing (see `fastcnn.onnx.recorded`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import cores, jit, machine
from .jit import Kernel, kernel

_LINE = 8  # int64 of a cache line
_BUCKETS = (16, 32, 48, 64, 96, 128)  # words that a call passes; what a kernel does not take is ignored, as in any C ABI of 64 bits
_SPINS = 4_000  # looks at a step that others still work on, ~100 us; then the core is offered to somebody else


class Launch(NamedTuple):
    """A kernel to be run again, and what it takes."""

    address: int
    jobs: int
    words: tuple[int, ...]  # the arrays, as kernels take them
    pointers: tuple[int, ...]  # which of the words are addresses of arrays


@contextlib.contextmanager
def recording() -> Iterator[list[tuple[int, int, tuple[np.ndarray, ...]]]]:
    """Collect the launches of the calling thread, which are run as ever: (address, jobs, arrays) of each."""
    found: list[tuple[int, int, tuple[np.ndarray, ...]]] = []
    outer, jit.recorder.launches = jit.recorder.launches, found
    try:
        yield found
    finally:
        jit.recorder.launches = outer


def launch_of(address: int, jobs: int, arrays: Sequence[np.ndarray]) -> Launch:
    """Return a launch as numbers; it does not hold the arrays' memory. ValueError for more arrays than a call can pass.

    Of each array a kernel takes its owner and parent, which is nobody here; size, bytes of an element, address; shape; strides.
    """
    words: list[int] = []
    pointers = []
    for array in arrays:
        pointers.append(len(words) + 4)
        words += 0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides
    if len(words) > _BUCKETS[-1]:
        raise ValueError(f"a launch in a chain may take {_BUCKETS[-1]} words; got {len(words)}")
    return Launch(address, jobs, tuple(words), tuple(pointers))


class Chain:
    """Launches to be run again, in order, on the memory that they were recorded on.

    Parameters
    ----------
    launches : sequence of Launch
        The chain holds no memory of theirs: it must stay where it is for as long as the chain is run.
    threads : int
        At most as many as the caller may use.

    Attributes
    ----------
    words : (W,) int64
        What the kernels take; `pointers` are the positions of addresses in it. Writing another address there moves an array.
    """

    def __init__(self, launches: Sequence[Launch], threads: int) -> None:
        rows: list[tuple[int, int, int, int]] = []
        words: list[int] = []
        pointers: list[int] = []
        for address, jobs, own, places in launches:
            bucket = next(size for size in _BUCKETS if size >= len(own))
            rows.append((address, jobs, len(words), bucket))
            pointers += [len(words) + place for place in places]
            words += [*own, *[0] * (bucket - len(own))]
        self.words, self.pointers = np.array(words, np.int64), np.array(pointers, np.int64)
        width = -(-(threads + 1) // _LINE) * _LINE
        self._state = np.zeros((len(rows) + 1, width), np.int64)  # of a step: jobs done, and taken of each share; last, failures
        steps = np.array(rows, np.int64).reshape(-1)
        self._arrays = np.array([threads, width], np.int64), steps, self.words, self._state.reshape(-1)
        self._run = _server().bound(threads, *self._arrays, work=np.inf)

    def run(self) -> None:
        """Run the launches; MemoryError where a kernel could not allocate."""
        self._state.fill(0)
        self._run(*self._arrays)
        if self._state[-1, 0]:
            raise MemoryError(jit.NO_MEMORY)


# --- Machine code ------------------------------------------------------------------------------------------------------


@functools.cache
def _server() -> Kernel:
    """Return the kernel that every thread of a chain runs once."""
    take, done, rest, invoke, spins = _take(), _done(), _rest(), _invoke(), _SPINS
    give_way = cores.system_call("give_way")

    @kernel(specialisation=(_BUCKETS, _SPINS))
    def serve(slot, settings, steps, words, state):
        threads, width = settings[0], settings[1]
        count = steps.size // 4
        for k in range(count):
            address, jobs, first, bucket = steps[4 * k], steps[4 * k + 1], steps[4 * k + 2], steps[4 * k + 3]
            line = k * width
            for t in range(threads):
                owner = (slot + t) % threads
                begin, end = owner * jobs // threads, (owner + 1) * jobs // threads
                while True:
                    job = begin + take(state, line + 1 + owner)
                    if job >= end:
                        break
                    if invoke(address, job, words, first, bucket) != 0:
                        state[count * width] = 1
                    take(state, line)
            looks = 0
            while done(state, line) < jobs:
                looks += 1
                if looks < spins:
                    rest()
                else:
                    give_way()

    return serve


def _place(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.gep(array.data, [values[1]])


@functools.cache
def _take() -> Any:
    """Return an intrinsic ``take(x, i)``: x[i]++, as one operation that all threads see in order; returns x[i] before it."""
    machine.numba()
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def take(typingctx: Any, x: Any, i: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.atomic_rmw("add", _place(context, builder, signature, values), ir.Constant(ir.IntType(64), 1), "seq_cst")

        return types.int64(x, types.int64), emit

    return take


@functools.cache
def _done() -> Any:
    """Return an intrinsic ``done(x, i)``: x[i]; whoever sees a count sees what was written before it was counted."""
    machine.numba()
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def done(typingctx: Any, x: Any, i: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.load_atomic(_place(context, builder, signature, values), "acquire", 8)

        return types.int64(x, types.int64), emit

    return done


@functools.cache
def _rest() -> Any:
    """Return an intrinsic ``rest()`` that tells the core that this is a loop that waits."""
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    hint = {"x86": ("llvm.x86.sse2.pause", []), "arm": ("llvm.aarch64.hint", [1])}.get(machine.architecture())

    @intrinsic
    def rest(typingctx: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if hint is not None:
                name, arguments = hint
                kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)] * len(arguments))
                builder.call(
                    cgutils.get_or_insert_function(builder.module, kind, name), [ir.Constant(ir.IntType(32), n) for n in arguments]
                )
            return context.get_dummy_value()

        return types.void(), emit

    return rest


@functools.cache
def _invoke() -> Any:
    """Return an intrinsic ``invoke(address, job, words, first, bucket)`` that calls a kernel; returns its status, 0 if all is well.

    Arrays reach a kernel as their fields, one by one: pointers and integers of 64 bits, all passed alike. `bucket` is one of _BUCKETS.
    """
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def invoke(typingctx: Any, address: Any, job: Any, words: Any, first: Any, bucket: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            i32, i64 = ir.IntType(32), ir.IntType(64)
            pointer = ir.IntType(8).as_pointer()
            table = context.make_array(signature.args[2])(context, builder, values[2]).data
            source = builder.gep(table, [values[3]])
            status = cgutils.alloca_once_value(builder, ir.Constant(i32, 0))
            result, error = (cgutils.alloca_once_value(builder, ir.Constant(pointer, None)) for _ in range(2))
            after = builder.append_basic_block("called")
            choice = builder.switch(values[4], after)
            for bucket in _BUCKETS:
                block = builder.append_basic_block(f"words{bucket}")
                choice.add_case(ir.Constant(i64, bucket), block)
                builder.position_at_end(block)
                kind = ir.FunctionType(i32, [pointer.as_pointer()] * 2 + [i64] * (1 + bucket))
                passed = [builder.load(builder.gep(source, [ir.Constant(i64, w)])) for w in range(bucket)]
                call = builder.call(builder.inttoptr(values[0], kind.as_pointer()), [result, error, values[1], *passed])
                builder.store(call, status)
                builder.branch(after)
            builder.position_at_end(after)
            return builder.sext(builder.load(status), i64)

        n = types.int64
        return types.int64(n, n, words, n, n), emit

    return invoke
