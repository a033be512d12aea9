"""Kill, look at what is there, go on; and hold the end against a training that nobody killed."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastcnn import files
from fastcnn.train import History

ROOT = Path(__file__).parents[2]
TEMPORARY = re.compile(r"\.[\w.]+\.[0-9a-f]{16}\.part")
_HOURS = 7200.0


class Kill(NamedTuple):
    """What a killed process was about, the steps that were saved before and after it, what lay in its folder, and what is wrong."""

    number: int
    moment: str
    before: int
    after: int
    found: tuple[str, ...]
    mistake: str

    def __str__(self) -> str:
        verdict = self.mistake or "whole"
        return f"{self.number:4}  {self.moment:24} {self.before:6} {self.after:6}  {verdict:8} {', '.join(self.found) or 'nothing'}"


HEADING = f"{'kill':>4}  {'while':24} {'saved':>6} {'then':>6}  {'verdict':8} what was there"


class Killing:
    """Trainings in a folder, one after the other, until `count` processes have been killed.

    Attributes
    ----------
    ends : int
        Trainings that came to their end.
    mistakes : list of str
        Every end that was not, bit for bit, that of the training that nobody killed.
    """

    def __init__(self, folder: Path, train: list[str], seed: int, longest: float) -> None:
        self.folder, self.train, self.chance, self.longest = folder, train, random.Random(seed), longest
        self.ends, self.mistakes = 0, list[str]()
        self._whole = folder / "whole"
        self._run(self._whole, slow=False, seconds=None)

    def kills(self, count: int) -> Iterator[Kill]:
        """Yield every kill; the last training is then led to its end."""
        number = 0
        while number < count or self.ends == 0:
            own = self.folder / f"{self.ends}"
            while True:
                before = _saved(own)
                moment = self._run(own, slow=True, seconds=self.chance.uniform(0, self.longest) if number < count else None)
                if moment is None:
                    break
                number += 1
                yield Kill(number, moment, before, _saved(own), tuple(sorted(os.listdir(own))), self._mistake(own, before))
                _age(own)
            self.ends += 1
            self.mistakes += [f"training {self.ends}: {difference}" for difference in differences(own, self._whole)]

    def _run(self, folder: Path, slow: bool, seconds: float | None) -> str | None:
        """Start a training; kill it so many seconds after it began; return what it was about, None where it came to its end."""
        folder.mkdir(exist_ok=True)
        stale = _parts(folder)
        command = [sys.executable, "-m", "tests.kills.child", json.dumps({"folder": str(folder), "slow": slow, "train": self.train})]
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = ""
            for line in child.stdout:
                told += line
                if line == "training\n" or line.startswith("writing"):
                    break
            if seconds is not None:
                time.sleep(seconds)
                child.kill()
            told += child.stdout.read()
        if child.returncode not in (0, -9):
            raise RuntimeError(f"a training ended with exit code {child.returncode}: {told[-2000:]}")
        if stale & _parts(folder) and "training" in told:
            self.mistakes.append(f"{folder.name}: temporary files of dead processes are left")
        return None if child.returncode == 0 else told.splitlines()[-1]

    def _mistake(self, folder: Path, before: int) -> str:
        """Return what is wrong with the files of a killed training."""
        for path in folder.iterdir():
            if not TEMPORARY.fullmatch(path.name) and (reason := broken(path)):
                return f"{path.name}: {reason}"
        if len(_parts(folder)) > 1:
            return "temporary files pile up"
        return "" if _saved(folder) >= before else "steps are lost"


def broken(path: Path) -> str:
    """Return why a file of a training is not whole."""
    try:
        if path.suffix == ".npz":
            found = files.load_arrays(path)
            if path.name == "c.npz" and files.parse_json(str(found["position"]))["step"] != len(found["step_losses"]):
                return "its parts are of different steps"
        elif path.suffix == ".json":
            files.load_json(path)
        elif not path.read_text().endswith("</html>\n"):
            return "a page without an end"
    except ValueError as error:
        return str(error)
    return ""


def differences(found: Path, expected: Path) -> list[str]:
    """Return how what one training left differs from what another did, seconds apart."""
    names = sorted(path.name for path in expected.iterdir() if not TEMPORARY.fullmatch(path.name))
    if names != sorted(path.name for path in found.iterdir() if not TEMPORARY.fullmatch(path.name)):
        return [f"{sorted(os.listdir(found))} instead of {names}"]
    wrong = []
    for name in (name for name in names if name.endswith(".npz")):
        ours, theirs = (files.load_arrays(folder / name) for folder in (found, expected))
        texts = ("position", "history", "settings")  # with seconds in them, and the path
        same = sorted(ours) == sorted(theirs) and all(
            array.tobytes() == theirs[key].tobytes() and array.dtype == theirs[key].dtype for key, array in ours.items() if key not in texts
        )
        wrong += [] if same else [f"{name} is another"]
    histories = [_timeless((folder / "history.json").read_text()) for folder in (found, expected)]
    return wrong + ([] if histories[0] == histories[1] else ["history.json is another"])


def _timeless(text: str) -> History:
    found = History.from_json(text)
    found.epochs = [epoch._replace(seconds=0) for epoch in found.epochs]
    return found


def _saved(folder: Path) -> int:
    """Return how many steps the checkpoint holds; 0 where there is none, and where it is broken, which is told elsewhere."""
    path = folder / "c.npz"
    return len(files.load_arrays(path)["step_losses"]) if path.exists() and not broken(path) else 0


def _parts(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if TEMPORARY.fullmatch(path.name)}


def _age(folder: Path) -> None:
    """Make temporary files as old as if the training had been resumed two hours later."""
    for name in _parts(folder):
        os.utime(folder / name, (time.time() - _HOURS,) * 2)


def moments(kills: list[Kill]) -> dict[str, int]:
    """Return how often each kind of moment was hit."""
    names, counts = np.unique([kill.moment.split()[0] for kill in kills], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
