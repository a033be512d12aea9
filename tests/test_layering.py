"""Who may import whom: a lower layer never imports a higher one, and an operation never reaches into another's files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fastcnn"
LAYERS = [
    {
        "simd",
        "shuffles",
        "kernel_cache",
        "chain",
        "cores",
        "bf16",
        "amx",
        "jit",
        "forks",
        "stacks",
        "machine",
        "registry",
        "checks",
        "scalars",
        "plans",
        "pools",
        "window",
        "files",
        "archive",
        "agreement",
        "builds",
        "timing",
        "peak",
        "tuning",
        "memory",
        "workspace",
        "scratch",
        "options",
        "extras",
    },
    {"engine"},
    {"ops"},
    {"functional"},
    {"layers", "optim", "losses", "init", "schedules", "models", "data", "gradients"},
    {
        "train",
        "distributed",
        "compare",
        "explain",
        "report",
        "roofline",
        "bench_report",
        "cli",
        "console",
        "info",
        "warmup",
        "onnx",
        "adapters",
        "weights",
        "estimator",
        "search",
        "draw",
        "peers",
        "__main__",
    },
]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path, only_at_import: bool = False) -> Iterator[str]:
    """Yield the absolute names of what a file imports from fastcnn; inside functions too, unless `only_at_import`."""
    package = _name(path).split(".") if path.name == "__init__.py" else _name(path).split(".")[:-1]
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if only_at_import else ast.walk(tree):
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


def test_no_cycles() -> None:
    """Modules that are imported when another is; an import inside a function is a choice made later, and may point anywhere below."""
    names = {_name(path) for path in MODULES} | {"fastcnn"}
    graph = {
        _name(path): {t if t in names else t.rpartition(".")[0] for t in _imports(path, only_at_import=True)} - {_name(path), "fastcnn"}
        for path in MODULES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for target in graph.get(module, ()):
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())
    assert len(done) >= len(graph)
