"""Legal uses of optimisers, schedules, initialisers, models, training and the estimator."""

from __future__ import annotations

import inspect
from typing import Any

from fastcnn import init, models, optim, schedules
from tests.fuzz.legal import DTYPES, Draw, array, chance, flag, legal, number, one_of, optional
from tests.fuzz.legal_layers import NET

_OPTIMIZERS = [name for name in optim.__all__ if inspect.isclass(getattr(optim, name)) and name not in ("Optimizer", "WeightAverage")]
_DRAWS = [
    name
    for name in init.INITIALIZERS
    if name not in ("normal", "uniform", "truncated_normal", "orthogonal", "glorot_normal", "glorot_uniform")
]
_SHAPES = ((4, 3), (2, 3, 3, 2), (1, 1))
_LEAST = {"lr": 0.001, "momentum": 0.1, "dampening": 0.0, "weight_decay": 0.0, "l1": 0.0, "rho": 0.1, "eps": 0.001, "lr_decay": 0.0,
          "alpha": 0.1, "initial_accumulator_value": 0.0, "momentum_decay": 0.0}  # fmt: skip


def _params(draw: Draw, dtype: str, kind: str = "ints") -> str:
    return f"{{'a.weight': {array(draw, kind, (3, 2), dtype)}, 'a.bias': {array(draw, kind, (3,), dtype)}}}"


