"""Compilation, disk cache and threads: fast second process, damaged and stale files, concurrent callers."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import fastcnn
from fastcnn import kernel_cache, machine, registry
from fastcnn.jit import Kernel, kernel

ROOT = Path(__file__).parents[1]
CONV = """
    import sys, time
    import numpy as np
    begin = time.perf_counter()
    import fastcnn
    x, w = np.ones((2, 1, 12, 12), np.float32), np.ones((4, 1, 3, 3), np.float32)
    y = fastcnn.conv2d(x, w)
    print("seconds", time.perf_counter() - begin)
    assert (y == 9).all()
"""


def _python(code: str, *, fails: bool = False, **env: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    with tempfile.TemporaryDirectory() as elsewhere:  # `python -c` would import fastcnn from the current folder first
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=elsewhere, timeout=300)
    assert fails or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _seconds(output: str) -> float:
    return float(output.split("seconds")[1].split()[0])


def test_second_process_reads_the_cache(tmp_path: Path) -> None:
    first = _python(CONV, NUMBA_CACHE_DIR=str(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert files
    seconds = min(_seconds(_python(CONV, NUMBA_CACHE_DIR=str(tmp_path))) for _ in range(3))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == files, "compiled again"
    assert seconds < min(2.0, _seconds(first) / 2)  # 0.4 s alone; other tests run beside it


def test_kernels_call_kernels_of_other_processes(tmp_path: Path) -> None:
    """A caller read from the cache finds its callees there, or compiles them; what an inlined kernel calls is called by its caller."""
    (tmp_path / "chain.py").write_text(textwrap.dedent(
        """
        import numpy as np
        from fastcnn.jit import kernel
        @kernel
        def last(x, i): x[i] += 1
        @kernel(inline=True)
        def middle(x, i):
            last(x, i)
            return 2.0
        @kernel(specialisation="large")
        def huge(size): return np.empty(size).size
        @kernel
        def first(job, x, size):
            more = middle(x, job) + 0 * huge(size[0])
            x[job] += more
        x = np.zeros(3)
        first.launch(3, x, np.zeros(1, np.int64), work=0)
        assert (x == 3).all(), x
        try:
            first.launch(3, x, np.full(1, 2**55), work=0)
        except MemoryError:
            print("no memory")
        """
    ))  # fmt: skip
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def files(name: str) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob(f"chain.{name}*.nbc")}

    assert _python("import chain", **env).strip() == "no memory"
    callers, callees = files("first"), files("last")
    assert callers
    assert callees
    for path in callees:
        path.unlink()
    for _ in range(2):
        assert _python("import chain", **env).strip() == "no memory"
        assert files("first") == callers, "compiled again"
    assert files("last").keys() == callees.keys()


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty", "swap"])
def test_damaged_cache_means_compile_in_memory(tmp_path: Path, damage: str) -> None:
    _python(CONV, NUMBA_CACHE_DIR=str(tmp_path))
    files = sorted(tmp_path.rglob("*.nbc"))
    contents = [path.read_bytes() for path in files]
    assert len(files) >= 2
    for i, path in enumerate(files):
        swapped = contents[(i + 1) % len(files)]
        path.write_bytes({"truncate": contents[i][:-100], "garbage": os.urandom(5000), "empty": b"", "swap": swapped}[damage])
    for attempt in ("mended", "read"):
        _python(CONV, NUMBA_CACHE_DIR=str(tmp_path))
        if attempt == "mended":
            stamps = [path.stat().st_mtime_ns for path in files]
    assert [path.stat().st_mtime_ns for path in files] == stamps, "the cache did not heal: it was compiled once more"
    assert all(len(path.read_bytes()) > 1000 for path in files)


def test_an_edited_file_is_never_served_stale(tmp_path: Path) -> None:
    """Edit a helper that the cached kernel calls, in another file: Numba by itself would not notice."""
    import shutil

    shutil.copytree(ROOT / "fastcnn", tmp_path / "fastcnn", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    code = """
        import numpy as np, fastcnn
        print(fastcnn.conv2d(np.ones((1, 2, 4, 4), np.float32), np.ones((1, 2, 3, 3), np.float32), padding=1)[0, 0, 0, 0])
    """
    assert _python(code, **env).strip() == "8.0"
    packing = tmp_path / "fastcnn/engine/packing.py"
    source = packing.read_text()
    assert source.count("out.dtype.type(0)") == 1
    packing.write_text(source.replace("out.dtype.type(0)", "out.dtype.type(1)"))  # pads with ones
    assert _python(code, **env).strip() == "18.0"


def test_code_edited_under_a_running_process_is_not_saved_as_the_new_one(tmp_path: Path) -> None:
    """A process compiles what it imported; a later one must not take that for the code that now lies on the disk."""
    import shutil

    shutil.copytree(ROOT / "fastcnn", tmp_path / "fastcnn", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    call = "print(fastcnn.conv2d(np.ones((1, 2, 4, 4), np.float32), np.ones((1, 2, 3, 3), np.float32), padding=1)[0, 0, 0, 0])"
    edit = f"""
        import pathlib, numpy as np, fastcnn
        path = pathlib.Path({str(tmp_path / "fastcnn/engine/packing.py")!r})
        path.write_text(path.read_text().replace("out.dtype.type(0)", "out.dtype.type(1)"))
        {call}
    """
    assert _python(edit, **env).strip() == "8.0"
    assert _python(f"import numpy as np, fastcnn\n{call}", **env).strip() == "18.0"


def test_from_a_zip_there_is_no_cache_but_results(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ROOT / "fastcnn", tmp_path / "tree" / "fastcnn", ignore=shutil.ignore_patterns("__pycache__"))
    archive = shutil.make_archive(str(tmp_path / "fastcnn"), "zip", tmp_path / "tree")
    out = _python("import numpy as np; from fastcnn.ops.relu import direct; y = np.empty(1)\n"
                  "direct.forward(None, np.array([2.0]), y); print(y)", PYTHONPATH=archive)  # fmt: skip
    assert out.strip() == "[2.]"


def test_launches_of_kernels_that_share_a_callee_do_not_lock_each_other_out(tmp_path: Path) -> None:
    """Two threads compile kernels that call a third, at once, from an empty cache, while another one calls such a kernel directly."""
    code = """
        import sys, threading, numpy as np
        from fastcnn.jit import kernel
        sys.setswitchinterval(1e-6)
        def make(i):
            @kernel(specialisation=("helper", i))
            def helper(x): return x + 1
            @kernel(specialisation=("one", i))
            def one(j, y): y[j] = helper(j)
            @kernel(specialisation=("two", i))
            def two(j, y): y[j] = helper(j + 1) - 1
            @kernel(specialisation=("direct", i))
            def direct(x): return helper(x)
            return one, two, direct
        pairs = [make(i) for i in range(4)]
        ready = threading.Barrier(3)
        def launch(which):
            for pair in pairs:
                ready.wait(); y = np.empty(3); pair[which].launch(3, y, work=0); assert (y == [1, 2, 3]).all()
        def compile():
            for i in range(len(pairs)):
                ready.wait(); assert pairs[i][2](1) == 2
        threads = [threading.Thread(target=f, args=a, daemon=True) for f, a in ((launch, (0,)), (launch, (1,)), (compile, ()))]
        [t.start() for t in threads]; [t.join(60) for t in threads]
        assert not any(t.is_alive() for t in threads), "deadlock"
    """
    _python(code, NUMBA_CACHE_DIR=str(tmp_path))


def test_no_writable_place_for_a_cache(tmp_path: Path) -> None:
    """A file where the folder should be: nobody, not even root, can write there."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    _python(CONV, NUMBA_CACHE_DIR=str(blocked / "cache"), HOME=str(blocked), XDG_CACHE_HOME=str(blocked))


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_cached_files_are_ours_alone(tmp_path: Path) -> None:
    """What is read from the cache is run: nobody else may write there, whatever the umask, and what others could write is not read."""
    _python("import os; os.umask(0)\n" + textwrap.dedent(CONV), NUMBA_CACHE_DIR=str(tmp_path))
    files = list(tmp_path.rglob("*.nbc"))
    assert files
    assert not any(path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH) for path in files)
    before = {path: path.stat().st_mtime_ns for path in files}
    for path in files:
        path.chmod(0o666)
    _python(CONV, NUMBA_CACHE_DIR=str(tmp_path))
    assert all(path.stat().st_mtime_ns != before[path] and path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    code = textwrap.dedent(CONV)
    both = [code, code.replace("float32", "float64")] * 2
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", c], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in both]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    for code in both[:2]:
        _python(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == stamps, "compiled once more"


def test_disabled_jit_runs_references_and_boundary_checks() -> None:
    """The compiled variants step aside; what is left is plain Python."""
    tests = ["tests/test_reference.py", "tests/test_boundary.py"]
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *tests], cwd=ROOT, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:]
    out = _python("import fastcnn; from fastcnn.registry import operations as o; op = o()['conv2d']\n"
                  "print(dict(op.explain(op.problem.CASES[3].problem, 'forward'))['direct'])", NUMBA_DISABLE_JIT="1")  # fmt: skip
    assert "NUMBA_DISABLE_JIT" in out


