"""The operations inside PyTorch: its own checkers of gradients and operators, and a network trained beside PyTorch's."""

from __future__ import annotations

import doctest
import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (extra 'partners')")

from fastcnn.adapters import torch as adapter  # noqa: E402

theirs = torch.nn.functional


def _tensor(*shape: int, dtype: Any = torch.float64, grad: bool = True, seed: int = 0) -> Any:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_(grad)


CONVOLUTIONS = {
    "plain": ((2, 3, 5, 6), (4, 3, 3, 2), {}),
    "strided": ((2, 2, 6, 5), (3, 2, 3, 3), {"stride": (2, 1), "padding": 1}),
    "grouped, dilated": ((1, 4, 6, 6), (6, 2, 2, 3), {"groups": 2, "dilation": (2, 1), "padding": (1, 2)}),
    "same": ((1, 2, 5, 5), (2, 2, 2, 3), {"padding": "same"}),
    "valid": ((1, 2, 4, 4), (2, 2, 2, 2), {"padding": "valid"}),
    "unbatched": ((2, 4, 4), (3, 2, 3, 3), {"padding": 1}),
}
POOLS = {
    "plain": ((2, 3, 6, 5), (2,), {}),
    "overlapping": ((1, 2, 6, 6), (3, 1, 1), {}),
    "ceil": ((1, 2, 5, 5), (2,), {"ceil_mode": True}),
    "dilated": ((2, 7, 7), ((2, 3),), {"dilation": (2, 1), "stride": 2}),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "window"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_conv2d(shape: tuple[int, ...], kernel: tuple[int, ...], window: dict[str, Any], bias: bool) -> None:
    inputs = (_tensor(*shape), _tensor(*kernel, seed=1), *((_tensor(kernel[0], seed=2),) if bias else ()))
    torch.testing.assert_close(adapter.conv2d(*inputs, **window), theirs.conv2d(*inputs, **window))
    assert torch.autograd.gradcheck(lambda *tensors: adapter.conv2d(*tensors, **window), inputs)
    assert torch.autograd.gradgradcheck(lambda *tensors: adapter.conv2d(*tensors, **window), inputs)


def test_conv2d_takes_what_torch_lacks() -> None:
    x, w = _tensor(1, 2, 7, 6), _tensor(3, 2, 3, 3, seed=1)
    assert adapter.conv2d(x, w, stride=2, padding="same").shape == (1, 3, 4, 3)
    assert torch.autograd.gradcheck(lambda *t: adapter.conv2d(*t, padding=((2, 0), (1, 3)), stride=2), (x, w))


TRANSPOSED = {
    "plain": ((2, 3, 4, 5), (3, 2, 3, 2), {}),
    "strided": ((1, 2, 4, 3), (2, 3, 3, 3), {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)}),
    "grouped, dilated": ((2, 4, 3, 3), (4, 3, 2, 2), {"groups": 2, "dilation": (3, 2), "padding": 1, "output_padding": (2, 1)}),
    "unbatched": ((2, 4, 4), (2, 3, 3, 3), {"padding": 2, "stride": 2}),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "window"), TRANSPOSED.values(), ids=TRANSPOSED)
def test_conv_transpose2d(shape: tuple[int, ...], kernel: tuple[int, ...], window: dict[str, Any], bias: bool) -> None:
    filters = kernel[1] * window.get("groups", 1)
    inputs = (_tensor(*shape), _tensor(*kernel, seed=1), *((_tensor(filters, seed=2),) if bias else ()))
    torch.testing.assert_close(adapter.conv_transpose2d(*inputs, **window), theirs.conv_transpose2d(*inputs, **window))
    assert torch.autograd.gradcheck(lambda *tensors: adapter.conv_transpose2d(*tensors, **window), inputs)
    assert torch.autograd.gradgradcheck(lambda *tensors: adapter.conv_transpose2d(*tensors, **window), inputs)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lead", [(4,), (2, 3), ()])
def test_linear(lead: tuple[int, ...], bias: bool) -> None:
    inputs = (_tensor(*lead, 5), _tensor(3, 5, seed=1), *((_tensor(3, seed=2),) if bias else ()))
    torch.testing.assert_close(adapter.linear(*inputs), theirs.linear(*inputs))
    assert torch.autograd.gradcheck(adapter.linear, inputs)
    assert torch.autograd.gradgradcheck(adapter.linear, inputs)


