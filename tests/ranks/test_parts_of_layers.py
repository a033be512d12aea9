"""Dropout of a batch in several processes: what is dropped is what a single process would drop."""

from __future__ import annotations

import numpy as np
import pytest

from fastcnn.layers import Dropout, Dropout2d


@pytest.mark.parametrize("kind", [Dropout, Dropout2d])
@pytest.mark.parametrize("cuts", [(4,), (0, 3), (2, 2, 7)])
def test_parts_drop_what_the_whole_drops(kind: type[Dropout], cuts: tuple[int, ...]) -> None:
    """Twice in a row: the generators stay alike, those of empty parts too."""
    rng = np.random.default_rng(0)
    whole = kind(0.4, rng=5)
    layers = [kind(0.4, rng=5) for _ in range(len(cuts) + 1)]
    for _ in range(2):
        x, dy = rng.standard_normal((2, 7, 6, 2, 3)).astype(np.float32)
        parts = list(zip(np.split(x, cuts), np.split(dy, cuts), (0, *cuts), layers, strict=True))
        y, dx = whole.forward(x), whole.backward(dy)
        assert 0 < (y == 0).mean() < 0.8
        found = []
        for part, errors, first, layer in parts:
            layer.rows = first, len(x)
            found.append((layer.forward(part), layer.backward(errors)))
        np.testing.assert_array_equal(np.concatenate([part for part, _ in found]), y)
        np.testing.assert_array_equal(np.concatenate([part for _, part in found]), dx)
        assert all(layer.rng.bit_generator.state == whole.rng.bit_generator.state for layer in layers)


def test_evaluation_draws_nothing() -> None:
    layer = Dropout(0.5, rng=1).eval()
    layer.rows, before = (0, 4), layer.rng.bit_generator.state
    x = np.ones((2, 3), np.float32)
    assert layer.forward(x) is x
    assert layer.rng.bit_generator.state == before
