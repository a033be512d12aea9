"""Experiments that compare: what they find, on scikit-learn's digits (``--quick``), and that their pictures show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import optimisers
from _common import BLUE, COLOURS, GREEN, ORANGE, RED
from fastcnn import data
from fastcnn.init import he_normal

from ._pictures import assert_drawn, pixels, quick


def test_freezing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accuracies, curves = quick("freezing", tmp_path)
    none, conv, dense = (float(np.mean(accuracies[case])) for case in ("none", "conv", "dense"))
    assert none >= 0.98
    assert conv >= 0.98
    assert 0.6 < dense < none - 0.05
    assert curves["none"].shape == (3, 20 * 19), "runs, steps of 292 images in batches of 16"
    assert curves["none"][:, -1].min() > 0.98 > curves["dense"][:, -1].max()
    assert_drawn(tmp_path / "freezing.png", (BLUE, GREEN, RED))
    assert "dense layer frozen" in capsys.readouterr().out


def test_freezing_on_mnist(tmp_path: Path) -> None:
    """One epoch of 1 against 3, once: the original's numbers are .996 (none), .996 (conv frozen), .795 (dense frozen)."""
    import freezing

    try:
        pair = data.mnist(download=False).only([1, 3])
    except data.DatasetNotFound as error:
        pytest.skip(f"MNIST is not here: {str(error).splitlines()[0]}")
    none, conv, dense = (freezing.train(pair, case, 1, seed=0)[0] for case in ("none", "conv", "dense"))
    assert none >= 0.99
    assert conv >= 0.99
    assert dense < 0.9


def test_optimisers(tmp_path: Path) -> None:
    losses, accuracies, paths = quick("optimisers", tmp_path)
    assert set(losses) == {"SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam", "AdamW", "Adadelta"}
    assert len({steps[0] for steps in losses.values()}) == 1, "all begin with the same weights and batch"
    last = {name: np.mean(steps[-20:]) for name, steps in losses.items()}
    assert max(last, key=last.__getitem__) == "SGD"
    assert all(last[name] < last["SGD"] / 3 for name in last if name != "SGD")
    assert min(accuracies.values()) == accuracies["SGD"] < 0.9 < sorted(accuracies.values())[1]

    # Plain descent in closed form: x (1 - 0.95 / 10)^t and y (1 - 0.95 2)^t, which changes its sign at every step
    steps = np.arange(optimisers.STEPS + 1)
    np.testing.assert_allclose(paths["SGD"], np.stack([-7 * 0.905**steps, 2 * (-0.9) ** steps], axis=1), rtol=1e-6)
    start = optimisers.valley(*optimisers.START)
    assert all(optimisers.valley(*way[-1]) < 0.05 * start for way in paths.values())
    assert_drawn(tmp_path / "optimisers.png", COLOURS)
    assert_drawn(tmp_path / "optimiser_paths.png", COLOURS)


def test_initialisers(tmp_path: Path) -> None:
    activations, losses = quick("initialisers", tmp_path)
    deviation = {case: layers.std(axis=(1, 2)) for case, layers in activations.items()}
    assert all(layers.shape == (5, 1000, 100) for layers in activations.values())
    # 100 weights of 0.01: a tenth of the signal is left after each layer with tanh, which is the identity at 0
    np.testing.assert_allclose(deviation["tanh", "0.01"], 10.0 ** -np.arange(1, 6), rtol=0.15)
    # E[x^2] stays with He's variance of 2 / n, as ReLU lets a half through, and halves in every layer with Xavier's, 1 / n here
    squares = {name: np.mean(activations["relu", name] ** 2, axis=(1, 2)) for name in ("he", "xavier")}
    np.testing.assert_allclose(squares["he"], 1, rtol=0.4)
    np.testing.assert_allclose(squares["xavier"], 0.5 ** np.arange(1, 6), rtol=0.4)
    last = activations["sigmoid", "0.01"][-1]
    assert last.std() < 0.02
    assert last.mean() == pytest.approx(0.5, abs=0.01)

    end = {case: np.mean(steps[-20:]) for case, steps in losses.items()}
    for kind in ("sigmoid", "tanh", "relu"):
        assert end[kind, "0.01"] == pytest.approx(np.log(10), abs=0.05), "nothing learnt: the loss of a guess among ten"
    assert max(end[kind, name] for kind in ("tanh", "relu") for name in ("xavier", "he")) < 0.3
    assert end["relu", "he"] < end["relu", "xavier"]
    assert_drawn(tmp_path / "initialisers.png", (RED, BLUE, GREEN))
    assert_drawn(tmp_path / "activations.png")


