"""Run in a process of its own with KERAS_BACKEND=numpy: models before and after `install`; prints a line for each."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fastcnn.adapters import keras as adapter

L = keras.layers
IMAGES, SEQUENCES, VOLUMES = (13, 11, 4), (17, 4), (5, 6, 7, 2)
MODELS: dict[str, tuple[tuple[int, ...], list[Any]]] = {
    "conv, valid": (IMAGES, [L.Conv2D(6, 3, activation="relu")]),
    "conv, same, strided": (IMAGES, [L.Conv2D(6, (3, 2), strides=(2, 3), padding="same")]),
    "conv, dilated, grouped": (IMAGES, [L.Conv2D(6, 3, dilation_rate=2, groups=2, padding="same", use_bias=False)]),
    "conv, channels first": ((4, 13, 11), [L.Conv2D(6, 3, strides=2, padding="same", data_format="channels_first")]),
    "depthwise": (IMAGES, [L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", strides=2)]),
    "separable": (IMAGES, [L.SeparableConv2D(5, 3, depth_multiplier=2)]),
    "pool": (IMAGES, [L.MaxPooling2D(2), L.ReLU()]),
    "pool, same": (IMAGES, [L.MaxPooling2D((3, 2), strides=(2, 3), padding="same")]),
    "pool, channels first": ((4, 13, 11), [L.MaxPooling2D(3, strides=1, padding="same", data_format="channels_first")]),
    "sequences": (SEQUENCES, [L.Conv1D(6, 3, strides=2, padding="same"), L.MaxPooling1D(2, padding="same")]),
    "causal sequences": (SEQUENCES, [L.Conv1D(6, 3, padding="causal", dilation_rate=2), L.DepthwiseConv1D(3), L.SeparableConv1D(4, 2)]),
    "volumes, which stay Keras's": (VOLUMES, [L.Conv3D(3, 2), L.MaxPooling3D(2)]),
    "network": (
        (28, 28, 1),
        [L.Conv2D(8, 5, activation="relu"), L.MaxPooling2D(), L.BatchNormalization(), L.Flatten(), L.Dropout(0.5), L.Dense(10)],
    ),
}


def _counted() -> list[str]:
    """Return a list that grows by a name with every call that our kernels serve."""
    served: list[str] = []

    def counting(name: str, kernel: Any) -> Any:
        def call(*arguments: Any) -> Any:
            served.append(name)
            return kernel(*arguments)

        return call

    adapter._KERNELS.update({name: counting(name, kernel) for name, kernel in adapter._KERNELS.items()})
    return served


def main() -> None:
    served = _counted()
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    for dtype in ("float32", "float64", "float16"):
        keras.config.set_floatx(dtype)
        for name, (shape, layers) in MODELS.items():
            model = keras.Sequential(
                [keras.Input(shape), *[type(layer).from_config({**layer.get_config(), "dtype": dtype}) for layer in layers]]
            )
            x = rng.standard_normal((3, *shape)).astype(dtype)
            expected = model.predict(x, verbose=0)
            adapter.install()
            adapter.install()
            served.clear()
            found = model.predict(x, verbose=0)
            adapter.uninstall()
            np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
            assert found.dtype in (expected.dtype, dtype), name  # of float64 Keras makes float32 in places
            if dtype != "float64":  # where Keras mixes dtypes
                assert bool(served) == (dtype == "float32" and "volumes" not in name), name
            scale = np.abs(expected.astype(np.float64)).max()
            np.testing.assert_allclose(
                found, expected, rtol=0, atol={"float32": 1e-5, "float64": 1e-5, "float16": 0}[dtype] * scale, err_msg=name
            )
            print(f"{dtype} {name}: {found.shape}")
    adapter.install()
    assert keras.src.backend.nn.conv.__wrapped__.__module__ == keras.src.backend.nn.__name__
    for mistake in (
        lambda: keras.ops.conv(np.zeros((1, 2, 2, 1)), np.zeros((3, 3, 1, 1))),
        lambda: keras.ops.conv(np.zeros((1, 4, 4, 3)), np.zeros((1, 1, 2, 2))),
    ):
        try:
            mistake()
        except ValueError as error:
            print("refused:", error)
    keras.__version__ = "3.99.0"
    try:
        adapter.install()
    except RuntimeError as error:
        print("refused:", error)


if __name__ == "__main__":
    main()
