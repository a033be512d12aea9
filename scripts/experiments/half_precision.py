"""How many bits does a weight need? Accuracy of a trained network whose weights are rounded to fewer and fewer, and the sizes of files.

float32 keeps 24 significant bits of a number, float16 keeps 11 and bfloat16 8; `fastcnn.weights.save` writes the first two. Every bit
less doubles the changes of the outputs, but an answer changes only where two outputs were as close as that. Training is another matter:
there a step may be a thousandth of the weight that it changes, and 8 bits would round it away.

K. Saito, "Deep Learning from Scratch", 2016, section 8.3.4 (half precision).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from _common import BLUE, ORANGE, figure, load, parser, percent, run, save, table, tell
from fastcnn import files, weights
from fastcnn.layers import Layer
from fastcnn.models import digit_net
from fastcnn.train import fit, predict

BITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24)
KEPT = {"float16": 11, "bfloat16": 8, "float32": 24}  # significant bits, the leading 1 among them


class Kept(NamedTuple):
    """Weights in a file: its size in bytes, test accuracy, how many test images are answered otherwise, the largest change of a weight."""

    size: int
    accuracy: float
    changed: int
    error: float


class Found(NamedTuple):
    """Files by dtype; by significant bits the accuracy, and the change of the logits: its root mean square over that of the logits."""

    files: dict[str, Kept]
    by_bits: dict[int, float]
    change: dict[int, float]


def main(argv: Sequence[str] = ()) -> Found:
    """Train, save in both precisions and round further; print and draw what is left of the accuracy."""
    options = parser(__doc__).parse_args(argv)
    data = load(options)
    net = digit_net(data.train_images.shape[1], options.seed)
    history = fit(net, data.train_images, data.train_labels, epochs=5 if options.quick else 1, seed=options.seed, progress=True)

    def outputs(network: Layer) -> np.ndarray:
        return predict(network, data.test_images, history.mean, history.deviation)

    trained, expected = net.state_dict(), outputs(net)
    other = digit_net(data.train_images.shape[1], options.seed + 1)
    kept = {}
    for dtype in ("float32", "float16"):
        path = options.out / f"half_precision.{dtype}.npz"
        files.require_writable(path)
        weights.save(path, net, dtype=dtype)
        weights.load_into(other, path)
        given = outputs(other).argmax(axis=1)
        changed = int(np.sum(given != expected.argmax(axis=1)))
        error = max(float(np.abs(other.params[name] - net.params[name]).max()) for name in net.params)
        kept[dtype] = Kept(path.stat().st_size, float(np.mean(given == data.test_labels)), changed, error)
        path.unlink()  # a picture is what stays
    by_bits, change = {}, {}
    for bits in BITS:
        other.load_state_dict({name: rounded(array, bits) for name, array in trained.items()})
        given = outputs(other)
        by_bits[bits] = float(np.mean(given.argmax(axis=1) == data.test_labels))
        change[bits] = float(np.linalg.norm(given - expected) / np.linalg.norm(expected))
    found = Found(kept, by_bits, change)
    rows = [(dtype, f"{k.size:,}", f"{100 * k.accuracy:.2f} %", k.changed, k.error) for dtype, k in kept.items()]
    tell("\n" + table(("dtype", "bytes of the file", "test accuracy", "answers changed", "largest change of a weight"), rows))
    enough = min(bits for bits in BITS if by_bits[bits] >= by_bits[24] - 0.001)
    tell(f"\nfloat16 halves the file and changes {kept['float16'].changed} of {len(expected):,} answers; "
         f"{enough} significant bit{'s' * (enough > 1)} of every weight would do to stay within 0.1 points of the accuracy. "
         f"With 8 the logits change by {100 * change[8]:.2g} %, with 4 by {100 * change[4]:.2g} %.")  # fmt: skip
    draw(options, found)
    return found


def rounded(array: np.ndarray, bits: int) -> np.ndarray:
    """Return floats rounded to so many significant bits: m 2^e with 1/2 <= |m| < 1 becomes round(m 2^bits) 2^(e - bits)."""
    share, exponent = np.frexp(array)
    return np.asarray(np.ldexp(np.rint(np.ldexp(share, bits)), exponent - bits))


# --- The picture --------------------------------------------------------------------------------------------------------


def draw(options: argparse.Namespace, found: Found) -> None:
    """Draw accuracy over bits, and both files."""
    drawn, ((left, middle, right),) = figure(1, 3, size=(14, 4.2), title="Weights of fewer bits", width_ratios=[2, 2, 1.2])
    left.plot(list(found.by_bits), list(found.by_bits.values()), "o-", color=BLUE, markersize=5)
    lowest = min(found.by_bits.values())
    left.set(title="Test accuracy", ylim=(lowest - max(0.01, 1.3 * (1 - lowest)), 1.0))  # what is the same should look the same
    percent(left)
    middle.plot(list(found.change)[:-1], list(found.change.values())[:-1], "o-", color=BLUE, markersize=5)  # of 24 bits none is lost
    middle.set(title="Change of the logits", yscale="log")
    for axes in (left, middle):
        axes.set(xlabel="significant bits of every weight", xlim=(0.5, 25.5), xticks=[1, 4, 8, 11, 16, 20, 24])
        for name, bits in KEPT.items():
            axes.axvline(bits, color=ORANGE, linestyle=":")
            axes.text(bits + 0.25, 0.04, name, rotation=90, color="#9A6A00", va="bottom", transform=axes.get_xaxis_transform())
    sizes = {dtype: kept.size / 1000 for dtype, kept in found.files.items()}
    right.bar(list(sizes), list(sizes.values()), width=0.6, color=[BLUE, ORANGE])
    for place, (dtype, size) in enumerate(sizes.items()):
        right.text(place, size, f"{100 * found.files[dtype].accuracy:.2f} %\n", ha="center", va="center", fontweight="bold")
    right.set(title="The file, kB; above it accuracy", ylim=(0, 1.15 * max(sizes.values())))
    right.set_axisbelow(True)
    save(drawn, options, "half_precision")


if __name__ == "__main__":
    sys.exit(run(main))
