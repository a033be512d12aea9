"""Workers, and what is noticed of them: a death, a silence, an answer."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.call import Call

ROOT = Path(__file__).parents[2]
SILENCE = 10.0  # seconds without an answer: a hang
COMPILING = 180.0  # seconds that the first call of its kind may take in all, as it may compile


class Answer(NamedTuple):
    """What came of a call, and of PyTorch's: (kind, detail) each; ``failure`` is what is wrong, or nothing."""

    kind: str
    detail: str
    torch: tuple[str, str]

    @property
    def failure(self) -> str:
        if self.kind in ("failed", "died", "silent", "slow"):
            return f"{self.kind}: {self.detail}"
        return f"torch: {self.torch[1]}" if self.torch[0] == "disagrees" else ""


class Silent(Exception):
    """No answer in time."""


class Dead(Exception):
    """The process has ended; how is the text."""


class Crew:
    """One worker at a time, made anew when it dies or falls silent."""

    def __init__(self, with_torch: bool = False) -> None:
        self.with_torch, self.replaced = with_torch, -1
        self.has_torch = False
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Any = None
        self._buffer = b""

    def ask(self, call: Call) -> Answer:
        """Have a call made; what is silent, or refuses late, is asked again in a fresh worker, as it may have been compiling."""
        answer = self._once(call, SILENCE)
        if answer.kind == "silent":
            if self._once(call, COMPILING).kind == "silent":
                return answer
            answer = self._once(call, SILENCE)
        if answer.kind == "slow":
            answer = self._once(call, SILENCE)
        return answer

    def close(self) -> None:
        """End the worker."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self._process = None

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    # --- One worker ---

    def _once(self, call: Call, seconds: float) -> Answer:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        ours: dict[str, str] | None = None
        try:
            self._process.stdin.write(json.dumps([call.name, call.opening, call.arguments]).encode() + b"\n")
            self._process.stdin.flush()
            ours = self._line(seconds)
            theirs = self._line(seconds)
        except (Silent, Dead, BrokenPipeError) as error:
            self.close()
            kind = "silent" if isinstance(error, Silent) else "died"
            if ours is None:
                return Answer(kind, f"for more than {seconds:.0f} s" if kind == "silent" else str(error), ("not asked", ""))
            if str(error).startswith("with status"):  # an exception: the question was wrong, and not PyTorch
                return Answer(ours["kind"], ours["detail"], ("disagrees", f"cannot be asked: {error}"))
            return Answer(ours["kind"], ours["detail"], (f"{kind} itself", str(error)))  # PyTorch, which is not under test
        return Answer(ours["kind"], ours["detail"], (theirs["kind"], theirs["detail"]))

    def _start(self) -> None:
        self.replaced += 1
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
        command = [sys.executable, "-m", "tests.fuzz.worker", *(["--torch"] if self.with_torch else [])]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        )  # fmt: skip
        self._buffer = b""
        self.has_torch = self._line(COMPILING)["torch"]

    def _line(self, seconds: float) -> Any:
        """Return the next answer."""
        assert self._process is not None
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(end - time.monotonic(), 0)):
                    raise Silent
                part = os.read(self._process.stdout.fileno(), 65536)
                if not part:
                    raise Dead(self._last_words())
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _last_words(self) -> str:
        assert self._process is not None
        status = self._process.wait()
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f"{how}; last said: {' | '.join(said[-12:])}"[:900]
