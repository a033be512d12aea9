"""How kernels are compiled, cached on disk and run on several threads. The only place with Numba's flags.

A kernel is a plain function with the decorator `@kernel`. It is compiled at its first call, so that importing fastcnn
imports neither Numba nor LLVM. A kernel meant for threads takes the index of a job first; `Kernel.launch` runs jobs
0..n-1 on the threads that the caller allows::

    @kernel
    def double(job, x, y):                  # y[job] = 2 x[job]
        for i in range(x.shape[1]):
            y[job, i] = 2 * x[job, i]

    double.launch(len(x), x, y, work=x.size)

One tiny `prange` loop per signature serves all kernels: it calls the compiled kernel by its address. With `prange` inside
each kernel Numba would compile every tile twice and spend 0.9-1.9 s where this takes 0.2-0.6 s.

Kernels may call kernels. Each is machine code of its own, and calls the others by symbol, as files of C do: Numba would link a copy of
every callee into every caller and optimise it again, which took a third of the time of the first call. A few lines that belong into
a caller's loop are a kernel with ``inline=True``, which is linked as Numba does it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import builds, cores, forks, machine, stacks
from .kernel_cache import Code, cache_for, code_cache, kernel_cache, kernel_version

# nogil: other Python threads go on. error_model: division by zero gives inf or garbage, never an exception that prange
# would lose. No fastmath: `nnan` breaks NaN in ReLU and max; the tiles of simd.py contract to FMA explicitly.
_FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

_LINE = 64  # bytes

SERIAL_BELOW = 2_000_000  # units of work (FLOPs, or elements moved times 8): ~50-100 us, where threads begin to pay


class Kernel:
    """A compiled-on-demand function: `launch` runs it once per job, on several threads; other kernels may call it.

    Called directly it runs as a function of Numba's, which tests do, and kernels under NUMBA_DISABLE_JIT.

    Parameters
    ----------
    function : callable
        Takes contiguous arrays and numbers; must not raise, and may call other kernels that its closure or module names. Inner loops
        should count from 0 over slices (``part = x[first:last]``, ``for i in range(part.size)``): in ``x[first + i]`` Numba looks for a
        negative index at every element, which keeps the loop scalar, 4 times slower.
    specialisation : hashable
        What distinguishes kernels made by one factory (the tile's shape, say); part of the key of the disk cache.
    inline : bool or "always"
        Link the code into each caller, where LLVM can inline it, instead of calling it (15 ns). With "always" it must, however long the
        function is: a loop with a call in it stays scalar.
    """

    def __init__(self, function: Callable[..., Any], specialisation: Hashable = (), inline: bool | str = False) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.specialisation, self.inline = specialisation, inline
        self.version = kernel_version(Path(function.__code__.co_filename).parent)
        # Numba names machine code by this and a counter of the process. Kernels of one factory would differ in the counter only, and
        # code that two processes cached under equal names would be taken for the same by a third that loads both.
        function.__qualname__ = f"{function.__qualname__}_{hashlib.sha256(repr(specialisation).encode()).hexdigest()[:12]}"
        self._native: dict[Any, tuple[Callable[..., None], int]] = {}
        self._codes: dict[Any, Code] = {}

    def __call__(self, *args: Any) -> Any:
        """Run the function once, compiled in memory."""
        return self.dispatcher(*args)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """Numba's dispatcher (the function itself under NUMBA_DISABLE_JIT)."""
        numba = machine.numba()
        _teach_numba_kernels()
        return numba.njit(**_FLAGS)(self.function)

    def launch(self, jobs: int, *arrays: np.ndarray, work: float) -> None:
        """Run `function(job, *arrays)` for every job in range(jobs).

        Parameters
        ----------
        jobs : int
            Must be independent of one another: they run in any order.
        arrays : C-contiguous ndarray
        work : float
            FLOPs (or elements moved times 8) in all; small launches stay on the calling thread.
        """
        self.bound(jobs, *arrays, work=work)(*arrays)

    def bound(self, jobs: int, *arrays: np.ndarray, work: float) -> Callable[..., None]:
        """Return `launch` with everything but the arrays decided: compiled, and for the threads that the caller has now.

        The function returned takes arrays of the same dtypes and ranks as `arrays`, and does not check that; calling it costs 0.8 us.
        """
        if jobs == 0:
            return lambda *_: None
        if machine.jit_is_disabled():
            return functools.partial(self._run_plain, jobs)
        threads = _threads(jobs, work)
        loop, address = self._loop(threads > 1, arrays)
        if threads == 1:
            return _serial(loop, [(address, jobs)])
        return _parallel(loop, threads, address, jobs)

    def _run_plain(self, jobs: int, *arrays: np.ndarray) -> None:
        plain = [a.view(np.recarray) if a.dtype.names else a for a in arrays]  # Numba reads record fields as attributes
        for job in range(jobs):
            self.function(job, *plain)

    def _loop(self, parallel: bool, arrays: tuple[np.ndarray, ...]) -> tuple[Callable[..., None], int]:
        """Return the loop over jobs for these arrays and the address of their machine code, compiled or read from the cache when needed."""
        key = parallel, *[(a.dtype, a.ndim) for a in arrays]
        native = self._native.get(key)
        if native is None:
            if parallel:
                _start_threads()
            native = self._native[key] = stacks.with_room(lambda: self._compiled(parallel, arrays))
        return native

    def _compiled(self, parallel: bool, arrays: tuple[np.ndarray, ...]) -> tuple[Callable[..., Any], int]:
        machine.numba()
        from numba import int64, typeof
        from numba.core.compiler_lock import global_compiler_lock

        with global_compiler_lock:  # also around what LLVM does as the address is asked for: no fork in the middle of it
            address = self.code((int64, *map(typeof, arrays))).address
            return _loop(parallel, typeof(arrays)), address

    def code(self, arguments: tuple[Any, ...]) -> Code:
        """Return the machine code for arguments of these Numba types, compiled or read from the cache when needed."""
        machine.numba()
        from numba.core.compiler_lock import global_compiler_lock

        with global_compiler_lock:  # Numba's: with a second lock, taken in another order elsewhere, threads would lock each other out
            code = self._codes.get(arguments)
            if code is None:
                with _without_collector():
                    code = self._codes[arguments] = _load_or_compile(self, arguments)
            return code

    @functools.cached_property
    def cache(self) -> Any:
        """The place on the disk for the machine code, None where there is none."""
        if self.version is None:
            return None
        cache = cache_for(code_cache(), self.function, self.specialisation, self.version)
        if cache is not None:
            cache._impl.callees = self.callees()
        return cache

    def symbol(self, arguments: tuple[Any, ...]) -> str:
        """Return the name by which other kernels call the machine code for arguments of these types, in every process the same."""
        key = self.function.__module__, self.function.__qualname__, str(arguments)
        return f"fastcnn_{self.function.__name__}_{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}"

    def callees(self) -> dict[str, Kernel]:
        """Return the kernels that the function may call, by name."""
        inner, module = self.function.__closure__ or (), self.function.__globals__
        values = [cell.cell_contents for cell in inner] + [module.get(name) for name in self.function.__code__.co_names]
        named = {value.function.__qualname__: value for value in values if isinstance(value, Kernel)}
        for value in list(named.values()):
            if value.inline:  # its calls become ours
                named |= value.callees()
        return named


def kernel(function: Callable[..., Any] | None = None, *, specialisation: Hashable = (), inline: bool | str = False) -> Any:
    """Decorate a function as a `Kernel`; factories pass what distinguishes their kernels as `specialisation`."""
    if function is None:
        return lambda f: Kernel(f, specialisation, inline)
    return Kernel(function, specialisation, inline)


def in_turn(steps: Sequence[tuple[Kernel, int, float]], *arrays: np.ndarray) -> Callable[..., None]:
    """Return a function that launches kernels which take the same arguments one after the other: `Kernel.bound` of several.

    Each of `steps` is (kernel, jobs, work). Neighbours that stay on the calling thread are one launch, which takes Python and the caches
    that it leaves cold 3-5 us in a step of training.
    """
    runs: list[Callable[..., None]] = []
    for several, group in itertools.groupby(steps, lambda step: machine.jit_is_disabled() or _threads(step[1], step[2]) > 1):
        if several:
            runs += [kernel.bound(jobs, *arrays, work=work) for kernel, jobs, work in group]
        else:
            found = [(*kernel._loop(False, arrays), jobs) for kernel, jobs, _ in group]
            runs.append(_serial(found[0][0], [(address, jobs) for _, address, jobs in found]))

    def run(*arrays: np.ndarray) -> None:
        for part in runs:
            part(*arrays)

    return runs[0] if len(runs) == 1 else run


def _threads(jobs: int, work: float) -> int:
    return 1 if work < SERIAL_BELOW else min(machine.get_threads(), jobs)


# --- Compilation -------------------------------------------------------------------------------------------------------


_calls_of_open: list[dict[tuple[str, Any], None]] = []  # what the kernels that are being compiled call, the innermost last


def _load_or_compile(kernel: Kernel, arguments: tuple[Any, ...]) -> Code:
    import llvmlite.binding as llvm
    from numba.core.registry import cpu_target

    _teach_numba_kernels()
    cache = kernel.cache
    with builds.build(kernel.function.__name__, cache and cache.cache_path) as build:
        code: Code | None = cache and cache.load_overload(arguments, cpu_target.target_context)
        if not code:
            build.compiling()
        compiled = code or _compile(kernel, arguments)
        llvm.add_symbol(kernel.symbol(arguments), compiled.address)
        if cache and not code:
            cache.save_overload(arguments, compiled)
    return compiled


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python's garbage collector from looking through the million objects of a compilation, which live until its end: 7 % of it."""
    enabled = gc.isenabled()
    _collector.held_off = enabled
    gc.disable()
    try:
        yield
    finally:
        _collector.held_off = False
        if enabled:
            gc.enable()


class _Collector:
    held_off = False  # by a compilation: a child forked meanwhile has no thread that would end it

    def release(self) -> None:
        if self.held_off:
            self.held_off = False
            gc.enable()


_collector = _Collector()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_collector.release)


