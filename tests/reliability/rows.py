"""The rows: what must never happen, in the order of the project's list, and the tests that show each."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What must never happen, and nodes of pytest, without parameters, that show that it does not.

    The tests that mutations of the row name show it too, and need not be named here.
    """

    words: str
    tests: tuple[str, ...]


def _row(words: str, *tests: str) -> Row:
    """Return a row; a test is named as ``file::test`` or ``folder/file::test``, without ``tests``, ``test_`` and ``.py``."""
    return Row(words, tuple(map(_node, tests)))


def _node(test: str) -> str:
    file, name = test.split("::")
    folder, slash, stem = file.rpartition("/")
    return f"tests/{folder}{slash}test_{stem}.py::test_{name}"


ROWS: dict[str, Row] = {
    # Never
    "out-of-bounds": _row(
        "an access outside of an array",
        "variants::integers_are_exact_and_nothing_around_is_touched",
        "jit::plain_loops_stay_inside_their_arrays",
        "plans::a_plan_of_the_max_pooling_gradient_still_looks_at_the_indices",
        "plans::a_plan_of_the_pooled_gradient_still_looks_at_the_winners",
        "pools::unpooling_refuses_what_lies_outside",
        "sparse::what_passes_is_listed_with_its_place",
        "bfloat16::conversions_round_to_nearest_even_and_write_no_further",
    ),
    "crash": _row(
        "a crash, a hang or an abort from any argument",
        "boundary::a_bad_argument_is_refused_at_once_and_by_name",
        "boundary::what_is_legal_but_absurd_is_refused_or_quick",
        "boundary::what_cannot_be_read_as_an_array_says_why",
    ),
    "nonsense": _row(
        "nonsense is accepted",
        "boundary::a_bad_argument_is_refused_at_once_and_by_name",
        "boundary::a_bad_thread_count_is_refused_and_changes_nothing",
        "plans::equal_is_not_the_same",
        "pools::wrong_windows_are_refused",
        "activation::parameters_out_of_range",
        "batch_norm::mistakes_are_named_and_change_nothing",
    ),
    "inputs-changed": _row(
        "the caller's arrays are changed",
        "variants::agrees_with_reference",
        "memory::results_of_calls_do_not_overwrite_one_another",
        "memory::whoever_holds_a_view_keeps_the_values",
        "plans::contents_and_bias_are_of_the_call",
    ),
    "unusual-arrays": _row(
        "wrong bits from unusual arrays",
        "arrays::every_form_of_every_array_gives_the_same_result",
        "arrays::zero_strides",
        "arrays::odd_strides_on_any_axes_of_length_1",
        "arrays::no_form_of_an_array_compiles_a_kernel_again",
        "plans::other_forms_of_the_same_array",
        "batch_norm::every_form_of_every_array",
    ),
    "nan-lost": _row(
        "a NaN is lost",
        "arrays::convolution_loses_no_nan_and_makes_none",
        "arrays::max_pooling_of_nan_infinities_ties_and_zeros",
        "arrays::relu_of_nan_infinities_and_zeros",
        "variants::pooling_of_nan_and_infinities",
        "simd::nan_passes_the_relu",
        "batch_norm::nan_and_infinities_are_data",
    ),
    "ties": _row(
        "another than the first of several maxima takes the gradient",
        "reference::max_pool_takes_the_first_of_equals",
        "arrays::max_pooling_of_nan_infinities_ties_and_zeros",
        "pools::maxima_and_where_they_are",
        "pool_properties::maxima_of_integers",
    ),
    "threads": _row(
        "threads, forks or the end of a process crash, hang or compute wrong",
        "processes/threads::threads_compute_at_once_cold_and_warm",
        "processes/threads::threads_may_limit_their_threads_each_for_itself",
        "processes/threads::kernels_need_no_large_stack",
        "processes/threads::a_thread_with_a_small_stack_may_be_the_first_to_compile",
        "processes/threads::joblib_computes",
        "processes/forks::a_child_computes_that_was_forked_before_the_first_use",
        "processes/forks::children_of_children_compute",
        "processes/forks::a_child_computes_that_a_thread_forked",
        "processes/forks::a_child_computes_that_is_forked_while_threads_compute",
        "processes/forks::a_forked_child_may_end_as_any_process_does",
        "processes/forks::pools_of_multiprocessing_compute",
        "processes/the_end::a_process_ends_that_may_use_fewer_cores_than_threads",
        "processes/the_end::a_daemon_thread_may_compute_until_the_end",
        "processes/the_end::a_daemon_thread_may_compile_at_the_end",
        "jit::threads_may_be_the_first_to_need_numba",
        "jit::concurrent_first_calls_compile_once",
        "jit::launches_of_kernels_that_share_a_callee_do_not_lock_each_other_out",
        "chain::steps_wait_for_one_another",
        "memory::threads_share_nothing",
        "onnx::several_threads",
    ),
    "thread-dependent": _row(
        "results depend on the number of threads or change from run to run",
        "variants::integers_are_exact_and_nothing_around_is_touched",
        "variants::conv2d_large_enough_for_threads",
        "engine::gradient_is_exact_for_integers",
        "sparse::threads_and_bands",
        "activation::results_are_the_same_on_any_number_of_threads",
    ),
    "ctrl-c": _row(
        "Ctrl-C is ignored or leaves a broken state",
        "train::ctrl_c_saves_and_tells_how_to_go_on",
        "checkpoint::without_a_checkpoint_ctrl_c_ends_after_a_whole_step",
        "memory::who_asks_while_another_looks_gets_a_block_of_his_own",
        "ranks/failure::ctrl_c_in_the_terminal_of_mpiexec_saves_and_tells_how_to_go_on",
        "draw::the_command_serves_until_interrupted",
    ),
    "jit-cache": _row(
        "a stale or corrupt cache of compiled code is an error or a wrong result",
        "jit::damaged_cache_means_compile_in_memory",
        "jit::an_edited_file_is_never_served_stale",
        "jit::no_writable_place_for_a_cache",
        "jit::code_edited_under_a_running_process_is_not_saved_as_the_new_one",
        "jit::from_a_zip_there_is_no_cache_but_results",
        "processes/kernel_cache::a_folder_that_cannot_be_written_serves_what_it_has",
        "processes/kernel_cache::a_file_of_somebody_else_is_not_read",
    ),
    "import": _row(
        "importing compiles, prints, starts, changes or needs something",
        "processes/import::an_import_is_light_and_silent_and_changes_nothing",
        "processes/import::an_import_needs_nothing_but_numpy_and_numba",
        "processes/import::computing_changes_nothing_but_the_threads_of_the_layer",
        "processes/import::denormals_survive_the_import_and_the_kernels_on_every_thread",
        "processes/import::import_time",
        "extras::the_package_imports_no_partner",
        "portability::what_only_posix_has_is_not_needed",
    ),
    "leaks": _row(
        "memory or file handles leak",
        "memory::no_more_is_kept_than_the_limit",
        "plans::plans_are_bounded",
    ),
    "code-from-data": _row(
        "data are executed",
        "weights::pickled_content_is_refused",
        "weights::what_is_no_weight_is_refused",
        "checkpoint::foreign_files",
    ),
    "memory-bombs": _row(
        "a small file or an absurd header takes all memory",
        "idx::a_header_that_claims_terabytes_is_refused",
        "idx::a_claim_below_the_cap_costs_no_memory_either",
        "idx::a_gzip_bomb_is_not_unpacked",
        "idx::a_pipe_is_refused_without_waiting",
        "idx::a_device_is_refused",
        "boundary::a_bad_argument_is_refused_at_once_and_by_name",
    ),
    "half-written": _row(
        "a file is half-written",
        "train::files_are_replaced_whole",
        "weights::a_failed_save_leaves_the_old_file",
        "checkpoint::killed_at_random_and_while_saving",
        "checkpoint::stale_parts_are_removed_and_fresh_ones_left",
        "changed_bytes::a_changed_byte_of_npz_is_told_and_loads_nothing",
        "changed_bytes::a_changed_byte_of_the_arrays_of_a_run_is_told",
        "changed_bytes::a_changed_byte_of_the_json_of_a_run_is_told_or_makes_a_whole_page",
    ),
    "data-cache": _row(
        "the cache of data is poisoned",
        "data_cache::a_download_is_verified_and_whole",
        "data_cache::a_lying_mirror_leaves_no_file_and_the_next_one_is_asked",
        "data_cache::a_killed_download_leaves_nothing_that_is_taken_for_a_file",
        "data_cache::processes_may_fill_one_cache_at_once",
        "data_cache::a_download_that_may_not_grow_leaves_the_old_file",
        "data_cache::a_download_to_a_full_disk_keeps_what_is_whole",
        "changed_bytes::a_changed_byte_of_a_download_is_told_wherever_it_means_something",
        "mnist_data::a_poisoned_cache_is_noticed_and_healed",
    ),
    "lost-training": _row(
        "training is lost",
        "checkpoint::ctrl_c_and_resume_give_the_same_bits",
        "checkpoint::killed_at_random_and_while_saving",
        "checkpoint::mnist_killed_at_random",
        "checkpoint::truncated_and_flipped",
        "changed_bytes::a_changed_byte_of_a_checkpoint_is_told_and_changes_nothing",
    ),
    # Facts about Numba
    "numba-byte-order": _row(
        "a big-endian or unaligned array is read as a native one",
        "arrays::every_form_of_every_array_gives_the_same_result",
        "plans::other_forms_of_the_same_array",
    ),
    "numba-cache-race": _row(
        "two processes fill an empty cache and leave a wrong index",
        "jit::two_processes_fill_one_cache",
        "jit::kernels_of_one_factory_have_names_of_their_own",
    ),
    "numba-cache-garbage": _row(
        "a truncated or planted cache file fails or is executed",
        "jit::damaged_cache_means_compile_in_memory",
        "jit::cached_files_are_ours_alone",
    ),
    "numba-exceptions": _row(
        "an exception inside a parallel loop vanishes",
        "chain::a_failed_allocation_is_an_error_on_any_thread",
        "processes/failed_allocations::every_job_that_fails_is_noticed",
        "jit::kernels_call_kernels_of_other_processes",
    ),
    "numba-fastmath": _row(
        "fast arithmetic takes NaN for a number",
        "arrays::relu_of_nan_infinities_and_zeros",
        "simd::nan_passes_the_relu",
    ),
    "numba-cpu-key": _row(
        "code of another CPU or of an older source is run",
        "jit::an_edited_file_is_never_served_stale",
        "jit::kernel_version_covers_all_files_of_an_operation",
        "jit::lower_instruction_sets",
        "processes/kernel_cache::a_lower_instruction_set_has_files_of_its_own",
    ),
    # Agreement with the float64 oracle
    "agreement": _row(
        "a result differs from the float64 oracle by more than its bound",
        "variants::agrees_with_reference",
        "properties::conv2d_is_its_reference",
        "reference::conv2d_against_seven_loops",
        "reference::gradients_by_finite_differences",
    ),
    "agreement-integers": _row(
        "small integers stored as floats are not exact",
        "variants::integers_are_exact_and_nothing_around_is_touched",
        "engine::forward_is_exact_for_integers",
    ),
    "agreement-adversarial": _row(
        "huge, tiny or cancelling numbers cost more digits than their sums of absolute values allow",
        "agreement::adversarial_numbers_stay_within_their_bound",
    ),
    "agreement-special": _row(
        "NaN, infinities and zeros come out elsewhere than they belong",
        "arrays::convolution_loses_no_nan_and_makes_none",
        "convolutions::nan_and_infinities_stay_where_the_definition_has_them",
        "pools::infinities_and_nan_reach_their_windows_only",
        "engine::gradient_keeps_infinities_where_they_are",
    ),
    "agreement-copies": _row(
        "max-pooling, indices, im2col or ReLU round",
        "pools::maxima_and_where_they_are",
        "properties::columns_and_images_are_adjoint",
        "reference::relu_and_its_corner",
    ),
    "agreement-means": _row(
        "average pooling, softmax or normalisation differ by more than the bound of their own sums",
        "pools::averages",
        "variants::agrees_with_reference",
        "batch_norm::a_mean_of_10_000_with_deviation_1_costs_no_digits",
    ),
    "agreement-winograd": _row(
        "Winograd's algorithm differs by more than its stated growth, or is used where it may not be",
        "winograd::long_sums_stay_within_the_stated_error",
        "winograd::choice_takes_it_where_it_is_faster_and_never_at_highest_precision",
    ),
    # Launches without Python between them
    "chains": _row(
        "a chain of launches runs a step before its inputs are there, or on memory that is gone",
        "chain::steps_wait_for_one_another",
        "chain::only_the_own_launches_are_recorded_and_they_run",
        "chain::a_convolution_on_other_memory",
        "onnx::recorded_is_the_same",
        "onnx::what_is_not_launched_alone_is_not_recorded",
        "onnx::what_follows_a_call_is_tried_on_its_results",
        "onnx::inputs_that_pass_for_any_result_prove_nothing",
        "onnx::what_others_write_keeps_no_value_between_two_runs",
        "onnx::what_works_in_place_is_no_view",
        "onnx::another_thread_runs_step_by_step",
    ),
    # Supply chain
    "versions": _row(
        "a version of Python or of a dependency that is promised does not work",
        "supply::the_oldest_versions_are_those_that_pyproject_promises",
        "supply::every_promised_python_has_a_name_in_the_matrix",
    ),
    "packages": _row(
        "a wheel or an sdist lacks a file, brings one too many, or does not work on its own",
        "supply::the_wheel_and_the_sdist_hold_what_they_must",
        "supply::a_wheel_rebuilt_from_the_sdist_must_hold_the_same_bytes",
    ),
    "portability": _row(
        "the package needs what only one operating system or processor has",
        "portability::what_only_posix_has_is_not_needed",
        "portability::loops_cached_by_a_system_whose_threads_choose_their_core_serve_no_other",
        "portability::an_arm_processor_has_its_own_level",
    ),
}