@pytest.mark.parametrize(("shape", "pool", "options"), POOLS.values(), ids=POOLS)
def test_max_pool2d(shape: tuple[int, ...], pool: tuple[Any, ...], options: dict[str, Any]) -> None:
    x = _tensor(*shape)
    torch.testing.assert_close(adapter.max_pool2d(x, *pool, **options), theirs.max_pool2d(x, *pool, **options))
    ours, expected = (f(x, *pool, **options, return_indices=True) for f in (adapter.max_pool2d, theirs.max_pool2d))
    assert torch.equal(ours[1], expected[1])
    assert torch.autograd.gradcheck(lambda x: adapter.max_pool2d(x, *pool, **options), x)
    assert torch.autograd.gradgradcheck(lambda x: adapter.max_pool2d(x, *pool, **options), x)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 2)])
def test_batch_norm(shape: tuple[int, ...], training: bool) -> None:
    x, weight, bias = _tensor(*shape), _tensor(3, seed=1), _tensor(3, seed=2)
    running = [[_tensor(3, grad=False, seed=3), _tensor(3, grad=False, seed=4).abs() + 0.5] for _ in range(2)]
    pair = [f.batch_norm(x, *r, weight, bias, training, 0.3, 1e-3) for f, r in zip((adapter, theirs), running, strict=True)]
    torch.testing.assert_close(*pair)
    torch.testing.assert_close(running[0], running[1], rtol=1e-10, atol=1e-12)
    fixed = [tensor.clone() for tensor in running[0]]
    assert torch.autograd.gradcheck(
        lambda *t: adapter.batch_norm(t[0], *([None, None] if training else fixed), t[1], t[2], training), (x, weight, bias)
    )
    assert torch.autograd.gradcheck(lambda x: adapter.batch_norm(x, None, None, training=True), x)


OPERATORS = torch.ops.fastcnn
CHECKED = {
    "conv2d": (_tensor(2, 4, 5, 6), _tensor(6, 2, 3, 2, seed=1), _tensor(6, seed=2), [2, 1], [1, 0, 2, 1], [1, 2], 2),
    "conv2d_no_bias": (_tensor(4, 5, 6), _tensor(2, 4, 3, 2, seed=1), None, [1, 1], [0, 0, 0, 0], [1, 1], 1),
    "conv2d_input": (_tensor(2, 3, 3, 3), _tensor(3, 2, 2, 2, seed=1), [2, 2, 4, 4], [1, 1], [0, 0, 0, 0], [1, 1], 1),
    "conv2d_weight": (_tensor(2, 3, 3, 3), _tensor(2, 2, 4, 4, seed=1), [3, 2, 2, 2], [1, 1], [0, 0, 0, 0], [1, 1], 1),
    "linear": (_tensor(2, 3, 5), _tensor(4, 5, seed=1), _tensor(4, seed=2)),
    "linear_input": (_tensor(3, 4), _tensor(4, 5, seed=1), [3, 5]),
    "linear_weight": (_tensor(3, 4), _tensor(3, 5, seed=1), [4, 5]),
    "max_pool2d": (_tensor(2, 3, 6, 5), [2, 3], [2, 1], [1, 1], [1, 1], True),
    "max_pool2d_backward": (_tensor(1, 1, 1, 2), torch.tensor([[[[0, 3]]]]), [1, 1, 2, 4], [2, 2], [2, 2], [0, 0], [1, 1], False),
    "batch_norm": (_tensor(2, 3, 4, 2), None, None, _tensor(3, seed=1), _tensor(3, seed=2), True, 1e-5),
    "batch_norm_backward": (
        *(_tensor(4, 3, grad=False, seed=seed) for seed in (0, 1)),
        *(_tensor(3, grad=False, seed=seed) for seed in (2, 3)),
        None,
        False,
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CHECKED)
def test_operators_keep_pytorchs_rules(name: str, dtype: Any) -> None:
    def cast(value: Any) -> Any:
        floats = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.detach().to(dtype).requires_grad_(value.requires_grad) if floats else value

    arguments = tuple(map(cast, CHECKED[name]))
    passed = torch.library.opcheck(getattr(OPERATORS, name.removesuffix("_no_bias")).default, arguments)
    assert set(passed.values()) == {"SUCCESS"}


def test_every_operator_is_checked() -> None:
    known = {schema.name.removeprefix("fastcnn::") for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("fastcnn::")}
    assert known == set(CHECKED) - {"conv2d_no_bias"}


class Net(torch.nn.Module):
    """A small network over the functions of `functional`."""

    def __init__(self, functional: Any) -> None:
        super().__init__()
        self.f = functional
        self.conv, self.norm = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
        self.grouped, self.dense = torch.nn.Conv2d(4, 6, 3, groups=2, bias=False), torch.nn.Linear(24, 10)

    def forward(self, x: Any) -> Any:
        f, norm = self.f, self.norm
        x = f.conv2d(x, self.conv.weight, self.conv.bias, padding=1)
        x = f.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training, 0.1, 1e-5)
        x = f.max_pool2d(torch.relu(x), 2)
        x = f.max_pool2d(torch.relu(f.conv2d(x, self.grouped.weight, groups=2)), 2)
        return f.linear(x.flatten(1), self.dense.weight, self.dense.bias)


def test_a_module_takes_the_steps_of_pytorchs() -> None:
    images, labels = _tensor(8, 1, 12, 12, dtype=torch.float32, grad=False), torch.arange(8) % 10
    nets, losses = [], []
    for functional in (adapter, theirs):
        torch.manual_seed(0)
        net = Net(functional)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = theirs.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
        nets.append(net)
        losses.append(loss.detach())
    torch.testing.assert_close(*losses)
    assert losses[0] < 2.3
    for name, tensor in nets[0].eval().state_dict().items():
        if name != "norm.num_batches_tracked":
            torch.testing.assert_close(tensor, nets[1].state_dict()[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*(net.eval()(images) for net in nets), rtol=1e-4, atol=1e-5)


def test_channels_last_tensors_and_views() -> None:
    x, w = _tensor(2, 3, 6, 6, grad=False), _tensor(4, 3, 3, 3, seed=1, grad=False)
    last = x.contiguous(memory_format=torch.channels_last)
    for one, other in itertools.product((x, last, torch.cat([x, x])[:2]), (w, w.contiguous(memory_format=torch.channels_last))):
        torch.testing.assert_close(adapter.conv2d(one, other), theirs.conv2d(x, w))


def test_results_live_on_their_own() -> None:
    x, w = torch.ones(8, 8, 32, 32), torch.ones(8, 8, 1, 1)
    first = adapter.conv2d(x, w)
    for _ in range(4):
        adapter.conv2d(2 * x, w)
    assert torch.equal(first, torch.full_like(first, 8))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="conv2d: input must be"):
        adapter.conv2d(torch.zeros(3), torch.zeros(1, 1, 1, 1))
    with pytest.raises(ValueError, match="expected input"):
        adapter.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 2, 1, 1))
    with pytest.raises(ValueError, match="output padding must be smaller than either stride or dilation"):
        adapter.conv_transpose2d(torch.zeros(1, 2, 2), torch.zeros(1, 1, 1, 1), output_padding=1)
    x, w = torch.zeros(1, 2, 2), torch.zeros(1, 3, 1, 1)
    with pytest.raises(ValueError, match=r"conv_transpose2d: bias must have shape \(3,\)"):
        adapter.conv_transpose2d(x, w, torch.zeros(1))
    with pytest.raises(TypeError, match="conv_transpose2d: expected arrays of one dtype"):
        adapter.conv_transpose2d(x, w, torch.zeros(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="conv_transpose2d: padding must leave some of the output, 2 x 2"):
        adapter.conv_transpose2d(x, w, padding=1)
    with pytest.raises(ValueError, match="conv_transpose2d: input must be"):
        adapter.conv_transpose2d(x[0], w)
    with pytest.raises(TypeError, match="one dtype"):
        adapter.linear(torch.zeros(1, 3), torch.zeros(2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="pad should be at most half"):
        adapter.max_pool2d(torch.zeros(1, 4, 4), 2, padding=2)
    with pytest.raises(NotImplementedError, match="CPU"):
        adapter.linear(torch.zeros(2, 2).to_sparse(), torch.zeros(2, 2))


def test_example() -> None:
    result = doctest.testmod(adapter)
    assert (result.attempted > 0, result.failed) == (True, 0)


def test_numpy_and_torch_see_the_same_values() -> None:
    from fastcnn import conv2d

    x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    np.testing.assert_array_equal(adapter.conv2d(torch.from_numpy(x), torch.from_numpy(w)).numpy(), conv2d(x, w))
