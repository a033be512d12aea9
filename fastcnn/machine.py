"""What this machine offers: instruction set, register tiles, threads. The only module that reads (or sets) the environment.

Nothing here is decided at import: features are detected, and the threading library is loaded, when first asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import operator
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from . import forks


def setting(name: str) -> str | None:
    """Return the environment variable `name`, or None where it is unset or empty."""
    return os.environ.get(name) or None


_SHOWN = (  # settings whose values are numbers, flags, names or folders
    "FASTCNN_DATA", "FASTCNN_ISA", "FASTCNN_TUNED", "NUMBA_BOUNDSCHECK", "NUMBA_CACHE_DIR", "NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME",
    "NUMBA_DEBUG", "NUMBA_DISABLE_JIT", "NUMBA_ENABLE_AVX", "NUMBA_NUM_THREADS", "NUMBA_OPT", "NUMBA_THREADING_LAYER",
    "NUMBA_THREADING_LAYER_PRIORITY", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS",
)  # fmt: skip


def settings() -> dict[str, str]:
    """Return the environment variables that change what fastcnn, Numba and BLAS do, of those that are set.

    The values of known ones, with the home folder as ``~``; others that begin with FASTCNN_ or NUMBA_ are named, and their values, which
    may be anything, are not shown. Nothing else of the environment is.
    """
    home = os.path.expanduser("~")
    found = {}
    for name, value in sorted(os.environ.items()):
        if name in _SHOWN:
            found[name] = value.replace(home, "~") if len(home) > 1 else value
        elif name.startswith(("FASTCNN_", "NUMBA_")):
            found[name] = "(set; not shown)"
    return found


def isa_reason() -> str:
    """Return why `isa` is what it is."""
    wanted = setting("FASTCNN_ISA")
    return f"asked for by FASTCNN_ISA={wanted}" if wanted else "the widest that this CPU has"


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(core_numbers())


def core_numbers() -> frozenset[int]:
    """Return the system's numbers of the cores that this process may run on."""
    try:
        return frozenset(os.sched_getaffinity(0))  # type: ignore[attr-defined, unused-ignore]
    except AttributeError:  # macOS, Windows
        return frozenset(range(os.cpu_count() or 1))


# What MPICH and its relatives, Open MPI, and Slurm (srun) tell the processes that they start.
_LAUNCHERS = "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK"


def started_by_mpi() -> bool:
    """Whether an MPI launcher such as `mpiexec` started this process."""
    return any(setting(name) is not None for name in _LAUNCHERS)


class Isa(NamedTuple):
    """An instruction-set level: how wide its vector registers are (bytes) and how many it has."""

    name: str
    vector_bytes: int
    registers: int

    def lanes(self, itemsize: int) -> int:
        """Return how many numbers of `itemsize` bytes one vector holds."""
        return self.vector_bytes // itemsize


ISAS = {isa.name: isa for isa in (Isa("avx512", 64, 32), Isa("avx2", 32, 16), Isa("sse", 16, 16), Isa("neon", 16, 32))}


@functools.cache
def numba() -> Any:
    """Return the module Numba, imported at first use by one thread at a time.

    Its submodules import one another in circles: two threads that begin at different ends meet half-made modules. So whoever is about to
    import from Numba or llvmlite calls this first.
    """
    with forks.importing:  # before the compiler's lock, never behind it: who compiles has been here, and finds the module remembered
        forks.watch()
        import numba
        from numba.core.registry import cpu_target

        # Made now, as it is made under a lock of its own: a thread that makes it takes the compiler's lock inside, one that compiles has
        # that lock already, and they would wait for each other.
        _ = cpu_target.typing_context, cpu_target.target_context
        return numba


@functools.cache
def cpu_features() -> frozenset[str]:
    """Return LLVM's names of the host's CPU features; none where LLVM cannot tell them, as before its version 17 of Apple's processors."""
    numba()
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, present in features.items() if present)


