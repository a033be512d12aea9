"""JAX trains a network of our kernels on scikit-learn's digits, in steps that it compiles: 20 epochs, a few seconds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fastcnn.adapters.jax import conv2d, linear, max_pool2d, relu
from fastcnn.data import digits


def logits(params: Any, x: Any) -> Any:
    """Return the logits of images (N, 1, 8, 8)."""
    filters, shift, matrix, bias = params
    hidden = max_pool2d(relu(conv2d(x, filters, shift)), 2)
    return linear(hidden.reshape(len(x), -1), matrix, bias)


def loss(params: Any, x: Any, labels: Any) -> Any:
    """Return the mean cross-entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(params, x)), labels[:, None], 1).mean()


@jax.jit
def step(params: Any, velocity: Any, x: Any, labels: Any) -> Any:
    """Return parameters and velocity after a step of descent with momentum."""
    gradient = jax.grad(loss)(params, x, labels)
    velocity = [0.9 * v - 0.05 * g for v, g in zip(velocity, gradient, strict=True)]
    return [p + v for p, v in zip(params, velocity, strict=True)], velocity


def main() -> None:
    """Train, and print the accuracy on the test images."""
    rng, data = np.random.default_rng(0), digits()
    train, test = (images[:, None].astype(np.float32) / 255 for images in (data.train_images, data.test_images))
    labels = data.train_labels.astype(np.int32)
    params = [jnp.asarray(rng.normal(0, 0.2, shape), jnp.float32) for shape in ((16, 1, 3, 3), (16,), (10, 144), (10,))]
    velocity = [jnp.zeros_like(p) for p in params]
    for _ in range(20):
        for batch in rng.permutation(len(train))[: len(train) // 64 * 64].reshape(-1, 64):
            params, velocity = step(params, velocity, train[batch], labels[batch])
    print(f"accuracy {(np.argmax(logits(params, test), 1) == data.test_labels).mean():.4f}")


if __name__ == "__main__":
    main()
