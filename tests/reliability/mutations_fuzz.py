"""Breaks of the boundary: what keeps nonsense, odd arrays and lost NaN from kernels, taken out a line at a time."""

from __future__ import annotations

from .mutation import Mutation

_SCALARS = "tests/test_scalars.py::test_a_wrong_scalar_is_refused_by_name"
_FORMS = "tests/test_arrays.py::test_every_form_of_every_array_gives_the_same_result[float32"

MUTATIONS: list[Mutation] = [
    # --- a crash, a hang or an abort from any argument ---
    Mutation(
        "crash", "an object that fails to be a number is told of by name", "fastcnn/window.py",
        "    except Exception as error:  # TypeError, or whatever the caller's object raises", "    except TypeError as error:", _SCALARS,
    ),
    Mutation(
        "crash", "numbers are looked at before arithmetic", "fastcnn/checks.py",
        "    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):", "    if False:", _SCALARS,
    ),
    Mutation(
        "crash", "mappings are mappings", "fastcnn/scalars.py",
        "    if not isinstance(value, Mapping):", "    if value is None:", _SCALARS,
    ),
    Mutation(
        "crash", "a random generator is one, or made of a seed", "fastcnn/scalars.py",
        "    if seed < 0:", "    if False:", _SCALARS,
    ),
    Mutation(
        "crash", "what does not fit the memory is refused before it is allocated", "fastcnn/checks.py",
        "    if size > machine.memory_bytes():", "    if False:",
        "tests/test_scalars.py::test_what_no_machine_holds_is_refused_before_it_is_made",
    ),
    Mutation(
        "crash", "a broadcast view is measured before it is copied", "fastcnn/checks.py",
        "        require_memory(op, name, value.shape, native.itemsize)",
        "        pass",
        "tests/test_scalars.py::test_a_view_of_more_than_the_memory_is_refused_before_it_is_copied",
    ),
    Mutation(
        "crash", "integers of thousands of digits are not printed", "fastcnn/window.py",
        "    if isinstance(value, int) and abs(value) >= 2**256:", "    if False:",
        "tests/test_scalars.py::test_a_size_of_thousands_of_digits_is_refused_by_name",
    ),
    Mutation(
        "crash", "a broadcast view of images is measured before it is copied", "fastcnn/train/evaluation.py",
        '        checks.require_memory(operation, "images", images.shape, images.itemsize)', "        pass",
        "tests/test_data_parts.py::test_a_view_of_more_images_than_the_memory_is_refused_before_it_is_copied",
    ),
    Mutation(
        "crash", "what a caller's initialiser raises names the layer", "fastcnn/init.py",
        "        weight = draw(shape, rng, dtype)\n    except TypeError as error:",
        "        weight = draw(shape, rng, dtype)\n    except ZeroDivisionError as error:",
        _SCALARS,
    ),
    # --- nonsense is accepted ---
    Mutation(
        "nonsense", "a caller's initialiser draws the weight that was asked for", "fastcnn/init.py",
        "    if not isinstance(weight, np.ndarray) or weight.shape != shape or weight.dtype != dtype:", "    if False:", _SCALARS,
    ),
    Mutation(
        "nonsense", "a saved state holds real numbers", "fastcnn/scalars.py",
        '    if given.dtype.kind not in "fiub":', '    if given.dtype.kind not in "fiubc":', _SCALARS,
    ),
    Mutation(
        "nonsense", "a saved state holds numbers that the dtype holds", "fastcnn/scalars.py",
        '        if own.dtype.kind == "f" and not', '        if False and not', _SCALARS,
    ),
    Mutation(
        "nonsense", "an alpha of celu has an inverse", "fastcnn/ops/activation/_table.py",
        "    if abs(1 / alpha) > float(np.finfo(dtype).max):", "    if False:", "tests/test_activation.py::test_parameters_out_of_range",
    ),
    Mutation(
        "nonsense", "probabilities are such, targets too", "fastcnn/functional/loss.py",
        "        if not (low >= 0 and high <= 1):", "        if low < 0 or high > 1:",
        "tests/test_loss_functions.py::test_parameters_out_of_range",
    ),
    Mutation(
        "nonsense", "nothing is reflected where there is nothing", "fastcnn/functional/padding.py",
        '    if mode != "circular" and 0 in shape', '    if False and 0 in shape', "tests/test_functional.py::test_padding_refuses",
    ),
    Mutation(
        "nonsense", "padding takes no more than there is", "fastcnn/functional/padding.py",
        "        if size + min(before, 0) + min(after, 0) < 0:", "        if size + before + after < 0:", _SCALARS,
    ),
    Mutation(
        "nonsense", "padding of a max-pooling is at most half of its kernel", "fastcnn/pools.py",
        "        if axis.before > axis.kernel // 2:", "        if axis.before > axis.extent // 2:",
        "tests/test_pools.py::test_padding_is_at_most_half_of_the_kernel_whatever_its_dilation",
    ),
    Mutation(
        "nonsense", "an estimator predicts nothing from NaN", "fastcnn/estimator/classifier.py",
        "        if not np.isfinite(logits).all():", "        if False:",
        "tests/test_estimator.py::test_a_network_that_has_lost_its_way_predicts_nothing",
    ),
    Mutation(
        "nonsense", "objects are not flattened", "fastcnn/layers/linear.py",
        '        if x.dtype.kind not in "fiub":', "        if False:", "tests/test_layers.py::test_errors_tell_what_is_wrong",
    ),
    Mutation(
        "nonsense", "sizes beyond 2**31 are refused", "fastcnn/window.py",
        "    if not least <= number <= LARGEST:", "    if not least <= number:",
        "tests/test_scalars.py::test_a_dilation_that_torch_takes_wrongly_is_refused",
    ),
    Mutation(
        "nonsense", "a bool is no size", "fastcnn/window.py",
        "    if isinstance(value, (bool, np.bool_)):", "    if False:", _SCALARS,
    ),
    Mutation(
        "nonsense", "a range may leave out its end", "fastcnn/scalars.py",
        "    if not least <= number <= most or (below and number == most):", "    if not least <= number <= most:", _SCALARS,
    ),
    Mutation(
        "nonsense", "padding of pools is at most half of the window", "fastcnn/pools.py",
        "        if axis.before > axis.extent // 2:", "        if axis.before > axis.extent:",
        "tests/test_pools.py::test_wrong_windows_are_refused",
    ),
    Mutation(
        "nonsense", "a label has a class", "fastcnn/functional/classification.py",
        "(t >= x.shape[1])", "(t > x.shape[1])", "tests/test_loss_functions.py::test_classes_are_checked",
    ),
    Mutation(
        "nonsense", "what pads integers is a number that they can hold", "fastcnn/functional/padding.py",
        "    if not (math.isfinite(number) and np.iinfo(dtype).min <= int(number) <= np.iinfo(dtype).max):",
        "    if not math.isfinite(number):", _SCALARS,
    ),
    Mutation(
        "nonsense", "masked arrays are refused", "fastcnn/checks.py",
        "    if isinstance(value, np.ma.MaskedArray):", "    if False:",
        "tests/test_boundary.py::test_what_cannot_be_read_as_an_array_says_why",
    ),
    Mutation(
        "nonsense", "memory of another device is refused", "fastcnn/checks.py",
        "        if device[0] != _CPU:", "        if False:", "tests/test_boundary.py::test_memory_of_another_device_is_refused",
    ),
    Mutation(
        "out-of-bounds", "indices of a pool's gradient lie in the image", "fastcnn/ops/max_pool2d/__init__.py",
        "        if not (lowest >= -1 and highest < pixels):", "        if not (lowest >= -1 and highest <= pixels):",
        "tests/test_scalars.py::test_an_index_just_beyond_the_image_is_refused",
    ),
    # --- the caller's arrays are changed ---
    Mutation(
        "inputs-changed", "images are copied before they are standardised", "fastcnn/data/arrays.py",
        "    result = x.astype(np.float32, order=\"C\")", "    result = x.astype(np.float32, copy=False)",
        "tests/test_data_parts.py::test_standardising_leaves_the_images_as_they_are",
    ),
    Mutation(
        "inputs-changed", "a gradient that nothing was padded of is copied", "fastcnn/functional/padding.py",
        '    return np.array(dy, order="C")', '    return np.asarray(dy, order="C")',
        "tests/test_functional.py::test_the_gradient_of_no_padding_is_an_array_of_its_own",
    ),
    # --- wrong bits from unusual arrays ---
    Mutation(
        "numba-byte-order", "big-endian arrays become native", "fastcnn/checks.py",
        "    if value.dtype != native or not value.flags.aligned:", "    if not value.flags.aligned:", f"{_FORMS}-relu-byte_swapped]",
    ),
    Mutation(
        "unusual-arrays", "a subclass becomes a plain array", "fastcnn/checks.py",
        "    value = np.asarray(value)\n", "    value = value\n", f"{_FORMS}-linear-subclass]",
    ),
    Mutation(
        "unusual-arrays", "a stepped image becomes contiguous", "fastcnn/checks.py",
        "    if not value.flags.c_contiguous and not is_channels_last(value):", "    if False:", f"{_FORMS}-conv2d-stepped]",
    ),
    Mutation(
        "unusual-arrays", "a reversed array becomes contiguous", "fastcnn/checks.py",
        "    if not value.flags.c_contiguous:  # ascontiguousarray would give an array without axes one", "    if False:",
        f"{_FORMS}-conv2d-negative_strides]",
    ),
    Mutation(
        "unusual-arrays", "running moments are moved by NumPy's arithmetic", "fastcnn/functional/normalization.py",
        "np.asarray(running_mean), np.asarray(running_var))", "running_mean, running_var)",
        "tests/test_functional.py::test_running_moments_may_be_of_a_subclass_or_in_foreign_byte_order",
    ),
    Mutation(
        "unusual-arrays", "images of a subclass become plain", "fastcnn/train/evaluation.py",
        "    return np.asarray(images)", "    return images", "tests/test_data_parts.py::test_images_may_be_of_a_subclass",
    ),
    Mutation(
        "unusual-arrays", "gradients of losses are contiguous", "fastcnn/functional/_losses.py",
        'np.asarray(summed_to(v, shape), self.input.dtype, order="C")', "np.asarray(summed_to(v, shape), self.input.dtype)",
        "tests/test_loss_functions.py::test_losses_and_gradients_of_any_memory_order_are_contiguous[kl_div]",
    ),
    # --- a NaN is lost, a tie goes wrong ---
    Mutation(
        "nan-lost", "a limit that is NaN makes NaN", "fastcnn/ops/activation/_formulas.py",
        "(x < a) | (a != a)", "x < a", "tests/test_activation.py::test_odd_numbers",
    ),
    Mutation(
        "nan-lost", "squares that float32 does not hold are summed in float64", "fastcnn/ops/layer_norm/direct.py",
        "        if not math.isfinite(squares):", "        if False:",
        "tests/test_functional.py::test_moments_of_values_whose_squares_float32_does_not_hold",
    ),
    Mutation(
        "nan-lost", "ReLU keeps what is not at most 0", "fastcnn/ops/relu/direct.py",
        "        target[i] = zero if source[i] <= zero else source[i]", "        target[i] = source[i] if source[i] > zero else zero",
        "tests/test_arrays.py::test_relu_of_nan_infinities_and_zeros",
    ),
    Mutation(
        "nan-lost", "NaN wins over every number", "fastcnn/engine/windows.py",
        "                        if row < 0 or above or (value != value and (best == best or h >= row)):",
        "                        if row < 0 or above:",
        "tests/test_arrays.py::test_max_pooling_of_nan_infinities_ties_and_zeros[NCHW-auto]",
    ),
    Mutation(
        "ties", "the first row of equals wins", "fastcnn/engine/windows.py",
        "                        above = value > best or (value == best and h < row)", "                        above = value >= best",
        "tests/test_arrays.py::test_max_pooling_of_nan_infinities_ties_and_zeros[NCHW-auto]",
    ),
    Mutation(
        "ties", "the definition takes the first of equals", "fastcnn/ops/max_pool2d/reference.py",
        "(value > best)", "(value >= best)",
        "tests/test_arrays.py::test_max_pooling_of_nan_infinities_ties_and_zeros[NCHW-reference]",
    ),
]  # fmt: skip
