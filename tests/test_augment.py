"""Augmentation against its definition in float64: the same random numbers, hashed here in Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastcnn.data.augment import Augment
from fastcnn.data.batches import Batches

MASK = 2**64 - 1


def _mix(value: int) -> int:
    z = (value + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def _draws(seed: int, epoch: int, position: int, count: int = 10) -> list[float]:
    state = _mix(_mix(_mix(seed) + epoch) + position)
    return [(_mix(state + draw * 0x9E3779B97F4A7C15) >> 11) / 2**53 for draw in range(count)]


def _bends(shape: tuple[int, int], a: Augment, u: list[float]) -> np.ndarray:
    """Return displacements (2, H, W): each a sum of the noise around it, weighted by a Gaussian whose squares add up to elastic^2."""
    H, W = shape
    radius = int(np.ceil(3 * a.elastic_sigma))
    noise = np.array([2 * value - 1 for value in u[10:]]).reshape(2, H + 2 * radius, W + 2 * radius) * np.sqrt(3)  # of variance 1
    across = np.arange(-radius, radius + 1)
    bell = np.exp(-(across[:, None] ** 2 + across**2) / (2 * a.elastic_sigma**2))
    bell *= a.elastic / np.sqrt((bell**2).sum())
    windows = np.lib.stride_tricks.sliding_window_view(noise, bell.shape, axis=(1, 2))
    return (windows * bell).sum(axis=(3, 4))


def test_the_hash_is_splitmix64() -> None:
    """The first numbers of the published generator for the seed 1234567."""
    assert [_mix(1234567 + i * 0x9E3779B97F4A7C15) for i in range(2)] == [6457827717110365317, 3203168211198807973]


def _definition(image: np.ndarray, a: Augment, u: list[float]) -> np.ndarray:
    """Return one plane (H, W), mapped pixel by pixel: the point that comes to each, found by inverting the matrix."""
    H, W = image.shape

    def centred(draw: int, reach: float) -> float:
        return reach * (2 * u[draw] - 1)

    angle, shear = centred(0, np.radians(a.rotate)), centred(2, a.shear)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = (1 + centred(1, a.scale)) * rotation @ np.array([[1, shear], [0, 1]])
    shift, centre = np.array([centred(3, a.shift), centred(4, a.shift)]), np.array([(W - 1) / 2, (H - 1) / 2])
    result = np.empty((H, W))
    bends = _bends((H, W), a, u) if a.elastic else np.zeros((2, H, W))
    for h in range(H):
        for w in range(W):
            x, y = np.linalg.solve(matrix, np.array([w, h]) - centre - shift) + centre + bends[:, h, w]
            column, row = int(np.floor(x)), int(np.floor(y))
            result[h, w] = sum(
                (1 - abs(x - i)) * (1 - abs(y - j)) * (image[j, i] if 0 <= j < H and 0 <= i < W else a.fill)
                for i in (column, column + 1)
                for j in (row, row + 1)
            )
    if u[5] < a.erase:
        low, reach = a.erase_size[0], a.erase_size[1] - a.erase_size[0]
        height, width = int(H * (low + reach * u[6]) + 0.5), int(W * (low + reach * u[7]) + 0.5)
        top, left = int((H - height + 1) * u[8]), int((W - width + 1) * u[9])
        result[top : top + height, left : left + width] = a.fill
    return result


AUGMENTS = [
    Augment(),
    Augment(shift=3),
    Augment(rotate=180),
    Augment(scale=0.9),
    Augment(shear=1.5, fill=77),
    Augment(erase=1, erase_size=(0, 1), fill=200),
    Augment(shift=2, rotate=20, scale=0.2, shear=0.3, erase=0.5),
    Augment(shift=100, rotate=30, fill=3),
    Augment(elastic=1.38, elastic_sigma=1.5),
    Augment(elastic=3, elastic_sigma=0.5, rotate=10, erase=0.5, fill=9),
]


@pytest.mark.parametrize("shape", [(6, 28, 28), (4, 3, 7, 5), (9, 1, 1), (3, 2, 1, 6), (3, 5, 1)])
@pytest.mark.parametrize("augment", AUGMENTS, ids=repr)
def test_against_the_definition(augment: Augment, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    batches = Batches(images, np.arange(len(images)), 4, seed=5, mean=10.0, deviation=50.0, augment=augment)
    planes = images if images.ndim == 4 else images[:, None]
    for number in range(len(batches)):
        x, target = batches.batch(7, number)
        for found, position in zip(x, target, strict=True):
            r = int(np.ceil(3 * augment.elastic_sigma)) if augment.elastic else 0
            u = _draws(5, 7, int(position), 10 + (2 * (shape[-2] + 2 * r) * (shape[-1] + 2 * r) if r else 0))
            for plane, image in zip(found, planes[position].astype(np.float64), strict=True):
                np.testing.assert_allclose(plane, (_definition(image, augment, u) - 10) / 50, rtol=0, atol=2e-5)


def test_no_change_keeps_pixels_exactly() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 13, 10)).astype(np.uint8)
    plain = Batches(images, np.arange(40), 40, seed=0)
    same = Batches(images, np.arange(40), 40, seed=0, augment=Augment())
    np.testing.assert_array_equal(plain.batch(0, 0)[0], same.batch(0, 0)[0])


def test_whole_pixels_keep_pixels_exactly() -> None:
    """The shift is such that one image moves by just 2 columns; its rows are alike, so that moving by parts of rows changes nothing."""
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 1, 10)), 21, axis=1).astype(np.uint8)
    checked = 0
    for position in range(40):
        right, down = (2 * _draws(0, 0, position)[draw] - 1 for draw in (3, 4))
        shift = abs(2 / right)
        if abs(shift * right) != 2 or abs(shift * down) > 8:
            continue
        arguments = images, np.arange(40), 40
        plain = Batches(*arguments, seed=0, sampling="ordered").batch(0, 0)[0][position, 0, 10]
        moved = Batches(*arguments, seed=0, sampling="ordered", augment=Augment(shift=shift)).batch(0, 0)[0][position, 0, 10]
        np.testing.assert_array_equal(*((moved[2:], plain[:-2]) if right > 0 else (moved[:-2], plain[2:])))
        checked += 1
    assert checked >= 10


def test_draws_fill_their_ranges_evenly() -> None:
    """40,000 images of one white pixel on black that a shift moves: its centre of mass is the shift."""
    images = np.zeros((40_000, 9, 9), np.uint8)
    images[:, 4, 4] = 255
    x = Batches(images, np.zeros(40_000, int), 40_000, seed=0, mean=0.0, deviation=255.0, augment=Augment(shift=3)).batch(0, 0)[0][:, 0]
    np.testing.assert_allclose(x.sum(axis=(1, 2)), 1, atol=1e-5)
    across = (x * (np.arange(9) - 4)).sum(axis=(1, 2))
    along = (x * (np.arange(9) - 4)[:, None]).sum(axis=(1, 2))
    for found in (across, along):
        counts = np.histogram(found, 12, (-3, 3))[0]
        assert abs(counts - 40_000 / 12).max() < 5 * np.sqrt(40_000 / 12)
        assert abs(found).max() <= 3 + 1e-5
    assert abs(np.corrcoef(across, along)[0, 1]) < 0.025


def test_erasing_statistics() -> None:
    """Every other image loses a rectangle; its sides are those asked for, and it reaches every pixel."""
    images = np.full((8_000, 20, 10), 100, np.uint8)
    augment = Augment(erase=0.5, erase_size=(0.2, 0.4))
    x = Batches(images, np.zeros(8_000, int), 8_000, seed=1, mean=0.0, deviation=1.0, augment=augment).batch(0, 0)[0][:, 0]
    gone = x == 0
    assert set(np.unique(x)) == {0, 100}
    hit = gone.any(axis=(1, 2))
    assert abs(hit.mean() - 0.5) < 0.03
    heights, widths = gone[hit].any(axis=2).sum(axis=1), gone[hit].any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(gone[hit].sum(axis=(1, 2)), heights * widths)  # full rectangles
    assert set(heights) == {4, 5, 6, 7, 8}
    assert set(widths) == {2, 3, 4}
    assert gone.any(axis=0).all()


def test_elastic_displacements_are_as_large_as_asked_for() -> None:
    """On a ramp the change of a pixel is its displacement; far from the border, where no background comes in."""
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))
    images = np.broadcast_to(ramp, (200, 60, 60)).copy()
    augment = Augment(elastic=2, elastic_sigma=4)
    x = Batches(images, np.zeros(200, int), 200, seed=3, mean=0.0, deviation=4.0, augment=augment, sampling="ordered").batch(0, 0)[0][:, 0]
    found = (x - ramp / 4)[:, 15:45, 15:45]
    assert np.sqrt((found**2).mean()) == pytest.approx(2, rel=0.1)
    assert abs(found.mean()) < 0.1
    near, far = ((found[:, :, :-d] * found[:, :, d:]).mean() / 4 for d in (1, 16))
    assert near == pytest.approx(np.exp(-1 / 64), abs=0.05), "two smoothings by sigma make a correlation of exp(-d^2 / (4 sigma^2))"
    assert abs(far) < 0.1


def test_epochs_and_seeds_differ() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 9, 9)).astype(np.uint8)
    augment = Augment(shift=2, rotate=20)

    def batch(seed: int, epoch: int) -> Any:
        return Batches(images, np.arange(4), 4, seed=seed, augment=augment, sampling="ordered").batch(epoch, 0)[0]

    found = [batch(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({x.tobytes() for x in found}) == 9
    np.testing.assert_array_equal(batch(2, 2), found[-1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"shift": -1},
        {"shift": np.inf},
        {"rotate": np.nan},
        {"scale": 1.0},
        {"shear": -0.1},
        {"erase": 1.1},
        {"erase_size": (0.5, 0.2)},
        {"erase_size": (0, 1.5)},
        {"fill": np.nan},
        {"elastic": -1},
        {"elastic_sigma": 0},
    ],
    ids=str,
)
def test_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"Augment: {next(iter(wrong))}"):
        Augment(**wrong)
