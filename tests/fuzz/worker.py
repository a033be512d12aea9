"""The process that makes calls: it reads them, a line of JSON each, and answers what came of each.

The answer has two lines, ours and PyTorch's, so that a death or a silence is laid at the right door.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from typing import Any

from tests.fuzz import judge, twins, vocabulary


def main(with_torch: bool) -> None:
    """Answer calls until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)  # what is printed by a call is no answer
    faulthandler.enable()
    vocabulary.vocabulary()
    peer = twins.torch() if with_torch else None
    judge.limit()
    print(json.dumps({"ready": True, "torch": peer is not None}), file=answers, flush=True)
    for line in sys.stdin:
        name, opening, arguments = json.loads(line)
        outcome = judge.judge(name, opening, arguments)
        _answer(answers, outcome.kind, outcome.detail)
        verdict = twins.Verdict("not asked")
        if peer is not None and outcome.kind in ("returned", "refused"):
            verdict = twins.compare(peer, name, arguments, outcome)
        _answer(answers, *verdict)


def _answer(answers: Any, kind: str, detail: str) -> None:
    print(json.dumps({"kind": kind, "detail": detail}), file=answers, flush=True)


if __name__ == "__main__":
    main("--torch" in sys.argv)
