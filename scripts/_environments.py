"""Fresh environments for the commands beside this file: an interpreter, a folder, what is installed there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib  # the same module, which Python has since 3.11

ROOT = Path(__file__).parents[1]


class Failed(Exception):
    """A command of another program failed; the message has the end of what it printed."""


def project(root: Path = ROOT) -> dict[str, object]:
    """Return what pyproject.toml says of the project."""
    found: dict[str, object] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def run(
    command: Sequence[str | Path],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    code: int = 0,
    each: Callable[[str], None] | None = None,
) -> str:
    """Return what a command prints, each line of which is also handed to `each`; Failed where its exit code is not `code`."""
    words = [str(word) for word in command]
    printed = []
    variables = {**clean(), **(env or {})}
    with subprocess.Popen(words, cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                printed.append(line)
                if each is not None:
                    each(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode != code:
        end = "\n".join("".join(printed).strip().splitlines()[-15:])
        raise Failed(f"{' '.join(words)[:300]} ended with {process.returncode}, not {code}:\n{end}")
    return "".join(printed)


def clean() -> dict[str, str]:
    """Return the variables of this process without those that let Python find other modules."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


class Environment:
    """A virtual environment of its own.

    Parameters
    ----------
    interpreter : str or Path
        Whose version it has.
    folder : Path
        Where it is made, if there is none yet.
    """

    def __init__(self, interpreter: str | Path, folder: Path) -> None:
        self.folder = folder
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python, self.scripts = scripts / ("python.exe" if os.name == "nt" else "python"), scripts
        if not self.python.exists():
            run([interpreter, "-m", "venv", folder])

    def install(self, *what: str | Path, constraints: Path | None = None, root: Path = ROOT) -> None:
        """Install requirements, with versions limited by a file of constraints where one is given."""
        limits: list[str | Path] = ["-c", constraints] if constraints else []
        run([self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *limits, *what], cwd=root)

    def versions(self, *packages: str) -> dict[str, str]:
        """Return the versions of packages, in order; "" of those that are not installed."""
        code = (
            "import importlib.metadata as m, sys\n"
            "for name in sys.argv[1:]:\n"
            "    try: print(m.version(name))\n"
            "    except m.PackageNotFoundError: print()"
        )
        lines = run([self.python, "-c", code, *packages]).split("\n")
        return dict(zip(packages, lines, strict=False))


def interpreter(version: str) -> Path | None:
    """Return an interpreter of a version such as 3.12: this one, one on the path, or pyenv's newest; None where there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    candidates = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    releases = [path for path in kept.glob(f"{version}.*") if re.fullmatch(r"[\d.]+", path.name)]
    candidates += [path / "bin" / "python" for path in sorted(releases, key=_release, reverse=True)]
    for candidate in candidates:
        said = subprocess.run([candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True)
        if said.returncode == 0 and said.stdout.strip() == version:  # pyenv's shims are there for versions that are switched off
            return candidate
    return None


def _release(path: Path) -> tuple[int, ...]:
    return tuple(map(int, path.name.split(".")))