def _compile(kernel: Kernel, arguments: tuple[Any, ...]) -> Code:
    from numba.core import compiler
    from numba.core.registry import cpu_target

    flags: Any = compiler.Flags()
    cpu_target.options.parse_as_flags(flags, {"nopython": True, **_FLAGS})
    # No functions for Python and C around the kernel's own (with many arrays they are longer than many a kernel), and hence no compilation
    # of them all at once: `Code.address` does it.
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    flags.forceinline = kernel.inline == "always"
    _calls_of_open.append({})
    try:
        result = compiler.compile_extra(cpu_target.typing_context, _target_with_lines(), kernel.function, arguments, None, flags, {})
    finally:
        calls = tuple(_calls_of_open.pop())
    return Code(result.library, result.fndesc.llvm_func_name, result.signature.return_type, calls)


def _target_with_lines() -> Any:
    """Return Numba's target, but for arrays that begin at a cache line, the length of the widest vector.

    Where they begin 32 bytes behind one, as half of Numba's do, every other vector lies on two lines: a convolution by Winograd, whose
    scratch that is, took 450 us in some processes and 257 in others.
    """
    from numba.core.registry import cpu_target

    return cpu_target.target_context.subtarget(get_preferred_array_alignment=lambda kind: _LINE)


@functools.cache
def _teach_numba_kernels() -> None:
    """Let compiled code call a Kernel."""
    machine.numba()
    from numba import types
    from numba.extending import typeof_impl

    @typeof_impl.register(Kernel)
    def _(value: Kernel, context: Any) -> Any:
        return types.Function(_call_template(value))


