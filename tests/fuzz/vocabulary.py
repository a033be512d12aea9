"""What an expression may name: the library's rooms, arrays in any form, and uses of objects."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import types
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from tests.fuzz import uses, words


def _of(module: types.ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}


@functools.cache
def vocabulary() -> Mapping[str, Any]:
    """Return what an expression may name."""
    rooms = ("layers", "optim", "losses", "schedules", "init", "data", "models", "train", "estimator", "gradients")
    found = {
        name: importlib.import_module(f"fastcnn.{name}") for name in rooms if name != "estimator" or importlib.util.find_spec("sklearn")
    }
    others = {
        "fastcnn": importlib.import_module("fastcnn"),
        "F": importlib.import_module("fastcnn.functional"),
        "columns": importlib.import_module("fastcnn.adapters.columns"),
        "data_batches": importlib.import_module("fastcnn.data.batches"),
    }
    return {**_of(words), **_of(uses), **found, **others, "Fraction": Fraction, "np": np}


def evaluate(expression: str) -> Any:
    """Return the value of an expression."""
    return eval(expression, dict(vocabulary()))
