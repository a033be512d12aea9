"""The first steps of 001: perceptrons as gates, and a computation graph, as dense layers."""

from __future__ import annotations

import numpy as np

from fastcnn import linear, linear_backward

from .rows import mistake, row

PAIRS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)


def gate(inputs: np.ndarray, w1: float, w2: float, b: float) -> np.ndarray:
    """Return 1 where w1 x1 + w2 x2 + b > 0, else 0: a perceptron is a dense layer of one unit, and a step."""
    return (linear(inputs, np.array([[w1, w2]], np.float32), np.array([b], np.float32))[:, 0] > 0).astype(np.float32)


def xor(inputs: np.ndarray) -> np.ndarray:
    """Return AND(NAND, OR): a second layer, which a single one cannot replace."""
    nand, either = gate(inputs, -0.5, -0.5, 0.7), gate(inputs, 0.5, 0.5, -0.2)
    return gate(np.stack([nand, either], axis=1), 0.5, 0.5, -0.7)


@row(
    "perceptron gates",
    "AND (.5, .5, -.7), NAND (-.5, -.5, .7), OR (.5, .5, -.2), and XOR = AND(NAND, OR)",
    module="fastcnn.ops.linear",
    example="tests/features/test_first_steps.py",
)
def test_perceptron_gates() -> None:
    assert gate(PAIRS, 0.5, 0.5, -0.7).tolist() == [0, 0, 0, 1]
    assert gate(PAIRS, -0.5, -0.5, 0.7).tolist() == [1, 1, 1, 0]
    assert gate(PAIRS, 0.5, 0.5, -0.2).tolist() == [0, 1, 1, 1]


@mistake("001: XOR returns nothing", "it returns 0, 1, 1, 0")
def test_xor_returns() -> None:
    assert xor(PAIRS).tolist() == [0, 1, 1, 0]


@row(
    "computation graph",
    "two apples at 100, three oranges at 150 and a tax of 1.1 come to 715; every node passes its gradient on",
    module="fastcnn.ops.linear",
    example="tests/features/test_first_steps.py",
)
def test_computation_graph() -> None:
    """A dense layer is nodes that multiply, and one that adds: prices times counts, summed; the sum times the tax."""
    prices, counts, tax = np.array([[100, 150]], np.float32), np.array([[2, 3]], np.float32), np.array([[1.1]], np.float32)
    fruit = linear(prices, counts)
    total = linear(fruit, tax)
    np.testing.assert_allclose([fruit.item(), total.item()], [650, 715], rtol=1e-6)
    dfruit, dtax, _ = linear_backward(np.ones_like(total), fruit, tax)
    dprices, dcounts, _ = linear_backward(dfruit, prices, counts)
    np.testing.assert_allclose(dtax, [[650]])
    np.testing.assert_allclose(dfruit, [[1.1]], rtol=1e-6)
    np.testing.assert_allclose(dprices, [[2.2, 3.3]], rtol=1e-6)
    np.testing.assert_allclose(dcounts, [[110, 165]], rtol=1e-6)
