"""ONNX models of strangers: read whole, or refused in a line that names what is wrong, within a second and without much memory."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

from fastcnn.onnx import UnsupportedError
from fastcnn.onnx.backend import prepare_file
from fastcnn.onnx.command import main

FLOAT = TensorProto.FLOAT
WEIGHT = np.arange(1, 7, dtype=np.float32).reshape(2, 3)


def model(*nodes: Any, constants: Any = (), shape: Any = ("N", 3), outputs: Any = ("y",)) -> Any:
    graph = helper.make_graph(
        [node if not isinstance(node, tuple) else _node(*node) for node in nodes],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(name, FLOAT, ("a", "b")) for name in outputs],
        [tensor if isinstance(tensor, TensorProto) else numpy_helper.from_array(tensor[1], tensor[0]) for tensor in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _node(kind: str, inputs: str, outputs: str, attributes: Any = ()) -> Any:
    return helper.make_node(kind, inputs.split(" "), outputs.split(" "), **dict(attributes))


def product() -> Any:
    """Return the model y = x W^T."""
    return model(("Gemm", "x w", "y", {"transB": 1}), constants=[("w", WEIGHT)])


def written(path: Path, content: Any) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def refused(path: Path, words: str = ".", seconds: float = 1.0) -> None:
    """Require that preparing or running a model is refused in one line, soon."""
    start = time.perf_counter()
    with pytest.raises((ValueError, TypeError, UnsupportedError), match=words):
        prepare_file(path).run([np.ones((2, 3), np.float32)])
    assert time.perf_counter() - start < seconds


def tensor(name: str = "w", dims: Any = (2, 3), data_type: int = FLOAT, **fields: Any) -> Any:
    made = TensorProto(name=name, data_type=data_type, **fields)
    made.dims.extend(dims)
    return made


# --- Bytes -------------------------------------------------------------------------------------------------------------


def test_a_whole_file_is_computed(tmp_path: Path) -> None:
    (found,) = prepare_file(written(tmp_path / "a.onnx", product())).run([np.ones((2, 3), np.float32)])
    np.testing.assert_array_equal(found, [[6, 15], [6, 15]])


def test_cuts_and_changed_bytes_are_a_clear_error_or_another_model(tmp_path: Path) -> None:
    content, chance, path = product().SerializeToString(), random.Random(5), tmp_path / "a.onnx"
    damaged = [content[:length] for length in range(0, len(content), 3)]
    for place in range(len(content)):
        other = bytearray(content)
        other[place] ^= chance.choice((0xFF, 0x01, 0x80, 0x10))
        damaged.append(bytes(other))
    outcomes = {"computed": 0, "refused": 0}
    for bad in damaged:
        try:
            prepare_file(written(path, bad)).run([np.ones((2, 3), np.float32)])
            outcomes["computed"] += 1
        except (ValueError, TypeError, UnsupportedError):
            outcomes["refused"] += 1
    assert outcomes["refused"] > len(content) / 3
    assert outcomes["computed"] > 0, "a weight's digit, a name in a comment"


def test_a_refusal_of_the_checker_that_says_nothing_is_told_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of onnx 1.16 are for a name that is no text."""

    def check(model: Any) -> None:
        raise checker.ValidationError("")

    monkeypatch.setattr(checker, "check_model", check)
    refused(written(tmp_path / "a.onnx", product()), "a.onnx is no valid ONNX model: ValidationError$")


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", Path("/dev/zero")):
        refused(path, "expected a regular file; got a pipe, device or socket")
    with pytest.raises(IsADirectoryError):
        prepare_file(tmp_path)
    good = written(tmp_path / "a.onnx", product())
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    (tmp_path / "bad.pb").write_bytes(b"\xff" * 30)
    for name in ("pipe.npy", "bad.npz", "bad.pb"):
        assert main(["run", str(good), "--input", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.startswith(f"fastcnn: cannot read {tmp_path / name}: ")


def test_graphs_in_graphs_without_end_are_refused(tmp_path: Path) -> None:
    inner = b""
    for _ in range(3000):  # attribute 5 of a node, its graph 6, the graph's node 1
        for tag in (0x0A, 0x32, 0x2A):
            size, length = len(inner), bytearray()
            while size > 127:
                length.append(size & 127 | 128)
                size >>= 7
            inner = bytes([tag]) + bytes(length) + bytes([size]) + inner
    content = inner[inner.index(b"\x0a") :]
    refused(written(tmp_path / "deep.onnx", b"\x3a" + _varint(len(content)) + content), "is no valid ONNX model")


def _varint(size: int) -> bytes:
    parts = bytearray()
    while size > 127:
        parts.append(size & 127 | 128)
        size >>= 7
    return bytes(parts) + bytes([size])


# --- Data outside ------------------------------------------------------------------------------------------------------


def outside(location: str, **entries: Any) -> Any:
    made = tensor(data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        made.external_data.add(key=key, value=str(value))
    return model(("Gemm", "x w", "y", {"transB": 1}), constants=[made])


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"head" + WEIGHT.tobytes() + b"tail")
    for location in ("weights/w.bin", "./weights/../weights/w.bin"):
        path = written(tmp_path / "a.onnx", outside(location, offset=4, length=24))
        np.testing.assert_array_equal(prepare_file(path).run([np.ones((1, 3), np.float32)])[0], [[6, 15]])


@pytest.mark.parametrize(
    ("location", "entries", "words"),
    [
        ("../secret", {}, "must lie in a file of the model's folder; got '../secret'"),
        ("/etc/passwd", {}, "must lie in a file of the model's folder"),
        ("../../../../../../../../etc/passwd", {"length": 24}, "must lie in a file of the model's folder"),
        ("weights/../../secret", {}, "must lie in a file of the model's folder"),
        ("link", {}, "must lie in a file of the model's folder; got 'link'"),
        ("linked/secret", {}, "must lie in a file of the model's folder"),
        ("", {}, "must lie in a file of the model's folder"),
        ("w\0.bin", {}, "must lie in a file of the model's folder"),
        ("pipe", {}, "expected a regular file"),
        ("w.bin", {"offset": 1, "length": 24}, "must lie within the 24 bytes of 'w.bin'; got 24 from 1 on"),
        ("w.bin", {"length": 10**15}, "must lie within"),
        ("w.bin", {"offset": 10**15}, "must lie within"),
        ("w.bin", {"offset": -4}, "must have whole numbers for offset and length; got '-4'"),
        ("w.bin", {"length": "9" * 5000}, "must have whole numbers"),
        ("w.bin", {"length": "1e3"}, "must have whole numbers"),
        ("w.bin", {"length": 20}, "too small|does not hold what it claims"),
    ],
)  # fmt: skip
def test_weights_elsewhere_or_of_other_sizes_are_refused(location: str, entries: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (folder / "w.bin").write_bytes(WEIGHT.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    refused(written(folder / "a.onnx", outside(location, **entries)), words)


def test_weights_that_are_missing_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        prepare_file(written(tmp_path / "a.onnx", outside("none.bin")))


def test_a_thousand_tensors_may_not_claim_one_file(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(24))
    several = outside("w.bin")
    for number in range(1000):
        several.graph.initializer.append(several.graph.initializer[0])
        several.graph.initializer[-1].name = f"w{number}"
    refused(written(tmp_path / "a.onnx", several), "tensors claim 24,024 bytes of files with 24")


def test_weights_of_inner_graphs_are_watched_too(tmp_path: Path) -> None:
    secret = tensor(data_location=TensorProto.EXTERNAL)
    secret.external_data.add(key="location", value="/etc/passwd")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["z"], value=secret)], "b", [], [helper.make_tensor_value_info("z", FLOAT, ())]
    )
    path = written(tmp_path / "a.onnx", model(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)))
    refused(path, "must lie in a file of the model's folder")


