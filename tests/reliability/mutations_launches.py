"""Breaks of what runs kernels again: plans of calls, chains of launches, ONNX models recorded as such."""

from __future__ import annotations

from .mutation import Mutation

_RECORDED = "tests/test_onnx.py::test_recorded_is_the_same"

MUTATIONS: list[Mutation] = [
    # Plans
    Mutation(
        "nonsense",
        "True is not taken for a remembered 1",
        "fastcnn/plans.py",
        "_PLAIN = frozenset((int, str, type(None)))",
        "_PLAIN = frozenset((int, str, type(None), bool, float))",
        "tests/test_plans.py::test_equal_is_not_the_same",
    ),
    Mutation(
        "numba-byte-order",
        "no plan is remembered for foreign byte order",
        "fastcnn/plans.py",
        "not all(array is None or array.dtype.isnative for array in arrays)",
        "False",
        "tests/test_plans.py::test_other_forms_of_the_same_array",
    ),
    Mutation(
        "out-of-bounds",
        "a plan looks at the indices of every call",
        "fastcnn/ops/max_pool2d/__init__.py",
        "            look_at(indices)\n            return planned",
        "            return planned",
        "tests/test_plans.py::test_a_plan_of_the_max_pooling_gradient_still_looks_at_the_indices",
    ),
    # Chains, and ONNX models recorded as such
    Mutation(
        "chains",
        "a thread waits for the jobs of a step",
        "fastcnn/chain.py",
        "while done(state, line) < jobs:",
        "while done(state, line) < 0:",
        "tests/test_chain.py::test_a_thread_waits_for_what_another_still_works_on",
    ),
    Mutation(
        "chains",
        "the share of a thread that does not come is done by others",
        "fastcnn/chain.py",
        "            for t in range(threads):\n",
        "            for t in range(1):\n",
        "tests/test_chain.py::test_a_thread_that_never_comes_is_not_waited_for",
    ),
    Mutation(
        "chains",
        "the counters of a run begin at 0",
        "fastcnn/chain.py",
        "self._state.fill(0)",
        "self._state.fill(0) if self._state[0, 0] == 0 else None",
        "tests/test_chain.py::test_steps_wait_for_one_another",
    ),
    Mutation(
        "chains",
        "a launch takes no more than a call can pass",
        "fastcnn/chain.py",
        "if len(words) > _BUCKETS[-1]:",
        "if len(words) > 2 * _BUCKETS[-1]:",
        "tests/test_chain.py::test_more_arrays_than_a_call_can_pass",
    ),
    Mutation(
        "chains",
        "other threads' launches are not recorded",
        "fastcnn/jit.py",
        "class _Recorder(threading.local):",
        "class _Recorder:",
        "tests/test_chain.py::test_only_the_own_launches_are_recorded_and_they_run",
    ),
    Mutation(
        "numba-exceptions",
        "a kernel that could not allocate is an error of the chain",
        "fastcnn/chain.py",
        "if self._state[-1, 0]:",
        "if self._state[-1, 0] > 1:",
        "tests/test_chain.py::test_a_failed_allocation_is_an_error_on_any_thread",
    ),
    Mutation(
        "chains",
        "a step is tried with other values before its launches stand for it",
        "fastcnn/onnx/recorded.py",
        "array[...] = _others(array)",
        "array[...] = array",
        "tests/test_onnx.py::test_what_is_not_launched_alone_is_not_recorded",
    ),
    Mutation(
        "chains",
        "what works in place is no view",
        "fastcnn/onnx/recorded.py",
        "elif launches or not unchanged or not all(",
        "elif launches or not all(",
        "tests/test_onnx.py::test_what_works_in_place_is_no_view",
    ),
    Mutation(
        "chains",
        "a recording belongs to its thread",
        "fastcnn/onnx/recorded.py",
        "if self._running or self._thread != threading.get_ident():",
        "if self._running:",
        "tests/test_onnx.py::test_another_thread_runs_step_by_step",
    ),
    Mutation(
        "chains",
        "a recording that runs is not run again",
        "fastcnn/onnx/recorded.py",
        "if self._running or self._thread != threading.get_ident():",
        "if self._thread != threading.get_ident():",
        "tests/test_onnx.py::test_a_recording_that_runs_is_not_entered_again",
    ),
    Mutation(
        "inputs-changed",
        "results of a recording are copies",
        "fastcnn/onnx/recorded.py",
        "return [output.copy() for output in self._outputs]",
        "return list(self._outputs)",
        _RECORDED,
    ),
    Mutation(
        "chains",
        "inputs that calls read are copied to where they were",
        "fastcnn/onnx/recorded.py",
        "self._copied |= any(array is not None and self._reads_inputs(array) for array in given)",
        "self._copied |= False",
        _RECORDED,
    ),
    Mutation(
        "chains",
        "the memory of a recording is held",
        "fastcnn/onnx/recorded.py",
        "        self._held = held\n        for root in held.values():\n            memory.adopt(root)\n",
        "        del held\n",
        "tests/test_onnx.py::test_the_memory_of_a_recording_is_nobody_elses",
    ),
]