CHECKED = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0"}  # an index is checked before it is used, whatever is made of the code around it
NARROW = "sse" if machine.architecture() == "x86" else ""  # its tiles are the smallest, and compile fastest; loops are the same
NAMES = sorted(registry.operations())
CHECKS = {  # operations that share kernels, their variants, and the instruction set
    "conv2d": ([name for name in NAMES if name.startswith("conv2d")], ".*", NARROW),
    "others": ([name for name in NAMES if not name.startswith("conv2d")], ".*", NARROW),
    "of the widest vectors alone": (["conv2d"], "amx|bfloat16", ""),
}


@pytest.mark.parametrize(("names", "variants", "isa"), CHECKS.values(), ids=CHECKS)
def test_plain_loops_stay_inside_their_arrays(names: list[str], variants: str, isa: str, tmp_path: Path) -> None:
    """Numba checks every index of the kernels, of every variant on every case; what the tiles touch is checked in tests/canaries.

    That results agree with the reference is left to test_variants; here they must be there.
    """
    out = _python(
        f"""
        import re
        import numpy as np
        from fastcnn import machine, registry
        choices = machine._TILE_CHOICES[machine.isa().name]
        machine._TILE_CHOICES[machine.isa().name] = choices[0], choices[-1]  # the loops around the others are the same
        calls = 0
        for op in map(registry.operations().get, {names!r}):
            for direction in op.directions:
                for variant, case in op.accepted(direction, op.problem.CASES):
                    if variant != "reference" and re.fullmatch({variants!r}, variant):
                        arguments = op.problem.arguments(case.problem, direction, np.float32, np.random.default_rng(1))
                        outputs = op.problem.outputs(case.problem, direction, np.float32)
                        for output in outputs:
                            output.fill(np.nan if output.dtype.kind == "f" else 0)
                        op.run(variant, direction, case.problem, arguments, outputs)
                        assert not any(np.isnan(output).any() for output in outputs), (op.name, direction, variant, case.name)
                        calls += 1
        print(calls)
        """,
        **CHECKED, FASTCNN_ISA=isa, NUMBA_NUM_THREADS="1", NUMBA_CACHE_DIR=str(tmp_path),
    )  # fmt: skip
    if int(out) == 0:
        pytest.skip(f"this CPU has none of {variants}")
    assert int(out) > 50


