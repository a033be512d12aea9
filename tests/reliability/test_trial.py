"""The machine that takes guards out: it finds what it should, misses what it should, and leaves the tree as it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .__main__ import chosen, grouped, main, run, table
from .mutation import Mutation
from .trial import FOUND, NOT_FOUND, NOT_HERE

LIBRARY = """
def head(x):
    if x < 0:
        raise ValueError("x must not be negative")
    return x + 1
"""
TESTS = """
import os, signal, time, pytest, library
def test_good():
    with pytest.raises(ValueError):
        library.head(-1)
def test_blind():
    assert library.head(1) == 2
def test_wrong():
    assert library.head(1) == 3
def test_dies():
    if library.head(1) != 2:
        os.kill(os.getpid(), signal.SIGTERM)
def test_hangs():
    if library.head(1) != 2:
        time.sleep(60)
@pytest.mark.skip(reason="needs another machine")
def test_skipped():
    pass
"""


def _mutation(guard: str, old: str, new: str, test: str) -> Mutation:
    return Mutation("crash", guard, "library.py", old, new, f"test_library.py::test_{test}")


SIGN, SUM = "if x < 0:", "return x + 1"
MUTATIONS = [
    _mutation("sign", SIGN, "if False:", "good"),
    _mutation("sign, blind", SIGN, "if False:", "blind"),
    _mutation("wrong before", SIGN, "if False:", "wrong"),
    _mutation("no Python", SIGN, "if", "good"),
    _mutation("no import", SUM, "return x + 1\nimport nothing_of_this_name", "good"),
    _mutation("dies", SUM, "return x", "dies"),
    _mutation("hangs", SUM, "return x", "hangs"),
    _mutation("skipped", SUM, "return x", "skipped"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / "library.py").write_text(LIBRARY)
    (root / "test_library.py").write_text(TESTS)
    return root


def test_every_end_has_its_verdict(tree: Path) -> None:
    verdicts = {verdict.mutation.guard: verdict for verdict in run(MUTATIONS, 1, 4, tree)}
    assert {guard: verdict.result for guard, verdict in verdicts.items()} == {
        "sign": FOUND,
        "sign, blind": NOT_FOUND,
        "wrong before": NOT_FOUND,
        "no Python": NOT_FOUND,
        "no import": NOT_FOUND,
        "dies": FOUND,
        "hangs": FOUND,
        "skipped": NOT_HERE,
    }
    for guard, words in {
        "sign": "DID NOT RAISE",
        "sign, blind": "1 passed",
        "wrong before": "unbroken, the test does not pass: assert 2 == 3",
        "no Python": "the break is no Python",
        "no import": "pytest ended with",
        "dies": "SIGTERM",
        "hangs": "did not end within 4 s",
        "skipped": "needs another machine",
    }.items():
        assert words in verdicts[guard].words
    assert (tree / "library.py").read_text() == LIBRARY
    assert sorted(path.name for path in tree.iterdir()) == [".git", "library.py", "test_library.py"]


def test_the_table_has_a_line_for_each_in_the_order_of_the_rows() -> None:
    from .trial import Verdict

    late = MUTATIONS[0]._replace(row="portability")
    lines = table([Verdict(late, FOUND, 1.25, ""), Verdict(MUTATIONS[1], NOT_FOUND, 0.5, "")]).splitlines()
    assert [line.split()[0] for line in lines] == ["row", "crash", "portability"]
    assert "NOT FOUND" in lines[1]
    assert lines[2].endswith("1.2")


def test_mutations_are_chosen_by_any_of_their_words_and_share_the_run_before() -> None:
    assert chosen(MUTATIONS, None) == MUTATIONS
    assert [m.guard for m in chosen(MUTATIONS, "test_dies")] == ["dies"]
    assert [m.guard for m in chosen(MUTATIONS, "wrong before")] == ["wrong before"]
    assert [m.guard for m in grouped(MUTATIONS)["test_library.py::test_good"]] == ["sign", "no Python", "no import"]


def test_a_text_that_stands_twice_or_never_is_refused() -> None:
    for text in ("a a", "b"):
        with pytest.raises(ValueError, match=r"library\.py: expected once, found [02] times: 'a'"):
            _mutation("", "a", "c", "good").applied(text)


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--only", "no such words"], "no mutation has this text"), (["--jobs", "0"], "at least 1; got 0")]
)
def test_misuse_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