@functools.cache
def _call_template(kernel: Kernel) -> Any:
    """Return how Numba types and emits a call of a kernel: as one of Numba's own functions, which live elsewhere or are linked."""
    from numba.core import cgutils, types
    from numba.core.imputils import lower_builtin
    from numba.core.typing.templates import AbstractTemplate, signature

    class Call(AbstractTemplate):
        key = kernel

        def generic(self, args: Any, kws: Any) -> Any:
            # Or a call with a constant 0 would compile the kernel once more for that 0.
            arguments = tuple(map(types.unliteral, args))
            return signature(kernel.code(arguments).returns, *arguments)

    @lower_builtin(kernel, types.VarArg(types.Any))
    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        code = kernel.code(sig.args)
        if kernel.inline:
            context.add_linking_libs([code.library])
        if _calls_of_open:
            _calls_of_open[-1].update(dict.fromkeys(code.calls if kernel.inline else [(kernel.function.__qualname__, sig.args)]))
        name = code.name if kernel.inline else kernel.symbol(sig.args)
        function = cgutils.get_or_insert_function(builder.module, context.call_conv.get_function_type(sig.return_type, sig.args), name)
        status, result = context.call_conv.call_function(builder, function, sig.return_type, sig.args, values)
        with cgutils.if_unlikely(builder, status.is_error):  # an allocation failed, or NUMBA_BOUNDSCHECK
            context.call_conv.return_status_propagate(builder, status)
        return result

    return Call


