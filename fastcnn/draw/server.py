"""The server of the drawing page: four files and two answers, from a fixed table of paths; no file system, nothing run from input."""

from __future__ import annotations

import base64
import json
import threading
import time
from http import HTTPStatus
from importlib import resources
from typing import Any

import numpy as np

from .connection import SECONDS, LocalHandler, LocalServer, Refusal
from .reader import Reader, Reading

SIDE = 280  # height and width in pixels of what the page sends, a byte each: 0 paper, 255 ink
DRAWING = "application/octet-stream"
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_METHODS = {**dict.fromkeys((*_FILES, "/network.json"), ("GET", "HEAD")), "/read": ("POST",)}


class DrawServer(LocalServer):
    """Serves the page for one network, at 127.0.0.1.

    Parameters
    ----------
    reader : Reader
    port : int
        0 takes any free one.
    seconds : float
        For a request to arrive.

    Raises
    ------
    OSError
        The port is in use, or not ours to use.
    """

    def __init__(self, reader: Reader, port: int, seconds: float = SECONDS) -> None:
        self.reader, self._one_at_a_time = reader, threading.Lock()
        blank = reader.read(np.zeros((SIDE, SIDE), np.uint8))  # compiles what the first drawing needs, before anybody waits
        folder = resources.files(__package__)
        self.contents = {path: (kind, folder.joinpath(name).read_bytes()) for path, (name, kind) in _FILES.items()}
        self.contents["/network.json"] = ("application/json", _as_json(_about(reader, blank)))
        super().__init__(port, _Handler, seconds)

    def read(self, pixels: bytes) -> bytes:
        """Return what the network makes of a drawing of SIDE x SIDE bytes, as JSON."""
        drawing = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE)
        with self._one_at_a_time:  # its kernels use all cores
            begin = time.perf_counter()
            reading = self.reader.read(drawing)
            seconds = time.perf_counter() - begin
        return _as_json(_answer(reading, seconds))


class _Handler(LocalHandler):
    server: DrawServer

    def answer(self) -> None:
        methods = _METHODS.get(self.path)
        if methods is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such page")
        if self.command not in methods:
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"use {' or '.join(methods)}", Allow=", ".join(methods))
        if self.command == "POST":
            self.send(HTTPStatus.OK, "application/json", self.server.read(self.body(SIDE * SIDE, DRAWING)))
            return
        if int(self.headers.get("Content-Length", 0)):
            raise Refusal(HTTPStatus.BAD_REQUEST, "no body is read here")
        self.send(HTTPStatus.OK, *self.server.contents[self.path])


def _about(reader: Reader, blank: Reading) -> dict[str, Any]:
    """Return what the page shows before anything is drawn."""
    return {
        "side": SIDE,
        "size": reader.size,
        "dataset": reader.dataset,
        "source": reader.source,
        "accuracy": reader.accuracy,
        "classes": reader.classes,
        "maps": [{"name": found.name, "shape": found.values.shape} for found in blank.maps],
    }


def _answer(reading: Reading, seconds: float) -> dict[str, Any]:
    """Return a reading for JSON: bytes in base64, maps scaled to 0..255 by the largest value of their layer, below 0 cut off."""
    return {
        "image": _base64(reading.image),
        "probabilities": [round(float(share), 6) for share in reading.probabilities],
        "maps": [_base64(_bytes(found.values)) for found in reading.maps],
        "milliseconds": round(1000 * seconds, 2),
    }


def _bytes(values: np.ndarray) -> np.ndarray:
    highest = values.max()
    if not highest > 0:
        return np.zeros(values.shape, np.uint8)
    return np.rint(np.clip(values, 0, None) * (255 / highest)).astype(np.uint8)


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _as_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
