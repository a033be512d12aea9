"""Guards of processes: threads, forks, signals, the cache of compiled code, the import, what leaks."""

from __future__ import annotations

from tests.reliability.mutation import Mutation

_T = "tests/processes/"
_INTRINSIC = "    from numba.core import cgutils, types\n    from numba.extending import intrinsic\n\n    @intrinsic\n    def call("
MUTATIONS: list[Mutation] = [
    Mutation(
        "threads", "a job that fails on another thread leaves no mark", "fastcnn/jit.py",
        "            done[job] = attempt(address, (job, *arrays))\n",
        "            attempt(address, (job, *arrays))\n            done[job] = True\n",
        f"{_T}test_failed_allocations.py::test_every_job_that_fails_is_noticed[omp]",
    ),
    Mutation(
        "threads", "a thread that ends early is noticed", "fastcnn/jit.py",
        "            done[job] = False\n",
        "            done[job] = True\n",
        f"{_T}test_failed_allocations.py::test_a_thread_that_ends_early_is_noticed",
    ),
    Mutation(
        "threads", "a chain counts what failed", "fastcnn/chain.py",
        "        if self._state[-1, 0]:\n",
        "        if False:\n",
        "tests/test_chain.py::test_a_failed_allocation_is_an_error_on_any_thread",
    ),
    Mutation(
        "threads", "Numba's task for TBB is done by who left it", "fastcnn/jit.py",
        "ctypes.CFUNCTYPE(None)(tbbpool.synchronize)()",
        "ctypes.CFUNCTYPE(None)(tbbpool.ready)()",
        f"{_T}test_the_end.py::test_a_process_ends_that_may_use_fewer_cores_than_threads[tbb]",
    ),
    Mutation(
        "threads", "launches on the workqueue take turns", "fastcnn/jit.py",
        "                with forks.launching:\n",
        "                if True:\n",
        f"{_T}test_threads.py::test_threads_compute_at_once_cold_and_warm[workqueue]",
    ),
    Mutation(
        "threads", "a child of GNU's OpenMP goes serial", "fastcnn/forks.py",
        'layer == "omp" or ',
        "",
        f"{_T}test_forks.py::test_children_of_children_compute[omp]",
    ),
    Mutation(
        "threads", "no fork while another thread launches", "fastcnn/forks.py",
        "    _hold(launching)\n",
        "",
        f"{_T}test_forks.py::test_a_child_computes_that_is_forked_while_threads_compute[workqueue]",
    ),
    Mutation(
        "threads", "no fork while another thread compiles", "fastcnn/forks.py",
        "        _hold(numba.global_compiler_lock)\n",
        "        pass\n",
        f"{_T}test_forks.py::test_a_child_compiles_that_is_forked_while_a_thread_holds",
    ),
    Mutation(
        "threads", "no fork while the compiler's thread begins", "fastcnn/forks.py",
        "    _hold(beginning)\n",
        "",
        f"{_T}test_forks.py::test_a_child_compiles_that_is_forked_while_a_thread_holds",
    ),
    Mutation(
        "threads", "no fork while another thread is inside LLVM", "fastcnn/forks.py",
        "        _hold(llvm.lib._lock)  #",
        "        pass  #",
        f"{_T}test_forks.py::test_a_child_compiles_that_is_forked_while_a_thread_holds",
    ),
    Mutation(
        "threads", "no fork while another thread imports Numba", "fastcnn/forks.py",
        "    _hold(importing)\n",
        "",
        f"{_T}test_forks.py::test_a_child_imports_numba_that_is_forked_while_a_thread_does",
    ),
    Mutation(
        "threads", "a child does not ask a TBB that has lost its threads", "fastcnn/forks.py",
        "(layer == \"tbb\" and not _Threads.asleep)",
        "False",
        f"{_T}test_forks.py::test_a_child_asks_no_tbb_that_may_have_lost_its_threads",
    ),
    Mutation(
        "threads", "Numba is imported under the lock for which forks wait", "fastcnn/machine.py",
        "    with forks.importing:  #",
        "    if True:  #",
        f"{_T}test_forks.py::test_a_child_imports_numba_that_is_forked_while_a_thread_does",
    ),
    Mutation(
        "threads", "whoever imports from Numba imports Numba first", "fastcnn/jit.py",
        f"    machine.numba()\n{_INTRINSIC}", _INTRINSIC,
        "tests/test_jit.py::test_threads_may_be_the_first_to_need_numba",
    ),
    Mutation(
        "ctrl-c", "the compiler is out of reach of Ctrl-C", "fastcnn/stacks.py",
        "threading.main_thread() and _importing()):\n",
        "threading.main_thread()):\n",
        f"{_T}test_interrupts.py::test_ctrl_c_during_compilation",
    ),
    Mutation(
        "jit-cache", "what the system can do is part of the key", "fastcnn/jit.py",
        "parallel, moves), _VERSION",
        "parallel), _VERSION",
        "tests/test_portability.py::test_loops_cached_by_a_system_whose_threads_choose_their_core_serve_no_other",
    ),
    Mutation(
        "jit-cache", "the main thread compiles itself while a module is being imported", "fastcnn/stacks.py",
        "threading.main_thread() and _importing()):\n",
        "threading.main_thread() and False):\n",
        "tests/test_portability.py::test_what_is_compiled_is_kept_without_file_modes",
    ),
    Mutation(
        "ctrl-c", "a compilation lets the collector run again", "fastcnn/jit.py",
        "        if enabled:\n            gc.enable()\n",
        "        if not enabled:\n            gc.enable()\n",
        f"{_T}test_interrupts.py::test_ctrl_c_during_compilation",
    ),
    Mutation(
        "threads", "the compiler has room in a thread with a small stack", "fastcnn/stacks.py",
        "    if _here.has_room or (",
        "    if True or (",
        f"{_T}test_threads.py::test_a_thread_with_a_small_stack_may_be_the_first_to_compile",
    ),
    Mutation(
        "threads", "the thread that launches starts the layer, not one that compiles", "fastcnn/jit.py",
        "            if parallel:\n                _start_threads()\n            native = self._native[key] = stacks.with_room(",
        "            native = self._native[key] = stacks.with_room(lambda: parallel and _start_threads()) or stacks.with_room(",
        f"{_T}test_forks.py::test_children_of_children_compute[tbb]",
    ),
    Mutation(
        "ctrl-c", "training looks whether it was asked to end", "fastcnn/train/loop.py",
        "else bool(request.signal)\n",
        "else False\n",
        "tests/test_checkpoint.py::test_ctrl_c_and_resume_give_the_same_bits",
    ),
    Mutation(
        "jit-cache", "a failure to write is no error", "fastcnn/kernel_cache.py",
        "            except Exception:  # a full or read-only disk,",
        "            except ValueError:  # a full or read-only disk,",
        f"{_T}test_kernel_cache.py::test_a_full_disk_leaves_no_half_written_file",
    ),
    Mutation(
        "jit-cache", "a folder that is gone is made anew", "fastcnn/kernel_cache.py",
        "                self._impl.locator.ensure_cache_path()\n",
        "",
        f"{_T}test_kernel_cache.py::test_a_folder_deleted_under_way_is_made_anew",
    ),
    Mutation(
        "jit-cache", "only files of ours alone are read", "fastcnn/kernel_cache.py",
        "status.st_mode & 0o022",
        "status.st_mode & 0",
        f"{_T}test_kernel_cache.py::test_a_folder_that_all_may_write_is_no_danger",
    ),
    Mutation(
        "jit-cache", "it is the open file that is judged", "fastcnn/kernel_cache.py",
        "        status = os.fstat(file.fileno())\n",
        "        os.fstat(file.fileno())\n        status = path.stat()\n",
        f"{_T}test_kernel_cache.py::test_it_is_the_open_file_that_is_judged",
    ),
    Mutation(
        "jit-cache", "opening does not wait", "fastcnn/kernel_cache.py",
        'flags | getattr(os, "O_NONBLOCK", 0)',
        "flags",
        f"{_T}test_kernel_cache.py::test_neither_a_pipe_nor_a_folder_in_the_place_of_a_file_is_waited_for",
    ),
    Mutation(
        "numba-cache-garbage", "what is read has its digest", "fastcnn/kernel_cache.py",
        "if hashlib.sha256(key + payload).digest() != digest:",
        "if False:",
        f"{_T}test_kernel_cache.py::test_planted_code_is_not_executed",
    ),
    Mutation(
        "numba-cache-race", "the digest is of the key too", "fastcnn/kernel_cache.py",
        "if hashlib.sha256(key + payload).digest() != digest:",
        "if hashlib.sha256(key + payload).digest() != digest and len(payload) < 100:",
        f"{_T}test_kernel_cache.py::test_code_for_another_type_under_this_name_is_not_run",
    ),
    Mutation(
        "numba-cpu-key", "the CPU is part of the key", "fastcnn/kernel_cache.py",
        "codegen.magic_tuple(), versions",
        "versions",
        f"{_T}test_kernel_cache.py::test_the_key_names_cpu_version_types_and_checks",
    ),
    Mutation(
        "numba-cpu-key", "the source is part of the key", "fastcnn/kernel_cache.py",
        "(key + self.version).encode()",
        "key.encode()",
        "tests/test_jit.py::test_an_edited_file_is_never_served_stale",
    ),
    Mutation(
        "import", "Numba is imported at its first use", "fastcnn/machine.py",
        "def setting(name: str) -> str | None:\n",
        "import numba as _\n\n\ndef setting(name: str) -> str | None:\n",
        f"{_T}test_import.py::test_an_import_is_light_and_silent_and_changes_nothing",
    ),
    Mutation(
        "import", "an import reads the environment and does not write it", "fastcnn/machine.py",
        "def setting(name: str) -> str | None:\n",
        'os.environ["OMP_WAIT_POLICY"] = "passive"\n\n\ndef setting(name: str) -> str | None:\n',
        f"{_T}test_import.py::test_an_import_is_light_and_silent_and_changes_nothing",
    ),
    Mutation(
        "leaks", "a thread keeps what it hands out to itself", "fastcnn/memory.py",
        "class _Kept(threading.local):\n    \"\"\"The blocks of one thread, by size.\"\"\"\n",
        "class _Kept:\n    \"\"\"The blocks of one thread, by size.\"\"\"\n",
        "tests/test_memory.py::test_threads_share_nothing",
    ),
    Mutation(
        "leaks", "plans are forgotten in time", "fastcnn/plans.py",
        "        if len(self._known) >= _REMEMBERED:\n",
        "        if len(self._known) < 0:\n",
        f"{_T}test_leaks.py::test_steps_of_training_prepared_networks_and_plans",
    ),
]  # fmt: skip
