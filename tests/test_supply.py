"""What is promised to who installs: versions, Pythons, the files of the packages. The long forms are commands, run before a release."""

from __future__ import annotations

import importlib.util
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import check_packages
import check_versions
from _environments import Failed, interpreter, project, run

ROOT = Path(__file__).parents[1]


def test_the_oldest_versions_are_those_that_pyproject_promises() -> None:
    assert check_versions.OLDEST.read_text("utf-8") == check_versions.oldest_text(), "python scripts/check_versions.py --write"
    minimums = check_versions.minimums()
    assert {"numpy", "numba", "requests", "rich", "scikit-learn", "scipy", "onnx", "safetensors", "pillow", "matplotlib"} <= set(minimums)
    assert all(re.fullmatch(r"\d+(\.\d+)*", version) for version in minimums.values())


def test_every_promised_python_has_a_name_in_the_matrix() -> None:
    least = str(project()["requires-python"]).removeprefix(">=")
    assert check_versions.PYTHONS[0] == least
    minors = [int(version.split(".")[1]) for version in check_versions.PYTHONS]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert interpreter(f"{sys.version_info.major}.{sys.version_info.minor}") == Path(sys.executable)
    assert interpreter("3.999") is None


def test_a_later_python_takes_the_first_wheels_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "fastcnn"\ndependencies = ["numpy>=1.26", "tbb>=2021; sys_platform == \'linux\'"]\n'
        "[project.optional-dependencies]\ntest = [\"fastcnn[more]\", 'scipy>=1.11']\nmore = ['fastcnn[test]', 'rich>=13']\n"
    )
    assert check_versions.oldest_text(tmp_path).splitlines()[1:] == [
        'numpy==1.26; python_version < "3.13"',
        'numpy==2.1.0; python_version >= "3.13"',
        "rich==13",
        'scipy==1.11; python_version < "3.12"',
        'scipy==1.11.2; python_version >= "3.12" and python_version < "3.13"',
        'scipy==1.14.1; python_version >= "3.13"',
        "tbb==2021",
    ]


@pytest.mark.parametrize(
    ("requirements", "message"), [('["numpy"]', "must have one minimum"), ('["numpy>=1", "numpy>=2"]', "two minimums, 1 and 2")]
)
def test_a_requirement_without_one_minimum_is_refused(requirements: str, message: str, tmp_path: Path) -> None:
    text = f'[project]\nname = "fastcnn"\ndependencies = {requirements}\n[project.optional-dependencies]\ntest = []\n'
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        check_versions.minimums(tmp_path)


REPORT = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="left"><skipped message="needs a browser"/></testcase>
<testcase classname="a" name="bad"><failure message="assert 1 == 2&#10;more">trace</failure></testcase>
<testcase classname="a" name="worse"><error message="no fixture"/></testcase>
</testsuite></testsuites>"""


def test_a_table_tells_what_passed_failed_and_was_skipped(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    counts, failed = check_versions.counted(tmp_path / "report.xml")
    assert counts == {"passed": 1, "failed": 2, "skipped": 1}
    assert failed == ["a::bad: ['assert 1 == 2']", "a::worse: ['no fixture']"]
    outcomes = [
        check_versions.Outcome("3.10", "oldest", {"numpy": "1.26.0"}, {"passed": 5, "failed": 0, "skipped": 2}, 61.2),
        check_versions.Outcome("3.13", "newest", {}, {}, 0.1, "not tried"),
    ]
    assert [outcome.good for outcome in outcomes] == [True, False]
    lines = check_versions.table(outcomes).splitlines()
    assert lines[1].split() == ["3.10", "oldest", "1.26.0", "-", "-", "-", "-", "5", "0", "2", "61"]
    assert lines[2].split()[-4:] == ["-", "-", "-", "0"]


def test_a_long_run_of_pytest_tells_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_many.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(400))\ndef test_one(n):\n    assert n not in (70, 350)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_many.py"]
    with pytest.raises(Failed, match="2 failed, 398 passed"):
        run(command, cwd=tmp_path, env={"COLUMNS": "80"}, each=check_versions.Progress("Python 9.9"))
    lines = [re.sub(r"\d+ s", "0 s", line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [  # of 72 tests each
        "Python 9.9: 18 % after 0 s, 1 failed",
        "Python 9.9: 36 % after 0 s, 1 failed",
        "Python 9.9: 54 % after 0 s, 1 failed",
        "Python 9.9: 72 % after 0 s, 1 failed",
        "Python 9.9: 90 % after 0 s, 2 failed",
        "Python 9.9: 100 % after 0 s, 2 failed",
    ]


def test_the_wheel_and_the_sdist_hold_what_they_must(tmp_path: Path) -> None:
    """And what is left out, brought along or changed is told."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip('hatchling, which builds the packages, is not installed: pip install ".[test]"')
    tree = check_packages.sources(untracked=True)
    assert {"fastcnn/py.typed", "fastcnn/draw/page.html", "fastcnn/draw/page.js", "fastcnn/report/style.css"} <= set(tree)
    wheel, sdist = check_packages.build(sys.executable, tmp_path / "built")
    assert check_packages.mistakes_of_wheel(wheel, tree) == []
    assert check_packages.mistakes_of_sdist(sdist, tree) == []
    more = [*tree, "fastcnn/draw/forgotten.css", "tests/test_forgotten.py"]
    assert check_packages.mistakes_of_wheel(wheel, more) == [f"{wheel.name}: fastcnn/draw/forgotten.css is missing"]
    assert [m.rpartition("/")[2] for m in check_packages.mistakes_of_sdist(sdist, more)] == [
        "forgotten.css is missing",
        "test_forgotten.py is missing",
    ]
    less = [name for name in tree if name not in ("fastcnn/py.typed", "tests/test_supply.py")]
    assert check_packages.mistakes_of_wheel(wheel, less) == [f"{wheel.name}: fastcnn/py.typed has no place there"]
    assert any("test_supply.py has no place there" in m for m in check_packages.mistakes_of_sdist(sdist, less))


