"""The test images that a network gets wrong, the surest mistakes first, and which digits it takes for which.

Above each picture: (label, prediction), and how sure of it the network was. Many of them one would get wrong oneself; the sure ones
are those to look at, for there the network has learnt something that is not so, or the label is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from _common import figure, load, parser, run, save, table, tell
from fastcnn.models import digit_net
from fastcnn.report.confusion import Mistake, confusion_matrix, probabilities, worst_mistakes
from fastcnn.train import fit, predict

ROWS, COLUMNS = 4, 8  # pictures of mistakes


class Found(NamedTuple):
    """Every mistake, counts (label, prediction), and accuracy."""

    mistakes: list[Mistake]
    counts: np.ndarray
    accuracy: float


def main(argv: Sequence[str] = ()) -> Found:
    """Train, print the surest mistakes and the digits most often confused, and draw them."""
    options = parser(__doc__).parse_args(argv)
    data = load(options)
    net = digit_net(data.train_images.shape[1], options.seed)
    history = fit(net, data.train_images, data.train_labels, epochs=3 if options.quick else 1, seed=options.seed, progress=True)
    logits = predict(net, data.test_images, history.mean, history.deviation)
    predictions = logits.argmax(axis=1)
    found = Found(
        worst_mistakes(logits, data.test_labels, len(logits)),
        confusion_matrix(data.test_labels, predictions, 10),
        float(np.mean(predictions == data.test_labels)),
    )
    rows = [(m.position, m.label, m.prediction, sure(m.confidence)) for m in found.mistakes[:8]]
    tell("\n" + table(("test image", "label", "prediction", "sure of it"), rows))
    tell(
        f"\n{len(found.mistakes)} of {len(logits):,} images are wrong: accuracy {100 * found.accuracy:.2f} %. "
        f"Most often {most_often(found.counts)}."
    )
    right = probabilities(logits).max(axis=1)[predictions == data.test_labels]
    if found.mistakes:
        tell(f"Where it is right the network is sure, {100 * np.median(right):.1f} % in the median; where it is wrong, "
             f"{100 * np.median([m.confidence for m in found.mistakes]):.1f} %.")  # fmt: skip
    draw(options, found, data.test_images)
    return found


def most_often(counts: np.ndarray, pairs: int = 3) -> str:
    """Return the pairs of digits that are confused most, in words."""
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None, kind="stable")[:pairs]
    return ", ".join(f"{place // 10} was taken for {place % 10} ({wrong.flat[place]} times)" for place in places)


def sure(confidence: float) -> str:
    """Return a confidence in per cent; no mistake is 100 % sure."""
    text = f"{100 * confidence:.1f} %"
    return "> 99.9 %" if text == "100.0 %" else text


# --- The pictures -------------------------------------------------------------------------------------------------------


def draw(options: argparse.Namespace, found: Found, images: np.ndarray) -> None:
    """Draw the surest mistakes, and the confusion matrix."""
    drawn, axes = figure(
        ROWS, COLUMNS, size=(13, 7.6), title=f"{len(found.mistakes)} mistakes, the surest first: (label, prediction) and confidence"
    )
    for one in axes.flat:
        one.axis("off")
    for one, mistake in zip(axes.flat, found.mistakes, strict=False):
        one.imshow(images[mistake.position], cmap="gray_r")
        one.set_title(f"({mistake.label}, {mistake.prediction})  {sure(mistake.confidence)}", loc="center", fontsize=10)
    save(drawn, options, "misclassified")

    drawn, ((one,),) = figure(size=(7, 6.4), title=f"Which digit is taken for which: {100 * found.accuracy:.2f} % are right")
    wrong = found.counts - np.diag(np.diag(found.counts))
    one.imshow(
        np.sqrt(wrong), cmap="Oranges", vmax=max(1.0, 1.3 * np.sqrt(wrong.max()))
    )  # the eye tells few from none better than many from more
    for label, prediction in np.ndindex(found.counts.shape):
        count, right = found.counts[label, prediction], label == prediction
        if count:
            one.text(prediction, label, count, ha="center", va="center", color="#777777" if right else "black", fontsize=9)
    one.set(xlabel="prediction", ylabel="label", xticks=range(10), yticks=range(10))
    one.grid(False)
    save(drawn, options, "confusion_matrix")


if __name__ == "__main__":
    sys.exit(run(main))
