"""`fastcnn draw`: its preparation of drawings, its weights, and its server, asked as a program and as an attacker would ask it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import files, weights
from fastcnn.cli import main
from fastcnn.data import DatasetNotFound, digits, mnist
from fastcnn.draw.model import NORMALS, NoReader, reader_of, trained_reader
from fastcnn.draw.preparation import prepare_drawing
from fastcnn.draw.reader import Reader
from fastcnn.draw.server import SIDE, DrawServer
from fastcnn.layers import Conv2d, Flatten, Linear, Sequential
from fastcnn.models import digit_net
from fastcnn.train import predict

ROOT = Path(__file__).parents[1]
OCTETS = {"Content-Type": "application/octet-stream"}


def _drawing(seed: int, side: int = SIDE) -> np.ndarray:
    """Return a few strokes somewhere on a sheet."""
    rng = np.random.default_rng(seed)
    drawing = np.zeros((side, side), np.uint8)
    for _ in range(3):
        top, left = rng.integers(10, side // 2, 2)
        height, width = rng.integers(8, side // 3, 2)
        drawing[top : top + height, left : left + width] = rng.integers(100, 256)
    return drawing


def _centre(image: np.ndarray) -> tuple[float, float]:
    """Return the centre of mass (row, column), pixels being at whole numbers."""
    rows, columns = np.indices(image.shape)
    return float((rows * image.astype(float)).sum() / image.sum()), float((columns * image.astype(float)).sum() / image.sum())


# --- Preparation -------------------------------------------------------------------------------------------------------


def _by_repetition(drawing: np.ndarray, size: int, box: int, middle: float) -> np.ndarray:
    """Prepare with nothing but loops: every pixel repeated until new ones are whole numbers of copies; every shift tried."""
    rows = [i for i, row in enumerate(drawing) if row.max() > 0]
    columns = [j for j, column in enumerate(drawing.T) if column.max() > 0]
    cropped = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longer = max(cropped.shape)
    height, width = (max(1, round(length * box / longer)) for length in cropped.shape)
    large = np.repeat(np.repeat(cropped.astype(np.int64), height, axis=0), width, axis=1)  # height * old pixels high
    tall, wide = cropped.shape
    small = np.zeros((height, width))
    for p in range(height):
        for q in range(width):
            small[p, q] = np.floor(large[p * tall : (p + 1) * tall, q * wide : (q + 1) * wide].mean() + 0.5)
    found = []
    for top in range(size - height + 1):
        for left in range(size - width + 1):
            image = np.zeros((size, size), np.uint8)
            image[top : top + height, left : left + width] = small
            y, x = _centre(image)
            found.append((abs(y + 0.5 - middle) + abs(x + 0.5 - middle), image))
    return min(found, key=lambda pair: pair[0])[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("size", "box", "middle"), [(28, 20, 14.5), (8, 8, 4.0)])
def test_preparation_is_what_its_words_say(seed: int, size: int, box: int, middle: float) -> None:
    drawing = _drawing(seed, 60)
    np.testing.assert_array_equal(prepare_drawing(drawing, size), _by_repetition(drawing, size, box, middle))


@pytest.mark.parametrize("seed", range(8))
def test_a_prepared_drawing_has_its_size_its_centre_and_its_grey(seed: int) -> None:
    drawing = _drawing(seed)
    image = prepare_drawing(drawing)
    rows, columns = np.nonzero(image.any(axis=1))[0], np.nonzero(image.any(axis=0))[0]
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == 20
    assert np.abs(np.subtract(_centre(image), 14)).max() <= 0.5 + 1e-9
    assert image.max() <= drawing.max()
    tall, wide = (int(np.ptp(where)) + 1 for where in np.nonzero(drawing))
    height, width = (round(length * 20 / max(tall, wide)) for length in (tall, wide))
    assert image.sum() == pytest.approx(drawing.sum(dtype=float) * height * width / (tall * wide), rel=0.01)


@pytest.mark.parametrize("shift", [(0, 1), (37, 0), (90, 71)])
def test_where_a_drawing_stands_does_not_matter(shift: tuple[int, int]) -> None:
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[:150, :150] = _drawing(1, 150)
    np.testing.assert_array_equal(prepare_drawing(np.roll(drawing, shift, (0, 1))), prepare_drawing(drawing))


def test_blank_dots_and_borders() -> None:
    assert not prepare_drawing(np.zeros((SIDE, SIDE), np.uint8)).any()
    dot = np.zeros((SIDE, SIDE), np.uint8)
    dot[5, 270] = 200
    np.testing.assert_array_equal(np.argwhere(prepare_drawing(dot) == 200)[[0, -1]], [[4, 4], [23, 23]])
    heavy = np.zeros((100, 100), np.uint8)  # nearly all of its mass at the bottom: centred, its top would leave the image
    heavy[:, 50] = 255
    heavy[95:, 40:61] = 255
    image = prepare_drawing(heavy)
    assert [int(row) for row in np.flatnonzero(image.any(axis=1))[[0, -1]]] == [0, 19]
    pale = np.zeros((SIDE, SIDE), np.uint8)
    pale[100:110, 100] = 1  # becomes less than half a grey value
    pale[200, 200] = 1
    assert not prepare_drawing(pale).any()
    line = np.full((1, 280), 255, np.uint8)
    assert (prepare_drawing(line) == 255).sum() == 20


@pytest.mark.parametrize(
    ("drawing", "options", "error", "message"),
    [
        (np.zeros((3, 4, 5), np.uint8), {}, ValueError, r"drawing must be \(H, W\); got shape \(3, 4, 5\)"),
        (np.zeros((9, 9)), {}, TypeError, "drawing must have dtype uint8; got float64"),
        ([[1]], {}, TypeError, "drawing must be a NumPy array; got list"),
        (np.zeros((0, 9), np.uint8), {}, ValueError, r"drawing must have pixels; got shape \(0, 9\)"),
        (np.zeros((9, 9), np.uint8), {"size": 21}, ValueError, "size must be one of 28, 8; got 21"),
    ],
)
def test_preparation_refuses(drawing: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"prepare_drawing: {message}"):
        prepare_drawing(drawing, **options)


def test_mnist_is_prepared_this_way() -> None:
    """The data set's own images pass unchanged, and come back from a sheet ten times as large, wherever they stand on it."""
    try:
        data = mnist(download=False)
    except DatasetNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    images = data.test_images[:1000]
    assert sum(np.array_equal(prepare_drawing(image), image) for image in images) >= 999
    for image in images[:20]:
        sheet = np.pad(np.kron(image, np.ones((10, 10), np.uint8)), ((0, 37), (61, 0)))
        np.testing.assert_array_equal(prepare_drawing(sheet), image)
    assert NORMALS["mnist"] == pytest.approx((data.train_images.mean(), data.train_images.std()), rel=1e-9)


