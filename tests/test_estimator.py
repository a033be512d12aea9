"""`CNNClassifier`: scikit-learn's own checks, and what they do not look at."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra 'sklearn')")

import joblib
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastcnn
from fastcnn.data.augment import Augment
from fastcnn.estimator import CNNClassifier
from fastcnn.estimator.labels import WeightedCrossEntropy
from fastcnn.estimator.network import adapted
from fastcnn.layers import Dropout, Flatten, Linear, Sequential
from fastcnn.models import MODELS, digit_net
from fastcnn.train import evaluate

ROOT = Path(__file__).parents[1]


@parametrize_with_checks([CNNClassifier()])
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def bars(count: int = 120, classes: int = 3, shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images of noise with a bright bar whose row is the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    images = rng.integers(0, 100, (count, *shape), np.uint8)
    images[np.arange(count), :, 2 * labels] += 90
    return images, labels


def small(**options: Any) -> CNNClassifier:
    return CNNClassifier(**{"max_iter": 4, "random_state": 0, **options})


def test_learns_digits() -> None:
    X, y = load_digits(return_X_y=True)
    assert cross_val_score(CNNClassifier(random_state=0), X, y, cv=5).mean() >= 0.97


def test_learns_a_table_whatever_its_units() -> None:
    X, y = load_iris(return_X_y=True)
    first = CNNClassifier(max_iter=40, random_state=0)
    assert cross_val_score(first, X, y, cv=5).mean() >= 0.93
    assert first.fit(X, y).image_shape_ == (1, 1, 4)
    other = clone(first).fit(X * [1e6, 1e-6, 1, 1] + [0, 0, 1e4, 0], y)
    np.testing.assert_array_equal(other.predict(X * [1e6, 1e-6, 1, 1] + [0, 0, 1e4, 0]), first.predict(X))


# --- Input ---------------------------------------------------------------------------------------------------------------


def test_images_come_in_many_forms() -> None:
    images, y = bars()
    expected = small().fit(images, y)
    assert expected.image_shape_ == (1, 8, 8)
    assert expected.n_features_in_ == 64
    probabilities = expected.predict_proba(images)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    rows = images.reshape(len(images), 64)
    forms = [images[:, 0], rows, rows.astype(float), rows.astype(np.float32), rows.astype(np.int64), rows.astype(float).tolist()]
    for form in forms:
        np.testing.assert_allclose(small().fit(form, y).predict_proba(images), probabilities, atol=1e-4)
        np.testing.assert_allclose(expected.predict_proba(form), probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("features", "options", "shape"),
    [(64, {}, (1, 8, 8)), (49, {}, (1, 1, 49)), (65, {}, (1, 1, 65)), (64, {"image_shape": (1, 1, 64)}, (1, 1, 64)),
     (96, {"image_shape": [2, 6, 8]}, (2, 6, 8)), (9, {"image_shape": (1, 3, 3)}, (1, 3, 3))],
)  # fmt: skip
def test_what_rows_are(features: int, options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    X = np.random.default_rng(0).normal(size=(12, features))
    fitted = small(max_iter=1, **options).fit(X, np.arange(12) % 2)
    assert fitted.image_shape_ == shape
    assert fitted.model_.output_shape(shape) == (2,)


def test_predictions_are_those_of_the_network() -> None:
    images, y = bars()
    fitted = small().fit(images, y)
    x = ((images - images.mean()) / images.std()).astype(np.float32)
    logits = fitted.model_.eval()(x).astype(float)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(images), softmax, atol=1e-5)
    assert fitted.score(images, y) == evaluate(fitted.model_, x, y)


def test_constant_pixels_and_features_are_no_division_by_zero() -> None:
    X = np.random.default_rng(0).normal(size=(30, 5))
    X[:, 1] = 0.1
    fitted = small().fit(X, X[:, 0] > 0)
    X[:, 1] = 0.2
    assert np.isfinite(fitted.predict_proba(X)).all()
    assert np.isfinite(small().fit(np.full((10, 8, 8), 7), np.arange(10) % 2).predict_proba(np.full((1, 64), 9))).all()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_fits_colours_and_oblongs(name: str) -> None:
    shape = (3, 20, 24)
    images, y = bars(24, 3, shape)
    fitted = small(model=name, max_iter=1).fit(images, y)
    assert fitted.model_.output_shape(shape) == (3,)
    assert fitted.predict_proba(images).shape == (24, 3)


def test_what_fits_is_left_as_it_is() -> None:
    network = digit_net(8, rng=0)
    kept = adapted(network, (1, 8, 8), 10, np.random.default_rng(1))
    assert all(a is b for a, b in zip(network.layers, kept.layers, strict=True))
    other = adapted(network, (2, 8, 8), 4, np.random.default_rng(1))
    changed = [i for i, (a, b) in enumerate(zip(network.layers, other.layers, strict=True)) if a is not b]
    assert changed == [0, len(network) - 1]
    assert other.layers[0].params["weight"].shape == (24, 2, 3, 3)
    assert other.layers[0].window == network.layers[0].window


def perceptron(shape: tuple[int, int, int], classes: int, rng: np.random.Generator) -> Sequential:
    return Sequential(Flatten(), Dropout(0.1, rng=rng), Linear(int(np.prod(shape)), classes, rng=rng))


def test_a_model_may_be_a_function() -> None:
    images, y = bars()
    fitted = small(model=perceptron, max_iter=20).fit(images, y)
    assert [type(layer) for layer in fitted.model_] == [Flatten, Dropout, Linear]
    assert fitted.score(images, y) > 0.9


# --- Labels and losses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [np.array(["zero", "one", "two"]), np.array([7.0, -1.0, 3.0]), np.array(["b", "a", "c"], object)])
def test_labels_of_any_kind(names: np.ndarray) -> None:
    images, y = bars()
    plain, named = small(max_iter=8).fit(images, np.argsort(np.argsort(names))[y]), small(max_iter=8).fit(images, names[y])
    np.testing.assert_array_equal(named.classes_, np.sort(names))
    np.testing.assert_array_equal(named.predict_proba(images), plain.predict_proba(images))
    np.testing.assert_array_equal(named.predict(images), named.classes_[plain.predict(images)])
    assert named.score(images, names[y]) > 0.9


def test_weighted_loss() -> None:
    rng = np.random.default_rng(0)
    logits, target, weight = rng.normal(size=(7, 3)).astype(np.float32), rng.integers(0, 3, 7), np.array([0.5, 2, 0], np.float32)
    criterion = WeightedCrossEntropy(weight, 0.3)
    loss, gradient, right = criterion.step(logits, target)
    softmax = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=1, keepdims=True)
    wanted = 0.7 * np.eye(3)[target] + 0.1
    assert loss == pytest.approx((weight[target] * -(wanted * np.log(softmax)).sum(axis=1)).sum() / 7, rel=1e-5)
    np.testing.assert_allclose(gradient, weight[target][:, None] * (softmax - wanted) / 7, atol=1e-6)
    assert right == (logits.argmax(axis=1) == target).sum()
    assert criterion(logits, target) == loss
    np.testing.assert_allclose(criterion.backward(), gradient, atol=1e-6)


def test_class_weights_shift_what_is_predicted() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(300) % 10 == 0).astype(int)  # a tenth
    X = rng.normal(size=(300, 2)) + y[:, None]
    options = {"max_iter": 30, "random_state": 0}
    plain = CNNClassifier(**options).fit(X, y)
    balanced = CNNClassifier(class_weight="balanced", **options).fit(X, y)
    by_hand = CNNClassifier(class_weight={0: 1, 1: 9}, **options).fit(X, y)
    assert plain.predict(X).mean() < 0.15 < 0.25 < balanced.predict(X).mean()
    np.testing.assert_allclose(by_hand.predict_proba(X), balanced.predict_proba(X), atol=1e-3)


# --- Runs ------------------------------------------------------------------------------------------------------------------


def test_same_seed_same_bits() -> None:
    images, y = bars()
    first, again, other = (small(random_state=seed).fit(images, y) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.predict_proba(images), again.predict_proba(images))
    assert not np.array_equal(first.predict_proba(images), other.predict_proba(images))
    assert first.history_.step_losses == again.history_.step_losses
    generator = np.random.RandomState(5)
    np.testing.assert_array_equal(small(random_state=generator).fit(images, y).predict_proba(images), first.predict_proba(images))
    assert not np.array_equal(small(random_state=generator).fit(images, y).predict_proba(images), first.predict_proba(images))


def test_epochs_and_batches() -> None:
    images, y = bars(100)
    fitted = small(max_iter=2.5, batch_size=30).fit(images, y)
    assert fitted.n_iter_ == len(fitted.history_.epochs) == 3
    assert len(fitted.history_.step_losses) == 10
    assert max(epoch.learning_rate for epoch in fitted.history_.epochs) <= 0.003
    assert small(max_iter="auto").fit(*bars(20)).n_iter_ == 200
    assert CNNClassifier(random_state=0, model=perceptron).fit(*bars(1280)).n_iter_ == 20  # 40 batches of 32


def test_early_stopping_keeps_the_best_epoch() -> None:
    images, y = bars(200)
    fitted = small(early_stopping=True, validation_fraction=0.25, n_iter_no_change=3, max_iter=60).fit(images, y)
    accuracies = [epoch.validation_accuracy for epoch in fitted.history_.epochs]
    best = int(np.argmax(accuracies))
    assert fitted.n_iter_ == len(accuracies) == best + 1 + 3 < 60
    assert {epoch.learning_rate for epoch in fitted.history_.epochs} == {0.003}
    short = small(early_stopping=True, validation_fraction=0.25, n_iter_no_change=3, max_iter=best + 1).fit(images, y)
    np.testing.assert_array_equal(fitted.predict_proba(images), short.predict_proba(images))


def test_warm_start_goes_on() -> None:
    images, y = bars()
    fitted = small(warm_start=True, max_iter=2).fit(images, y)
    network, before = fitted.model_, fitted.history_
    fitted.fit(images, y)
    assert fitted.model_ is network
    assert fitted.history_.epochs[0].loss < before.epochs[0].loss
    assert len(fitted.history_.epochs) == 2
    fitted.set_params(warm_start=False).fit(images, y)
    assert fitted.history_.step_losses == before.step_losses


def test_partial_fit_goes_on() -> None:
    images, y = bars(240)
    parts = [(images[i::3], y[i::3]) for i in range(3)]
    fitted = CNNClassifier(random_state=0)
    for _ in range(4):
        for part in parts:
            fitted.partial_fit(*part, classes=[0, 1, 2])
    assert fitted.score(images, y) > 0.9
    assert [epoch.number for epoch in fitted.history_.epochs] == list(range(1, 13))
    assert fitted.n_iter_ == 12
    seconds = [epoch.seconds for epoch in fitted.history_.epochs]
    assert seconds == sorted(seconds)
    assert len(fitted.history_.step_losses) == 12 * 3


def test_partial_fit_may_miss_classes() -> None:
    images, y = bars()
    fitted = CNNClassifier(random_state=0).partial_fit(images[y == 1], y[y == 1], classes=[2, 1, 0])
    np.testing.assert_array_equal(fitted.classes_, [0, 1, 2])
    assert fitted.predict_proba(images).shape == (120, 3)


def test_augmentation_fills_in_the_units_of_the_data() -> None:
    images, y = np.full((40, 8, 8), 200, np.uint8), np.arange(40) % 2
    images[:20] = 100
    seen: list[np.ndarray] = []

    class Watching(Flatten):
        def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
            seen.append(x.copy())
            return super().apply(x)

    def network(shape: Any, classes: int, rng: np.random.Generator) -> Sequential:
        return Sequential(Watching(), Linear(64, classes, rng=rng))

    small(model=network, augment=Augment(shift=6, fill=20), max_iter=1).fit(images, y)
    pixels = np.concatenate(seen) * images.std() + images.mean()
    assert pixels.min() == pytest.approx(20, abs=0.01)
    assert pixels.max() == pytest.approx(200, abs=0.01)


@pytest.mark.parametrize("way", ["pickle", "joblib", "joblib, mapped"])
def test_pickles_predict_and_learn_the_same_bits(way: str, tmp_path: Path) -> None:
    images, y = bars()
    original = CNNClassifier(model=perceptron, random_state=0).partial_fit(images, y, classes=[0, 1, 2])
    if way == "pickle":
        copied = pickle.loads(pickle.dumps(original))
    else:
        joblib.dump(original, tmp_path / "model")
        copied = joblib.load(tmp_path / "model", mmap_mode="r" if way.endswith("mapped") else None)
    np.testing.assert_array_equal(copied.predict_proba(images), original.predict_proba(images))
    for fitted in (copied, original):
        fitted.partial_fit(images, y)  # dropout, order and Adam go on as they would have
    np.testing.assert_array_equal(copied.predict_proba(images), original.predict_proba(images))
    assert len(pickle.dumps(copied)) < 30_000  # weights and Adam's memory, 2 KiB, and no batch


def test_verbose_shows_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    images, y = bars(40)
    small(max_iter=2).fit(images, y)
    assert capsys.readouterr().out == ""
    small(max_iter=2, verbose=True).fit(images, y)
    assert len(re.findall(r"^epoch \d/2 ", capsys.readouterr().out, re.M)) == 2


# --- In scikit-learn's hands -----------------------------------------------------------------------------------------------


def test_pipeline_and_parameters() -> None:
    images, y = bars()
    pipeline = make_pipeline(StandardScaler(), CNNClassifier(random_state=0, image_shape=(1, 8, 8)))
    pipeline.set_params(cnnclassifier__max_iter=6)
    assert pipeline.fit(images.reshape(-1, 64), y).score(images.reshape(-1, 64), y) > 0.9
    inverted = make_pipeline(FunctionTransformer(lambda x: 255 - x), small(max_iter=6)).fit(images, y)  # of rank 4
    assert inverted.score(images, y) > 0.9
    options = CNNClassifier(max_iter=3, augment=Augment(shift=1)).get_params()
    assert options["max_iter"] == 3
    assert clone(CNNClassifier(**options)).get_params() == options


def test_grid_search_on_two_workers() -> None:
    images, y = bars(150)
    search = GridSearchCV(small(max_iter=6), {"learning_rate_init": [1e-6, 0.003], "model": ["digit-net", perceptron]}, cv=3, n_jobs=2)
    search.fit(images, y)
    assert search.best_params_["learning_rate_init"] == 0.003
    assert search.best_score_ > 0.9
    assert search.score(images, y) > 0.9
    alone = GridSearchCV(small(max_iter=6), {"learning_rate_init": [0.003], "model": ["digit-net"]}, cv=3).fit(images, y)
    assert search.cv_results_["mean_test_score"][2] == pytest.approx(alone.best_score_, abs=0.03)


def test_two_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(fastcnn.get_threads)() for _ in range(4))
    assert sum(threads[:2]) <= max(2, joblib.cpu_count())


def test_threads_are_limited() -> None:
    seen: list[int] = []

    class Counting(Flatten):
        def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
            seen.append(fastcnn.get_threads())
            return super().apply(x)

    def network(shape: Any, classes: int, rng: np.random.Generator) -> Sequential:
        return Sequential(Counting(), Linear(64, classes, rng=rng))

    images, y = bars()
    small(model=network, threads=1).fit(images, y).predict(images)
    assert set(seen) == {1}
    small(model=network, threads=1000).fit(images, y)
    assert set(seen) == {1, fastcnn.get_threads()}


def test_the_example_runs() -> None:
    command = [sys.executable, ROOT / "scripts/examples/sklearn_grid_search.py", "--models", "lenet5", "--rates", "1e-6", "0.01"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--epochs", "4", "--jobs", "2"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    *scores, last = done.stdout.splitlines()
    assert len(scores) == 2
    assert "'learning_rate_init': 0.01" in last
    assert float(last.split()[-1]) > 0.9


# --- Refusals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nothing"}, r"model must be one of auto, .*digit-net.*; got 'nothing'$"),
        ({"model": digit_net(8)}, r"model must be a function that makes a network, .*; got a Layer$"),
        ({"model": np.zeros(2)}, r"model must be one of auto, "),
        ({"model": lambda shape, classes, rng: 3}, r"model must return a Layer; got int$"),
        ({"model": lambda shape, classes, rng: Linear(7, classes)}, r"does not take samples of shape \(1, 8, 8\)"),
        ({"model": lambda shape, classes, rng: perceptron(shape, 5, rng)}, r"one logit for each of 3 classes; got shape \(N, 5\)$"),
        ({"image_shape": (8, 8)}, r"image_shape must be \(C, H, W\); got \(8, 8\)$"),
        ({"image_shape": (1, 4, 4)}, r"image_shape must be that of X; got \(1, 4, 4\) for X of shape \(N, 1, 8, 8\)$"),
        ({"max_iter": 0}, r"max_iter must be above 0; got 0"),
        ({"max_iter": "many"}, r"max_iter must be a float; got str$"),
        ({"batch_size": 0}, r"batch_size must be between 1 and"),
        ({"learning_rate_init": -1}, r"learning_rate_init must be above 0; got -1"),
        ({"weight_decay": -1}, r"weight_decay must not be negative; got -1"),
        ({"label_smoothing": 1}, r"label_smoothing must be at least 0 and below 1; got 1"),
        ({"augment": "some"}, r"augment must be a fastcnn.data.augment.Augment; got str$"),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, r"class_weight must be finite, not negative, and not 0 for all classes; got"),
        ({"class_weight": {0: 1, 1: -1, 2: 1}}, r"class_weight must be finite, not negative, and not 0 for all classes; got"),
        ({"early_stopping": 1}, r"early_stopping must be a bool; got int$"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be between 0 and 1; got 1.0$"),
        ({"n_iter_no_change": 0}, r"n_iter_no_change must be between 1 and"),
        ({"tol": float("nan")}, r"tol must be finite; got nan$"),
        ({"precision": "low"}, r"precision must be one of"),
        ({"threads": 0}, r"threads must be between 1 and"),
        ({"warm_start": "no"}, r"warm_start must be a bool; got str$"),
    ],
)
def test_parameters_are_refused_by_fit(options: dict[str, Any], message: str) -> None:
    refused = CNNClassifier(**options)
    with pytest.raises((TypeError, ValueError), match=rf"^CNNClassifier: (the )?.*{message}"):
        refused.fit(*bars(12))
    assert not hasattr(refused, "model_")


def test_data_is_refused() -> None:
    images, y = bars(12)
    with pytest.raises(ValueError, match=r"y must have at least 2 classes; got 1 class: "):
        small().fit(images, np.zeros(12))
    with pytest.raises(ValueError, match=r"augment must be None for a table"):
        small(augment=Augment(shift=1)).fit(np.zeros((12, 5)), y)
    with pytest.raises(ValueError, match=r"squares float64 can hold; got up to 1e\+300"):
        small().fit(np.full((12, 5), 1e300) * (y[:, None] - 1), y)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        small().predict(images)
    with pytest.raises(ValueError, match=r"^CNNClassifier: Complex data not supported; X has dtype complex64$"):
        small().fit(images.astype(np.complex64), y)
    with pytest.raises(ValueError, match=r"^CNNClassifier: X of shape .* would take"):
        small().fit(np.broadcast_to(np.uint8(1), (12, 8, 2**45)), y)
    fitted = small(warm_start=True).fit(images, y)
    with pytest.raises(ValueError, match=r"images of X must be \(1, 8, 8\) as in fit; got \(1, 4, 16\)$"):
        fitted.predict(images.reshape(12, 4, 16))
    with pytest.raises(ValueError, match=r"y must be of the classes \[0 1 2\] of the first call; got \[9\]$"):
        fitted.fit(images, np.where(y == 1, 9, y))


def test_a_network_that_has_lost_its_way_predicts_nothing() -> None:
    """Its outputs are beyond float32: of NaN the first class is the largest, which says nothing of X."""
    images, y = bars(12)
    lost = small(max_iter=1, learning_rate_init=2**70, early_stopping=True, model="two-layer-net").fit(images, y)
    with pytest.raises(ValueError, match=r"^CNNClassifier: outputs for X are not finite; a lower learning_rate_init in fit"):
        lost.predict(images)
    with pytest.raises(ValueError, match=r"^CNNClassifier: step .*: the loss became .* \(learning_rate_init=1e\+30\)$"):
        small(learning_rate_init=1e30, max_iter=20).fit(images, y)


def test_outputs_that_are_far_apart_are_certain() -> None:
    """Differences of logits may be beyond float32."""
    images, y = bars(12)
    fitted = small(max_iter=1).fit(images, y)
    apart = Linear(64, 3, rng=0, init="zeros")
    apart.params["bias"][:] = -3e38, 3e38, 0
    fitted.model_ = Sequential(Flatten(), apart)
    np.testing.assert_array_equal(fitted.predict_proba(images), np.tile(np.float32([0, 1, 0]), (12, 1)))


def test_partial_fit_refuses() -> None:
    images, y = bars(12)
    with pytest.raises(ValueError, match=r"partial_fit: classes must be given in the first call$"):
        small().partial_fit(images, y)
    with pytest.raises(ValueError, match=r"partial_fit: early_stopping must be False"):
        small(early_stopping=True).partial_fit(images, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"partial_fit: class_weight must be a dict, as not all data is known; got 'balanced'$"):
        small(class_weight="balanced").partial_fit(images, y, classes=[0, 1, 2])
    fitted = small().partial_fit(images, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"partial_fit: classes must be those of the first call, \[0 1 2\]; got \[0, 1\]$"):
        fitted.partial_fit(images, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y must be of the classes \[0 1 2\] of the first call; got \[3\]$"):
        fitted.partial_fit(images, y + (y == 2))


def test_without_scikit_learn_one_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import fastcnn.estimator"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stderr.splitlines()[-1].startswith('ImportError: fastcnn.estimator needs scikit-learn: pip install "fastcnn[sklearn]"')
