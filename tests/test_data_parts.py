"""Parts of data sets and other forms of images and labels: classes, splits, one-hot rows, moments per pixel, photographs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fastcnn import data
from fastcnn.data import Dataset
from fastcnn.data.augment import Augment
from fastcnn.data.batches import Batches
from fastcnn.layers import Flatten, Linear, Sequential
from fastcnn.optim import SGD
from fastcnn.train import History, evaluate, fit, predict, running_average

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 10, 200).astype(np.uint8)
# The first pixel is the label, so that every image can be told
IMAGES = np.concatenate([LABELS[:, None], RNG.integers(0, 256, (200, 19)).astype(np.uint8)], axis=1).reshape(200, 4, 5)
TINY = Dataset("tiny", IMAGES[:150], LABELS[:150], IMAGES[150:], LABELS[150:])


def test_classes_keep_images_order_and_mapping() -> None:
    pair = TINY.only([7, 2])
    assert pair.classes == (7, 2)
    assert pair.name == "tiny"
    for images, labels, whole in (
        (pair.train_images, pair.train_labels, TINY.train_images),
        (pair.test_images, pair.test_labels, TINY.test_images),
    ):
        np.testing.assert_array_equal(np.array(pair.classes)[labels], images[:, 0, 0])
        np.testing.assert_array_equal(images, whole[np.isin(whole[:, 0, 0], [2, 7])])
        assert labels.dtype == np.uint8
    single = pair.only([2])
    assert single.classes == (2,), "called as in the original, not as label 1"
    assert set(single.train_labels) == {0}
    np.testing.assert_array_equal(TINY.only(range(10)).train_labels, TINY.train_labels)


@pytest.mark.parametrize("wrong", [[], [10], [1, 1], [-1]])
def test_classes_that_are_not_there(wrong: list[int]) -> None:
    with pytest.raises(ValueError, match=r"Dataset.only: classes"):
        TINY.only(wrong)
    with pytest.raises(ValueError, match=r"some of \(1, 3\), each once; got \(2,\)"):
        TINY.only([1, 3]).only([2])


def test_a_validation_split_leaves_the_test_images_alone() -> None:
    part = TINY.validation_split(0.3, seed=4)
    kept, held = data.split(TINY.train_labels, 0.3, 4)
    np.testing.assert_array_equal(part.train_images, TINY.train_images[kept])
    np.testing.assert_array_equal(part.test_images, TINY.train_images[held])
    np.testing.assert_array_equal(part.test_labels, TINY.train_labels[held])
    assert len(part.test_labels) == 45
    for k in range(10):
        assert abs((part.test_labels == k).sum() - 0.3 * (TINY.train_labels == k).sum()) <= 1
    with pytest.raises(ValueError, match="between 0 and 1"):
        TINY.validation_split(1.0)


def test_one_hot_flat_and_normal() -> None:
    np.testing.assert_array_equal(data.one_hot(np.array([1, 0, 3], np.uint8), 5), np.eye(5, dtype=np.float32)[[1, 0, 3]])
    assert data.one_hot(np.zeros(0, int)).shape == (0, 0)
    for kind in "bBhHiIqQ":
        np.testing.assert_array_equal(data.one_hot(np.array([2, 0], kind)), np.eye(3, dtype=np.float32)[[2, 0]])
    np.testing.assert_array_equal(data.flatten(IMAGES[:, None]), IMAGES.reshape(200, 20))
    x = data.normalise(IMAGES)
    assert (x.shape, x.dtype) == ((200, 1, 4, 5), np.float32)
    np.testing.assert_allclose(x[:, 0], IMAGES / 255, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("per", ["all", "channel", "pixel"])
def test_moments_are_numpys(per: str, dtype: Any) -> None:
    images = np.random.default_rng(1).integers(0, 256, (700, 3, 4, 5)).astype(dtype)
    images[:, 1] //= 4
    images[:, 2, 3, 4] = 9
    mean, deviation = data.moments(images, per)
    axes = {"all": None, "channel": (0, 2, 3), "pixel": (0,)}[per]
    exact = images.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axes, keepdims=per != "all")[0] if per != "all" else exact.mean(), rtol=1e-12)
    expected = exact.std(axes, keepdims=per != "all")[0] if per != "all" else exact.std()
    if per != "all":
        assert all(moment.flags.c_contiguous for moment in data.moments(np.asfortranarray(images), per))
    np.testing.assert_allclose(deviation, np.where(expected == 0, 1, expected), rtol=1e-9)
    x = data.standardise(images, mean, deviation)
    np.testing.assert_allclose(x, (exact - mean) / deviation, rtol=1e-5, atol=1e-5)
    if per == "pixel":
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.delete(x.reshape(700, -1), 59, axis=1).std(axis=0), 1, rtol=1e-5)
        assert (x[:, 2, 3, 4] == 0).all(), "a constant pixel becomes 0"


@pytest.mark.parametrize("shape", [(23, 6, 5), (23, 3, 6, 5)])
@pytest.mark.parametrize("augment", [None, Augment(), Augment(shift=1, fill=20)])
def test_batches_of_pixels_with_moments_of_their_own(shape: tuple[int, ...], augment: Augment | None) -> None:
    images = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    mean, deviation = data.moments(images, "pixel")
    batches = Batches(images, np.arange(23), 8, seed=0, mean=mean, deviation=deviation, augment=augment)
    # The same changes on the bytes themselves, standardised here: they apply to the changed image
    plain = Batches(images, np.arange(23), 8, seed=0, mean=0.0, deviation=1.0, augment=augment)
    for number in range(3):
        found, expected = batches.batch(1, number), plain.batch(1, number)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_allclose(found[0], (expected[0].astype(np.float64) - mean) / deviation, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("per", ["all", "channel", "pixel"])
def test_fit_predict_and_history_standardise_alike(per: str) -> None:
    images = np.random.default_rng(3).integers(0, 256, (60, 2, 6, 5)).astype(np.uint8)
    images[:, 0, 0, 0] = 7
    labels = (images[:, 1, 3, 3] > 127).astype(int)
    net, other = (Sequential(Flatten(), Linear(60, 2, rng=0)) for _ in range(2))
    history = fit(net, images, labels, epochs=3, batch_size=16, standardise=per, validation=0.25, seed=2)
    kept, held = data.split(labels, 0.25, 2)
    mean, deviation = data.moments(images[kept], per)
    np.testing.assert_array_equal(history.mean, mean)
    np.testing.assert_array_equal(history.deviation, deviation)
    inputs = data.standardise(images, mean, deviation)
    again = fit(other, inputs[kept], labels[kept], epochs=3, batch_size=16, validation=(inputs[held], labels[held]), seed=2)
    np.testing.assert_allclose(history.step_losses, again.step_losses, rtol=1e-4)
    assert history.epochs[-1].validation_loss == pytest.approx(again.epochs[-1].validation_loss, rel=1e-4)
    restored = History.from_json(history.to_json())
    assert restored == history
    assert restored != again
    np.testing.assert_allclose(predict(net, images, restored.mean, restored.deviation), predict(other, inputs), rtol=1e-3, atol=1e-4)


def test_given_moments() -> None:
    images = IMAGES
    net = Sequential(Flatten(), Linear(20, 10, rng=0))
    mean, deviation = data.moments(images, "pixel")
    history = fit(net, images, LABELS, standardise=(mean, np.maximum(deviation, 80)))
    assert np.min(history.deviation) == 80
    for wrong, message in (
        ("pixels", "one of"),
        ((np.zeros((3, 1)), 1.0), "broadcast"),
        ((0.0, np.zeros((4, 5))), "positive"),
        ((1,), "one of"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(net, images, LABELS, standardise=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="float32 ones are taken as they are"):
        fit(net, data.normalise(images), LABELS, standardise="pixel")


@pytest.mark.parametrize("augment", [None, Augment(shift=1, rotate=20)])
def test_sampling_with_replacement(augment: Augment | None) -> None:
    images = np.random.default_rng(4).integers(0, 256, (3000, 2, 3)).astype(np.uint8)
    batches = Batches(images, np.arange(3000), 256, seed=5, augment=augment, sampling="replacement")

    def epoch(size: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        of_size = Batches(images, np.arange(3000), size, seed=5, augment=augment, sampling="replacement")
        parts = [[a.copy() for a in of_size.batch(number, i)] for i in range(len(of_size))]
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])

    x, drawn = epoch(256, 0)
    assert len(drawn) == 3000
    np.testing.assert_array_equal(drawn, np.random.default_rng([5, 0, 1]).integers(0, 3000, 3000))
    # Each of n images is missing with probability (1 - 1/n)^n; 4 standard deviations of the count, sqrt(n (1/e - 2/e^2)), are 69
    assert abs(len(set(drawn.tolist())) / 3000 - (1 - np.exp(-1))) < 69 / 3000
    again = epoch(100, 0)
    np.testing.assert_array_equal(again[1], drawn)
    np.testing.assert_array_equal(again[0], x)
    assert (epoch(256, 1)[1] != drawn).any()
    np.testing.assert_array_equal(batches.batch(0, 3)[1], drawn[768:1024])
    values, counts = np.unique(drawn, return_counts=True)
    twice = np.flatnonzero(drawn == values[counts > 1][0])[:2]
    assert (x[twice[0]] == x[twice[1]]).all() == (augment is None), "drawn twice, an image is changed in two ways"


def test_a_resumed_run_draws_the_same(tmp_path: Any) -> None:
    def run(epochs: int, resume: bool = False, stop: bool = False) -> tuple[History, dict[str, np.ndarray]]:
        net = Sequential(Flatten(), Linear(20, 10, rng=0))

        class Stop:
            def on_step(self, run: Any) -> bool:
                return stop and run.step == 13

        file = tmp_path / ("cut.npz" if resume or stop else "whole.npz")
        history = fit(net, IMAGES, LABELS, epochs=epochs, batch_size=32, sampling="replacement", standardise="pixel", callbacks=[Stop()],
                      optimizer=SGD(net.params, 0.1, 0.9), checkpoint=file, resume=resume)  # fmt: skip
        return history, net.state_dict()

    whole, _ = run(4), run(4, stop=True)
    resumed = run(4, resume=True)
    assert resumed[0].step_losses == whole[0].step_losses
    assert resumed[0].step_accuracies == whole[0].step_accuracies
    assert len(whole[0].step_accuracies) == 28
    np.testing.assert_array_equal(resumed[0].mean, whole[0].mean)
    for name, value in whole[1].items():
        np.testing.assert_array_equal(resumed[1][name], value)


def test_fit_refuses_other_samplings() -> None:
    net = Sequential(Flatten(), Linear(20, 10, rng=0))
    with pytest.raises(ValueError, match="fit: sampling must be one of"):
        fit(net, IMAGES, LABELS, sampling="bootstrap")
    ordered = fit(net, IMAGES, LABELS, sampling="ordered", batch_size=200)
    assert len(ordered.step_losses) == 1


def test_evaluation_of_samples() -> None:
    net = Sequential(Flatten(), Linear(20, 10, rng=0))
    right = predict(net, IMAGES, 100.0, 70.0).argmax(axis=1) == LABELS
    found = [evaluate(net, IMAGES, LABELS, 100.0, 70.0, samples=60, seed=seed) for seed in range(30)]
    chosen = np.random.default_rng(3).choice(200, 60, replace=False)
    assert found[3] == right[chosen].mean()
    assert len(set(found)) > 1
    assert abs(np.mean(found) - right.mean()) < 4 * np.sqrt(right.mean() * (1 - right.mean()) / 60 / 30) + 1e-9
    assert evaluate(net, IMAGES, LABELS, 100.0, 70.0, samples=1000) == evaluate(net, IMAGES, LABELS, 100.0, 70.0) == right.mean()
    with pytest.raises(ValueError, match="samples must be"):
        evaluate(net, IMAGES, LABELS, 100.0, 70.0, samples=0)


def test_a_view_of_more_images_than_the_memory_is_refused_before_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    net, wide = Sequential(Flatten(), Linear(20, 10, rng=0)), np.broadcast_to(np.uint8(1), (12, 8, 2**45))
    with pytest.raises(ValueError, match=r"^evaluate: images of shape .* would take"):
        evaluate(net, wide, LABELS[:12], 100.0, 70.0, samples=5)
    with pytest.raises(ValueError, match=r"^predict: images of shape .* would take"):
        predict(net, wide, 100.0, 70.0)
    monkeypatch.setattr("fastcnn.machine.memory_bytes", lambda: 2 * IMAGES.nbytes)
    with pytest.raises(ValueError, match=r"^predict: a batch of inputs of shape .* would take"):
        predict(net, IMAGES, 100.0, 70.0)
    assert predict(net, IMAGES, 100.0, 70.0, batch_size=10).shape == (len(IMAGES), 10)


class _Proud(np.ndarray):
    """A subclass whose own arithmetic must not be used."""

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a subclass reached a computation")


def test_infinities_are_data() -> None:
    x = data.standardise(IMAGES, np.full((1, 1, 1), 1e38), np.full((1, 1, 1), 1e-5))
    assert np.isneginf(x).all()
    net = Sequential(Flatten(), Linear(20, 10, rng=0))
    assert not np.isfinite(predict(net, IMAGES, 1e38, 1e-5)).any()


def test_images_may_be_of_a_subclass() -> None:
    net = Sequential(Flatten(), Linear(20, 10, rng=0))
    np.testing.assert_array_equal(predict(net, IMAGES.view(_Proud), 100.0, 70.0), predict(net, IMAGES, 100.0, 70.0))
    assert evaluate(net, IMAGES.view(_Proud), LABELS, 100.0, 70.0, samples=9) == evaluate(net, IMAGES, LABELS, 100.0, 70.0, samples=9)


def test_running_average() -> None:
    values = np.random.default_rng(0).random(50)
    found = running_average(values.tolist(), 0.9)
    expected = [np.average(values[: t + 1], weights=0.9 ** np.arange(t, -1, -1)) for t in range(50)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(running_average(values.tolist(), 0), values)
    with pytest.raises(ValueError, match="below 1; got 1"):
        running_average([1.0], 1)


def test_histories_of_before_can_be_read() -> None:
    old = {"epochs": [], "step_losses": [1.0], "mean": 1.0, "deviation": 2.0}
    assert History.from_json(json.dumps(old)).step_accuracies == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: data.one_hot(np.array([0.0])), TypeError, "integers; got dtype float64"),
        (lambda: data.one_hot(np.array([0, 3]), 3), ValueError, "between 0 and 2; got 3 at position 1"),
        (lambda: data.one_hot(np.array([[1]])), ValueError, r"\(N,\)"),
        (lambda: data.flatten(np.zeros(3)), ValueError, r"\(N, ...\)"),
        (lambda: data.normalise(np.zeros((1, 2, 2))), TypeError, "uint8"),
        (lambda: data.moments(IMAGES, "row"), ValueError, "one of"),
        (lambda: data.moments(IMAGES[:0]), ValueError, "not be empty"),
        (lambda: data.standardise(IMAGES, 0, 0), ValueError, "deviation positive"),
        (lambda: data.standardise(IMAGES, np.zeros((4, 4)), 1), ValueError, r"\(1, 4, 5\); got shape \(4, 4\)"),
        (lambda: data.standardise(IMAGES, np.full((4, 5), np.nan), 1), ValueError, "finite"),
        (lambda: data.grey(np.zeros((2, 2, 4), np.uint8)), ValueError, r"\(H, W, 3\)"),
        (lambda: data.split(LABELS, 0, 0), ValueError, "split: a validation share"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", data.PHOTOGRAPHS)
def test_photographs(name: str, tmp_path: Any) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow reads JPEG: pip install fastcnn[photographs]")
    photo = data.photograph(name)
    assert (photo.shape, photo.dtype) == ((427, 640, 3), np.uint8)
    grey = data.grey(photo)
    assert grey.std() > 30, "there is something to see"
    np.testing.assert_allclose(grey, photo @ np.array([0.299, 0.587, 0.114]), atol=0.5 + 1e-9)
    image.fromarray(photo[:9, :7]).save(tmp_path / "own.png")
    np.testing.assert_array_equal(data.photograph(tmp_path / "own.png"), photo[:9, :7])
    with pytest.raises(FileNotFoundError):
        data.photograph(tmp_path / "none.png")


def test_standardising_leaves_the_images_as_they_are() -> None:
    images = np.full((2, 1, 2, 2), 3, np.float32)
    np.testing.assert_array_equal(data.standardise(images, 1.0, 2.0), 1)
    np.testing.assert_array_equal(images, 3)
