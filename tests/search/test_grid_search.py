"""scikit-learn's own search, of `CNNClassifier`: joblib's processes and Dask's workers find what a single process finds."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from fastcnn.estimator import CNNClassifier

ROOT = Path(__file__).parents[2]
CANDIDATES = {"learning_rate_init": [1e-5, 0.001, 0.003, 0.01], "batch_size": [16, 64]}


def searched(**options: Any) -> GridSearchCV:
    X, y = load_digits(return_X_y=True)
    search = GridSearchCV(CNNClassifier(max_iter=4, random_state=0, threads=1), CANDIDATES, cv=2, **options)
    return search.fit(X[:300], y[:300])


@functools.cache
def serial() -> GridSearchCV:
    return searched()


def assert_same(found: GridSearchCV) -> None:
    want = serial()
    scores = want.cv_results_["mean_test_score"]
    assert len(scores) == 8
    assert len(set(scores)) >= 6, "scores that are all alike would show nothing"
    assert found.best_params_ == want.best_params_
    assert found.cv_results_["params"] == want.cv_results_["params"]
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], scores)
    np.testing.assert_array_equal(found.cv_results_["std_test_score"], want.cv_results_["std_test_score"])
    X, _ = load_digits(return_X_y=True)
    np.testing.assert_array_equal(found.predict(X[300:600]), want.predict(X[300:600]))


def test_processes_of_joblib_find_what_one_process_finds() -> None:
    assert_same(searched(n_jobs=2))


def test_a_dask_cluster_finds_what_one_process_finds(dask_client: Any) -> None:
    with joblib.parallel_config("dask"):
        assert_same(searched())


def test_the_example_on_dask_runs() -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (extra 'dask')")
    command = [sys.executable, ROOT / "scripts/examples/dask_grid_search.py", "--models", "lenet5", "--rates", "1e-6", "0.01"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([*command, "--epochs", "4", "--workers", "1"], capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr
    first, *scores, last = done.stdout.splitlines()
    assert first == "workers: 1"
    assert len(scores) == 2
    assert "'learning_rate_init': 0.01" in last
    assert float(last.split()[-1]) > 0.9
