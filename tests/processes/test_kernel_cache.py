"""The cache of compiled code: whatever happens to its files, code is compiled in memory and right, and nothing planted runs."""

from __future__ import annotations

import os
import pickle
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastcnn import kernel_cache
from fastcnn.jit import kernel
from tests.processes._python import python

_KERNEL = """
    import sys, numpy as np
    from fastcnn import builds
    from fastcnn.jit import kernel
    @kernel
    def triple(job, y):
        for i in range(y.shape[1]):
            y[job, i] *= 3
    states = []
    def compute(dtype=np.float32):
        with builds.watching(lambda build: states.append(build.state)):
            y = np.full((4, 7), 5, dtype)
            triple.launch(4, y, work=0)
        assert (y == 15).all(), y
    compute()
"""  # two files: the kernel and the loop over its jobs


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a module that runs a kernel: Numba's cache looks at the place of the source."""
    from tests.processes._python import program

    folder = tmp_path_factory.mktemp("modules")
    (folder / "tripled.py").write_text(program(_KERNEL))
    return folder


def _run(modules: Path, cache: Path, code: str = "", **options: object) -> str:
    """Run the module and then `code`; return "compiled" or "loaded", and what was printed."""
    at_start = f"import sys; sys.path.insert(0, {str(modules)!r}); import numpy as np; from tripled import *; import tripled"
    tell = 'print("compiled" if "compiled" in states else "loaded")'
    return python(at_start, code, tell, NUMBA_CACHE_DIR=str(cache), **options).strip()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def filled(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder with all that the module needs, and a float64 kernel."""
    cache = tmp_path_factory.mktemp("cache")
    assert _run(program, cache, "compute(np.float64)") == "compiled"
    assert _run(program, cache) == "loaded"
    return cache


@pytest.fixture
def cache(filled: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder, to be damaged."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def _files(cache: Path) -> list[Path]:
    files = sorted(cache.rglob("*.nbc"))
    assert len(files) >= 3
    return files


def _snapshot(cache: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in _files(cache)}


def _plant(path: Path, evidence: Path, prefix: bytes) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return os.system, (f"echo executed > {evidence}",)

    path.write_bytes(prefix + pickle.dumps(Evil()))


@pytest.mark.parametrize("prefix", ["nothing", "their own digest", "zeros"])
def test_planted_code_is_not_executed(program: Path, cache: Path, tmp_path: Path, prefix: str) -> None:
    """Not behind a digest that fits another content, and not under the names of Numba's own index files."""
    for path in _files(cache):
        old = path.read_bytes()
        _plant(path, tmp_path / "evidence", {"nothing": b"", "their own digest": old[:32], "zeros": bytes(32)}[prefix])
        for suffix in (".nbi", ".1.nbc"):
            _plant(path.with_name(path.name.rsplit("-", 1)[0] + suffix), tmp_path / "evidence", b"")
    assert _run(program, cache) == "compiled"
    assert _run(program, cache) == "loaded", "the cache did not heal"
    assert not (tmp_path / "evidence").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_neither_a_pipe_nor_a_folder_in_the_place_of_a_file_is_waited_for(program: Path, cache: Path) -> None:
    for number, path in enumerate(_files(cache)):
        path.unlink()
        if number % 2:
            os.mkfifo(path)
        else:
            path.mkdir()
    assert _run(program, cache, timeout=30) == "compiled"


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files to somebody else")
def test_a_file_of_somebody_else_is_not_read(program: Path, cache: Path) -> None:
    for path in _files(cache):
        os.chown(path, 12345, -1)
    assert _run(program, cache) == "compiled"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_it_is_the_open_file_that_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write into the folder could put a good file in the place of the bad one between the two looks at it."""
    path, good = tmp_path / "file", tmp_path / "good"
    for name in (path, good):
        name.write_bytes(b"content")
        name.chmod(0o600)
    assert kernel_cache._read_ours(path) == b"content"
    path.chmod(0o666)
    original = os.fstat

    def fstat(number: int) -> os.stat_result:
        if good.exists():
            os.replace(good, path)
        return original(number)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(PermissionError, match="is not a file of ours alone"):
        kernel_cache._read_ours(path)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_folder_that_all_may_write_is_no_danger(program: Path, cache: Path) -> None:
    """What lies in it is ours or is not read; what is written there is ours alone."""
    for folder in (cache, *(path for path in cache.rglob("*") if path.is_dir())):
        folder.chmod(0o777)
    assert _run(program, cache) == "loaded"
    for path in _files(cache):
        path.chmod(0o622)
    assert _run(program, cache) == "compiled"
    assert stat.S_IMODE(min(_files(cache), key=lambda path: stat.S_IMODE(path.stat().st_mode)).stat().st_mode) == 0o600


def test_code_for_another_type_under_this_name_is_not_run(program: Path, cache: Path) -> None:
    """As two processes once left it in Numba's index: the file is whole and ours, and of another dtype."""
    kernels = [path for path in _files(cache) if "triple" in path.name]
    one, other = (path.read_bytes() for path in kernels)
    kernels[0].write_bytes(other)
    kernels[1].write_bytes(one)
    assert _run(program, cache, "compute(np.float64); compute()") == "compiled"


def test_a_folder_deleted_under_way_is_made_anew(program: Path, cache: Path) -> None:
    assert _run(program, cache, f"import shutil; shutil.rmtree({str(cache)!r}); compute(np.float64)") == "compiled"
    assert list(cache.rglob("tripled.triple*.nbc")), "what was compiled afterwards is kept"
    assert _run(program, cache, "compute(np.float64)") == "compiled", "the loop over jobs was deleted"
    assert _run(program, cache) == "loaded"


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
@pytest.mark.parametrize("limit", [0, 40, 4096])
def test_a_full_disk_leaves_no_half_written_file(program: Path, tmp_path: Path, limit: int) -> None:
    """RLIMIT_FSIZE stands for it: writing fails behind that many bytes."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    at_start = f"import sys; sys.path.insert(0, {str(program)!r}); import numpy as np"
    python(
        code, at_start, "import tripled; tripled.compute(np.float64)", NUMBA_CACHE_DIR=str(tmp_path / "cache"), PYTHONDONTWRITEBYTECODE="1"
    )
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size <= limit]
    assert [path.name for path in left] == []


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_folder_that_cannot_be_written_serves_what_it_has(program: Path, cache: Path) -> None:
    """What is not there is compiled in memory, without a word."""
    for path in [cache, *cache.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o400)
    before = _snapshot(cache)
    code = """
        def refuse(*arguments, **options): raise PermissionError(13, "Permission denied")
        import tempfile, numba.core.caching as caching
        caching.open = lambda path, mode="r", *rest: refuse() if "w" in mode else open(path, mode, *rest)  # root may write everywhere
        compute(np.int64)
    """
    try:
        assert _run(program, cache, code) == "compiled"
        assert _run(program, cache) == "loaded"
        assert _snapshot(cache) == before
    finally:
        for path in [cache, *cache.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_the_key_names_cpu_version_types_and_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each of these changes the machine code: a file of one is not found, or not believed, by the other."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    @kernel(specialisation="the first")
    def double(job, y):
        y[job] *= 2

    cache = kernel_cache.cache_for(kernel_cache.code_cache(), double.function, "the first", "version")
    zen = SimpleNamespace(magic_tuple=lambda: ("x86_64-linux", "znver5", "+avx512f"))
    seen = {cache._file("float32", zen)}

    def new(signature: str = "float32", codegen: SimpleNamespace = zen) -> None:
        found = cache._file(signature, codegen)
        assert found not in seen
        seen.add(found)

    new("float64")
    new(codegen=SimpleNamespace(magic_tuple=lambda: ("x86_64-linux", "znver4", "+avx512f")))
    new(codegen=SimpleNamespace(magic_tuple=lambda: ("x86_64-linux", "znver5", "")))
    cache.specialisation = "the second"
    new()
    cache.version = "another"
    new()
    from fastcnn import machine

    monkeypatch.setattr(machine.numba().config, "BOUNDSCHECK", 1)
    new()
    monkeypatch.setattr(machine.numba(), "__version__", "0.1")
    new()
    monkeypatch.setattr(kernel_cache.np, "__version__", "0.1")
    new()
    monkeypatch.setattr(machine, "isa", lambda: machine.ISAS["neon"])
    new()


def test_a_lower_instruction_set_has_files_of_its_own(tmp_path: Path) -> None:
    from fastcnn import machine

    levels = [name for name in ("avx2", "sse") if machine.isa().name in ("avx512", "avx2") and name != machine.isa().name]
    if not levels:
        pytest.skip(f"{machine.isa().name} has no lower level")
    code = """
        import numpy as np, fastcnn
        from fastcnn import builds
        states = []
        with builds.watching(lambda build: states.append(build.state)):
            y = fastcnn.relu(np.arange(-8, 8, dtype=np.float32).reshape(4, 4))
        assert y.sum() == 28
        print("compiled" if "compiled" in states else "loaded")
    """
    for level in (machine.isa().name, levels[0]):
        assert python(code, NUMBA_CACHE_DIR=str(tmp_path), FASTCNN_ISA=level) == "compiled\n"
        assert python(code, NUMBA_CACHE_DIR=str(tmp_path), FASTCNN_ISA=level) == "loaded\n"
