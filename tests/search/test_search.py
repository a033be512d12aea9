"""`search`: the same trials wherever they run, failures that are told, and workers that die."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from fastcnn import machine
from fastcnn.cli import main
from fastcnn.search import best, engines, grid, search
from tests.search.objectives import deadly, parabola, picky

DATA = np.arange(300_000.0), np.ones(3, np.uint8)  # joblib keeps the first in a file that workers share
TOTAL = float(DATA[0].sum() + 3)
GRID = grid({"x": [0, 1, 2, 3, 4, 5]})


@pytest.mark.parametrize(("backend", "jobs"), [("loky", 1), ("loky", 2), ("threading", 2), ("dask", 2)])
def test_trials_are_the_same_wherever_they_run(backend: str, jobs: int, request: pytest.FixtureRequest) -> None:
    if backend == "dask":
        request.getfixturevalue("dask_client")
    trials = search(parabola, GRID, DATA, seed=7, jobs=jobs, threads=1, backend=backend)
    assert [(trial.number, trial.parameters["x"], trial.score) for trial in trials] == [
        (x + 1, x, 7 + TOTAL - (x - 3) ** 2) for x in range(6)
    ]
    assert best(trials).parameters == {"x": 3}
    assert {trial.result["threads"] for trial in trials} == {1}
    here = {trial.result["process"] for trial in trials} == {os.getpid()}
    assert here == (backend == "threading" or jobs == 1)
    assert all(trial.attempts == 1 and trial.error is None for trial in trials)


def test_the_backend_is_what_joblib_says(dask_client: Any) -> None:
    with joblib.parallel_config("threading", n_jobs=2):
        assert {trial.result["process"] for trial in search(parabola, GRID, jobs=2, threads=1)} == {os.getpid()}
    workers = set(dask_client.run(os.getpid).values())
    with joblib.parallel_config("dask"):
        assert {trial.result["process"] for trial in search(parabola, GRID)} <= workers


def test_workers_have_their_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where NUMBA_NUM_THREADS says otherwise, which joblib's own share gives way to."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert {trial.result["threads"] for trial in search(parabola, GRID[:2], jobs=2)} == {3}
    assert [engines.workers("loky", jobs)[1:3] for jobs in (None, 4, 7)] == [(6, 1), (4, 1), (7, 1)]


def test_dask_workers_have_no_more_threads_than_they_may() -> None:
    """They are started by others, and with NUMBA_NUM_THREADS=1 every trial would fail that asks for two."""
    limits = [(6, 2, None), (6, 2, "1"), (6, 2, "16"), (6, 2, "0"), (6, 2, "many"), (2, 4, None)]
    assert [engines._share(*case) for case in limits] == [3, 1, 3, 1, 3, 1]
    pytest.importorskip("distributed", reason="Dask is not installed (extra 'dask')")

    class Cluster:
        """Two machines of six cores, a worker of two threads on each."""

        def __init__(self, *limits: str | None) -> None:
            self.limits = limits

        def wait_for_workers(self, count: int, timeout: float) -> None:
            assert count == 1

        def nthreads(self) -> dict[str, int]:
            return {"tcp://a:1": 2, "tcp://b:1": 2}

        def run(self, function: Any, *arguments: str) -> dict[str, Any]:
            answers = self.limits if (function, arguments) == (machine.setting, ("NUMBA_NUM_THREADS",)) else (6, 6)
            return dict(zip(self.nthreads(), answers, strict=True))

    for said, threads in [((None, None), 3), (("2", None), 2), ((None, "1"), 1)]:
        assert engines._dask_workers(Cluster(*said), None)[:3] == ("dask", 4, threads)


def test_a_trial_that_fails_tells_why_and_the_others_go_on() -> None:
    raised, nan, scoreless, no_json, good = search(picky, GRID[:5], jobs=2, backend="threading")
    assert raised.error is not None
    assert raised.error.startswith("FloatingPointError: the loss is nan (objectives.py, line ")
    assert nan.error is not None
    assert "the objective's score must be finite; got nan" in nan.error
    assert scoreless.error is not None
    assert scoreless.error.startswith("KeyError: 'score'")
    assert no_json.error == "TypeError: search: the objective's result must hold JSON values; got object"
    assert [trial.score for trial in (raised, nan, scoreless, no_json)] == [None] * 4
    assert (good.score, good.result, good.error) == (4.0, {"matrix": [[1.0, 0.0], [0.0, 1.0]]}, None)
    with pytest.raises(ValueError, match=r"^best: no trial has a score; the first failed with FloatingPointError"):
        best([raised, nan])


class Told:
    def __init__(self) -> None:
        self.lost_trials: list[int] = []

    def begin(self, plan: Any) -> None:
        self.plan = plan

    def add(self, trial: Any) -> None:
        pass

    def lost(self, number: int, cause: str) -> None:
        self.lost_trials.append(number)
        assert "SIGKILL" in cause or "KilledWorker" in cause


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_killed_worker_loses_what_it_was_at_and_no_more(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Trial 3 ends its worker once, trial 5 always."""
    if backend == "dask":
        request.getfixturevalue("dask_client")
    runs = tmp_path / "runs"
    runs.mkdir()
    deaths = {3: 1, 5: 100}
    candidates = [{"x": x, "deaths": deaths.get(x, 0), "folder": str(runs)} for x in range(1, 8)]
    told = Told()
    trials = search(deadly, candidates, DATA, jobs=2, backend=backend, folder=tmp_path / "search", display=told)
    assert [trial.score for trial in trials] == [None if x == 5 else TOTAL - (x - 3) ** 2 for x in range(1, 8)]
    fifth = trials[4]
    assert fifth.attempts == 3
    assert fifth.error is not None
    assert fifth.error.startswith("its worker died 3 times: ")
    assert {3, 5} <= set(told.lost_trials)
    assert len(told.lost_trials) == len(set(told.lost_trials)), "from then on each is alone"
    counts = {x: len((runs / str(x)).read_text().splitlines()) for x in range(1, 8)}
    assert counts[5] == 3
    assert trials[2].attempts == 2 == counts[3]
    assert all(counts[x] <= 2 for x in (1, 2, 4, 6, 7))
    again = search(deadly, candidates, DATA, jobs=2, backend=backend, folder=tmp_path / "search", resume=True)
    assert again == trials
    assert counts == {x: len((runs / str(x)).read_text().splitlines()) for x in range(1, 8)}, "nothing is done twice"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"objective": 3}, TypeError, "search: objective must be callable; got int"),
        ({"candidates": {"x": 1}}, TypeError, "search: candidates must be a sequence of mappings; got dict"),
        ({"candidates": []}, ValueError, "search: candidates must not be empty"),
        ({"candidates": [{"x": object()}]}, TypeError, r"search: candidates\[0\] must hold JSON values; got object"),
        ({"candidates": [3]}, TypeError, r"search: candidates\[0\] must be a mapping; got int"),
        ({"candidates": [{"x": float("nan")}]}, ValueError, r"search: candidates\[0\] must hold finite numbers"),
        ({"seed": -1}, ValueError, "search: seed must be between 0 and"),
        ({"jobs": 0}, ValueError, "search: jobs must be between 1 and"),
        ({"threads": 1.5}, TypeError, "search: threads must be an int"),
        ({"threads": 10**6}, ValueError, "search: threads must be at most [0-9]+ in this process; got 1000000"),
        ({"attempts": 0}, ValueError, "search: attempts must be between 1 and"),
        ({"backend": "multiprocessing"}, ValueError, r"search: backend must be one of \('loky', 'threading', 'dask'\)"),
        ({"resume": True}, ValueError, "search: resume needs the folder of the search to go on with"),
        ({"resume": 1}, TypeError, "search: resume must be a bool; got int"),
    ],
)
def test_what_cannot_be_searched_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(**{"objective": parabola, "candidates": GRID, "jobs": 1, **change})