def test_batch_norm(tmp_path: Path) -> None:
    scales, with_norm, without = quick("batch_norm", tmp_path)
    np.testing.assert_allclose(scales, 10.0 ** (-4 * np.arange(16) / 15))
    assert with_norm.shape == without.shape == (16, 20)
    assert np.isfinite(with_norm).all()
    assert np.isnan(without[0]).all(), "a deviation of 1 explodes in the first epoch"
    learnt, alone = with_norm[:, -1] > 0.5, without[:, -1] > 0.5
    assert learnt[:13].all()
    assert alone.sum() <= 3, "without it, only scales near He's, 0.14 to 0.25, learn"
    assert alone[np.abs(np.log(scales / he_normal((100, 100), np.random.default_rng(0)).std())).argmin()]
    assert_drawn(tmp_path / "batch_norm.png", (BLUE, RED))


def test_overfitting(tmp_path: Path) -> None:
    found = quick("overfitting", tmp_path)
    plain, dropout, strong = found["plain"], found["dropout 0.2"], found["weight decay 0.1"]
    assert plain.epochs.tolist() == [*range(1, 200, 5), 200]
    assert plain.train[-1] == 1.0, "learnt by heart"
    assert plain.gap > 0.05
    assert dropout.test[-1] > plain.test[-1]  # by 0.8 to 2.5 points with seeds 0 to 3
    assert dropout.gap < plain.gap
    assert strong.train[-1] < 0.95, "too much of a remedy"
    assert_drawn(tmp_path / "overfitting.png", (BLUE, RED))


def test_hyper_parameters(tmp_path: Path) -> None:
    trials, accuracy = quick("hyper_parameters", tmp_path)
    assert len(trials) == 30
    assert [t.accuracy for t in trials] == sorted((t.accuracy for t in trials), reverse=True)
    assert all(len(t.accuracies) == 50 and 1e-6 <= t.rate <= 1e-2 and 1e-8 <= t.decay <= 1e-4 for t in trials)
    assert min(t.rate for t in trials[:5]) > 1e-3, "the largest rates win"
    assert max(t.accuracy for t in trials if t.rate < 1e-4) < 0.3 < 0.7 < trials[0].accuracy
    assert 0.7 < accuracy < 1
    assert_drawn(tmp_path / "hyper_parameters.png", (RED,), least=100)


def test_a_seed_repeats_an_experiment_and_another_does_not(tmp_path: Path) -> None:
    runs = [quick("hyper_parameters", tmp_path / str(i), "--trials", "2", "--seed", seed) for i, seed in enumerate("112")]
    assert runs[0] == runs[1] != runs[2]
    first, again, other = (pixels(tmp_path / str(i) / "hyper_parameters.png") for i in range(3))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_gradient_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong, gradients, errors = quick("gradient_check", tmp_path)
    assert right.passed
    assert right.error < 1e-6
    assert {row.name for row in wrong.rows if row.verdict == "wrong"} == {"0.weight", "0.bias"}
    for row in wrong.rows:
        if row.verdict == "wrong":  # a quarter of the gradient: |1/4 - 1| / (1/4 + 1)
            assert row.error == pytest.approx(0.6, abs=1e-4)
    assert {name: computed.shape for name, (computed, _) in gradients.items()} == {
        "0.weight": (4, 1, 3, 3), "0.bias": (4,), "4.weight": (10, 36), "4.bias": (10,)
    }  # fmt: skip
    for computed, numerical in gradients.values():
        np.testing.assert_allclose(computed, numerical, atol=1e-8)
    # Error of a central difference: f''' h^2 / 6, so a hundredth for a tenth of the step, until rounding takes over
    assert 50 < errors[2] / errors[4] < 200
    assert errors.min() < 1e-8 < errors[-1]
    assert_drawn(tmp_path / "gradient_check.png", (GREEN, RED, BLUE))
    assert "gradient check passed" in (out := capsys.readouterr().out)
    assert "gradient check FAILED" in out


def test_colours_can_be_told_apart_by_all() -> None:
    """Okabe and Ito's colours stay apart as seen without one kind of cones (Viénot, Brettel & Mollon, 1999: a projection in linear RGB)."""
    values = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in (BLUE, RED, GREEN, ORANGE)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    protan = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    deutan = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    for seen in (linear @ protan.T, linear @ deutan.T):
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(4, 1)]
        assert apart.min() > 0.1
