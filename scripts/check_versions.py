"""Run the tests with the oldest and the newest versions that pyproject.toml promises, on every Python: python scripts/check_versions.py.

Every environment is made anew and takes minutes; the whole suite runs in each, or the tests that are named. A table comes at the end, and
exit code 1 where anything failed. What "oldest" means stands in .ci/oldest.txt, which ``--write`` makes from pyproject.toml.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _environments import ROOT, Environment, Failed, interpreter, project, run

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SETS = ("oldest", "newest")
OLDEST = ROOT / ".ci" / "oldest.txt"
SHOWN = ("numpy", "numba", "scipy", "scikit-learn", "onnx")

# The first release with wheels for a Python, where the oldest that pyproject.toml promises was there before that Python.
FIRST_WHEELS: dict[str, dict[str, str]] = {
    "numpy": {"3.13": "2.1.0"},
    "scipy": {"3.12": "1.11.2", "3.13": "1.14.1"},
    "scikit-learn": {"3.12": "1.3.1", "3.13": "1.5.2"},
    "onnx": {"3.13": "1.18.0"},
    "pillow": {"3.12": "10.1.0", "3.13": "11.0.0"},
    "matplotlib": {"3.13": "3.9.2"},
    "safetensors": {"3.13": "0.4.2"},
}


class Outcome(NamedTuple):
    """What came of one environment."""

    python: str
    which: str  # one of SETS
    versions: Mapping[str, str]
    counts: Mapping[str, int]  # passed, failed, skipped
    seconds: float
    failure: str = ""  # why there are no counts, or the first tests that failed

    @property
    def good(self) -> bool:
        """Whether tests ran, and none failed."""
        return not self.failure and self.counts.get("passed", 0) > 0


# --- What is promised --------------------------------------------------------------------------------------------------


def minimums(root: Path = ROOT) -> dict[str, str]:
    """Return the least version of every dependency and of every extra's that the tests need, by name.

    Raises
    ------
    ValueError
        A requirement has no minimum, or two differ.
    """
    from packaging.requirements import Requirement

    about: Any = project(root)
    extras: dict[str, list[str]] = about["optional-dependencies"]
    found: dict[str, str] = {}
    waiting: list[str] = [*about["dependencies"], "fastcnn[test]"]
    seen: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop(0))
        if requirement.name == about["name"]:
            waiting += [other for extra in sorted(requirement.extras - seen) for other in extras[extra]]
            seen |= requirement.extras
            continue
        least = [specifier.version for specifier in requirement.specifier if specifier.operator in (">=", "==")]
        if len(least) != 1:
            raise ValueError(f"pyproject.toml: {requirement} must have one minimum")
        if found.setdefault(requirement.name, least[0]) != least[0]:
            raise ValueError(f"pyproject.toml: {requirement.name} has two minimums, {found[requirement.name]} and {least[0]}")
    return found


def oldest_text(root: Path = ROOT) -> str:
    """Return the constraints of the oldest set, as .ci/oldest.txt holds them."""
    lines = ["# The oldest versions that pyproject.toml promises: python scripts/check_versions.py --write"]
    for name, version in sorted(minimums(root).items()):
        later = sorted(FIRST_WHEELS.get(name, {}).items(), key=lambda item: _numbers(item[0]))
        before = f'; python_version < "{later[0][0]}"' if later else ""
        lines.append(f"{name}=={version}{before}")
        for number, (python, wheel) in enumerate(later):
            upto = f' and python_version < "{later[number + 1][0]}"' if number + 1 < len(later) else ""
            lines.append(f'{name}=={wheel}; python_version >= "{python}"{upto}')
    return "\n".join(lines) + "\n"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


# --- Trying ------------------------------------------------------------------------------------------------------------


class Progress:
    """Print how far pytest is, out of the lines that ``pytest -q`` prints: every tenth of the tests, and whatever fails at once.

    Parameters
    ----------
    name : str
        With which its lines begin.
    """

    def __init__(self, name: str) -> None:
        self._name, self._begin, self._shown, self._failed = name, time.perf_counter(), 0, 0

    def __call__(self, line: str) -> None:
        """Look at the next line."""
        found = re.match(r"([.sxXFE]+) +\[ *(\d+)%\]", line)
        if found is None:
            return
        failed, percent = sum(found[1].count(letter) for letter in "FE"), int(found[2])
        self._failed += failed
        if failed or percent >= self._shown + 10:
            self._shown = percent // 10 * 10
            print(f"{self._name}: {percent} % after {time.perf_counter() - self._begin:.0f} s, {self._failed} failed", flush=True)


def outcome(python: str, which: str, options: argparse.Namespace, folder: Path) -> Outcome:
    """Make an environment and run the tests in it."""
    begin = time.perf_counter()

    def seconds() -> float:
        return time.perf_counter() - begin

    found = interpreter(python)
    if found is None:
        return Outcome(python, which, {}, {}, seconds(), "not tried: there is no such Python here")
    try:
        environment = Environment(found, folder / f"{python}-{which}")
        environment.install("-e", ".[test]", constraints=OLDEST if which == "oldest" else None)
        versions = environment.versions(*SHOWN)
        run([environment.python, "-m", "pip", "check"])
    except Failed as error:
        return Outcome(python, which, {}, {}, seconds(), str(error))
    if options.install_only:
        return Outcome(python, which, versions, {"passed": 1}, seconds())
    report = folder / f"{python}-{which}.xml"
    report.unlink(missing_ok=True)
    command = [environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *options.pytest]
    variables = {"NUMBA_CACHE_DIR": str(folder / f"{python}-{which}-kernels"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run(command, cwd=ROOT, env=variables, each=Progress(f"Python {python}, {which}"))
    except Failed as error:
        if not report.exists():
            return Outcome(python, which, versions, {}, seconds(), str(error))
    counts, failed = counted(report)
    return Outcome(python, which, versions, counts, seconds(), "; ".join(failed[:20]))


def counted(report: Path) -> tuple[dict[str, int], list[str]]:
    """Return (passed, failed and skipped, the names of what failed) of a report in JUnit's format."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failed = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        wrong = [entry for entry in (case.find("failure"), case.find("error")) if entry is not None]
        kind = "failed" if wrong else "skipped" if case.find("skipped") is not None else "passed"
        counts[kind] += 1
        if wrong:
            failed.append(f"{case.get('classname')}::{case.get('name')}: {(wrong[0].get('message') or '').splitlines()[:1]}")
    return counts, failed