# --- Threads -----------------------------------------------------------------------------------------------------------


@functools.cache
def _call_by_address(tells: bool = False) -> Any:
    """Return an intrinsic `call(address, args)` that calls compiled Numba code by address, typed by its arguments.

    What the code raises, the caller raises; or, where it `tells`, the call is True if all went well.
    """
    machine.numba()
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def call(typingctx: Any, address: Any, args: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointer, packed = values
            kinds = tuple(signature.args[1])
            function_type = context.call_conv.get_function_type(types.none, kinds)
            function = builder.inttoptr(pointer, function_type.as_pointer())
            arguments = cgutils.unpack_tuple(builder, packed, len(kinds))
            status, _ = context.call_conv.call_function(builder, function, types.none, kinds, arguments)
            if tells:
                return builder.not_(status.is_error)
            with cgutils.if_unlikely(builder, status.is_error):  # an allocation failed, or NUMBA_BOUNDSCHECK
                context.call_conv.return_status_propagate(builder, status)
            return context.get_dummy_value()

        return (types.boolean if tells else types.void)(types.int64, args), codegen

    return call


@functools.cache
def _swap_threads() -> Any:
    """Return an intrinsic `swap(threads)` that limits the calling thread's loops to so many threads and returns the limit before."""
    machine.numba()
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def swap(typingctx: Any, threads: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            i32, i64 = ir.IntType(32), ir.IntType(64)
            # In C both are of int; Numba's loop declares the first in the same module with 64 bits, of which it reads 32.
            get = cgutils.get_or_insert_function(builder.module, ir.FunctionType(i64, []), "get_num_threads")
            set_ = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [i32]), "set_num_threads")
            before = builder.sext(builder.trunc(builder.call(get, []), i32), i64)
            builder.call(set_, [builder.trunc(values[0], i32)])
            return before

        return types.int64(types.int64), codegen

    return swap


@functools.cache
def _loop(parallel: bool, arrays: Any) -> Callable[..., Any]:
    """Return the compiled ``loop(kernels, arrays)``, in parallel ``loop(threads, address, jobs, arrays)``, for a tuple of this type.

    The parallel one returns whether every job went well. It is Numba's wrapper itself: its dispatcher would look at the types of all
    arguments once more, at every call.
    """
    from numba import int64
    from numba.core.compiler_lock import global_compiler_lock

    signature = (int64, int64, int64, arrays) if parallel else (int64[:, ::1], arrays)
    driver = _driver(parallel)
    name = "loop over jobs on threads" if parallel else "loop over jobs"
    with global_compiler_lock, builds.build(name, getattr(driver._cache, "cache_path", None)) as build:
        driver.compile(signature)
        build.compiled = signature not in driver.stats.cache_hits
    entry: Callable[..., Any] = driver.overloads[signature].entry_point
    return entry