def test_the_small_digits_are_prepared_alike() -> None:
    data = digits()
    same = np.mean([np.array_equal(prepare_drawing(image, 8), image) for image in data.train_images[:500]])
    assert same > 0.8  # the others are not centred by their mass
    assert NORMALS["digits"] == pytest.approx((data.train_images.mean(), data.train_images.std()), rel=1e-9)


# --- Weights -----------------------------------------------------------------------------------------------------------


def test_trained_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("fastcnn.files.cache_folder", lambda: tmp_path)
    first = trained_reader("sprint", "digits")
    assert "Training a network on scikit-learn's digits (recipe sprint), once" in capsys.readouterr().out
    assert first.accuracy is not None
    assert first.accuracy > 0.9
    (kept,) = (tmp_path / "draw").iterdir()
    again = trained_reader("sprint", "digits")
    assert capsys.readouterr().out == ""
    drawing = _drawing(3)
    np.testing.assert_array_equal(again.read(drawing).probabilities, first.read(drawing).probabilities)
    assert (again.size, again.accuracy) == (8, first.accuracy)
    assert (again.mean, again.deviation) == pytest.approx(NORMALS["digits"], rel=1e-5)

    for damage in (b"", b"no zip", kept.read_bytes()[:-300]):
        kept.write_bytes(damage)
        assert trained_reader("sprint", "digits").accuracy == pytest.approx(first.accuracy, abs=0.03)
        assert "once: it is kept" in capsys.readouterr().out
    assert list((tmp_path / "draw").iterdir()) == [kept]
    monkeypatch.setattr("fastcnn.draw.model.__version__", "0")  # trained by other code
    trained_reader("sprint", "digits")
    assert len(list((tmp_path / "draw").iterdir())) == 2


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("fastcnn.files.cache_folder", lambda: tmp_path / "file")
    assert trained_reader("sprint", "digits").size == 8
    assert "cannot be kept for the next time" in capsys.readouterr().err