def table(outcomes: Sequence[Outcome]) -> str:
    """Return outcomes as a table."""
    lines = [["Python", "set", *SHOWN, "passed", "failed", "skipped", "s"]]
    for o in outcomes:
        counts = [str(o.counts.get(kind, "-")) for kind in ("passed", "failed", "skipped")]
        lines.append([o.python, o.which, *(o.versions.get(name, "") or "-" for name in SHOWN), *counts, f"{o.seconds:.0f}"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def chosen(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the environments that the options ask for."""
    for python in options.python or PYTHONS:
        for which in options.set or SETS:
            yield python, which


def main(argv: Sequence[str] | None = None) -> int:
    """Try the environments, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--python", action="append", choices=PYTHONS, help="this version only; repeatable")
    parser.add_argument("--set", action="append", choices=SETS, help="these versions only; repeatable")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the environments there, and use those that are there")
    parser.add_argument("--install-only", action="store_true", help="make the environments, and run nothing in them")
    parser.add_argument("--write", action="store_true", help=f"write {OLDEST.relative_to(ROOT)} and end")
    parser.add_argument("pytest", nargs="*", default=["-n", "auto"], metavar="ARGUMENT",
                        help="for pytest, behind -- (default: -n auto, the whole suite)")  # fmt: skip
    options = parser.parse_args(argv)
    if options.write:
        OLDEST.write_text(oldest_text(), "utf-8")
        return 0
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="fastcnn-versions-") as temporary:
        folder = Path(temporary) if options.keep is None else options.keep.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for python, which in chosen(options):
            print(f"Python {python}, {which}: an environment, then the tests", flush=True)
            outcomes.append(outcome(python, which, options, folder))
            last = outcomes[-1]
            print(f"Python {python}, {which}: {last.failure or dict(last.counts)} ({last.seconds:.0f} s)", flush=True)
    print(f"\n{table(outcomes)}")
    return int(not all(o.good for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
