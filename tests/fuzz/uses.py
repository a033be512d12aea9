"""Uses of objects: layers, losses, optimisers and the like are made and used in one call, whose arguments can all be spoilt."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.words import ints


def layer(kind: Any, x: Any, dy: Any = None, body: Any = (), training: bool = True, **arguments: Any) -> tuple[Any, ...]:
    """Return what a layer makes of x, the gradient with respect to x, and those of its parameters."""
    made = (kind(*body, **arguments) if isinstance(body, (tuple, list)) else kind(body, **arguments)).train(training)
    y = made(x)
    dx = made.backward(_ones(y) if dy is None else dy)
    return (y, dx, *made.grads.values())


def _ones(y: Any) -> Any:
    """Return a gradient of 1 for a result; where that is a view of little memory, handed on as it came, such a view."""
    if not isinstance(y, np.ndarray):  # of Identity, which hands on anything
        return y
    if 0 in y.strides:
        return np.broadcast_to(np.ones((), y.dtype), y.shape)
    return np.ones_like(y)


def shaped(kind: Any, shape: Any, **arguments: Any) -> tuple[Any, int]:
    """Return the output's shape and the FLOPs of a layer for an input of this shape."""
    made = kind(**arguments)
    return made.output_shape(shape), made.flops(shape)


def loaded(kind: Any, state: Any, **arguments: Any) -> dict[str, np.ndarray]:
    """Return the state of a layer that has loaded one."""
    made = kind(**arguments)
    made.load_state_dict(state)
    return made.state_dict()


def loss(kind: Any, input: Any, target: Any, **arguments: Any) -> tuple[Any, ...]:
    """Return a loss and its gradient."""
    made = kind(**arguments)
    return made(input, target), made.backward()


def one_pass(kind: Any, input: Any, target: Any, **arguments: Any) -> tuple[Any, ...]:
    """Return loss, gradient and hits of a step."""
    return kind(**arguments).step(input, target)


def descent(kind: Any, params: Any, grads: Any, **arguments: Any) -> dict[str, np.ndarray]:
    """Return parameters after two steps of an optimiser, and its state."""
    made = kind(params, **arguments)
    made.step(grads)
    made.step(grads)
    return {**{name: value.astype(value.dtype.newbyteorder("=")) for name, value in made.params.items()}, **made.state_dict()}


def restored(kind: Any, params: Any, state: Any, **arguments: Any) -> dict[str, np.ndarray]:
    """Return the state of an optimiser that has loaded one."""
    made = kind(params, **arguments)
    made.load_state_dict(state)
    return made.state_dict()


def averaged(kind: Any, params: Any, **arguments: Any) -> dict[str, np.ndarray]:
    """Return an average of parameters after two updates."""
    made = kind(params, **arguments)
    made.update()
    made.update()
    return made.state_dict()


def rate(kind: Any, step: Any, **arguments: Any) -> float:
    """Return the learning rate that a schedule has at a step."""
    return kind(**arguments)(step)


def drawn(kind: Any, shape: Any, **arguments: Any) -> np.ndarray:
    """Return what a made initialiser draws."""
    return kind(**arguments)(shape, np.random.default_rng(0))


def network(kind: Any, **arguments: Any) -> int:
    """Return how many parameters a network has."""
    return kind(**arguments).parameter_count


def prepared(kind: Any, input: Any, layout: Any = "NCHW", residual: Any = None, **arguments: Any) -> np.ndarray:
    """Return what a prepared convolution makes of an input."""
    return kind(**arguments)(input, layout=layout, residual=residual)


def applied(kind: Any, x: Any, model: Any, **arguments: Any) -> Any:
    """Return what a prepared network makes of an input."""
    return kind(model, **arguments)(x)


def augmented(kind: Any, images: Any, **arguments: Any) -> np.ndarray:
    """Return the first batch of images that are changed at random."""
    from fastcnn.data.batches import Batches

    count = len(images) if isinstance(images, np.ndarray) and images.ndim else 3
    labels = np.broadcast_to(np.int64(0), count)  # of no memory, as images may be a view of billions
    return _first(Batches(images, labels, 4, seed=0, augment=kind(**arguments)))


def batches(kind: Any, **arguments: Any) -> np.ndarray:
    """Return the first batch of a data set."""
    return _first(kind(**arguments))


def _first(made: Any) -> np.ndarray:
    """Return the first batch, where there is one."""
    return made.batch(0, 0)[0].copy() if len(made) else np.empty(0)


def entered(kind: Any, **arguments: Any) -> None:
    """Enter a context and leave it."""
    with kind(**arguments):
        pass


def counted(**arguments: Any) -> None:
    """Set the number of threads, and set it back."""
    import fastcnn

    before = fastcnn.get_threads()
    try:
        fastcnn.set_threads(**arguments)
    finally:
        fastcnn.set_threads(before)


def classified(kind: Any, X: Any, y: Any, **arguments: Any) -> np.ndarray:
    """Return what an estimator predicts for the images that it was trained on."""
    return kind(**arguments).fit(X, y).predict(X)


def subset(kind: Any, classes: Any) -> Any:
    """Return the images of some classes of a small data set."""
    images, y = ints((6, 4, 4), "u1"), np.array([0, 1, 2, 0, 1, 2], np.uint8)
    return kind("small", images, y, images, y, (0, 1, 2)).only(classes)


def held_out(kind: Any, share: Any, **arguments: Any) -> Any:
    """Return a small data set, a share of which is held out."""
    images, y = ints((6, 4, 4), "u1"), np.array([0, 1, 2, 0, 1, 2], np.uint8)
    return kind("small", images, y, images, y, (0, 1, 2)).validation_split(share, **arguments)


def squares(x: np.ndarray) -> float:
    """Return the sum of the squares."""
    with np.errstate(all="ignore"):
        return float((np.asarray(x) ** 2).sum())
