"""Who may import whom: a lower layer never imports a higher one, and an operation never reaches into another's files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fastcnn"
LAYERS = [
    {"simd", "jit", "machine", "registry", "checks", "window", "files", "agreement", "timing"},
    {"ops"},
    {"layers", "optim", "losses", "init", "schedules", "models", "data"},
    {"train", "compare", "report", "cli", "info", "__main__"},
]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> Iterator[str]:
    """Yield the absolute names of all modules of fastcnn that a file imports, also inside functions."""
    package = _name(path).split(".") if path.name == "__init__.py" else _name(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("fastcnn"))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            if origin.startswith("fastcnn"):
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _level(room: str) -> int:
    return next(level for level, rooms in enumerate(LAYERS) if room in rooms)


def test_every_module_has_a_room() -> None:
    rooms = {_room(_name(path)) for path in MODULES}
    assert rooms <= set().union(*LAYERS), "a new room needs its level in LAYERS"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_down(path: Path) -> None:
    module = _name(path)
    for target in _imports(path):
        room = _room(target)
        if not room or room == "__version__":
            continue  # the package itself
        assert _level(room) <= _level(_room(module)), f"{module} imports {target}, which lies above it"
        if _room(module) == room == "ops" and module != "fastcnn.ops":
            own, other = module.split(".")[2], target.split(".")[2:]
            assert other[:1] == [own] or len(other) <= 2, f"{module} reaches into another operation's file: {target}"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("ops/*/reference.py")), ids=_name)
def test_references_stand_alone(path: Path) -> None:
    assert list(_imports(path)) == []
    assert "numba" not in path.read_text()


def test_environment_is_read_in_one_place() -> None:
    readers = [_name(path) for path in MODULES if "os.environ" in path.read_text("utf-8") or "getenv" in path.read_text("utf-8")]
    assert readers == ["fastcnn.machine"]


def test_numba_decorators_are_in_one_place() -> None:
    users = {_name(path) for path in MODULES if "njit" in path.read_text("utf-8")}
    assert users == {"fastcnn.jit"}
