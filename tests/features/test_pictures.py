"""Pictures: what they show is computed from a run, and drawn where it belongs."""

from __future__ import annotations

import re
import struct
import zlib

import numpy as np

from fastcnn import conv2d, data
from fastcnn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from fastcnn.report import charts, images
from fastcnn.report.confusion import confusion_matrix, worst_mistakes
from fastcnn.report.features import feature_maps

from .rows import row


def pixels(png: bytes) -> np.ndarray:
    """Return the grey values of a PNG file whose lines are not filtered, read without the code that wrote it."""
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert (depth, colour) == (8, 0)
    length = struct.unpack(">I", png[33:37])[0]
    lines = np.frombuffer(zlib.decompress(png[41 : 41 + length]), np.uint8).reshape(height, 1 + width)
    assert not lines[:, 0].any()
    return lines[:, 1:]


@row(
    "pictures",
    "curves, filters before and after, filters on a photograph, feature maps, the confusion matrix, mistakes with (label, prediction)",
    module="fastcnn.report",
    example="README.md#train-mnist",
)
def test_pictures() -> None:
    # A photograph (here: a bright square) under two of Sobel's filters has its edges where the brightness changes
    photo = np.zeros((9, 9, 3), np.uint8)
    photo[3:6, 3:6] = [100, 200, 50]  # luma 29.9 + 117.4 + 5.7
    grey = data.grey(photo)
    assert grey[4, 4] == 153
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    edges = conv2d(grey[None, None].astype(np.float32), np.stack([sobel, sobel.T])[:, None], padding=1)[0]
    np.testing.assert_allclose(edges[0, 4], 153 * np.array([0, 0, 4, 4, 0, -4, -4, 0, 0]), atol=1e-3)
    np.testing.assert_allclose(edges[1], edges[0].T, atol=1e-3)
    drawn = pixels(images.png(images.ink(np.abs(edges[0]))))
    assert drawn.shape == (9, 9)
    assert drawn[4, 3] == 0, "the strongest edge is black"
    assert (drawn[edges[0] == 0] == 255).all()

    # Feature maps are what the layers make of an image
    net = Sequential(Conv2d(1, 2, 3, rng=0), ReLU(), MaxPool2d(2), Flatten(), Linear(18, 3, rng=0)).eval()
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    first, second, last = (found.values for found in feature_maps(net, x))
    convolved = np.maximum(conv2d(x, net.params["0.weight"], net.params["0.bias"])[0], 0)
    np.testing.assert_allclose(first, convolved, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second, convolved.reshape(2, 3, 2, 3, 2).max(axis=(2, 4)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last, second.reshape(-1) @ net.params["4.weight"].T + net.params["4.bias"], rtol=1e-4, atol=1e-4)

    # Positive weights are red, negative ones blue, 0 is white, in one scale before and after training
    colours = images.diverging(np.array([[-2.0, 0.0, 2.0]]), 2.0)[0]
    assert colours[0, 2] > colours[0, 0]
    assert colours[2, 0] > colours[2, 2]
    assert colours[1].tolist() == [255, 255, 255]

    # Of five images two are wrong; the surer mistake comes first
    logits = np.array([[3, 0, 0], [0, 1, 2], [0, 4, 0], [0, 0, 1], [9, 0, 0]], np.float32)
    labels = np.array([0, 1, 1, 2, 2])
    np.testing.assert_array_equal(confusion_matrix(labels, logits.argmax(axis=1), 3), [[1, 0, 0], [0, 1, 1], [1, 0, 1]])
    assert [(m.position, m.label, m.prediction) for m in worst_mistakes(logits, labels, 9)] == [(4, 2, 0), (1, 1, 2)]

    # A curve that falls goes down on the page, where y grows downwards
    svg = charts.line_chart("Loss", [charts.Series("training", [(0.0, 4.0), (1.0, 2.0), (2.0, 1.0)])], x_label="epoch")
    path = re.findall(r'class="line s0" points="([^"]+)"', svg)[0]
    places = [tuple(map(float, pair.split(","))) for pair in path.split()]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted(y for _, y in places)
    assert len(places) == 3
