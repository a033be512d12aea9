"""PyTorch's own samples of unfold and linear, and fold, which has none, on the columns of unfold."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcnn.functional import col2im, col2im_backward, im2col, im2col_backward, linear, linear_backward
from partners import opinfo
from partners.opinfo import torch


def test_unfold() -> None:
    opinfo.check("nn.functional.unfold", im2col, lambda dy, x, *window: im2col_backward(dy, x.shape, *window), 163)


def test_fold_of_the_samples_of_unfold() -> None:
    seen = 0
    for sample in opinfo.samples("nn.functional.unfold"):
        size, columns = sample.input.shape[-2:], torch.nn.functional.unfold(sample.input, *sample.args).detach().requires_grad_()
        expected = torch.nn.functional.fold(columns, size, *sample.args)
        opinfo.agree(col2im(columns.detach().numpy(), tuple(size), *sample.args), expected, 1e-14, f"{sample}: result")
        dy = torch.randn(expected.shape, dtype=expected.dtype, generator=torch.Generator().manual_seed(seen))
        (gradient,) = torch.autograd.grad(expected, columns, dy)
        opinfo.agree(col2im_backward(dy.numpy(), tuple(size), *sample.args), gradient, 1e-14, f"{sample}: gradient")
        seen += 1
    assert seen == 163


def test_linear() -> None:
    def backward(dy: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: Any = None) -> Any:
        dx, dweight, dbias = linear_backward(dy, x, weight)
        return dx, dweight, None if bias is None else dbias

    opinfo.check("nn.functional.linear", linear, backward, 18)
