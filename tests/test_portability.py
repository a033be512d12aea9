"""What one operating system or processor lacks is not needed: tried here with its absence put on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fastcnn import machine

ROOT = Path(__file__).parents[1]
ONLY_POSIX = ["fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"]  # modules
CALLS = {  # of the module os, that these systems lack
    "darwin": ["sched_getaffinity", "sched_setaffinity"],
    "win32": [
        "fchmod", "fork", "forkpty", "getgid", "getpgid", "geteuid", "getuid", "killpg", "mkfifo", "register_at_fork", "sched_getaffinity",
        "sched_setaffinity", "setsid", "sysconf", "uname", "wait4",
    ],
}  # fmt: skip
WITHOUT = """
    import asyncio, multiprocessing, os, pkgutil, subprocess, sys  # asyncio has parts of each system's own
    import numpy as np, numba.np.ufunc.parallel, llvmlite.binding  # the systems have these in builds of their own
    from numba.core.registry import cpu_target
    cpu_target.typing_context, cpu_target.target_context  # made for the system that this is
    for name in [*{modules}, "threadpoolctl"]:  # which looks for libraries in ways of each system's own
        sys.modules[name] = None
    for name in {calls}:
        if hasattr(os, name):
            delattr(os, name)
    sys.platform = {platform!r}
    import fastcnn
    from fastcnn import files, info, layers, machine
    from fastcnn.train import fit
"""


def _python(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300, cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", **env},  # a death by a signal tells where
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _without(platform: str, *parts: str) -> str:
    modules = ONLY_POSIX if platform == "win32" else []
    begin = textwrap.dedent(WITHOUT).format(modules=modules, calls=CALLS[platform], platform=platform)
    return begin + "".join(map(textwrap.dedent, parts))


CONV = """
    x, w = np.ones((16, 8, 20, 20), np.float32), np.ones((32, 8, 3, 3), np.float32)
    for threads in {1, machine.max_threads()}:
        with machine.threads(threads):
            assert (fastcnn.conv2d(x, w, algorithm="direct") == 72).all()