def test_an_index_beyond_an_array_is_found_when_they_are_checked(tmp_path: Path) -> None:
    """What the check finds is an exception of whoever launched the kernel, from a parallel loop too."""
    out = _python(
        """
        import warnings
        import numpy as np
        from fastcnn.jit import kernel
        warnings.simplefilter("ignore")
        @kernel
        def beyond(job, y):
            y[job + 2] = 1
        for size, work in ((4, 0), (4, 1e9), (5, 0), (5, 1e9)):
            try:
                beyond.launch(3, np.zeros(size), work=work)
                print("inside")
            except (IndexError, MemoryError) as error:
                print(type(error).__name__)
        """,
        **CHECKED, NUMBA_NUM_THREADS="2", NUMBA_CACHE_DIR=str(tmp_path),
    )  # fmt: skip
    assert out.split() == ["IndexError", "MemoryError", "inside", "inside"]


@pytest.mark.parametrize("isa", ["avx512", "avx2", "sse"])
def test_lower_instruction_sets(isa: str) -> None:
    if {"avx512": "avx512f", "avx2": "avx2", "sse": "sse2"}[isa] not in machine.cpu_features():
        pytest.skip(f"this CPU has no {isa}")
    code = """
        import numpy as np
        from fastcnn import registry, machine
        from fastcnn.agreement import check
        op = registry.operations()["conv2d"]
        named = {case.name: case.problem for case in op.problem.CASES}
        grid = {
            "direct": ("mnist-second", "channels-31-33", "channels-3-5", "stride-3-2", "ones", "groups-2", "pointwise-strided"),
            "winograd": ("mnist-second", "channels-31-33", "channels-3-5"),
            "depthwise": ("depthwise", "depthwise-17-strided", "depthwise-40"),
            "grouped": ("groups-of-2", "groups-of-4-strided"),
        }
        for variant, cases in grid.items():
            for direction in op.variants[variant].directions:
                for case in cases:
                    error = check(op, variant, direction, named[case], np.float32, np.random.default_rng(0))
                    assert error <= 1, (variant, direction, case, error)
        print(machine.isa().name, machine.tile_shape(32, 4))
    """
    out = _python(code, FASTCNN_ISA=isa)
    assert out.startswith(isa)
    assert f"lanes={ {'avx512': 16, 'avx2': 8, 'sse': 4}[isa] }" in out


