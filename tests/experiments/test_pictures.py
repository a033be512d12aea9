"""Experiments that show what is inside: each runs quickly, draws, and its findings are what they should be."""

from __future__ import annotations

import argparse
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import fashion_two_classes
import half_precision
import original_loops
from _common import BLUE, GREY, ORANGE, RED
from fastcnn.data import Dataset, DatasetNotFound, digits

from ._pictures import assert_drawn, quick

TESTED = 359  # images of scikit-learn's digits


def test_perceptron(tmp_path: Path) -> None:
    assert quick("perceptron", tmp_path) == {"AND": [0, 0, 0, 1], "NAND": [1, 1, 1, 0], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}
    assert_drawn(tmp_path / "perceptron.png", (BLUE,))


def test_computation_graph(tmp_path: Path) -> None:
    """By hand: 2 x 100 x 1.1 = 220; (2 x 100 + 3 x 150) x 1.1 = 715; a gradient is the product of everything else on the way."""
    found = quick("computation_graph", tmp_path)
    values, gradients = found["apples"]
    assert values["price"] == pytest.approx(220)
    assert gradients == pytest.approx({"apples": 110, "apple's price": 2.2, "tax": 200, "for apples": 1.1, "price": 1})
    values, gradients = found["apples and oranges"]
    assert [values[name] for name in ("for apples", "for oranges", "fruit", "price")] == pytest.approx([200, 450, 650, 715])
    assert gradients == pytest.approx(
        {
            "apples": 110, "apple's price": 2.2, "orange's price": 3.3, "oranges": 165, "tax": 650,
            "for apples": 1.1, "for oranges": 1.1, "fruit": 1.1, "price": 1,
        }
    )  # fmt: skip
    assert_drawn(tmp_path / "computation_graph.png", (BLUE, RED))


def test_filters(tmp_path: Path) -> None:
    found = quick("filters", tmp_path)
    before, after = (np.median(values) for values in found.smoothness)
    assert abs(before) < 0.15, "noise"
    assert after > 0.3, "what is learnt from images is smooth"
    assert len(set(found.chosen.tolist())) == 6
    y, x = 200, 311  # a window of the photograph, by hand
    size = found.after.shape[-1]
    window = found.photo[y : y + size, x : x + size] / 255 - 0.5
    expected = [(window * found.after[place]).sum() for place in found.chosen]
    np.testing.assert_allclose(found.answers[:, y, x], expected, rtol=1e-4, atol=1e-5)
    assert_drawn(tmp_path / "filters.png", least=200)
    assert_drawn(tmp_path / "filters_on_photo.png", least=500)  # the photograph is grey: 256 at most


def test_feature_maps(tmp_path: Path) -> None:
    found = quick("feature_maps", tmp_path, "--digit", "7")
    assert [one.values.shape for one in found.maps] == [(24, 8, 8), (24, 4, 4), (32, 4, 4), (32, 2, 2), (256,), (10,)]
    pooled = found.maps[0].values.reshape(24, 4, 2, 4, 2).max(axis=(2, 4))
    np.testing.assert_allclose(found.maps[1].values, pooled, rtol=1e-5)
    assert found.label == found.shares.argmax() == 7
    powers = np.exp(found.maps[-1].values)
    np.testing.assert_allclose(found.shares, powers / powers.sum(), rtol=1e-6)
    assert_drawn(tmp_path / "feature_maps.png", (BLUE,), least=200)


def test_misclassified(tmp_path: Path) -> None:
    found = quick("misclassified", tmp_path)
    assert found.counts.sum() == TESTED
    assert np.trace(found.counts) == TESTED - len(found.mistakes) == round(found.accuracy * TESTED)
    assert found.accuracy > 0.85
    sure = [mistake.confidence for mistake in found.mistakes]
    assert sure == sorted(sure, reverse=True)
    for mistake in found.mistakes:
        assert digits().test_labels[mistake.position] == mistake.label != mistake.prediction
    assert_drawn(tmp_path / "misclassified.png")
    assert_drawn(tmp_path / "confusion_matrix.png")


