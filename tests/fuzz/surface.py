"""What has to be called: every public function and class, found by introspection, and what is left out, with the reason.

Of the other rooms `weights` and `onnx` read files of strangers, whose tests are tests/test_weights.py and tests/test_onnx.py; `report`,
`draw`, `compare` and the like are commands.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from typing import Any

ROOMS = (
    "functional", "layers", "optim", "losses", "schedules", "init", "data", "data.batches", "models", "train", "gradients", "estimator",
    "adapters.columns",
)  # fmt: skip
EXEMPT = {
    "get_threads": "takes no argument",
    "PreparedConv2d": "made by prepare_conv2d alone, which is called and whose result is called",
    "layers.Layer": "the base of layers, which computes nothing",
    "layers.PreparedNetwork": "made by layers.prepare alone, which is called and whose result is called",
    "optim.Optimizer": "the base of optimisers, which moves nothing",
    "losses.Loss": "the base of losses, which computes nothing",
    "init.initial": "of layers: its arguments are theirs, and checked by them",
    "init.initializer": "of layers: its argument is theirs",
    "data.DatasetNotFound": "an error",
    "data.IdxError": "an error",
    "data.digits": "takes no argument",
    "data.mnist": "reads files and the network: tests/test_mnist_data.py and tests/test_data_cache.py",
    "data.fashion_mnist": "as data.mnist",
    "data.photograph": "reads files",
    "data.read_idx": "reads files: tests/test_idx.py",
    "data.read_images_and_labels": "reads files: tests/test_idx.py",
    "train.Callback": "the base of callbacks, which does nothing",
    "train.Epoch": "a record of results",
    "train.History": "a record of results",
    "gradients.Checked": "a record of results",
    "gradients.GradientCheck": "a record of results",
}


def public() -> dict[str, Any]:
    """Return every public callable by name, each once: what `fastcnn` itself offers under its own name where no room has it."""
    found: dict[str, Any] = {}
    for room in ROOMS:
        if room == "estimator" and importlib.util.find_spec("sklearn") is None:
            continue
        module = importlib.import_module(f"fastcnn.{room}")
        names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        for name in names:
            value = getattr(module, name)
            own = hasattr(module, "__all__") or getattr(value, "__module__", None) == module.__name__
            known = any(value is other for other in found.values())
            if own and callable(value) and not known and getattr(value, "__name__", name) == name:  # an alias is called by its own name
                found[f"{room}.{name}"] = value
    import fastcnn

    for name in fastcnn.__all__:
        value = getattr(fastcnn, name)
        if callable(value) and not inspect.ismodule(value) and all(value is not other for other in found.values()):
            found[name] = value
    return found


def required() -> list[str]:
    """Return the names that need a strategy."""
    return sorted(name for name in public() if name not in EXEMPT)
