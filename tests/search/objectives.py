"""What the tests search over: objectives that workers import, some of which end their worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

import fastcnn


def parabola(parameters: dict[str, Any], seed: int, *data: np.ndarray) -> dict[str, Any]:
    """Best at x = 3; tells where it was computed."""
    total = float(sum(array.sum() for array in data))
    return {"score": seed + total - (parameters["x"] - 3) ** 2, "process": os.getpid(), "threads": fastcnn.get_threads()}


def picky(parameters: dict[str, Any], seed: int) -> dict[str, Any]:
    """Fails in as many ways as there are."""
    x = parameters["x"]
    if x == 0:
        raise FloatingPointError("the loss\nis nan")
    if x == 1:
        return {"score": float("nan")}
    if x == 2:
        return {"loss": 1.0}
    if x == 3:
        return {"score": 1.0, "network": object()}
    return {"score": np.float32(x), "matrix": np.eye(2)}


def deadly(parameters: dict[str, Any], seed: int, *data: np.ndarray) -> dict[str, Any]:
    """Kill its worker as often as parameters say, and note in a folder that it was run."""
    runs = Path(parameters["folder"]) / str(parameters["x"])
    with runs.open("a") as file:
        file.write("run\n")
    if len(runs.read_text().splitlines()) <= parameters["deaths"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return parabola(parameters, seed, *data)