@functools.cache
def memory_bytes() -> int:
    """Return the machine's memory; 8 TiB where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 2**43


@functools.cache
def has_fma() -> bool:
    """Whether the host multiplies and adds in one instruction (else `llvm.fma` would be a slow library call)."""
    return bool({"fma", "neon"} & cpu_features()) or _is_arm()


@functools.cache
def architecture() -> str:
    """Return the kind of processor: "x86", "arm", or the system's word for another."""
    import platform

    name = platform.machine().lower()
    return {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}.get(name, name)


def _is_arm() -> bool:
    return architecture() == "arm"


@functools.cache
def isa() -> Isa:
    """Return the level to generate code for: the best that the host has, or a lower one named by FASTCNN_ISA.

    Raises
    ------
    ValueError
        FASTCNN_ISA names a level that is unknown, or that this CPU does not have.
    """
    features = cpu_features()
    if _is_arm():
        available = ["neon"]
    else:
        has = {"avx512": {"avx512f", "avx512vl", "avx512dq"} <= features, "avx2": {"avx2", "fma"} <= features}
        available = [name for name in ("avx512", "avx2") if has[name]] + ["sse"]
    wanted = setting("FASTCNN_ISA") or available[0]
    if wanted not in available:
        raise ValueError(f"FASTCNN_ISA: expected one of {', '.join(available)} on this CPU; got {wanted!r}")
    return ISAS[wanted]


def lanes(itemsize: int) -> int:
    """Return how many numbers of `itemsize` bytes one vector holds, at the level to generate code for."""
    return isa().lanes(itemsize)


class TileShape(NamedTuple):
    """A register tile: up to `height` pixels by `vectors` vectors of `lanes` output channels."""

    lanes: int
    vectors: int
    height: int

    @property
    def block(self) -> int:
        """Output channels of one tile."""
        return self.lanes * self.vectors


class _Choice(NamedTuple):
    """Tiles of so many vectors, each a share of a full one, and the share of the peak that such a tile reaches when it wastes nothing."""

    vectors: int
    share: float
    speed: float


# Measured. Narrow tiles do fewer multiply-adds per load, and half a vector is half the work of an instruction - but not on CPUs whose
# units are half as wide as their registers, as Zen 4's, for which the row of AVX-512 stands. That of NEON is reasoned.
_TILE_CHOICES = {
    "avx512": (_Choice(2, 1.0, 0.95), _Choice(3, 0.5, 0.9), _Choice(1, 1.0, 0.85), _Choice(1, 0.5, 0.57)),
    "avx2": (_Choice(2, 1.0, 0.95), _Choice(3, 1.0, 0.9), _Choice(1, 1.0, 0.68), _Choice(1, 0.5, 0.34)),
    "neon": (_Choice(2, 1.0, 0.95), _Choice(1, 1.0, 0.85), _Choice(1, 0.5, 0.43)),
}
_TILE_CHOICES["sse"] = _TILE_CHOICES["avx2"]
# More rows than this only lengthen the code, as 14 x 2 accumulators already hide the FMA latency; with 16 registers LLVM loads several
# numbers ahead, and 14 x 1 accumulators go to the stack in the inner loop: 40 GFLOP/s, and 66 with 10 (LLVM 15 needs the stack for 11).
_MAX_HEIGHT = {32: 14, 16: 10}