def test_kernels_of_one_factory_have_names_of_their_own() -> None:
    """Machine code that several processes cached meets in one process, where equal names would be taken for equal code."""

    def add(number: int) -> Kernel:
        @kernel(specialisation=number)
        def add_number(job, y):
            y[job] += number

        return add_number

    names = set()
    for number in (1, 2):
        add_number, y = add(number), np.zeros(3)
        add_number.launch(3, y, work=0)
        np.testing.assert_array_equal(y, number)
        (code,) = add_number._codes.values()
        names.add(re.sub(r"B\d+v\d+", "", code.name))  # without Numba's counter
    assert len(names) == 2


def test_unknown_instruction_set() -> None:
    out = _python("from fastcnn import machine; machine.isa()", fails=True, FASTCNN_ISA="avx9000")
    assert "FASTCNN_ISA: expected one of" in out


@kernel
def _fill(job, y, x):
    for i in range(y.shape[1]):
        y[job, i] = x[job] + i


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("work", [0.0, 1e9])
def test_launch_runs_every_job_once(dtype: type, work: float) -> None:
    y, x = np.full((37, 5), np.nan, dtype), np.arange(37, dtype=dtype)
    _fill.launch(37, y, x, work=work)
    np.testing.assert_array_equal(y, x[:, None] + np.arange(5))
    _fill.launch(0, y, x, work=work)


def test_thread_limits_nest_and_are_restored() -> None:
    before = fastcnn.get_threads()
    with fastcnn.threads(1):
        assert fastcnn.get_threads() == 1
        with pytest.raises(ZeroDivisionError), fastcnn.threads(machine.max_threads()):
            assert fastcnn.get_threads() == machine.max_threads()
            raise ZeroDivisionError
        assert fastcnn.get_threads() == 1
    assert fastcnn.get_threads() == before
    for wrong, error in ((0, ValueError), (10**6, ValueError), (1.0, TypeError), (True, TypeError), ("2", TypeError), (None, TypeError)):
        with pytest.raises(error, match="threads: count must be"), fastcnn.threads(wrong):
            pass
    assert fastcnn.get_threads() == before


def test_numba_setting_of_the_caller_is_kept() -> None:
    import numba

    numba.set_num_threads(1)
    try:
        _fill.launch(9, np.empty((9, 5)), np.zeros(9), work=1e9)
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def test_threads_may_be_the_first_to_need_numba() -> None:
    """Numba's modules import one another in circles: whoever needs one waits for the thread that imports the first of them."""
    code = """
        import sys, threading, numpy as np
        from fastcnn import forks, jit, kernel_cache, machine, shuffles, simd
        sys.setswitchinterval(1e-6)
        shape, dtype = machine.TileShape(4, 1, 2), np.dtype(np.float32)
        starts = [lambda: simd.tile(shape, dtype), lambda: shuffles.transpose_block(4, dtype), machine.cpu_features,
                  machine.max_threads, jit._call_by_address, kernel_cache.kernel_cache, lambda: jit._driver(True)]
        threads = [threading.Thread(target=start) for start in starts]
        with forks.importing:
            for thread in threads:
                thread.start()
                thread.join(0.1)
                assert thread.is_alive(), "it did not wait"
            assert not {"numba", "llvmlite"} & sys.modules.keys()
        [t.join() for t in threads]
    """
    assert _python(code) == ""


def test_concurrent_first_calls_compile_once() -> None:
    calls = []

    @kernel
    def slow(job, y):
        y[job] = job

    def run() -> None:
        y = np.empty(3)
        slow.launch(3, y, work=0)
        calls.append(y)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(calls) == 6
    assert all(np.array_equal(y, [0, 1, 2]) for y in calls)
    assert len(slow._native) == 1


def test_kernel_version_covers_all_files_of_an_operation(tmp_path: Path) -> None:
    for name in ("direct.py", "_packing.py"):
        before = kernel_cache.kernel_version(tmp_path)
        (tmp_path / name).write_text("a = 1")
        kernel_cache.kernel_version.cache_clear()
        assert kernel_cache.kernel_version(tmp_path) != before


def test_kernel_version_covers_what_makes_intrinsics() -> None:
    """Of the modules at the top, those that operations and the engine import."""
    package = Path(kernel_cache.__file__).parent
    makers = {path.stem for path in package.glob("*.py") if "import intrinsic" in path.read_text("utf-8")}
    texts = [path.read_text("utf-8") for room in ("ops", "engine") for path in (package / room).rglob("*.py")]
    imported = {word for text in texts for line in text.splitlines() if line.startswith("from ..") for word in re.findall(r"\w+", line)}
    assert {"simd", "scratch"} <= makers & imported <= {*kernel_cache._SHARED}