@functools.cache
def _driver(parallel: bool) -> Any:
    machine.numba()
    from numba import prange

    call, attempt, swap_threads = _call_by_address(), _call_by_address(tells=True), _swap_threads()

    def run_serial(kernels: Any, arrays: Any) -> None:
        for i in range(len(kernels)):
            for job in range(kernels[i, 1]):
                call(kernels[i, 0], (job, *arrays))

    moves = parallel and cores.can_move()
    if moves:
        current, this = cores.system_call("current"), cores.system_call("self")
        move = machine.numba().njit(**_FLAGS)(cores.mover())
    else:
        current = this = machine.numba().njit(**_FLAGS)(lambda: 0)
        move = machine.numba().njit(**_FLAGS)(lambda core: None)

    def run_parallel(threads: Any, address: Any, jobs: Any, arrays: Any) -> Any:
        # What raises on a thread of prange's ends that thread's share, and nobody hears of it: a job that went well leaves its mark.
        done = np.empty(jobs, np.bool_)
        for job in range(jobs):
            done[job] = False
        before = swap_threads(threads)  # here: from Python three such calls take 4 us, and numba.set_num_threads is the caller's
        core, caller = current(), this()
        for job in prange(jobs):
            if current() == core and this() != caller:
                move(core)
            done[job] = attempt(address, (job, *arrays))
        swap_threads(before)
        failed = 0
        for job in range(jobs):
            failed += not done[job]
        return failed == 0

    run_jobs = run_parallel if parallel else run_serial
    dispatcher = machine.numba().njit(**_FLAGS, parallel=parallel)(run_jobs)
    if _VERSION is not None:
        dispatcher._cache = cache_for(kernel_cache(), run_jobs, ("parallel", parallel, moves), _VERSION) or dispatcher._cache
    return dispatcher


_VERSION = kernel_version(Path(__file__).parent)


class _Recorder(threading.local):
    """Where the calling thread's launches are noted, for `fastcnn.chain`."""

    launches: list[tuple[int, int, tuple[np.ndarray, ...]]] | None = None


recorder = _Recorder()


def _start_threads() -> None:
    """Start Numba's threading layer, which it would do as it compiles the first loop.

    With TBB it leaves an empty task behind, for threads to come and take, and the end of the process waits until that is done. On a single
    core none come, and if the thread that left it is gone by then, the process never ends: so it does the task itself, here. And it is the
    thread that launches, not one that compiles for it: TBB's threads live through a fork only if the one that started them forks.
    """
    machine.load_threading_library()
    numba = machine.numba()
    from numba.core.compiler_lock import global_compiler_lock
    from numba.np.ufunc import parallel

    with global_compiler_lock:
        if parallel._is_initialized:
            return
        parallel._launch_threads()
        forks.started_threads()
        if numba.threading_layer() == "tbb":
            from numba.np.ufunc import tbbpool  # type: ignore[attr-defined] # compiled

            ctypes.CFUNCTYPE(None)(tbbpool.synchronize)()


class _ThreadingLayer:
    """What is known of Numba's threading layer once the first parallel launch has started it."""

    name: str | None = None


def _serial(loop: Callable[..., None], kernels: list[tuple[int, int]]) -> Callable[..., None]:
    """Return the run of kernels in turn, each (address, jobs)."""
    rows = np.array(kernels, np.int64)

    def run(*arrays: np.ndarray) -> None:
        if recorder.launches is not None:
            recorder.launches.extend((address, jobs, arrays) for address, jobs in kernels)
        try:
            loop(rows, arrays)
        except SystemError as error:
            raise MemoryError(NO_MEMORY) from error

    return run


def _parallel(loop: Callable[..., Any], threads: int, address: int, jobs: int) -> Callable[..., None]:
    def run(*arrays: np.ndarray) -> None:
        layer = _ThreadingLayer
        if recorder.launches is not None:
            recorder.launches.append((address, jobs, arrays))
        try:
            if forks.lost_threads():
                done = _driver(False)(np.array([(address, jobs)]), arrays) is None
            elif layer.name in ("tbb", "omp"):
                done = loop(threads, address, jobs, arrays)
            else:  # workqueue, or not known yet
                with forks.launching:
                    done = loop(threads, address, jobs, arrays)
                    layer.name = machine.numba().threading_layer()
        except SystemError as error:
            raise MemoryError(NO_MEMORY) from error
        if not done:
            raise MemoryError(NO_MEMORY)

    return run


# How an exception leaves prange is a SystemError; without NUMBA_BOUNDSCHECK only an allocation can fail.
NO_MEMORY = "the buffers of a kernel do not fit into memory"