@legal(*(f"optim.{name}" for name in _OPTIMIZERS))
def _optimizer(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    dtype, found = one_of(draw, *DTYPES), {}
    for parameter, about in inspect.signature(getattr(optim, name.removeprefix("optim."))).parameters.items():
        if parameter == "params" or chance(draw, 2):
            continue
        if parameter in _LEAST:
            found[parameter] = number(draw, _LEAST[parameter], 0.9)
        elif parameter == "betas":
            found[parameter] = f"({number(draw, 0, 0.9)}, {number(draw, 0, 0.9)})"
        elif isinstance(about.default, bool) and parameter != "nesterov":  # which asks for other settings
            found[parameter] = flag(draw)
    return f"descent({name}, ", {"params": _params(draw, dtype), "grads": _params(draw, dtype), **found}


@legal("optim.WeightAverage")
def _average(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {"params": _params(draw, one_of(draw, *DTYPES)), "decay": number(draw, 0, 0.9)}
    return f"averaged({name}, ", found | optional(draw, warmup=lambda: flag(draw))


@legal("optim.clip_grad_norm", "optim.l1_penalty", "optim.l2_penalty")
def _of_many(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    many = _params(draw, one_of(draw, *DTYPES))
    if name.endswith("clip_grad_norm"):
        return f"{name}(", {"grads": many, "max_norm": number(draw, 0, 5), **optional(draw, error_if_nonfinite=lambda: flag(draw))}
    return f"{name}(", {"params": many, "l1" if "l1" in name else "weight_decay": number(draw, 0, 1)}


_RATES: dict[str, Any] = {
    "OneCycle": ("max_lr", "steps", "warmup", "anneal"), "Constant": ("lr",), "StepDecay": ("lr", "step_size", "gamma"),
    "MultiStep": ("lr", "milestones", "gamma"), "Exponential": ("lr", "gamma"),
    "Cosine": ("max_lr", "steps", "min_lr", "restarts", "factor"),
    "Linear": ("lr", "steps", "start_factor", "end_factor"), "Warmup": ("schedule", "steps", "start_factor"),
}  # fmt: skip


@legal(*(f"schedules.{name}" for name in _RATES))
def _schedule(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    make = {
        "steps": lambda: repr(one_of(draw, 1, 5, 10)), "step_size": lambda: repr(one_of(draw, 1, 3)),
        "restarts": lambda: repr(one_of(draw, 0, 1, 2)),
        "factor": lambda: repr(one_of(draw, 1, 2)), "milestones": lambda: repr(one_of(draw, [2], (1, 4), [])),
        "anneal": lambda: repr(one_of(draw, "cos", "linear")), "schedule": lambda: "schedules.Constant(0.1)",
    }  # fmt: skip
    assert set(_RATES) <= set(vars(schedules))
    found = {key: make.get(key, lambda: number(draw, 0.1, 0.9))() for key in _RATES[name.removeprefix("schedules.")]}
    return f"rate({name}, ", {"step": repr(one_of(draw, 0, 0, 3, 9)), **found}


@legal(*(f"init.{name}" for name in (*_DRAWS, "torch_bias")))
def _draws(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {"shape": repr(one_of(draw, *_SHAPES)), "rng": "np.random.default_rng(0)"}
    return f"{name}(", found | optional(draw, dtype=lambda: one_of(draw, "np.float32", "np.float64"))


@legal("init.fan_in", "init.fan_out")
def _fans(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    return f"{name}(", {"shape": repr(one_of(draw, *_SHAPES))}


@legal("init.constant", "init.normal", "init.uniform", "init.truncated_normal", "init.orthogonal")
def _made(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    argument = next(iter(inspect.signature(getattr(init, name.removeprefix("init."))).parameters))
    return f"drawn({name}, ", {"shape": repr(one_of(draw, *_SHAPES)), argument: number(draw, 0.1, 2)}


@legal(*(f"models.{name}" for name in models.__all__ if name != "MODELS"))
def _model(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    known = inspect.signature(getattr(models, name.removeprefix("models."))).parameters
    found = {"size": repr(one_of(draw, 28, 32)), "rng": "0"}
    more = {"channels": lambda: repr(one_of(draw, 1, 3)), "classes": lambda: repr(one_of(draw, 2, 10)), "norm": lambda: flag(draw)}
    more |= {"blocks": lambda: "1", "width": lambda: repr(one_of(draw, 4, 8)), "classic": lambda: flag(draw)}
    more |= {"hidden": lambda: "(8, 4)" if "multi" in name else "8", "dropout": lambda: number(draw, 0, 1)}
    more |= {"activation": lambda: repr(one_of(draw, "relu", "tanh")), "filters": lambda: "(4, 8)"}
    return f"network({name}, ", found | optional(draw, **{key: make for key, make in more.items() if key in known})


_IMAGES, _LABELS = "labels((12, 8, 8), 200, 'u1')", "np.arange(12) % 3"


@legal("train.fit")
def _fit(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {"model": NET, "images": _IMAGES, "labels": _LABELS, "batch_size": repr(one_of(draw, 4, 5)), "progress": "False"}
    more = {"epochs": lambda: repr(one_of(draw, 1, 0.5, 2)), "validation": lambda: "0.5", "average": lambda: number(draw, 0, 0.9)}
    more |= {"sampling": lambda: repr(one_of(draw, "shuffled", "replacement")), "standardise": lambda: repr(one_of(draw, "all", "pixel"))}
    more |= {
        "seed": lambda: repr(one_of(draw, 0, 5)),
        "augment": lambda: "data.Augment(shift=1.0)",
        "loss": lambda: "losses.SoftmaxCrossEntropy()",
    }
    more |= {"schedule": lambda: "schedules.Constant(0.01)", "early_stopping": lambda: "None", "callbacks": lambda: "()"}
    return "train.fit(", found | optional(draw, **more)


@legal("train.predict", "train.evaluate")
def _judged(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {"model": NET, "images": _IMAGES, **({"labels": _LABELS} if name.endswith("evaluate") else {})}
    more = {
        "mean": lambda: number(draw, 0, 9),
        "batch_size": lambda: repr(one_of(draw, 1, 5, 250)),
        "shifts": lambda: repr(one_of(draw, 0, 1)),
    }
    more |= {"precision": lambda: repr(one_of(draw, "highest", "high", "medium")), "deviation": lambda: number(draw, 0.5, 9)}
    more |= {"samples": lambda: "5", "seed": lambda: "3"} if name.endswith("evaluate") else {}
    return f"{name}(", found | optional(draw, **more)


@legal("train.count_steps", "train.running_average", "train.EarlyStopping", "train.Checkpoint")
def _small(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    given = {
        "train.count_steps": {"images": "12", "epochs": number(draw, 0.1, 3), "batch_size": "4"},
        "train.running_average": {"values": "[1.0, 2.0, 4.0]", "decay": number(draw, 0, 0.9)},
        "train.Checkpoint": {"path": "'run.npz'", "seconds": number(draw, 0, 9), "steps": "3"},
        "train.EarlyStopping": {"patience": "3", "monitor": "'validation_loss'", "min_delta": number(draw, 0, 1)},
    }  # fmt: skip
    return f"{name}(", given[name]


@legal("gradients.gradient_check")
def _gradient_check(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {
        "model": "layers.Sequential(layers.Linear(3, 2, rng=0), layers.Tanh())",
        "input": array(draw, "reals", (2, 3), "f8"),
        "samples": "4",
    }
    more = {"eps": lambda: "1e-05", "tolerance": lambda: "1e-05", "seed": lambda: "1", "input_gradient": lambda: flag(draw)}
    return f"{name}(", found | optional(draw, **more)


@legal("gradients.numerical_gradient")
def _numerical(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    return f"{name}(", {"f": "squares", "x": array(draw, "reals", (2, 3), "f8"), **optional(draw, eps=lambda: "1e-05")}


@legal("estimator.CNNClassifier")
def _classifier(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {"X": f"labels((12, {one_of(draw, '8, 8', '16')}), 200, 'u1')", "y": _LABELS, "max_iter": "1", "random_state": "0"}
    more = {"batch_size": lambda: "4", "learning_rate_init": lambda: "0.003", "weight_decay": lambda: "0.0001", "tol": lambda: "0.0001"}
    more |= {"label_smoothing": lambda: "0.05", "early_stopping": lambda: flag(draw), "validation_fraction": lambda: "0.5"}
    more |= {"n_iter_no_change": lambda: "2", "precision": lambda: "'high'", "threads": lambda: "1", "model": lambda: "'two-layer-net'"}
    return f"classified({name}, ", found | optional(draw, **more)


@legal("set_threads", "threads", "tuned")
def _switches(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    if name == "set_threads":
        return "counted(", {"count": "1"}
    return f"entered(fastcnn.{name}, ", {"count": "1"} if name == "threads" else {"enabled": "False"}