def test_a_wheel_rebuilt_from_the_sdist_must_hold_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "tree" / "fastcnn.whl", tmp_path / "sdist" / "fastcnn.whl"]
    for path, files in zip(paths, ({"a.py": "1", "b.py": "2"}, {"a.py": "3", "c.py": "2"}), strict=True):
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    assert check_packages.mistakes_of_rebuilt(paths[0], paths[0]) == []
    assert check_packages.mistakes_of_rebuilt(*paths) == [
        "fastcnn.whl from the sdist: b.py is missing",
        "fastcnn.whl from the sdist: c.py has no place there",
        "fastcnn.whl from the sdist: a.py is not as in the wheel from the tree",
    ]


def test_a_damaged_wheel_is_told(tmp_path: Path) -> None:
    wheel = tmp_path / "fastcnn-1-py3-none-any.whl"
    description = "Metadata-Version: 2.4\nName: fastcnn\nVersion: one\nDescription-Content-Type: text/plain\n\nShort."
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {
            "fastcnn/__init__.py": "", "fastcnn-1.dist-info/METADATA": description, "fastcnn-1.dist-info/WHEEL": "Root-Is-Purelib: false",
            "fastcnn-1.dist-info/licenses/LICENSE": "", "fastcnn-1.dist-info/entry_points.txt": "",
            "fastcnn-1.dist-info/RECORD": "fastcnn/__init__.py,sha256=wrong,0\nfastcnn-1.dist-info/RECORD,,\n",
        }.items():  # fmt: skip
            archive.writestr(name, text)
    found = "\n".join(check_packages.mistakes_of_wheel(wheel, ["fastcnn/__init__.py", "tests/test_a.py"]))
    for words in (
        "RECORD does not tell of fastcnn-1.dist-info/METADATA", "another hash or size of fastcnn/__init__.py", "'one' is invalid",
        "the README is not its description", "Summary is missing", "License-Expression is missing", "the command fastcnn is missing",
        "it is not for every machine",
    ):  # fmt: skip
        assert words in found


def test_what_is_no_plain_file_or_not_as_in_the_tree_is_told(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("new")
    (tmp_path / "old").write_text("old")
    sdist = tmp_path / "fastcnn-1.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(tmp_path / "old", "fastcnn-1/LICENSE")
        link = tarfile.TarInfo("fastcnn-1/PKG-INFO")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert check_packages.mistakes_of_sdist(sdist, ["LICENSE"], tmp_path) == [
        f"{sdist.name}: fastcnn-1/PKG-INFO is no plain file",
        f"{sdist.name}: fastcnn-1/LICENSE is not as in the tree",
    ]


def test_a_command_that_fails_shows_the_end_of_what_it_said() -> None:
    with pytest.raises(Failed, match=r"ended with 3, not 0:\nlast words"):
        run([sys.executable, "-c", "print('last words'); raise SystemExit(3)"])
    assert run([sys.executable, "-c", "raise SystemExit(3)"], code=3) == ""
