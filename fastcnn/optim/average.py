"""The exponential moving average of parameters: weights that are often better than those of the last step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checks, scalars, window
from . import _kernels
from ._segments import Segments, by_dtype


class WeightAverage:
    """Running mean of parameters: mean += (1 - d) (param - mean) at every `update`, with d = min(decay, (1 + t) / (10 + t)).

    t counts the updates before this one: the mean forgets the first weights quickly, and reaches `decay` after about 10 / (1 - decay)
    updates. Before the first update it is a copy of the parameters.

    Parameters
    ----------
    params : mapping of name to ndarray
        float32 or float64; read by `update`, never changed. The arrays must stay the same objects.
    decay : float in [0, 1)
        What the mean keeps of itself at an update, in the long run.
    warmup : bool
        False uses `decay` from the first update on.

    Attributes
    ----------
    params : dict of str to ndarray
        The averages, under the same names; `update` changes them in place. Copy them into a model by its `load_state_dict`.
    updates : int

    Raises
    ------
    TypeError, ValueError
        A parameter is no array of float32 or float64, or `decay` is out of its range.

    References
    ----------
    B. Polyak & A. Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the warm-up is that of
    `tf.train.ExponentialMovingAverage(num_updates=t)`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.optim import WeightAverage
    >>> weight = np.zeros(1)
    >>> average = WeightAverage({"weight": weight}, decay=0.9)
    >>> weight += 1
    >>> average.update()  # d = 1 / 10
    >>> average.params["weight"]
    array([0.9])
    """

    def __init__(self, params: Mapping[str, np.ndarray], decay: float, warmup: bool = True) -> None:
        self.decay = checks.number("WeightAverage", "decay", decay, finite=False)
        if not 0 <= self.decay < 1:
            raise ValueError(f"WeightAverage: decay must be in [0, 1); got {window.shown(decay)}")
        self.warmup, self.updates = checks.flag("WeightAverage", "warmup", warmup), 0
        self._build(dict(scalars.mapping("WeightAverage", "params", params)))
        for name, mean in self.params.items():
            mean[...] = params[name]

    def update(self) -> None:
        """Take the parameters as they are now into the mean."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        share = np.array([1 - decay])
        for segments, flat in self._groups:
            segments.fetch()
            segments.launch(_kernels.average(segments.dtype), 3, segments.addresses, share, flat)
        self.updates += 1

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the averages under the parameters' names, and the number of updates as ``updates``."""
        return {**{name: mean.copy() for name, mean in self.params.items()}, "updates": np.array(self.updates, np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state, which `state_dict` returned, all of it or nothing.

        Raises
        ------
        ValueError
            A name is missing or unknown, a shape differs, or the count is none.
        """
        scalars.mapping("WeightAverage", "state", state)
        names = {*self.params, "updates"}
        if set(state) != names:
            missing, unknown = sorted(names - set(state)), sorted(set(state) - names)
            raise ValueError(f"WeightAverage: state misses {missing} and has unknown {unknown}")
        shapes = {**{name: mean.shape for name, mean in self.params.items()}, "updates": ()}
        given = {name: np.asarray(value) for name, value in state.items()}
        for name, shape in shapes.items():
            if given[name].shape != shape or given[name].dtype.kind not in "fiu":
                raise ValueError(f"WeightAverage: {name} must be numbers of shape {shape}; got {given[name].dtype} {given[name].shape}")
        if given["updates"] < 0 or given["updates"] != int(given["updates"]):
            raise ValueError(f"WeightAverage: updates must be a count; got {given['updates']}")
        self.updates = int(given["updates"])
        for name, mean in self.params.items():
            mean[...] = given[name]

    def _build(self, sources: dict[str, np.ndarray]) -> None:
        if "updates" in sources:
            raise ValueError("WeightAverage: 'updates' is no name for a parameter")
        self._sources = sources
        segments = [Segments(arrays) for arrays in by_dtype("WeightAverage", sources, writable=False)]
        self._groups = [(group, group.flat()) for group in segments]
        found = {name: mean for group, flat in self._groups for name, mean in group.views(flat).items()}
        self.params = {name: found[name] for name in sources}

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but addresses, for `copy` and `pickle`."""
        return {"sources": self._sources, "decay": self.decay, "warmup": self.warmup, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.decay, self.warmup, self.updates = state["decay"], state["warmup"], 0
        self._build(state["sources"])
        self.load_state_dict(state["state"])
