"""Build the wheel and the sdist, look at what is in them, and use each in an empty environment: python scripts/check_packages.py.

To be run before a release; it needs the network, and takes some minutes. `--quick` builds and looks only, in seconds. Exit code 1 where
something is wrong.
"""

from __future__ import annotations

import argparse
import base64
import csv
import email.parser
import functools
import hashlib
import io
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from _environments import ROOT, Environment, Failed, run

SMOKE = Path(__file__).with_name("_smoke.py")
_NEVER = ("__pycache__", ".pyc", ".pyo", ".so", ".env", ".ipynb", ".orig", ".rej", ".swp", "~")


# --- Building ----------------------------------------------------------------------------------------------------------


def build(python: str | Path, out: Path, root: Path = ROOT) -> tuple[Path, Path]:
    """Return (wheel, sdist), built in `out` by an interpreter that has hatchling."""
    run([python, "-m", "hatchling", "build", "-d", out], cwd=root)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def sources(root: Path = ROOT, untracked: bool = False) -> list[str]:
    """Return the files of the tree that are no caches: those that git tracks where it can tell, with `untracked` those that it would."""
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", *(["--others", "--exclude-standard"] if untracked else [])]
        return sorted({name for name in run(command, cwd=root).split("\0") if name and (root / name).is_file()})
    found = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc")


# --- Looking -----------------------------------------------------------------------------------------------------------


def mistakes_of_wheel(wheel: Path, tree: Iterable[str]) -> list[str]:
    """Return what is wrong with a wheel: it holds the files of the package, the licence and its own description, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    (info,) = {name.partition("/")[0] for name in contents if name.partition("/")[0].endswith(".dist-info")}
    package = {name for name in tree if name.startswith("fastcnn/")}
    own = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    found = _differences(wheel.name, set(contents), package | own)
    if found:
        return found
    found += [f"{wheel.name}: {problem}" for problem in _mistakes_of_record(contents, f"{info}/RECORD")]
    found += [f"{wheel.name}: {problem}" for problem in mistakes_of_metadata(contents[f"{info}/METADATA"].decode())]
    if "fastcnn = fastcnn.cli:main" not in contents[f"{info}/entry_points.txt"].decode():
        found.append(f"{wheel.name}: the command fastcnn is missing")
    if b"Root-Is-Purelib: true" not in contents[f"{info}/WHEEL"]:
        found.append(f"{wheel.name}: it is not for every machine")
    return found


def mistakes_of_sdist(sdist: Path, tree: Iterable[str], root: Path = ROOT) -> list[str]:
    """Return what is wrong with an sdist: it holds what is needed to build, test and measure, as it is in the tree, and nothing else."""
    with tarfile.open(sdist) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        contents = {member.name: archive.extractfile(member) for member in members if member.isfile()}
        data = {name: file.read() for name, file in contents.items() if file is not None}
    top = sdist.name.removesuffix(".tar.gz")
    parts = ("fastcnn/", "tests/", "bench/", "scripts/", ".ci/")
    single = {"README.md", "LICENSE", "pyproject.toml", ".gitignore"}  # the last is hatchling's own addition
    wanted = {f"{top}/{name}" for name in tree if name.startswith(parts) or name in single}
    found = _differences(sdist.name, {member.name for member in members}, wanted | {f"{top}/PKG-INFO"})
    found += [f"{sdist.name}: {member.name} is no plain file" for member in members if not member.isfile()]
    changed = [name for name in wanted & set(data) if data[name] != (root / name.removeprefix(f"{top}/")).read_bytes()]
    return found + [f"{sdist.name}: {name} is not as in the tree" for name in sorted(changed)]


def mistakes_of_metadata(text: str) -> list[str]:
    """Return what an index would refuse in a description: the checks of ``twine check`` and of the core metadata's standard."""
    from packaging.metadata import ExceptionGroup, Metadata

    found = []
    try:
        Metadata.from_email(text, validate=True)
    except ExceptionGroup as group:
        found = [str(error) for error in group.exceptions]
    headers = email.parser.Parser().parsestr(text)
    if headers["Description-Content-Type"] != "text/markdown" or len(str(headers.get_payload())) < 1000:
        found.append("the README is not its description")
    return found + [f"{name} is missing" for name in ("Summary", "Requires-Python", "License-Expression") if not headers[name]]