# --- Claims ------------------------------------------------------------------------------------------------------------


def shaped(*sizes: int) -> tuple[str, np.ndarray]:
    return "s", np.array(sizes, np.int64)


TERA = 2**40
MODELS = {
    "a weight of terabytes": model(("Gemm", "x w", "y"), constants=[tensor(dims=(TERA, 3), raw_data=bytes(24))]),
    "a weight beyond counting": model(("Gemm", "x w", "y"), constants=[tensor(dims=(2**62, 2**62), raw_data=bytes(24))]),
    "a weight of negative size": model(("Gemm", "x w", "y"), constants=[tensor(dims=(-1, 3), raw_data=bytes(24))]),
    "a weight that is cut": model(("Gemm", "x w", "y"), constants=[tensor(raw_data=bytes(23))]),
    "a weight of no type": model(("Gemm", "x w", "y"), constants=[tensor(data_type=999, raw_data=bytes(24))]),
    "a weight of text": model(("Gemm", "x w", "y"), constants=[tensor(data_type=TensorProto.STRING, string_data=[b"a"] * 6)]),
    "a weight of two kinds of data": model(("Gemm", "x w", "y"), constants=[tensor(raw_data=bytes(24), float_data=[1.0])]),
    "a constant of terabytes": model(("ConstantOfShape", "s", "y"), constants=[shaped(TERA, 8)]),
    "a constant of negative size": model(("ConstantOfShape", "s", "y"), constants=[shaped(-5)]),
    "expanded to terabytes": model(("Expand", "x s", "y"), constants=[shaped(TERA, 2, 3)]),
    "tiled to terabytes": model(("Tile", "x s", "y"), constants=[shaped(TERA, 1)]),
    "tiled less than once": model(("Tile", "x s", "y"), constants=[shaped(-1, 1)]),
    "padded to terabytes": model(("Pad", "x s", "y"), constants=[shaped(0, TERA, 0, TERA)]),
    "padded by two numbers for two axes": model(("Pad", "x s", "y"), constants=[shaped(1, 1)]),
    "resized to terabytes": model(("Resize", "x   s", "y"), constants=[shaped(TERA, 3)]),
    "a range of terabytes": model(
        ("Range", "a b c", "y"), constants=[("a", np.float32(0)), ("b", np.float32(1e13)), ("c", np.float32(1))]
    ),
    "a range in steps of 0": model(("Range", "a b a", "y"), constants=[("a", np.int64(0)), ("b", np.int64(9))]),
    "one of terabytes is hot": model(
        ("OneHot", "i d v", "y"), constants=[("i", np.arange(3)), ("d", np.int64(TERA)), ("v", np.zeros(2, np.float32))]
    ),
    "reshaped to another size": model(("Reshape", "x s", "y"), constants=[shaped(7, -1)]),
    "gathered from beyond": model(("Gather", "x s", "y"), constants=[shaped(10**9)]),
    "an axis that is not there": model(("Softmax", "x", "y", {"axis": 99})),
    "an axis before the first": model(("Flatten", "x", "y", {"axis": -99})),
    "split in 0 parts": model(("Split", "x", "y", {"num_outputs": 0})),
    "a permutation of another rank": model(("Transpose", "x", "y", {"perm": [0, 5, 1]})),
    "rounded in an unknown way": model(
        ("Resize", "x   s", "y", {"nearest_mode": "nonsense"}), constants=[shaped(4, 6)]
    ),
    "combined in an unknown way": model(
        ("ScatterElements", "x s x", "y", {"reduction": "nonsense"}), constants=[("s", np.zeros((2, 3), np.int64))]
    ),
    "pooled with absurd strides": model(
        ("MaxPool", "x", "y", {"kernel_shape": [2**40], "strides": [2**62], "pads": [2**40, 2**40]}), shape=("N", 3)
    ),
    "an attribute of another type": model(("Gemm", "x w", "y", {"alpha": "text"}), constants=[("w", WEIGHT)]),
    "an attribute that is no text": model(("Resize", "x   s", "y", {"mode": b"\xff\xfe"}), constants=[shaped(4, 6)]),
    "too few inputs": model(("Gemm", "x", "y")),
    "a circle": model(("Add", "x b", "a"), ("Add", "x a", "b"), ("Relu", "a", "y")),
    "a value from nowhere": model(("Add", "x z", "y")),
    "a result of nothing": model(("Relu", "x", "z")),
    "a name made twice": model(("Relu", "x", "y"), ("Neg", "x", "y")),
    "an operator of another house": model(helper.make_node("Relu", ["x"], ["y"], domain="evil.example")),
    "an operator of nobody": model(("__import__", "x", "y")),
}  # fmt: skip


