"""The experiments of the book's sixth chapter: each finds what it is there to find. tests/experiments runs them whole."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import data

from .rows import row


def experiment(name: str) -> Any:
    """Return a file of scripts/experiments, which is on the path of tests."""
    return importlib.import_module(name)


@row(
    "experiments",
    "optimisers compared; activations by initial weights; 16 initial scales with batch normalisation and without; 300 images over-fitted",
    module="fastcnn.models.perceptrons",
    example="scripts/experiments/optimisers.py",
)
def test_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    digits = data.digits()
    optimisers = experiment("optimisers")
    x, velocity = np.array(optimisers.START), np.zeros(2)
    for place in optimisers.path(optimisers.CONTESTANTS["Momentum"].valley):  # v = 0.9 v - 0.1 g; x += v
        np.testing.assert_allclose(place, x, rtol=1e-6, atol=1e-9)
        velocity = 0.9 * velocity - 0.1 * np.array([x[0] / 10, 2 * x[1]])
        x = x + velocity

    activations = experiment("initialisers").activations
    assert activations("relu", "0.01", 0)[-1].std() < 1e-5, "the signal has died"
    assert 0.6 < activations("relu", "he", 0)[-1].std() < 1.2
    assert 0.2 < activations("tanh", "xavier", 0)[-1].std() < 0.5

    norm = experiment("batch_norm")
    assert norm.SCALES.size == 16
    with_norm, without = (norm.accuracies(digits, norm.SCALES[8], on, 5, 0)[-1] for on in (True, False))
    assert with_norm > 0.9 > 0.2 > without
    assert np.isnan(norm.accuracies(digits, norm.SCALES[0], False, 2, 0)).all()
    assert "the loss became nan" in capsys.readouterr().out

    over = experiment("overfitting")
    few = digits._replace(train_images=digits.train_images[: over.IMAGES], train_labels=digits.train_labels[: over.IMAGES])
    plain = over.train(few, decay=0.0, dropout=0.0, epochs=60, seed=0)
    assert plain.train[-1] > 0.99
    assert plain.gap > 0.05
    assert over.train(few, decay=0.1, dropout=0.0, epochs=60, seed=0).train[-1] < 0.95


@row(
    "hyper-parameter search",
    "random trials, learning rate 1e-6 to 1e-2 and decay 1e-8 to 1e-4 evenly on a logarithmic scale, judged by held-out training images",
    module="scripts.experiments.hyper_parameters",
    example="scripts/experiments/hyper_parameters.py",
)
def test_hyper_parameter_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = experiment("hyper_parameters")
    rng = np.random.default_rng(0)
    drawn = np.log10([search.log_uniform(rng, *search.RATES) for _ in range(4000)])
    assert (drawn >= -6).all()
    assert (drawn <= -2).all()
    shares, _ = np.histogram(drawn, bins=4, range=(-6, -2))
    np.testing.assert_allclose(shares / 4000, 0.25, atol=0.03)  # as many in every decade

    judges = []
    train = search.train
    monkeypatch.setattr(search, "train", lambda part, *rest: judges.append(part) or train(part, *rest))
    trials, accuracy = search.main(["--quick", "--trials", "8", "--seed", "3", "--out", str(tmp_path)])
    whole = data.digits()
    known = {image.tobytes() for image in whole.train_images[:500]}
    assert len(judges) == 9, "the trials, and the winner once more"
    assert all((len(part.train_images), len(part.test_images)) == (400, 100) for part in judges)
    assert {image.tobytes() for part in judges for image in (*part.train_images, *part.test_images)} == known, "no test image has a say"
    assert trials[0].accuracy == max(trial.accuracies[-1] for trial in trials) > 0.5
    assert 0.5 < accuracy < 1
