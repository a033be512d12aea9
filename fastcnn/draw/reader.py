"""A network that reads drawings: the image it sees, how sure it is of each digit, and what its convolutions answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..data import class_names
from ..layers import Layer
from ..report.features import FeatureMap, feature_maps
from .preparation import prepare_drawing


class Reading(NamedTuple):
    """What a network makes of a drawing.

    Attributes
    ----------
    image : (size, size) uint8
        What it sees.
    probabilities : (classes,) float64
        Add up to 1.
    maps : list of FeatureMap
        Of its convolutions, behind their ReLU where they have one: (C, H, W) each.
    """

    image: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float64]
    maps: list[FeatureMap]


@dataclass(frozen=True)
class Reader:
    """A trained network, and what is known of it.

    Attributes
    ----------
    model : Layer
        In evaluation mode; a chain of layers.
    size : int
        Height and width of its images in pixels.
    mean, deviation : float
        Bytes v go into it as (v - mean) / deviation.
    dataset : str
        It was trained with, as in `fastcnn.data.SIZES`.
    source : str
        Where its weights come from, in words.
    accuracy : float or None
        Share of the test images that it reads rightly, where it is known.
    """

    model: Layer
    size: int
    mean: float
    deviation: float
    dataset: str
    source: str
    accuracy: float | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """What it tells apart."""
        return class_names(self.dataset)

    def read(self, drawing: np.ndarray) -> Reading:
        """Return what the network makes of a drawing (H, W) uint8, in which 0 is paper and 255 ink."""
        image = prepare_drawing(drawing, self.size)
        x = ((image.astype(np.float32) - np.float32(self.mean)) * np.float32(1 / self.deviation))[None, None]
        # One pass for all; with the image as it is, whereas the recipe `accurate` averages five shifted copies
        maps = feature_maps(self.model, x)
        logits = maps[-1].values
        powers = np.exp(logits - logits.max())
        return Reading(image, powers / powers.sum(), [found for found in maps if found.name.startswith("Conv2d")])