@pytest.mark.parametrize("lie", MODELS)
def test_a_model_that_lies_is_refused_at_once(lie: str, tmp_path: Path) -> None:
    refused(written(tmp_path / "a.onnx", MODELS[lie]), "would take|too small|does not hold what it claims" if "terabytes" in lie else ".")


@pytest.mark.parametrize(
    "lie", ["a range in steps of 0", "rounded in an unknown way", "combined in an unknown way", "gathered from beyond"]
)
def test_what_an_operator_runs_into_is_told_with_its_name(lie: str, tmp_path: Path) -> None:
    node = MODELS[lie].graph.node[0]
    refused(written(tmp_path / "a.onnx", MODELS[lie]), rf"^{node.op_type} 'y': ")


def test_indices_of_a_later_run_are_told_too(tmp_path: Path) -> None:
    inner = model(("Gather", "w x", "y"), constants=[("w", WEIGHT)])
    inner.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    prepared = prepare_file(written(tmp_path / "a.onnx", inner))
    place = np.zeros((1, 3), np.int64)
    for _ in range(2):
        prepared.run([place])
    with pytest.raises(ValueError, match=r"Gather 'y': its inputs do not fit: .*out of bounds"):
        prepared.run([place + 2])


def test_many_nodes_take_time_in_proportion(tmp_path: Path) -> None:
    """A chain of 16,000 nodes is prepared and run in less than eight times the time of 4,000."""
    took = []
    for count in (4000, 16000):
        nodes = [helper.make_node("Neg", [f"v{i}" if i else "x"], [f"v{i + 1}" if i + 1 < count else "y"]) for i in range(count)]
        path = written(tmp_path / "a.onnx", model(*nodes))
        start = time.process_time()
        (found,) = prepare_file(path).run([np.ones((2, 3), np.float32)])
        took.append(time.process_time() - start)
        np.testing.assert_array_equal(found, np.ones((2, 3)))
    assert took[1] < 8 * took[0]