"""


def test_loops_cached_by_a_system_whose_threads_choose_their_core_serve_no_other(tmp_path: Path) -> None:
    """They call functions that the other system lacks: the process died there."""
    here = "import numpy as np, fastcnn\nfrom fastcnn import machine\n" + textwrap.dedent(CONV)
    settings = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
    _python(here, **settings)
    _python(_without("darwin", CONV), **settings)
    _python(here, **settings)


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_what_only_posix_has_is_not_needed(platform: str) -> None:
    """Every module is imported, operations and a training run, on one thread and on several; the command describes the machine."""
    out = _python(
        _without(
            platform,
            """
            for module in pkgutil.walk_packages(fastcnn.__path__, "fastcnn."):
                try:
                    __import__(module.name)
                except ImportError as error:
                    assert "needs" in str(error) or error.name not in (None, *sys.modules), (module.name, error)
            """,
            CONV,
            """
            net = layers.Sequential(layers.Conv2d(1, 4, 3), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(), layers.Linear(36, 2))
            images = np.zeros((64, 8, 8), np.uint8)
            images[1::2, :4] = 200
            history = fit(net, images, np.arange(64) % 2, epochs=2, batch_size=16)
            assert len(history.step_losses) == 8
            assert machine.usable_cores() >= 1 and machine.memory_bytes() > 2**28
            info.report()
            print(files.cache_folder())
            """,
        ),
        LOCALAPPDATA=r"C:\Local",
    )
    assert ("Caches" in out) == (platform == "darwin")
    assert ("Local" in out) == (platform == "win32")


def test_what_is_compiled_is_kept_without_file_modes(tmp_path: Path) -> None:
    """Where a system has no owners of files, which `os.name` tells, machine code is kept and read all the same."""
    code = """
        import os, numpy as np
        from fastcnn import jit, kernel_cache, machine
        machine.numba()
        for name in ("fchmod", "getuid"):
            delattr(os, name)
        class Windows:
            def __getattr__(self, name):
                return "nt" if name == "name" else getattr(os, name)
        kernel_cache.os = Windows()
        @jit.kernel
        def double(job, x):
            x[job] *= 2
        x = np.ones(3)
        double.launch(3, x, work=0)
        print(x.tolist(), *sorted(double.cache.cache_path.encode() and os.listdir(double.cache.cache_path)))
    """
    (tmp_path / "module.py").write_text(textwrap.dedent(code))
    env = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    first = subprocess.run(
        [sys.executable, "-c", "import module"], capture_output=True, text=True, env={**os.environ, **env}, cwd=tmp_path, timeout=60
    )
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("[2.0, 2.0, 2.0]")
    (kept,) = (tmp_path / "cache").rglob("module.double*.nbc")
    stamp = kept.stat().st_mtime_ns
    again = subprocess.run([sys.executable, "-c", "import module"], capture_output=True, text=True, env={**os.environ, **env}, cwd=tmp_path)
    assert again.stdout == first.stdout
    assert kept.stat().st_mtime_ns == stamp, "compiled again"


def test_what_stands_in_for_a_module_is_not_asked_when_kernels_are_compiled(tmp_path: Path) -> None:
    """Compiling looks whether a module is being imported; lazy ones stay unloaded, and those that raise are nobody's concern."""
    (tmp_path / "idle.py").write_text("raise SystemExit('was imported')")
    code = """
        import importlib.util, sys, types
        import numpy as np
        import fastcnn
        sys.path.insert(0, FOLDER)
        spec = importlib.util.find_spec("idle")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        sys.modules["idle"] = idle = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(idle)
        class Raises(types.ModuleType):
            def __getattribute__(self, name):
                raise RuntimeError(name)
        class Other:
            def __getattr__(self, name):
                raise RuntimeError(name)
        sys.modules["raises"], sys.modules["other"], sys.modules["none"] = Raises("raises"), Other(), None
        from fastcnn import stacks
        assert not stacks._importing()
        print(stacks.with_room(lambda: 42))
    """
    assert _python(textwrap.dedent(code).replace("FOLDER", repr(str(tmp_path)))) == "42\n"


def test_an_arm_processor_has_its_own_level() -> None:
    """LLVM before 17 cannot tell the features of Apple's processors; all of them have NEON and its multiply-add."""
    out = _python(
        """
        import platform
        import llvmlite.binding as llvm
        from fastcnn import amx, bf16, machine
        platform.machine = lambda: "arm64"
        def unknown():
            raise RuntimeError("failed to get host cpu features")
        llvm.get_host_cpu_features = unknown
        print(machine.architecture(), machine.isa(), machine.has_fma(), machine.tile_shape(32, 4), machine.tile_shape(5, 8))
        assert bf16.unavailable() and amx.unavailable()
        """
    )
    level = machine.ISAS["neon"]
    assert out.split(" ", 1)[0] == "arm"
    assert f"{level} True" in out
    assert "TileShape(lanes=4, vectors=2" in out
    assert "avx" not in out
    wrong = "import platform; platform.machine = lambda: 'aarch64'; from fastcnn import machine; machine.isa()"
    done = subprocess.run([sys.executable, "-c", wrong], capture_output=True, text=True, cwd=Path(__file__).parent,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "FASTCNN_ISA": "avx2"})  # fmt: skip
    assert "FASTCNN_ISA: expected one of neon on this CPU; got 'avx2'" in done.stderr


def test_a_processor_that_is_neither_has_vectors_of_16_bytes() -> None:
    """POWER and RISC-V: LLVM makes of vectors what the processor has."""
    out = _python("import platform; platform.machine = lambda: 'ppc64le'; import llvmlite.binding as llvm\n"
                  "llvm.get_host_cpu_features = llvm.FeatureMap  # none\n"
                  "from fastcnn import machine; print(machine.architecture(), machine.isa().vector_bytes, machine.has_fma())")  # fmt: skip
    assert out.split() == ["ppc64le", "16", "False"]
