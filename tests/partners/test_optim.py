"""Optimisers and schedules beside PyTorch's own: the same parameters after the same steps, the same learning rates."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (extra 'partners')")

from fastcnn import init, optim, schedules  # noqa: E402
from fastcnn.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop  # noqa: E402

SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (Adam, {"lr": 0.01, "betas": (0.7, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    (AdamW, {"lr": 0.01}),
    (RMSprop, {"weight_decay": 0.1, "momentum": 0.9, "centered": True}),
    (Adagrad, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    *((make, settings) for make in (Adadelta, Adamax, NAdam) for settings in ({}, {"lr": 0.1, "weight_decay": 0.1})),
    (Adadelta, {"rho": 0.7, "eps": 1e-3}),
    (Adamax, {"betas": (0.7, 0.9), "eps": 1e-3}),
    (NAdam, {"momentum_decay": 0.2, "weight_decay": 0.3, "decoupled_weight_decay": True}),
]


@pytest.mark.parametrize(("make", "settings"), SETTINGS, ids=[f"{make.__name__}-{'-'.join(settings)}" for make, settings in SETTINGS])
def test_optimisers(make: Any, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    ours = rng.standard_normal((7, 5))
    theirs = torch.nn.Parameter(torch.from_numpy(ours.copy()))
    optimizer, partner = make({"w": ours}, **settings), getattr(torch.optim, make.__name__)([theirs], **settings)
    for _ in range(6):
        grad = rng.standard_normal(ours.shape)
        optimizer.step({"w": grad})
        theirs.grad = torch.from_numpy(grad.copy())
        partner.step()
    least = 1e-7 if make is NAdam else 1e-12  # PyTorch keeps the product of NAdam's momenta in float32
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=least)


def test_every_optimiser_is_compared() -> None:
    kinds = {kind for kind in vars(optim).values() if isinstance(kind, type) and issubclass(kind, optim.Optimizer)}
    assert kinds - {optim.Optimizer} == {make for make, _ in SETTINGS}


STEPS = 24
SCHEDULES: dict[str, tuple[Any, Any]] = {
    "one-cycle": (schedules.OneCycle(0.5, STEPS), lambda t, o: t.OneCycleLR(o, 0.5, STEPS)),
    "one-cycle-linear": (
        schedules.OneCycle(0.5, STEPS, anneal="linear"),
        lambda t, o: t.OneCycleLR(o, 0.5, STEPS, anneal_strategy="linear"),
    ),
    "constant": (schedules.Constant(0.5), lambda t, o: t.ConstantLR(o, factor=1.0)),
    "step": (schedules.StepDecay(0.5, 5, 0.3), lambda t, o: t.StepLR(o, 5, 0.3)),
    "multi-step": (schedules.MultiStep(0.5, [3, 9, 9], 0.3), lambda t, o: t.MultiStepLR(o, [3, 9, 9], 0.3)),
    "exponential": (schedules.Exponential(0.5, 0.9), lambda t, o: t.ExponentialLR(o, 0.9)),
    "cosine": (schedules.Cosine(0.5, STEPS, 0.1), lambda t, o: t.CosineAnnealingLR(o, STEPS, 0.1)),
    "cosine-restarts": (schedules.Cosine(0.5, 4, 0.1, 2, 2), lambda t, o: t.CosineAnnealingWarmRestarts(o, 4, 2, 0.1)),
    "linear": (schedules.Linear(0.5, 7), lambda t, o: t.LinearLR(o, total_iters=7)),
    "warmup": (
        schedules.Warmup(schedules.Exponential(0.5, 0.9), 6, 0.2),
        lambda t, o: t.SequentialLR(o, [t.LinearLR(o, 0.2, 1.0, 6), t.ExponentialLR(o, 0.9)], [6]),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    ours, make = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR uses what PyTorch deprecates
        theirs = make(torch.optim.lr_scheduler, optimizer)
        rates = []
        for _ in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            theirs.step()
    np.testing.assert_allclose([ours(step) for step in range(STEPS)], rates, rtol=1e-9)


@pytest.mark.parametrize("name", ["xavier_normal", "xavier_uniform", "he_normal", "he_uniform", "orthogonal"])
def test_initialisers_have_the_scale_of_torchs(name: str) -> None:
    theirs, shape = torch.empty(96, 32, 5, 5, dtype=torch.float64), (96, 32, 5, 5)
    options = {"nonlinearity": "relu"} if name.startswith("he") else {}
    getattr(torch.nn.init, name.replace("he_", "kaiming_") + "_")(theirs, **options)
    ours = init.INITIALIZERS[name](shape, np.random.default_rng(0), np.float64)
    assert ours.std() == pytest.approx(theirs.numpy().std(), rel=0.02)  # 76,800 values: five standard errors of the two
    assert abs(ours).max() == pytest.approx(abs(theirs.numpy()).max(), rel=0.3)