def mistakes_of_rebuilt(wheel: Path, other: Path) -> list[str]:
    """Return what tells a wheel that was built from the sdist from the one that was built from the tree: nothing may."""
    contents = []
    for path in (wheel, other):
        with zipfile.ZipFile(path) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    one, rebuilt = contents
    found = _differences(f"{other.name} from the sdist", set(rebuilt), set(one))
    changed = [name for name in sorted(set(one) & set(rebuilt)) if one[name] != rebuilt[name]]
    return found + [f"{other.name} from the sdist: {name} is not as in the wheel from the tree" for name in changed]


def _differences(archive: str, got: set[str], wanted: set[str]) -> list[str]:
    stray = [f"{archive}: {name} has no place there" for name in sorted(got - wanted)]
    never = [f"{archive}: {name} must not be packed" for name in sorted(got & wanted) if name.endswith(_NEVER)]
    return [f"{archive}: {name} is missing" for name in sorted(wanted - got)] + stray + never


def _mistakes_of_record(contents: dict[str, bytes], record: str) -> list[str]:
    """Return what RECORD, by which installers check a wheel, does not say or says wrongly."""
    rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(contents[record].decode()))}
    found = [f"RECORD does not tell of {name}" for name in sorted(set(contents) - set(rows))]
    for name, (digest, size) in rows.items():
        if name != record:
            own = base64.urlsafe_b64encode(hashlib.sha256(contents.get(name, b"")).digest()).rstrip(b"=").decode()
            if (digest, size) != (f"sha256={own}", str(len(contents.get(name, b"")))):
                found.append(f"RECORD tells another hash or size of {name}")
    return found


# --- Using -------------------------------------------------------------------------------------------------------------


def use(interpreter: str | Path, archive: Path, extras: str, folder: Path) -> str:
    """Install an archive with these extras into an empty environment, and use it from another folder; return the last line printed."""
    environment = Environment(interpreter, folder / "environment")
    environment.install(f"{archive}{extras}")
    run([environment.python, "-m", "pip", "check"])
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    command: list[str | Path] = [environment.python, "-I", SMOKE, environment.scripts, extras.strip("[]")]
    settings = {"NUMBA_CACHE_DIR": str(folder / "kernels"), "XDG_CACHE_HOME": str(folder / "cache"), "FASTCNN_DATA": ""}
    return run(command, cwd=elsewhere, env=settings).strip().splitlines()[-1]


def _steps(options: argparse.Namespace, folder: Path) -> Iterable[tuple[str, Callable[[], list[str] | str]]]:
    """Yield (what is checked, a function that returns mistakes or a line to show)."""
    tree = sources()
    builder = Environment(options.python, folder / "builder") if not options.quick else None
    if builder is not None:
        builder.install("hatchling", "packaging")
    python = builder.python if builder else options.python
    wheel, sdist = build(python, folder / "built")
    yield "the wheel's files and description", lambda: mistakes_of_wheel(wheel, tree)
    yield "the sdist's files", lambda: mistakes_of_sdist(sdist, tree)
    unpacked = folder / "unpacked"

    def again() -> list[str]:
        with tarfile.open(sdist) as archive:
            archive.extractall(unpacked, filter="data")
        (root,) = unpacked.iterdir()
        other, _ = build(python, folder / "again", root)
        return mistakes_of_rebuilt(wheel, other)

    yield "a wheel built from the sdist", again
    if not options.quick:
        for name, archive, extras in (("wheel", wheel, ""), ("sdist", sdist, ""), ("wheel", wheel, "[train]")):
            place = folder / f"{name}{extras.strip('[]')}"
            place.mkdir()
            yield f"the {name}{extras} in an empty environment", functools.partial(use, options.python, archive, extras, place)


def main(argv: Sequence[str] | None = None) -> int:
    """Check the packages, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="the interpreter of the environments (default: this one)")
    parser.add_argument("--quick", action="store_true", help="build and look only; the interpreter must have hatchling and packaging")
    options = parser.parse_args(argv)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="fastcnn-packages-") as folder:
        try:
            for name, check in _steps(options, Path(folder)):
                begin = time.perf_counter()
                found = check()
                shown = found if isinstance(found, str) else "; ".join(found) or "as they must be"
                print(f"{name}: {shown} ({time.perf_counter() - begin:.1f} s)", flush=True)
                wrong += isinstance(found, list) and bool(found)
        except Failed as error:
            print(error, file=sys.stderr)
            wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