def tile_shape(channels: int, itemsize: int, widest: int | None = None) -> TileShape:
    """Return the register tile that wastes least on `channels` output channels of `itemsize` bytes, its block at most `widest`.

    Accumulators, one row of weights and a broadcast must fit the register file, or LLVM spills in the inner loop.
    """
    level = isa()
    lanes = level.lanes(itemsize)

    def effort(choice: _Choice) -> float:
        block = choice.vectors * int(lanes * choice.share)
        return -(-channels // block) * block / choice.speed

    usable = [choice for choice in _TILE_CHOICES[level.name] if lanes * choice.share >= 2]
    if widest is not None:
        usable = [choice for choice in usable if choice.vectors * int(lanes * choice.share) <= widest]
    vectors, share, _ = min(usable, key=effort)
    return TileShape(int(lanes * share), vectors, min(_MAX_HEIGHT[level.registers], (level.registers - vectors - 1) // vectors))


def tile_speed(shape: TileShape, itemsize: int) -> float:
    """Return the share of the peak that a tile reaches when it wastes nothing."""
    level = isa()
    share = shape.lanes * itemsize / level.vector_bytes
    return next(choice.speed for choice in _TILE_CHOICES[level.name] if (choice.vectors, choice.share) == (shape.vectors, share))


def tiles_available() -> str | None:
    """Return None where register tiles can be compiled, else the reason why not, in the words of `refuses`."""
    return "register tiles are machine code, and NUMBA_DISABLE_JIT is set" if jit_is_disabled() else None


def jit_is_disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT asks for plain Python."""
    return setting("NUMBA_DISABLE_JIT") not in (None, "0")


# --- Threads -----------------------------------------------------------------------------------------------------------

_thread_limit: ContextVar[int | None] = ContextVar("fastcnn_threads", default=None)


@functools.cache
def max_threads() -> int:
    """Return how many threads Numba can use in this process: the usable cores, or NUMBA_NUM_THREADS."""
    return int(numba().config.NUMBA_NUM_THREADS)


def thread_limit() -> int | None:
    """Return the limit that `threads` or `set_threads` set here, None where there is none."""
    return _thread_limit.get()


def get_threads() -> int:
    """Return how many threads an operation called from here may use."""
    return _thread_limit.get() or max_threads()


def set_threads(count: int) -> None:
    """Limit our kernels called from this thread (or asynchronous task) to `count` threads.

    NumPy's BLAS, which computes `linear` and im2col's products, keeps a count of its own: OPENBLAS_NUM_THREADS, or threadpoolctl.

    Raises
    ------
    TypeError, ValueError
        `count` is not an integer, or not between 1 and `max_threads()`.
    """
    _thread_limit.set(_checked_threads(count))


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limit our kernels to `count` threads inside a `with` block, and restore the former limit after it; see `set_threads`.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError, ValueError
        `count` is no int, or not between 1 and the usable cores.
    """
    token = _thread_limit.set(_checked_threads(count))
    try:
        yield
    finally:
        _thread_limit.reset(token)


def _shown(number: int) -> str:
    """Return a number in digits, unless they are hundreds."""
    return str(number) if abs(number) < 2**256 else f"an integer of {number.bit_length()} bits"


def _checked_threads(count: int) -> int:
    try:
        count = operator.index(None if isinstance(count, bool) else count)  # type: ignore[arg-type]
    except Exception as error:  # TypeError, or whatever the caller's object raises
        raise TypeError(f"threads: count must be an int; got {type(count).__name__}") from error
    if not 1 <= count <= max_threads():
        raise ValueError(f"threads: count must be between 1 and {max_threads()} (usable cores); got {_shown(count)}")
    return count


# Read by OpenMP, MKL, OpenBLAS (im2col's products) and Numba when they are loaded.
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextlib.contextmanager
def inherited_threads(count: int) -> Iterator[None]:
    """Let processes that start inside a `with` block find in their environment that libraries are to use `count` threads."""
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@functools.cache
def load_threading_library() -> None:
    """Load TBB from its wheel, where it is installed, so that Numba finds it; else make OpenMP wait without spinning.

    An empty parallel region costs 2-3 us with TBB, 10 us with passive OpenMP, 60 us with Numba's own queue, and
    8,000 us with OpenMP's default spinning while another program uses a core.
    """
    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in ("libtbb.so.12", "libtbb.12.dylib", "tbb12.dll"):
            try:
                ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
                return
            except OSError:
                break  # a wheel for another C library: Numba will use its next layer
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
