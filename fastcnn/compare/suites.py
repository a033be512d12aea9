"""The convolutions that everyone measures, as suites: layers of known networks, and the cliffs of other libraries.

A name tells the problem: ``resnet50-n8-64x56-64k3s2`` is 8 images of 64 channels and 56 x 56 pixels, 64 filters of 3 x 3, stride 2;
``dw3`` stands for a depthwise 3 x 3. The dense layers of these networks are not conv2d and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..ops.conv2d import Conv2dProblem
from ..registry import Case

# (C, H, K, R, stride, padding); everything is square.
Layer = tuple[int, int, int, int, int, int]

_MNIST: list[Layer] = [
    (1, 28, 24, 5, 1, 0), (24, 12, 32, 3, 1, 0), (1, 28, 32, 3, 1, 0), (32, 26, 64, 3, 1, 0),
    (1, 28, 6, 5, 1, 2), (6, 14, 16, 5, 1, 0), (1, 28, 32, 5, 1, 0), (32, 24, 32, 5, 1, 0),
]  # fmt: skip

_RESNET50: list[Layer] = [
    (3, 224, 64, 7, 2, 3),
    (64, 56, 64, 1, 1, 0), (64, 56, 64, 3, 1, 1), (64, 56, 256, 1, 1, 0), (256, 56, 64, 1, 1, 0), (256, 56, 128, 1, 2, 0),
    (128, 28, 128, 3, 1, 1), (128, 28, 512, 1, 1, 0), (512, 28, 128, 1, 1, 0), (512, 28, 256, 1, 2, 0),
    (256, 14, 256, 3, 1, 1), (256, 14, 1024, 1, 1, 0), (1024, 14, 256, 1, 1, 0), (1024, 14, 512, 1, 2, 0),
    (512, 7, 512, 3, 1, 1), (512, 7, 2048, 1, 1, 0), (2048, 7, 512, 1, 1, 0),
    (128, 56, 128, 3, 2, 1), (256, 28, 256, 3, 2, 1), (512, 14, 512, 3, 2, 1),
]  # fmt: skip

_VGG16: list[Layer] = [
    (C, H, K, 3, 1, 1)
    for C, H, K in (
        (3, 224, 64), (64, 224, 64), (64, 112, 128), (128, 112, 128), (128, 56, 256),
        (256, 56, 256), (256, 28, 512), (512, 28, 512), (512, 14, 512),
    )
]  # fmt: skip

_MOBILENET_DEPTHWISE = [(32, 112, 1), (64, 112, 2), (128, 56, 1), (256, 28, 1), (512, 14, 1), (1024, 7, 1)]  # (C, H, stride)
_MOBILENET_POINTWISE: list[Layer] = [
    (C, H, K, 1, 1, 0)
    for C, H, K in (
        (32, 112, 64), (64, 56, 128), (128, 56, 128), (128, 28, 256), (256, 28, 256),
        (256, 14, 512), (512, 14, 512), (512, 7, 1024), (1024, 7, 1024),
    )
]  # fmt: skip

# Multiplies the weights, which are otherwise of order 1: products of these are subnormal, and slow a core where nobody flushes them.
WEIGHT_SCALE = {"cliffs-n1-64x56-64k3-tiny": 1e-42}


def _problem(N: int, layer: Layer, groups: int = 1) -> Conv2dProblem:
    C, H, K, R, stride, pad = layer
    return Conv2dProblem(N, C, H, H, K, R, R, stride, stride, pad, pad, pad, pad, groups=groups)


def _case(suite: str, N: int, layer: Layer, depthwise: bool = False, note: str = "") -> Case:
    C, H, K, R, stride, _ = layer
    filters = f"dw{R}" if depthwise else f"{K}k{R}"
    return Case(f"{suite}-n{N}-{C}x{H}-{filters}{f's{stride}' if stride > 1 else ''}{note}", _problem(N, layer, C if depthwise else 1))


def _cases(suite: str, batches: Iterable[int], layers: Iterable[Layer]) -> list[Case]:
    return [_case(suite, N, layer) for N in batches for layer in layers]


def _depthwise(suite: str, batches: Iterable[int]) -> list[Case]:
    return [_case(suite, N, (C, H, C, 3, stride, 1), depthwise=True) for N in batches for C, H, stride in _MOBILENET_DEPTHWISE]


SUITES: dict[str, list[Case]] = {
    "mnist": _cases("mnist", (1, 64, 256), _MNIST),
    "resnet50": _cases("resnet50", (1, 8), _RESNET50),
    "vgg16": _cases("vgg16", (1,), _VGG16),
    "mobilenet": _depthwise("mobilenet", (1, 8)) + _cases("mobilenet", (1, 8), _MOBILENET_POINTWISE),
    "cliffs": [
        _case("cliffs", 32, (8, 32, 8, 5, 1, 2)),  # backward
        _case("cliffs", 1, (512, 4, 512, 3, 1, 1)),
        _case("cliffs", 1, (16, 60, 16, 1, 1, 0)),
        _case("cliffs", 1, (64, 56, 64, 3, 1, 1), note="-tiny"),
        _case("cliffs", 1, (256, 124, 256, 3, 1, 1), depthwise=True),
        _case("cliffs", 8, (256, 56, 512, 1, 2, 0)),  # backward_weight
    ],
}
