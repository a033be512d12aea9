"""Every public name tells what goes in, what comes out, what it refuses and where it is from - itself, or by pointing to one that does.

A docstring may point: "As of `max_pool2d`" or "see `fastcnn.conv2d`" says all that the other one says. What is asked for here is the
docstring with those that it points to; and that every pointer leads somewhere.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from typing import Any

import pytest

ROOMS = (
    "fastcnn", "fastcnn.functional", "fastcnn.layers", "fastcnn.losses", "fastcnn.optim", "fastcnn.init", "fastcnn.schedules",
    "fastcnn.gradients", "fastcnn.data", "fastcnn.train", "fastcnn.models", "fastcnn.weights", "fastcnn.estimator", "fastcnn.onnx",
    "fastcnn.search", "fastcnn.adapters.columns",
)  # fmt: skip
PAPERS = (  # whose formulas are somebody's
    "layers.BatchNorm2d", "layers.Dropout", "layers.GroupNorm", "layers.LayerNorm", "layers.SELU", "layers.GELU", "layers.Mish",
    "layers.ELU", "layers.CELU", "layers.PReLU", "layers.SiLU", "layers.Hardswish", "layers.Residual",
    "optim.Adagrad", "optim.Adadelta", "optim.Adam", "optim.AdamW", "optim.Adamax", "optim.NAdam", "optim.RMSprop", "optim.SGD",
    "init.he_normal", "init.he_uniform", "init.xavier_normal", "init.xavier_uniform", "init.lecun_normal", "init.orthogonal",
    "schedules.OneCycle", "schedules.Cosine", "data.Augment", "data.grey",
    "models.alexnet", "models.conv8_net", "models.deep_conv_net", "models.deepnet_mnist", "models.deepnet_cifar", "models.lenet5",
    "models.resnet", "models.simple_conv_net", "models.vgg",
)  # fmt: skip
HEADING = re.compile(r"^(\S.*)\n-{3,}$", re.M)
POINTER = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)")
CHECK = re.compile(r"\braise [A-Z]|\b(?:checks|window|arguments)\.\w+\(|\brequire\w*\(")
ARRAY = re.compile(r"\(\d*[A-Za-z]\w*,|\(\.\.\.|\bndarray|\barray|\bshape|\bscalar")


def _public() -> dict[str, Any]:
    """Return every public function, class and method by its name, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        own = [name for name, value in vars(module).items() if not name.startswith("_") and getattr(value, "__module__", "") == room]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found.setdefault(id(value), (f"{room}.{name}", value))
            for key, method in vars(value).items() if inspect.isclass(value) else ():
                inherited = any(hasattr(base, key) for base in value.__mro__[1:])  # described there
                if inspect.isfunction(method) and not key.startswith("_") and not (inherited and not method.__doc__):
                    found.setdefault(id(method), (f"{room}.{name}.{key}", method))
    return dict(found.values())


PUBLIC = _public()
SHORT = {name.rpartition(".")[2]: name for name in reversed(PUBLIC)}  # of two with one name the first


def _told(name: str, hops: int = 2) -> str:
    """Return the docstrings of a name, its class and bases and its module, and, so many steps further, of the names that it points to."""
    value = PUBLIC[name]
    owner = PUBLIC.get(name.rpartition(".")[0])
    classes = [base for base in getattr(owner or value, "__mro__", ()) if base.__module__.startswith("fastcnn.")]
    texts = [inspect.getdoc(thing) or "" for thing in (value, *classes, importlib.import_module(value.__module__))]
    if hops:
        pointers = [_target(name, pointer) for text in texts[:-1] for pointer in POINTER.findall(text)]
        texts += [_told(pointer, hops - 1) for pointer in dict.fromkeys(pointers) if pointer]
    return "\n".join(texts)


def _target(name: str, pointer: str) -> str:
    """Return the public name that a docstring means by a pointer: beside it, in full, or anywhere; else nothing."""
    beside = f"{name.rpartition('.')[0]}.{pointer}"
    return next((full for full in (beside, pointer, SHORT.get(pointer, "")) if full in PUBLIC and full != name), "")


def _parameters(value: Any) -> list[inspect.Parameter]:
    """Return what a function or class takes by name, without self; an exception class takes what all do."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return []
    several = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [p for p in inspect.signature(value).parameters.values() if p.name != "self" and p.kind not in several]


def _source(value: Any) -> str:
    """Return the source of a function, or of the __init__ that is written in a class."""
    made = value.__dict__.get("__init__") if inspect.isclass(value) else value
    written = inspect.isfunction(made) and made.__module__ == value.__module__ and not made.__code__.co_filename.startswith("<")
    return inspect.getsource(made) if written else ""


each = pytest.mark.parametrize("name", PUBLIC)


@each
def test_is_described(name: str) -> None:
    assert PUBLIC[name].__doc__, f"{name} has no docstring"
    summary = inspect.getdoc(PUBLIC[name]).partition("\n\n")[0]
    assert summary.endswith((".", ":")), f"{name}: the first paragraph is no sentence: {summary[-60:]!r}"


@each
def test_parameters_are_told(name: str) -> None:
    told = _told(name)
    missing = [p.name for p in _parameters(PUBLIC[name]) if not re.search(rf"\b{p.name}\b", told)]
    assert not missing, f"{name} does not tell of {', '.join(missing)}"


@each
def test_sections_name_what_there_is(name: str) -> None:
    """What stands under Parameters is a parameter: it was not renamed since."""
    text = inspect.getdoc(PUBLIC[name]) or ""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", text, re.M | re.S)
    named = [n for line in re.findall(r"^(\*{0,2}\w[\w, *]*?)(?: ?: .*)?$", section[1], re.M) for n in line.split(", ")] if section else []
    if not named:
        return
    parameters = [p.name for p in inspect.signature(PUBLIC[name]).parameters.values()]
    unknown = [n for n in named if n.strip("* ") not in parameters]
    assert not unknown, f"{name} describes {', '.join(unknown)}, which it does not take"


@each
def test_arrays_have_shapes(name: str) -> None:
    arrays = [p for p in _parameters(PUBLIC[name]) if "ndarray" in str(p.annotation)]
    assert not arrays or ARRAY.search(_told(name)), f"{name} does not tell the shape of {arrays[0].name}"


@each
def test_what_is_returned_is_told(name: str) -> None:
    value = PUBLIC[name]
    if inspect.isclass(value) or inspect.signature(value).return_annotation in (None, "None"):
        return  # a class is described by what it is
    assert re.search(r"\breturn|\bwhether\b", inspect.getdoc(value) or "", re.I), f"{name} does not tell what it returns"


@each
def test_what_is_refused_is_told(name: str) -> None:
    if CHECK.search(_source(PUBLIC[name])):
        assert "Error" in _told(name), f"{name} checks something, and does not tell what it raises"


@pytest.mark.parametrize("name", PAPERS)
def test_papers_are_named(name: str) -> None:
    assert re.search(r"\b(?:19|20)\d\d\b", _told(f"fastcnn.{name}")), f"{name} does not tell where it is from"


@each
def test_pointers_lead_somewhere(name: str) -> None:
    for pointer in POINTER.findall(inspect.getdoc(PUBLIC[name]) or ""):
        if pointer.startswith("fastcnn."):
            assert _exists(pointer), f"{name} points to {pointer}, which is not there"


def _exists(path: str) -> bool:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(lambda value, part: getattr(value, part, None), parts[length:], found) is not None
    return False
