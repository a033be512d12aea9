"""What a measurement depends on: CPU, instruction set, threads, BLAS and versions, for `fastcnn info` and beside every result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, files, machine, peak
from .checks import FLOATS
from .jit import SERIAL_BELOW, kernel

# The distributions of each extra of pyproject.toml that users name; a test compares them.
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("requests", "rich", "scikit-learn"),
    "bench": ("pytest", "pytest-benchmark", "scipy", "rich", "threadpoolctl"),
    "onnx": ("onnx",),
    "safetensors": ("safetensors",),
    "sklearn": ("scikit-learn",),
    "photographs": ("pillow", "scikit-learn"),
    "mpi": ("mpi4py", "mpich"),
    "partners": ("torch", "expecttest", "onnxruntime", "autograd", "jax", "keras", "safetensors"),
    "peers": ("torch", "onnx", "onnxruntime", "openvino", "jax"),
}
BUG_REPORT = "To report a bug: open an issue with this text (or fastcnn info --json), what you called, what you expected and what came."
_MOST_CHANNELS = 128  # tile shapes repeat beyond it


def describe() -> dict[str, Any]:
    """Return the environment as plain values. Holds no path and no name of the machine, so that it may be published."""
    machine.numba()
    import llvmlite.binding as llvm

    return {
        "cpu": _cpu_name(),
        "llvm_cpu": llvm.get_host_cpu_name(),
        "isa": machine.isa().name,
        "fma": machine.has_fma(),
        "tiles": {str(dtype): _tiles(dtype.itemsize) for dtype in FLOATS},
        "threads": machine.get_threads(),
        "max_threads": machine.max_threads(),
        "threading_layer": _threading_layer(),
        "blas": _blas(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "fastcnn": __version__,
            "python": platform.python_version(),
            **_versions("numpy", "numba", "llvmlite", "tbb", "scipy"),
        },
    }


def report(measure: bool = False) -> dict[str, Any]:
    """Return what a bug report needs: `describe`, and what is this user's own: caches, settings, extras.

    Parameters
    ----------
    measure : bool
        Also the multiply-add peak and the rate of a copy in memory, which takes a second.
    """
    found = describe()
    found["isa_reason"] = machine.isa_reason()
    found["features"] = sorted(machine.cpu_features())
    found["cores"] = machine.usable_cores()
    found["load"] = load()
    if machine.started_by_mpi():
        found["ranks"] = _ranks()
    found["memory"] = f"{machine.memory_bytes() / 2**30:.1f} GiB"
    found["kernel_cache"] = _folder(Path(cache_location())) if _probe.cache else {"folder": cache_location()}
    found["user_cache"] = _folder(files.cache_folder())
    found["extras"] = {name: _extra(modules) for name, modules in EXTRAS.items()}
    found["settings"] = machine.settings()
    if measure:
        found["measured"] = _measured()
    return found


def _ranks() -> dict[str, Any] | str:
    """Return who we are among the processes that `mpiexec` started, and each one's share of the cores; or why that is unknown."""
    from .distributed import Communicator, world

    try:
        comm: Communicator = world()
    except ImportError as error:
        return str(error)
    return {
        "rank": comm.rank,
        "size": comm.size,
        "on_this_host": comm.host_size,
        "threads_of_each": comm.threads,
        "ranks_x_threads": f"{comm.size} x {comm.threads}",
    }


def _extra(modules: tuple[str, ...]) -> str:
    missing = [name for name in modules if not _versions(name)]
    told = ", ".join(f"{name} {version}" for name, version in _versions(*modules).items())
    return told if not missing else f"{told}{'; ' if told else ''}missing: {', '.join(missing)}"


def _folder(folder: Path) -> dict[str, Any]:
    """Return where a cache lies, with the home folder as ``~``, and its size on the disk."""
    home, sizes = str(Path.home()), []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                sizes.append(path.stat().st_size)
        except OSError:  # another process has removed it meanwhile
            continue
    told = str(folder).replace(home, "~") if len(home) > 1 else str(folder)
    return {"folder": told, "files": len(sizes), "megabytes": round(sum(sizes) / 1e6, 1)}


def _measured() -> dict[str, float]:
    """Return GFLOP/s in float32 on one and on all threads, and GB/s read and written by NumPy's copy of 128 MiB."""
    rates = {f"gflops_{threads}_threads": round(peak.peak_gflops(threads), 1) for threads in sorted({1, machine.get_threads()})}
    source, target = np.ones(2**25, np.float32), np.ones(2**25, np.float32)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return {**rates, "copy_gbytes_1_thread": round(2 * source.nbytes / best / 1e9, 1)}


def headline() -> str:
    """Return the environment in one line, for the head of a table."""
    versions = ", ".join(f"{name} {version}" for name, version in _versions("numpy", "numba").items())
    return f"{_cpu_name()}, {machine.isa().name}, {machine.get_threads()} thread(s), {versions}"


def load() -> float | None:
    """Return how many processes have wanted to run in the last minute, on average; None where the system does not tell."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows has none
        return None


def cache_location() -> str:
    """Return the folder of this module's compiled kernels; those of other modules lie in the same place or beside their source."""
    return (_probe.cache and _probe.cache.cache_path) or "none: kernels are compiled in memory"


@kernel
def _probe(job, x):  # type: ignore[no-untyped-def]
    x[job] = job


def _threading_layer() -> str:
    """Return the layer that operations run on; Numba names it only after a parallel launch."""
    import numba

    _probe.launch(machine.max_threads(), np.empty(machine.max_threads()), work=SERIAL_BELOW)
    try:
        return str(numba.threading_layer())
    except ValueError:
        return "none: operations run on one thread"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _tiles(itemsize: int) -> list[str]:
    shapes = {machine.tile_shape(channels, itemsize) for channels in range(1, _MOST_CHANNELS + 1)}
    return [f"{s.height} rows x {s.vectors} vectors of {s.lanes}" for s in sorted(shapes, reverse=True)]


def _blas() -> list[str]:
    """Return NumPy's BLAS with its threads where threadpoolctl is installed, else as NumPy was built."""
    try:
        import threadpoolctl
    except ImportError:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return [f"{built['name']} {built['version']}"]
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return [f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads" for pool in pools]


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