def test_half_precision(tmp_path: Path) -> None:
    found = quick("half_precision", tmp_path)
    whole, half = found.files["float32"], found.files["float16"]
    assert whole.accuracy > 0.85
    assert abs(whole.accuracy - half.accuracy) <= 0.001
    assert (whole.error, whole.changed) == (0, 0)
    assert 0 < half.error < 2**-11, "weights below 1 are rounded by half of 2^-11 at most"
    assert 0.45 < half.size / whole.size < 0.55
    assert found.change[24] == 0
    assert found.change[4] > 8 * found.change[8] > 64 * found.change[12] > 0, "four bits less are sixteen times the change, about"
    assert list(tmp_path.iterdir()) == [tmp_path / "half_precision.png"], "the files of weights are gone"
    assert_drawn(tmp_path / "half_precision.png", (BLUE, ORANGE))


def test_rounding_to_bits_is_that_of_float16() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal(half_precision.rounded(values, 11), values.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(half_precision.rounded(values, 24), values)
    assert half_precision.rounded(np.array([0.0, 1.4, -3.2, 0.3]), 1).tolist() == [0, 1, -4, 0.25]


def test_fashion_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = quick("fashion_two_classes", tmp_path)
    loop, ours, batches = found.losses
    np.testing.assert_allclose(ours, loop, rtol=1e-3, atol=1e-5)
    assert (loop.shape, batches.shape) == ((640,), (10,))
    assert loop[-100:].mean() < 0.8 * loop[:100].mean(), "it learns"
    assert found.accuracies[0] == found.accuracies[1] > 0.75
    assert found.rates[2] > found.rates[0], "a batch at a time is faster than scipy's loop"
    assert "Handwritten 1 and 3 take the place of trousers and dresses." in capsys.readouterr().out
    assert_drawn(tmp_path / "fashion_two_classes.png", (BLUE, GREY, ORANGE))


def test_fashion_is_found_or_digits_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = argparse.Namespace(quick=False, data_dir=tmp_path, seed=0)
    images, labels = np.arange(80, dtype=np.uint8).reshape(5, 4, 4), np.array([1, 0, 3, 9, 1], np.uint8)
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    found = fashion_two_classes.two_classes(options)
    assert "3 trousers and dresses" in capsys.readouterr().out
    assert found.train_labels.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(found.test_images, images[[0, 2, 4]])

    def missing(data_dir: Path) -> Dataset:
        raise DatasetNotFound("nowhere")

    monkeypatch.setattr(fashion_two_classes, "fashion_mnist", missing)
    assert fashion_two_classes.two_classes(options).name == "mnist"
    said = capsys.readouterr().out
    assert "Fashion-MNIST's files are not here" in said
    assert "Handwritten 1 and 3 take the place" in said


def test_original_loops(tmp_path: Path) -> None:
    found = quick("original_loops", tmp_path)
    np.testing.assert_allclose(found.ours, found.loops, rtol=1e-4, atol=1e-6)
    assert found.apart < 1e-5
    assert found.loops[0] == pytest.approx(np.log(10), abs=0.3), "ten classes, nothing known"
    assert found.rates["ours, batches of 64"] > 5 * found.rates["plain loops"]
    assert_drawn(tmp_path / "original_loops.png", (BLUE, GREY, ORANGE))


def test_the_loops_are_those_of_the_text_without_its_mistakes() -> None:
    ones = np.ones((1, 3, 3), np.float32)
    loops = original_loops.Loops(ones, np.zeros((2, 4), np.float32), np.zeros(2, np.float32))
    x = np.arange(30.0).reshape(5, 6)
    y = loops.convolve(x)
    assert y.shape == (1, 3, 4), "h - 2 rows and w - 2 columns"
    assert y[0, 0, 0] == sum(x[i, j] for i in range(3) for j in range(3)) == 63
    maps = np.array([[[1, 2, 5, 5], [2, 0, 5, 5]]], np.float64)
    assert loops.pool(maps).tolist() == [[[2, 5]]], "windows begin at 2 i"
    assert loops.pool_backward(maps, np.array([[[3.0, 4.0]]])).tolist() == [[[0, 3, 4, 0], [0, 0, 0, 0]]], "one of equal maxima"
