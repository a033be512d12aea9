"""A digit on its way through a network: what every layer makes of it, until ten numbers are left.

The first convolution finds edges, the pooling keeps the strongest of each four, the second convolution puts edges together; the further,
the less one sees of the digit and the more it is a list of what was found. `fastcnn.report` draws the same for every trained network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from _common import BLUE, GREY, figure, load, parser, percent, run, save, table, tell
from _tiles import bare, tiles
from fastcnn.models import digit_net
from fastcnn.report.confusion import examples, probabilities
from fastcnn.report.features import FeatureMap, feature_maps
from fastcnn.train import evaluate, fit, predict

FULL = 0.99  # the quantile of a layer's values that is drawn in full colour


class Found(NamedTuple):
    """A test image (H, W) and its label; what the layers make of it, and the softmax of the last one."""

    image: np.ndarray
    label: int
    maps: list[FeatureMap]
    shares: np.ndarray


def main(argv: Sequence[str] = ()) -> Found:
    """Train, print what each layer makes of a digit, and draw it."""
    p = parser(__doc__)
    p.add_argument("--digit", type=int, choices=range(10), default=4, help="which one (default: 4)")
    options = p.parse_args(argv)
    data = load(options)
    net = digit_net(data.train_images.shape[1], options.seed)
    history = fit(net, data.train_images, data.train_labels, epochs=5 if options.quick else 1, seed=options.seed, progress=True)
    moments = history.mean, history.deviation
    accuracy = evaluate(net, data.test_images, data.test_labels, *moments)
    place = examples(predict(net, data.test_images, *moments), data.test_labels, 10)[options.digit]
    image, label = data.test_images[place], int(data.test_labels[place])
    x = ((image.astype(np.float32) - np.float32(history.mean)) / np.float32(history.deviation))[None, None]
    maps = feature_maps(net.eval(), x)
    found = Found(image, label, maps, probabilities(maps[-1].values[None])[0])
    rows = [(one.name, " x ".join(map(str, one.values.shape)), one.values.size, f"{100 * np.mean(one.values == 0):.0f} %") for one in maps]
    tell("\n" + table(("layers", "shape", "values", "of them 0"), rows))
    answer = int(found.shares.argmax())
    tell(f"\nTest accuracy {100 * accuracy:.2f} %. Test image {place}, a {label}, is taken for a {answer} "
         f"({100 * found.shares[answer]:.1f} %); "
         f"ReLU leaves {100 * np.mean(maps[-2].values > 0):.0f} % of the last hidden layer to say so.")  # fmt: skip
    draw(options, found)
    return found


# --- The picture --------------------------------------------------------------------------------------------------------


def draw(options: argparse.Namespace, found: Found) -> None:
    """Draw the image, a grid of maps for each layer, and the answer."""
    drawn, axes = figure(2, 3, size=(15, 7.4), title=f"A {found.label} on its way through a network")
    axes[0, 0].imshow(found.image, cmap="gray_r")
    bare(axes[0, 0], "The image, {} x {}".format(*found.image.shape))
    *hidden, dense, _ = found.maps
    for one, place in zip(hidden, axes.flat[1:5], strict=True):
        place.imshow(tiles(one.values, 8), cmap="viridis", vmin=min(0.0, float(one.values.min())), vmax=strong(one.values))
        bare(place, "{}: {} maps of {} x {}".format(one.name, *one.values.shape))
    split = axes[1, 2].get_subplotspec().subgridspec(2, 1, height_ratios=[1, 1.3])
    axes[1, 2].remove()
    upper, lower = drawn.add_subplot(split[0]), drawn.add_subplot(split[1])
    upper.imshow(dense.values.reshape(8, -1), cmap="viridis", vmin=0, vmax=strong(dense.values))
    bare(upper, f"{dense.name}: {dense.values.size} values")
    answer = int(found.shares.argmax())
    lower.bar(range(10), found.shares, color=[BLUE if digit == answer else GREY for digit in range(10)])
    lower.set(title="The answer (softmax)", xticks=range(10), ylim=(0, 1.05))
    lower.set_axisbelow(True)
    percent(lower)
    save(drawn, options, "feature_maps")


def strong(values: np.ndarray) -> float:
    """Return a layer's value that is drawn in full colour."""
    return float(np.quantile(values[values > 0], FULL)) if (values > 0).any() else 1.0


if __name__ == "__main__":
    sys.exit(run(main))