def test_weights_of_a_run_and_of_files(tmp_path: Path) -> None:
    from fastcnn.train.command import main as train

    run = tmp_path / "run"
    assert train(["--dataset", "digits", "--recipe", "sprint", "--epochs", "0.5", "--out", str(run)]) == 0
    result = json.loads((run / "result.json").read_text())
    for path in (run, run / "weights.npz"):
        reader = reader_of(path)
        assert (reader.size, reader.mean, reader.deviation) == (8, result["mean"], result["deviation"])
        assert (reader.dataset, reader.accuracy, reader.source) == ("digits", result["test_accuracy"], f"digit-net from {run}")
    net = digit_net(28, rng=3, norm=True)
    weights.save(tmp_path / "net.npz", net)
    alone = reader_of(tmp_path / "net.npz")
    assert (alone.size, alone.dataset, alone.accuracy, alone.source) == (28, "mnist", None, f"digit-net-norm from {tmp_path / 'net.npz'}")
    assert (alone.mean, alone.deviation) == NORMALS["mnist"]
    np.testing.assert_array_equal(alone.model.state_dict()["10.weight"], net.params["10.weight"])

    files.save_json(run / "result.json", {**result, "dataset": "fashion-mnist"})
    (tmp_path / "broken.npz").write_bytes(b"PK")
    weights.save(tmp_path / "other.npz", Sequential(Conv2d(1, 2, 3, rng=0), Flatten(), Linear(2 * 26 * 26, 10, rng=0)))
    for path, message in (
        (run, "a network that reads digits was expected; its data set is fashion-mnist"),
        (tmp_path / "nothing", "there is no such file or folder"),
        (tmp_path, "holds no run: there is no result.json"),
        (tmp_path / "broken.npz", "is no .npz file of arrays, or a damaged one"),
        (tmp_path / "other.npz", "its arrays fit none of the networks digit-net, "),
        (run / "history.json", "path must end in .npz or .safetensors"),
    ):
        with pytest.raises(NoReader, match="--weights") as caught:
            reader_of(path)
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_reading_is_what_predict_says() -> None:
    reader = Reader(digit_net(28, rng=0).eval(), 28, *NORMALS["mnist"], "mnist", "test")
    for seed in range(3):
        reading = reader.read(_drawing(seed))
        np.testing.assert_array_equal(reading.image, prepare_drawing(_drawing(seed)))
        logits = predict(reader.model, reading.image[None], reader.mean, reader.deviation)[0].astype(float)
        np.testing.assert_allclose(reading.probabilities, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)
        assert [found.values.shape for found in reading.maps] == [(24, 24, 24), (32, 10, 10)]
        assert min(found.values.min() for found in reading.maps) == 0  # behind the ReLU


# --- The server --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(digit_net(28, rng=0).eval(), 28, *NORMALS["mnist"], "mnist", "a test's <b>weights</b>", 0.5)


@pytest.fixture(scope="module")
def server(reader: Reader) -> Iterator[DrawServer]:
    with _serving(reader) as found:
        yield found


