"""What every layer is: a pure pair of functions, `apply` and `pull_back`, under a small object with state.

``y, saved = layer.apply(x)`` and ``dx, grads = layer.pull_back(saved, dy)`` change nothing in the layer (but Dropout's random generator
and, in training, the running statistics of batch normalisation), so several threads may run shards of a batch through one model.
`forward` and `backward` are the same for one caller: they keep `saved` and `grads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from .. import checks, scalars
from ..registry import PRECISIONS

Self = TypeVar("Self", bound="Layer")


class Layer:
    """Base of all layers.

    Attributes
    ----------
    params : dict of str to ndarray
        What is trained, under torch's names (``weight``, ``bias``); optimisers change the arrays in place.
    grads : dict of str to ndarray
        Gradients of the last `backward`, under the names of `params`; those of frozen layers are missing.
    buffers : dict of str to ndarray
        What a layer keeps besides and no optimiser trains (``running_mean``), under torch's names; changed in place.
    training : bool
        Whether layers such as `Dropout` behave as in training; see `train` and `eval`.
    precision : "highest", "high" or "medium"
        What operations may use, forward and backward, as of `fastcnn.conv2d`; see `use`.
    trainable : bool
        Whether training changes the layer; see `freeze`.
    """

    trainable: bool = True

    def __init__(self) -> None:
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self.training = True
        self.precision = "high"
        self._saved: Any = None

    def apply(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return the output for x, and what `pull_back` needs. To be defined by every layer: TypeError in this base."""
        raise TypeError(f"{type(self).__name__} defines no apply")

    def pull_back(self, saved: Any, dy: np.ndarray, input_gradient: bool = True) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Return the gradients with respect to the input (None unless asked for) and, while `trainable`, to every parameter.

        Parameters
        ----------
        saved
            What `apply` returned beside the output.
        dy : ndarray of the output's shape
            Gradient of the loss with respect to the output.
        input_gradient : bool
            Whether the first gradient is asked for.

        Raises
        ------
        TypeError
            In this base: to be defined by every layer.
        """
        raise TypeError(f"{type(self).__name__} defines no pull_back")

    def children(self) -> dict[str, Layer]:
        """Return the layers that this one consists of, by the names under which their parameters are found (``3``, ``body``)."""
        return {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the layer's output for x, and remember what `backward` needs."""
        y, self._saved = self.apply(x)
        return y

    __call__ = forward

    def backward(self, dy: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        """Fill `grads` for the last `forward`, and return the gradient with respect to its input.

        Parameters
        ----------
        dy : ndarray
            Gradient of the loss with respect to the output.
        input_gradient : bool
            False leaves out the input's gradient, which the first layer of a network does not need (and returns None).

        Raises
        ------
        RuntimeError
            Before any forward.
        """
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward before it")
        dx, self.grads = self.pull_back(self._saved, dy, input_gradient)
        return dx

    def use(self: Self, precision: str) -> Self:
        """Let operations use `precision` ("highest", "high" or "medium", else ValueError) from now on; returns the layer."""
        self.precision = checks.choice(type(self).__name__, "precision", precision, PRECISIONS)
        for layer in self.children().values():
            layer.use(precision)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Switch to training behaviour (or, with a `mode` of False, to evaluation); returns the layer."""
        self.training = checks.flag(type(self).__name__, "mode", mode)
        for layer in self.children().values():
            layer.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Switch to evaluation behaviour; returns the layer. For inference with weights packed once see `fastcnn.layers.prepare`."""
        return self.train(False)

    def freeze(self: Self) -> Self:
        """Keep parameters and buffers as they are, to the bit, whatever is trained around them; returns the layer.

        Gradients pass through a frozen layer, but those of its parameters are not computed and missing from `grads`, and what has no
        gradient no optimiser moves: no weight decay, no momentum. A frozen batch normalisation uses its running statistics, as in
        evaluation, and keeps them. Dropout is no parameter, and drops as before: see `eval`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn.layers import Flatten, Conv2d, Linear, Sequential
        >>> net = Sequential(Conv2d(1, 4, 3, rng=0).freeze(), Flatten(), Linear(16, 2, rng=0))
        >>> y = net(np.ones((1, 1, 4, 4), np.float32))
        >>> dx = net.backward(y)
        >>> sorted(net.grads)
        ['2.bias', '2.weight']
        """
        self.trainable = False
        return self

    def unfreeze(self: Self) -> Self:
        """Let training change the layer again; returns it."""
        self.trainable = True
        return self

    @property
    def trainable_params(self) -> dict[str, np.ndarray]:
        """Those of `params` that are not frozen."""
        return dict(self.params) if self.trainable else {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape without the batch axis, for an input of `shape` without it."""
        return scalars.shape(type(self).__name__, shape)

    def flops(self, shape: tuple[int, ...]) -> int:
        """Return the FLOPs of one forward of one sample of `shape`, counting products and sums of the large loops."""
        return 0

    @property
    def parameter_count(self) -> int:
        """Number of values in all parameters, frozen ones too."""
        return sum(param.size for param in self.params.values())

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return a copy of every parameter and buffer, under torch's names."""
        return {name: array.copy() for name, array in {**self.params, **self.buffers}.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy values into the parameters and buffers, all or none.

        Parameters
        ----------
        state : mapping of str to ndarray
            An array of the right shape for every parameter and buffer, as of `state_dict`.

        Raises
        ------
        TypeError, ValueError
            A name is missing or unknown, a shape differs, or what is there is no number, or none that the dtype holds.
        """
        own = {**self.params, **self.buffers}
        scalars.mapping(type(self).__name__, "state", state)
        if set(state) != set(own):
            missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
            raise ValueError(f"{type(self).__name__}: state misses {missing} and has unknown {unknown}")
        new = {name: scalars.state(type(self).__name__, name, state[name], array) for name, array in own.items()}
        for name, array in own.items():
            array[...] = new[name]

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the random generators inside, by name (``3.rng``, ``3.body.1.rng``): their states decide what Dropout draws next."""
        own = getattr(self, "rng", None)
        found = {"rng": own} if isinstance(own, np.random.Generator) else {}
        for child, layer in self.children().items():
            found.update({f"{child}.{name}": rng for name, rng in layer.generators().items()})
        return found

    def __repr__(self) -> str:
        described = [self._describe(), "frozen" if self.params and not self.trainable else ""]
        return f"{type(self).__name__}({', '.join(filter(None, described))})"

    def _describe(self) -> str:
        return ""


def channels_last(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Return a view (N, H, W, C) of images (N, C, H, W).

    Layers exchange images of shape (N, C, H, W) whose memory is channels-last, which is what kernels compute in: nothing is converted
    between layers, only once where an NCHW-contiguous array enters.
    """
    if type(x) is np.ndarray and x.ndim == 4:
        pixels = x.transpose(0, 2, 3, 1)
        if pixels.flags.carray and x.dtype in checks.FLOATS:
            return pixels  # what layers hand to one another: a third of the time of looking closer
    return checks.array(type(layer).__name__, "input", x, "NCHW", None).transpose(0, 2, 3, 1)


def channels_first(x: np.ndarray) -> np.ndarray:
    """Return a view (N, C, H, W) of images (N, H, W, C)."""
    return x.transpose(0, 3, 1, 2)


def require_image(name: str, shape: tuple[int, ...], channels: int | None = None) -> None:
    """Raise ValueError unless `shape`, without the batch axis, is that of an image, of so many channels where they are given."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{name}: shape must be a tuple of int; got {type(shape).__name__}")
    if len(shape) != 3 or channels not in (None, shape[0]):
        got = ", ".join(map(str, ("N", *shape[:8], *(("...",) if len(shape) > 8 else ()))))
        raise ValueError(f"{name}: input must be (N, {'C' if channels is None else channels}, H, W); got shape ({got})")
