"""Optional dependencies stay optional."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from fastcnn import extras

PARTNERS = {"torch": "torch", "autograd": "autograd.extend", "jax": "jax", "keras": "keras"}


def test_what_is_missing_is_one_line_with_the_extra() -> None:
    with pytest.raises(
        ImportError, match=r'^this needs Nothing: pip install "fastcnn\[partners\]" \(No module named \'nothing_of_this_name\'\)$'
    ):
        extras.require("nothing_of_this_name", "Nothing", "partners", "this")


def test_what_is_there_is_the_module() -> None:
    assert extras.require("sys", "Python", "partners", "this") is sys


@pytest.mark.parametrize("partner", PARTNERS)
def test_adapters_name_the_extra(partner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PARTNERS[partner], None)
    monkeypatch.delitem(sys.modules, f"fastcnn.adapters.{partner}", raising=False)
    with pytest.raises(ImportError, match=rf'fastcnn\.adapters\.{partner} needs .*: pip install "fastcnn\[partners\]"'):
        importlib.import_module(f"fastcnn.adapters.{partner}")


def test_the_package_imports_no_partner() -> None:
    names = [
        "fastcnn",
        "fastcnn.functional",
        "fastcnn.layers",
        "fastcnn.train",
        "fastcnn.distributed",
        "fastcnn.weights",
        "fastcnn.adapters",
    ]
    partners = ["torch", "autograd", "jax", "keras", "onnx", "onnxruntime", "safetensors", "mpi4py", "joblib", "dask"]
    code = f"import sys; [__import__(name) for name in {names}]; print([p for p in {partners} if p in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