class _serving:
    """A server in a thread."""

    def __init__(self, reader: Reader, seconds: float = 10.0) -> None:
        self.server = DrawServer(reader, 0, seconds)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> DrawServer:
        self.thread.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def _ask(
    server: DrawServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def _raw(server: DrawServer, request: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        parts = []
        while some := connection.recv(2**16):
            parts.append(some)
        return b"".join(parts)


def test_the_answer_to_a_drawing(server: DrawServer, reader: Reader) -> None:
    drawing = _drawing(5)
    answer, body = _ask(server, "POST", "/read", drawing.tobytes(), {**OCTETS, "Origin": f"http://127.0.0.1:{server.port}"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    found, reading = json.loads(body), reader.read(drawing)
    np.testing.assert_allclose(found["probabilities"], reading.probabilities, atol=1e-6)
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(found["image"]), np.uint8).reshape(28, 28), reading.image)
    for text, expected in zip(found["maps"], reading.maps, strict=True):
        shown = np.frombuffer(base64.b64decode(text), np.uint8).reshape(expected.values.shape)
        np.testing.assert_allclose(shown, expected.values * (255 / expected.values.max()), atol=0.51)
    assert 0 < found["milliseconds"] < 10_000
    about = json.loads(_ask(server, "GET", "/network.json")[1])
    assert about["classes"] == list("0123456789")
    assert (about["side"], about["size"], about["accuracy"], about["source"]) == (SIDE, 28, 0.5, reader.source)
    assert [layer["shape"] for layer in about["maps"]] == [[24, 24, 24], [32, 10, 10]]


def test_the_page_loads_nothing_from_elsewhere_and_nothing_inline(server: DrawServer) -> None:
    for path, kind in (("/", "text/html"), ("/style.css", "text/css"), ("/page.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
        answer, body = _ask(server, "GET", path)
        assert answer.status == 200
        assert answer.headers["Content-Type"].split(";")[0] == kind
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert b"http" not in body.replace(b"http://www.w3.org/2000/svg", b"")
        head, nothing = _ask(server, "HEAD", path)
        assert (head.status, nothing, head.headers["Content-Length"]) == (200, b"", str(len(body)))
    assert b"innerHTML" not in _ask(server, "GET", "/page.js")[1]


DRAWN = bytes(SIDE * SIDE)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/page.html", None, {}, 404),
        ("GET", "/../pyproject.toml", None, {}, 404),
        ("GET", "/%2e%2e/server.py", None, {}, 404),
        ("GET", "/style.css//", None, {}, 404),
        ("GET", "/style.css/", None, {}, 404),
        ("GET", "/style.css?x", None, {}, 404),
        ("GET", "/server.py", None, {}, 404),
        ("GET", "http://127.0.0.1/", None, {}, 403),
        ("POST", "/nowhere", DRAWN, OCTETS, 404),
        ("GET", "/read", None, {}, 405),
        ("POST", "/", DRAWN, OCTETS, 405),
        ("PUT", "/read", DRAWN, OCTETS, 405),
        ("DELETE", "/", None, {}, 405),
        ("OPTIONS", "/read", None, {"Origin": "http://127.0.0.1:PORT", "Access-Control-Request-Method": "POST"}, 405),
        ("TRACE", "/", None, {}, 405),
        ("BREW", "/", None, {}, 501),
        ("GET", "/", b"body", {}, 400),
        ("POST", "/read", DRAWN[:-1], OCTETS, 400),
        ("POST", "/read", b"", OCTETS, 400),
        ("POST", "/read", DRAWN + b"1", OCTETS, 413),
        ("POST", "/read", bytes(2**20), OCTETS, 413),
        ("POST", "/read", DRAWN, {}, 415),
        ("POST", "/read", DRAWN, {"Content-Type": "text/plain"}, 415),
        ("POST", "/read", DRAWN, {**OCTETS, "Content-Length": "-1"}, 400),
        ("POST", "/read", DRAWN, {**OCTETS, "Content-Length": "+78400"}, 400),
        ("POST", "/read", DRAWN, {**OCTETS, "Content-Length": "9" * 40}, 400),
        ("POST", "/read", DRAWN, {**OCTETS, "Content-Length": "9" * 18}, 413),
        ("POST", "/read", None, {**OCTETS, "Transfer-Encoding": "chunked"}, 411),
        ("POST", "/read", DRAWN, {**OCTETS, "Origin": "http://example.org"}, 403),
        ("POST", "/read", DRAWN, {**OCTETS, "Origin": "null"}, 403),
        ("POST", "/read", DRAWN, {**OCTETS, "Origin": "http://127.0.0.1:1"}, 403),
        ("POST", "/read", DRAWN, {**OCTETS, "Origin": "https://127.0.0.1:PORT"}, 403),
        ("POST", "/read", DRAWN, {**OCTETS, "Origin": "http://localhost:PORT"}, 403),  # not the name that was asked
        ("GET", "/", None, {"Host": "example.org"}, 403),
        ("GET", "/", None, {"Host": "example.org:PORT"}, 403),
        ("GET", "/", None, {"Host": "127.0.0.1"}, 403),
        ("GET", "/", None, {"Host": "127.0.0.1.example.org:PORT"}, 403),
        ("GET", "/", None, {"Host": ""}, 403),
    ],
)
def test_refusals_are_plain(server: DrawServer, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int) -> None:
    headers = {name: value.replace("PORT", str(server.port)) for name, value in headers.items()}
    answer, text = _ask(server, method, path, body, headers)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Connection"] == "close"
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    if method != "HEAD":
        assert text.decode().startswith(str(status))
        assert len(text.splitlines()) == 1
        assert path in ("/", "/read") or path.encode() not in text
    if status == 405:
        assert answer.headers["Allow"] in ("GET, HEAD", "POST")


def test_localhost_is_a_name_of_ours(server: DrawServer) -> None:
    host = f"localhost:{server.port}"
    assert _ask(server, "POST", "/read", DRAWN, {**OCTETS, "Host": host, "Origin": f"http://{host}"})[0].status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"403"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: example.org\r\n\r\n", b"403"),
        (b"POST /read HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/octet-stream\r\n\r\n", b"411"),
        (b"POST /read HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST /read HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length : 40\r\n\r\nGET /style.css HTTP/1.1\r\n\r\n", b"400"),
        (b"POST /read HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\n0\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX: a\r\n Content-Length: 3\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nno colon\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", b"400"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1.:PORT\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\nHost: [::1]:PORT\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\nHost: user@127.0.0.1:PORT\r\n\r\n", b"403"),
        (b"GET /%00 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"404"),
        (b"GET /\0 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"404"),
        (b"GET http://127.0.0.1:PORT/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"404"),
        (b"GET //example.org/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"404"),
        (b"CONNECT example.org:80 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", b"404"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a b\r\n\r\n", b"400"),
        (b"<script> / x y\r\n\r\n", b"400"),
    ],
)
def test_malformed_requests(server: DrawServer, head: bytes, status: bytes) -> None:
    found = _raw(server, head.replace(b"PORT", str(server.port).encode()))
    line, _, rest = found.partition(b"\r\n")
    assert line.split()[1:2] == [status], found[:200]
    assert b"text/plain" in rest
    assert b"<" not in found


def test_requests_in_one_packet_are_answered_in_their_order(server: DrawServer) -> None:
    host = f"Host: localhost:{server.port}\r\n".encode()
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n"  # is no offer that we take up
    found = _raw(
        server, b"GET /style.css HTTP/1.1\r\n" + host + b"\r\nGET / HTTP/1.1\r\n" + host + upgrade + b"\r\nGET /x HTTP/1.1\r\n\r\n"
    )
    assert [part.split(b"\r\n")[0] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"200 OK", b"200 OK", b"403 Forbidden"]
    assert found.index(b"text/css") < found.index(b"text/html") < found.index(b"403 this server")


def test_a_client_that_drips_or_stops_is_left(reader: Reader) -> None:
    """Whatever it sends within the server's 2 s: half a head, a byte now and then, or half a body."""
    with _serving(reader, 2.0) as server:
        _drip(server)
        assert _ask(server, "GET", "/")[0].status == 200


def _drip(server: DrawServer) -> None:
    address = ("127.0.0.1", server.port)
    fields = f"Host: 127.0.0.1:{server.port}", "Content-Type: application/octet-stream", f"Content-Length: {SIDE**2}"
    head = "\r\n".join(["POST /read HTTP/1.1", *fields, "", ""])
    begin = time.monotonic()
    with (
        socket.create_connection(address, 20) as half,
        socket.create_connection(address, 20) as dripping,
        socket.create_connection(address, 20) as stopped,
        socket.create_connection(address, 20) as gone,
    ):
        half.sendall(head[:30].encode())
        stopped.sendall(head.encode() + DRAWN[:1000])
        gone.sendall(head.encode() + DRAWN[:1000])
        gone.shutdown(socket.SHUT_WR)
        assert gone.recv(2**16).split()[1] == b"400"
        for letter in head * 9:
            try:
                dripping.sendall(letter.encode())
            except OSError:
                break
            time.sleep(0.05)
            if time.monotonic() - begin > 4:
                break
        assert half.recv(2**16) == b""
        assert stopped.recv(2**16).split()[1] == b"408"
        try:
            assert dripping.recv(2**16) == b""
        except ConnectionResetError:
            pass  # it was still sending
    assert time.monotonic() - begin < 15


def test_connections_are_bounded(server: DrawServer) -> None:
    from fastcnn.draw.connection import CONNECTIONS

    held = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(CONNECTIONS + 8)]
    try:
        time.sleep(0.5)
        assert threading.active_count() <= CONNECTIONS + 20
    finally:
        for connection in held:
            connection.close()
    end = time.monotonic() + 10
    while True:  # the server notices that they are gone
        try:
            assert _ask(server, "GET", "/")[0].status == 200
            return
        except (http.client.HTTPException, OSError):
            assert time.monotonic() < end


def test_many_draw_at_once_on_lasting_connections(server: DrawServer, reader: Reader) -> None:
    wrong: list[int] = []

    def ask(seed: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for step in range(5):
            drawing = _drawing(10 * seed + step)
            connection.request("POST", "/read", drawing.tobytes(), OCTETS)
            found = json.loads(connection.getresponse().read())
            if not np.allclose(found["probabilities"], reader.read(drawing).probabilities, atol=1e-6):
                wrong.append(seed)
        connection.close()

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_listens_on_this_machine_only(server: DrawServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


# --- The command -------------------------------------------------------------------------------------------------------


def test_the_command_serves_until_interrupted(tmp_path: Path) -> None:
    weights.save(tmp_path / "net.npz", digit_net(28, rng=0))
    command = [sys.executable, "-m", "fastcnn", "draw", "--weights", str(tmp_path / "net.npz"), "--port", "0", "--no-browser"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Draw at "):
                break
        port = int(lines[-1].split("127.0.0.1:")[1].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        assert b"<h1>Draw a digit</h1>" in connection.getresponse().read()
        process.send_signal(signal.SIGINT)  # with a connection that is still open
        _, errors = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 0
    assert errors == ""
    assert any(line.startswith("digit-net from ") for line in lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "65536"], "--port must be between 0 and 65535; got 65536"),
        (["--port", "x"], "invalid int value: 'x'"),
        (["--weights", "/nowhere/at/all"], "there is no such file or folder"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_misuse_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "--no-browser", *options]) == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert message in errors


def test_a_busy_port_is_one_line(server: DrawServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights.save(tmp_path / "net.npz", digit_net(28, rng=0))
    assert main(["draw", "--no-browser", "--weights", str(tmp_path / "net.npz"), "--port", str(server.port)]) == 2
    assert capsys.readouterr().err == f"fastcnn: port {server.port} is in use; --port N takes another one, --port 0 any that is free\n"


def test_interrupted_while_it_trains(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> Reader:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastcnn.draw.command.trained_reader", interrupted)
    assert main(["draw", "--no-browser"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"
