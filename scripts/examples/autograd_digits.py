"""HIPS autograd trains a network of our kernels on scikit-learn's digits: 20 epochs, a few seconds."""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad

from fastcnn.adapters.autograd import conv2d, linear, max_pool2d, relu
from fastcnn.data import digits

Params = list[np.ndarray]


def logits(params: Params, x: Any) -> Any:
    """Return the logits of images (N, 1, 8, 8)."""
    filters, shift, matrix, bias = params
    hidden = max_pool2d(relu(conv2d(x, filters, shift)), 2)
    return linear(anp.reshape(hidden, (len(x), -1)), matrix, bias)


def loss(params: Params, x: np.ndarray, labels: np.ndarray) -> Any:
    """Return the mean cross-entropy."""
    scores = logits(params, x)
    scores = scores - anp.max(scores, axis=1, keepdims=True)
    return anp.mean(anp.log(anp.sum(anp.exp(scores), axis=1)) - scores[np.arange(len(x)), labels])


def main() -> None:
    """Train, and print the accuracy on the test images."""
    rng, data = np.random.default_rng(0), digits()
    train, test = (images[:, None].astype(np.float32) / 255 for images in (data.train_images, data.test_images))
    params = [rng.normal(0, 0.2, shape).astype(np.float32) for shape in ((16, 1, 3, 3), (16,), (10, 144), (10,))]
    velocity = [np.zeros_like(p) for p in params]
    gradient = grad(loss)
    for _ in range(20):
        for batch in np.array_split(rng.permutation(len(train)), len(train) // 64):
            steps = gradient(params, train[batch], data.train_labels[batch])
            velocity = [np.float32(0.9) * v - np.float32(0.05) * g for v, g in zip(velocity, steps, strict=True)]
            params = [p + v for p, v in zip(params, velocity, strict=True)]
    print(f"accuracy {(logits(params, test).argmax(1) == data.test_labels).mean():.4f}")


if __name__ == "__main__":
    main()
