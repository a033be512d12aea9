"""The filters of a network's first layer before and after training, and what they find in a photograph.

Before training a filter is noise. Afterwards it is an edge, a bar or a blob, because digits are made of those; and as edges are what
everything is made of, filters that have seen nothing but digits draw the outlines of a temple.

K. Saito, "Deep Learning from Scratch", 2016, section 7.6.1: SimpleConvNet's 30 filters of 5x5, here after one epoch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from _common import figure, load, parser, run, save, table, tell
from _tiles import bare, tiles
from fastcnn import conv2d
from fastcnn.data import grey, photograph
from fastcnn.models import simple_conv_net
from fastcnn.train import evaluate, fit

SHOWN = 6  # filters that are applied to the photograph


class Found(NamedTuple):
    """Filters (K, R, S) before and after training, and what some of them make of a photograph.

    Attributes
    ----------
    before, after : (K, R, S) float32
    smoothness : pair of (K,)
        Of the filters before and after; see `smoothness`.
    photo : (H, W) uint8
    chosen : (6,) int
        The filters that are shown on the photograph.
    answers : (6, P, Q) float32
        What they make of it after training.
    untrained_answer : (P, Q) float32
        What the first of them makes of it before.
    """

    before: np.ndarray
    after: np.ndarray
    smoothness: tuple[np.ndarray, np.ndarray]
    photo: np.ndarray
    chosen: np.ndarray
    answers: np.ndarray
    untrained_answer: np.ndarray


def main(argv: Sequence[str] = ()) -> Found:
    """Train, print how the filters changed, and draw them."""
    p = parser(__doc__)
    p.add_argument("--photo", type=Path, default=Path("china"), help="china, flower, or an image file (default: china)")
    options = p.parse_args(argv)
    photo = grey(photograph(str(options.photo)))
    data = load(options)
    net = simple_conv_net(data.train_images.shape[1], options.seed)
    before = net.params["0.weight"][:, 0].copy()
    history = fit(net, data.train_images, data.train_labels, epochs=5 if options.quick else 1, seed=options.seed, progress=True)
    accuracy = evaluate(net, data.test_images, data.test_labels, history.mean, history.deviation)
    after = net.params["0.weight"][:, 0]
    smooth = smoothness(before), smoothness(after)
    chosen = strongest(after, SHOWN)
    found = Found(before, after, smooth, photo, chosen, applied(after[chosen], photo), applied(before[chosen[:1]], photo)[0])
    rows = [
        (when, float(np.sqrt((w**2).mean())), float(np.abs(w).max()), float(np.median(s)))
        for when, w, s in (("before", before, smooth[0]), ("after", after, smooth[1]))
    ]
    tell("\n" + table(("filters", "root mean square", "largest", "neighbours' likeness"), rows))
    tell(f"\nTest accuracy {100 * accuracy:.2f} %. In noise a weight tells nothing of its neighbour (likeness 0); in an edge the two are "
         f"much the same: after training the median is {np.median(smooth[1]):.2f}.")  # fmt: skip
    draw(options, found)
    return found


def smoothness(filters: np.ndarray) -> np.ndarray:
    """Return for each filter of (K, R, S) the mean product of neighbouring weights over the mean square: 0 for noise, 1 for a constant."""
    pairs = [filters[:, 1:] * filters[:, :-1], filters[:, :, 1:] * filters[:, :, :-1]]
    products = np.concatenate([pair.reshape(len(filters), -1) for pair in pairs], axis=1)
    return np.asarray(products.mean(axis=1) / (filters**2).mean(axis=(1, 2)))


def strongest(filters: np.ndarray, count: int) -> np.ndarray:
    """Return the places of strong filters that differ: the largest, then the largest but for what is like those before it, and so on."""
    rest = filters.reshape(len(filters), -1).astype(np.float64)
    found: list[int] = []
    for _ in range(count):
        found.append(int((rest**2).sum(axis=1).argmax()))
        direction = rest[found[-1]] / np.linalg.norm(rest[found[-1]])
        rest = rest - np.outer(rest @ direction, direction)
    return np.array(found)


def applied(filters: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Return what filters (K, R, S) make of a photograph (H, W) uint8, as (K, P, Q): bytes from -0.5 to 0.5, no bias, no ReLU."""
    pixels = photo.astype(np.float32) / np.float32(255) - np.float32(0.5)
    return conv2d(pixels[None, None], np.ascontiguousarray(filters[:, None]))[0]


# --- The pictures -------------------------------------------------------------------------------------------------------


def draw(options: argparse.Namespace, found: Found) -> None:
    """Draw all filters before and after, and the photograph with what some of them make of it."""
    drawn, ((left, right),) = figure(1, 2, size=(12, 5), title=f"{len(found.after)} filters of the first layer")
    image = None
    for axes, filters, title in (
        (left, found.before, "Before training: noise"),
        (right, found.after, "After training: edges, bars and blobs"),
    ):
        whole = tiles(filters / np.abs(filters).max(axis=(1, 2), keepdims=True), 6)
        image = axes.imshow(whole, cmap="RdBu_r", vmin=-1, vmax=1)
        bare(axes, title)
    drawn.get_layout_engine().set(wspace=0.12)
    bar = drawn.colorbar(image, ax=[left, right], shrink=0.75, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["its most\nnegative", "0", "its most\npositive"])
    save(drawn, options, "filters")

    title = "Filters that were trained on digits, on a photograph. Red: like the filter in the corner; blue: like its negative"
    drawn, axes = figure(2, 4, size=(15, 6), title=title)
    axes[0, 0].imshow(found.photo, cmap="gray")
    bare(axes[0, 0], "The photograph")
    respond(axes[1, 0], found.untrained_answer, found.before[found.chosen[0]], f"Filter {found.chosen[0]} before training")
    for one, place, answer in zip(axes[:, 1:].flat, found.chosen, found.answers, strict=True):
        respond(one, answer, found.after[place], f"Filter {place}")
    save(drawn, options, "filters_on_photo")


def respond(axes: Any, answer: np.ndarray, weights: np.ndarray, title: str) -> None:
    """Draw a filter's answer to the photograph, and the filter in its corner."""
    answer = answer - np.median(answer)  # a filter whose weights do not add up to 0 answers brightness, too
    most, largest = np.quantile(np.abs(answer), 0.99), np.abs(weights).max()
    axes.imshow(answer, cmap="RdBu_r", vmin=-most, vmax=most)
    bare(axes, title)
    corner = axes.inset_axes([0.0, 0.0, 0.24, 0.36])
    corner.imshow(weights, cmap="RdBu_r", vmin=-largest, vmax=largest)
    corner.set(xticks=[], yticks=[])


if __name__ == "__main__":
    sys.exit(run(main))