def test_equal_candidates_are_tried_once() -> None:
    trials = search(parabola, [{"x": 1}, {"x": np.int64(1)}, {"x": 2}], jobs=1)
    assert [trial.parameters for trial in trials] == [{"x": 1}, {"x": 2}]


def test_dask_workers_listen_to_this_machine_only_and_end_with_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil comes with Dask (extra 'dask')")
    from fastcnn.search import dask_cluster

    before, local = {*psutil.Process().children(recursive=True)}, dask_cluster.local
    started: list[Any] = []
    addresses: set[str] = set()

    @contextlib.contextmanager
    def watched(jobs: int) -> Iterator[Any]:
        with local(jobs) as client:
            new = {*psutil.Process().children(recursive=True)} - before
            started.extend(process for process in new if "resource_tracker" not in " ".join(process.cmdline()))  # which serves this process
            for process in (psutil.Process(), *started):
                sockets = getattr(process, "net_connections", None) or process.connections
                addresses.update(socket.laddr.ip for socket in sockets("inet") if socket.status == psutil.CONN_LISTEN)
            yield client

    monkeypatch.setattr(dask_cluster, "local", watched)
    options = ["--dataset", "digits", "--images", "100", "--grid", "epochs=1", "--backend", "dask", "--jobs", "1"]
    assert main(["search", *options, "--out", str(tmp_path)]) == 0
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 2
    assert started
    assert addresses == {"127.0.0.1"}
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive
