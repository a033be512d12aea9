"""PyTorch's side, in a process of its own: the same network, weights, batches and optimiser.

No data loader: batches arrive as ready inputs, and only the steps count. Adam is the fused one, the fastest on a CPU.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastcnn import layers

FORMATS = ("channels_last", "contiguous_format")


def description(net: layers.Sequential) -> list[tuple[Any, ...]]:
    """Return a network as (name of the module in torch.nn, its arguments ...).

    Raises
    ------
    TypeError
        A layer has no counterpart here.
    """
    found: list[tuple[Any, ...]] = []
    for layer in net:
        if type(layer) is layers.Conv2d:
            K, C, R, S = layer.params["weight"].shape
            w = layer.window
            found.append(("Conv2d", C * w["groups"], K, (R, S), w["stride"], w["padding"], w["dilation"], w["groups"]))
        elif type(layer) is layers.Linear:
            found.append(("Linear", *layer.params["weight"].shape[::-1]))
        elif type(layer) is layers.BatchNorm2d:
            found.append(("BatchNorm2d", len(layer.params["weight"])))
        elif type(layer) is layers.MaxPool2d:
            found.append(("MaxPool2d", *layer.window[:3]))
        elif type(layer) is layers.Dropout:
            found.append(("Dropout", layer.p))
        elif type(layer) in (layers.ReLU, layers.Flatten):
            found.append((type(layer).__name__,))
        else:
            raise TypeError(f"bench.training: {layer!r} has no counterpart in torch here")
    return found


def serve(pipe: Any, network: list[tuple[Any, ...]], weights: dict[str, np.ndarray], threads: int, rates: dict[str, Any]) -> None:
    """Answer (format, batches, bfloat16) with (losses, seconds) of a step on each batch, until None arrives."""
    import torch

    torch.set_num_threads(threads)
    sides = {}
    for name in FORMATS:
        memory_format = getattr(torch, name)
        net = torch.nn.Sequential(*[getattr(torch.nn, kind)(*arguments) for kind, *arguments in network])
        state = net.state_dict()
        net.load_state_dict({key: torch.from_numpy(np.array(value)).reshape(state[key].shape) for key, value in weights.items()})
        net = net.to(memory_format=memory_format)
        optimizer = torch.optim.Adam(net.parameters(), rates["lr"], betas=rates["betas"], fused=True)
        sides[name] = net, optimizer, memory_format
    loss = torch.nn.CrossEntropyLoss(label_smoothing=rates["label_smoothing"])
    while (message := pipe.recv()) is not None:
        name, batches, half = message
        net, optimizer, memory_format = sides[name]
        ready = [(torch.from_numpy(x).to(memory_format=memory_format), torch.from_numpy(target)) for x, target in batches]
        losses, seconds = [], []
        for x, target in ready:
            begin = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                value = loss(net(x), target)
            value.backward()
            optimizer.step()
            losses.append(value.item())
            seconds.append(time.perf_counter() - begin)
        pipe.send((losses, seconds))
