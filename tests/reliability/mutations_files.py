"""Guards of files, downloads and checkpoints, each taken out by one line."""

from __future__ import annotations

from .mutation import Mutation

_ARCHIVE, _FILES, _LOADING = "fastcnn/archive.py", "fastcnn/files.py", "fastcnn/onnx/loading.py"
_LIES, _ZIPS = "tests/test_archive.py::test_an_array_that_lies_costs_nothing", "tests/test_archive.py::test_a_zip_that_lies_costs_nothing"
_OUTSIDE = "tests/test_onnx_hostile.py::test_weights_elsewhere_or_of_other_sizes_are_refused"
_DISK = "tests/test_disk.py::test_whatever_call_fails_the_old_file_stays_and_nothing_else"
_DOWNLOAD = "tests/test_data_cache.py::test_a_lying_mirror_leaves_no_file_and_the_next_one_is_asked"

MUTATIONS: list[Mutation] = [
    Mutation("code-from-data", "objects are refused", _ARCHIVE, '_KINDS = "biufcSU"', '_KINDS = "biufcSUO"', f"{_LIES}[objects]"),
    Mutation("memory-bombs", "a header's claim is held against what is stored", _ARCHIVE,
             "    if header.length + header.size != stored:", "    if header.length + header.size < 0:", f"{_LIES}[terabytes]"),
    Mutation("memory-bombs", "headers are short", _ARCHIVE, "    if length > _HEADER_BYTES:", "    if length < 0:", f"{_LIES}[a header of 100 MB of spaces]"),
    Mutation("memory-bombs", "text of no width is refused", _ARCHIVE, " or dtype.itemsize == 0", "", f"{_LIES}[text of no width, often]"),
    Mutation("memory-bombs", "zip bombs", _ARCHIVE, "    if unpacked > packed + _UNPACKED_FREELY and", "    if unpacked < 0 and", f"{_ZIPS}[a bomb]"),
    Mutation("memory-bombs", "unpacked entries have one size", _ARCHIVE,
             "entry.file_size != entry.compress_size:", "entry.file_size < 0:", f"{_ZIPS}[not packed, and two sizes]"),
    Mutation("half-written", "two arrays of a name", _ARCHIVE, "    if len(names) < len(entries):", "    if len(names) > len(entries):", f"{_ZIPS}[two of a name]"),
    Mutation("half-written", "a swallowed entry", _ARCHIVE, "        if entry.comment:", "        if entry.comment is None:",
             "tests/test_archive.py::test_every_cut_and_every_changed_byte_is_noticed_or_means_nothing[savez]"),
    Mutation("memory-bombs", "pipes and devices", _FILES, "    if not stat.S_ISREG(mode) and", "    if stat.S_ISREG(mode) and",
             "tests/test_hostile_files.py::test_devices_folders_and_links"),
    Mutation("memory-bombs", "the size of JSON", _FILES, "    if len(content) > _JSON_BYTES:", "    if not content:",
             "tests/test_hostile_files.py::test_json_beyond_64_mib_is_refused"),
    Mutation("code-from-data", "deep JSON", _FILES, "    except RecursionError:", "    except ZeroDivisionError:",
             "tests/test_hostile_files.py::test_json_of_strangers_is_refused_with_a_value_error[json-deep lists]"),
    Mutation("half-written", "the temporary file is removed", _FILES, "        name.unlink(missing_ok=True)", "        pass", f"{_DISK}[arrays-fsync]"),
    Mutation("half-written", "a file is synced before it gets its name", _FILES, "            os.fsync(file.fileno())", "            pass", f"{_DISK}[arrays-fsync]"),
    Mutation("half-written", "what dead processes left is removed", _FILES, "    remove_stale_parts(target)\n", "",
             "tests/test_train.py::test_files_are_replaced_whole"),
    Mutation("code-from-data", "ONNX weights lie in the model's folder", _LOADING,
             "not file.is_relative_to(folder)", "not file", f"{_OUTSIDE}[../secret-entries0-must lie in a file of the model's folder; got '../secret']"),
    Mutation("memory-bombs", "ONNX weights lie within their file", _LOADING, "        if offset + length > size:", "        if offset < 0:",
             f"{_OUTSIDE}[w.bin-entries9-must lie within the 24 bytes of 'w.bin'; got 24 from 1 on]"),
    Mutation("memory-bombs", "ONNX weights share no bytes", _LOADING, "    if total > sum(sizes.values()):", "    if total < 0:",
             "tests/test_onnx_hostile.py::test_a_thousand_tensors_may_not_claim_one_file"),
    Mutation("memory-bombs", "sizes that an ONNX model makes up", "fastcnn/onnx/operators/registry.py",
             "    checks.require_memory(node.kind,", "    0 and checks.require_memory(node.kind,",
             "tests/test_onnx_hostile.py::test_a_model_that_lies_is_refused_at_once[expanded to terabytes]"),
    Mutation("data-cache", "the pinned digest", "fastcnn/data/cache.py", "    if digest.hexdigest() != file.sha256:", "    if not digest:",
             f"{_DOWNLOAD}[other data]"),
    Mutation("data-cache", "a body is bounded", "fastcnn/data/cache.py", "                if received > limits.body:", "                if received < 0:",
             f"{_DOWNLOAD}[bomb in transit]"),
    Mutation("data-cache", "a body has its time", "fastcnn/data/cache.py", "                if time.monotonic() > deadline:", "                if deadline < 0:",
             f"{_DOWNLOAD}[endless and slow]"),
    Mutation("data-cache", "the part of a failed download is removed", "fastcnn/data/cache.py", "        part.unlink(missing_ok=True)", "        pass",
             f"{_DOWNLOAD}[other data]"),
    Mutation("memory-bombs", "IDX holds what it claims", "fastcnn/data/idx.py", "        if len(data) < size:", "        if size < 0:",
             "tests/test_idx.py::test_every_cut_of_a_gzip_file_is_noticed"),
    Mutation("lost-training", "settings must be the same", "fastcnn/train/checkpoint.py", "    if others:", "    if not names:",
             "tests/test_checkpoint.py::test_other_settings_are_refused_by_name[changes0-seed was 3, now 4]"),
    Mutation("lost-training", "losses belong to their step", "fastcnn/train/checkpoint.py", " or set(counts) != {position[\"step\"]}", "",
             "tests/test_checkpoint.py::test_what_does_not_fit_changes_nothing"),
]  # fmt: skip
