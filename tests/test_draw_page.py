"""The page of `fastcnn draw` in a browser: strokes by real events, what it shows of them, and that it asks nobody else."""

from __future__ import annotations

import itertools
import math
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from _browser import Browser, Page, find_browser

from fastcnn.data import DatasetNotFound, mnist
from fastcnn.draw.model import trained_reader
from fastcnn.draw.server import DrawServer

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs Chromium or Chrome (Debian: apt-get install chromium)")

Stroke = list[tuple[float, float]]
# In shares of the board's side; small and in a corner each.
SEVEN: Stroke = [(0.12, 0.15), (0.28, 0.15), (0.44, 0.15), (0.38, 0.28), (0.31, 0.41), (0.27, 0.54)]
ONE: Stroke = [(0.78, 0.45), (0.77, 0.6), (0.75, 0.75), (0.74, 0.88)]
ZERO: Stroke = [(0.3 + 0.14 * math.sin(a), 0.68 - 0.2 * math.cos(a)) for a in np.linspace(0, -2 * math.pi, 25)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrawServer]:
    try:
        dataset = mnist(download=False).name
    except DatasetNotFound:
        dataset = "digits"
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr("fastcnn.files.cache_folder", lambda: folder)
        reader = trained_reader("fast", dataset)
    with DrawServer(reader, 0) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def _open(browser: Browser, server: DrawServer, **options: object) -> Page:
    page = Page(browser, **options)  # type: ignore[arg-type]
    page.open(server.url, "document.querySelectorAll('#bars li').length === 10")
    return page


def _points(page: Page, stroke: Stroke) -> Stroke:
    """Return a stroke in the window's pixels, with points between its corners as a hand makes them."""
    x, y, width, height = page.box("#board")
    corners = np.array(stroke) * (width, height) + (x, y)
    steps = [np.linspace(a, b, 6, endpoint=False) for a, b in itertools.pairwise(corners)]
    return [(float(a), float(b)) for a, b in np.concatenate([*steps, corners[-1:]])]


def _digit(page: Page) -> str:
    return str(page.evaluate("document.querySelector('#digit').textContent"))


def _settle(page: Page) -> None:
    """Wait until the last drawing is read."""
    page.wait("!busy && !waiting && last !== null")


def _ink(page: Page, selector: str) -> np.ndarray:
    """Return the opacity of a canvas' pixels, 0..255."""
    found = page.evaluate(
        "(({source, width, height}) => { const copy = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});"
        " copy.drawImage(source, 0, 0);"
        " return [height, width, Array.from(copy.getImageData(0, 0, width, height).data).filter((_, i) => i % 4 === 3)]; })"
        f"((source => ({{source, width: source.width, height: source.height}}))(document.querySelector('{selector}')))"
    )
    return np.array(found[2], np.uint8).reshape(found[:2])


def _is_plain(png: Path) -> bool:
    """Whether a picture is of a single colour, or none."""
    content, parts, at = png.read_bytes(), [], 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        if kind == b"IDAT":
            parts.append(content[at + 8 : at + 8 + length])
        at += length + 12
    return len(set(zlib.decompress(b"".join(parts)))) < 16


def test_digits_drawn_by_mouse_are_read(browser: Browser, server: DrawServer, tmp_path: Path) -> None:
    page = _open(browser, server)
    assert _digit(page) == "–"
    for name, stroke in (("7", SEVEN), ("1", ONE), ("0", ZERO)):
        page.drag(_points(page, stroke))
        _settle(page)
        assert _digit(page) == name
        picture = tmp_path / f"drawn-{name}.png"
        page.screenshot(picture)
        assert not _is_plain(picture)
        # What is shown is what the network saw, and what it said
        shown = page.evaluate("last")
        image = _ink(page, "#seen")
        reading = server.reader.read(np.array(page.evaluate("Array.from(pixels(280))"), np.uint8).reshape(280, 280))
        np.testing.assert_array_equal(image, reading.image)
        np.testing.assert_allclose(shown["probabilities"], reading.probabilities, atol=1e-6)
        assert int(np.argmax(shown["probabilities"])) == int(name)
        widths = page.evaluate("[...document.querySelectorAll('#bars i')].map((bar) => parseFloat(bar.style.getPropertyValue('--share')))")
        np.testing.assert_allclose(widths, 100 * reading.probabilities, atol=1e-3)
        for layer, found in enumerate(reading.maps):
            maps = page.evaluate(f"document.querySelectorAll('.layer:nth-child({layer + 1}) canvas').length")
            assert maps == len(found.values)
            drawn = _ink(page, f".layer:nth-child({layer + 1}) canvas:nth-child(3)")
            np.testing.assert_allclose(drawn, found.values[2] * (255 / found.values.max()), atol=0.51)
        page.key("Escape")
        page.wait("strokes.length === 0")
        assert _digit(page) == "–"
        assert not _ink(page, "#seen").any()
    assert page.complaints() == []
    assert {url.startswith(server.url) for url in page.requests()} == {True}
    assert server.url + "read" in page.requests()
    print(f"screenshots: {tmp_path}")


def test_undo_clear_and_keys(browser: Browser, server: DrawServer) -> None:
    page = _open(browser, server)
    counts = "[strokes.length, document.querySelector('#undo').disabled, document.querySelector('#clear').disabled]"
    assert page.evaluate(counts) == [0, True, True]
    page.drag(_points(page, SEVEN))
    page.drag(_points(page, ONE))
    assert page.evaluate(counts) == [2, False, False]
    page.key("z", ctrl=True)
    assert page.evaluate(counts) == [1, False, False]
    _settle(page)
    assert _digit(page) == "7"
    page.key("Escape")
    assert page.evaluate(counts) == [0, False, True]
    page.key("z", ctrl=True)  # brings back what was cleared
    _settle(page)
    assert _digit(page) == "7"
    x, y, width, height = page.box("#undo")
    page.drag([(x + width / 2, y + height / 2)])
    assert page.evaluate(counts) == [0, True, True]

    page.evaluate("board.focus()")
    assert page.evaluate("getComputedStyle(document.querySelector('#keys')).visibility") == "hidden"
    page.key(" ")
    assert page.evaluate("getComputedStyle(document.querySelector('#keys')).visibility") == "visible"
    for _ in range(16):
        page.key("ArrowDown")
    page.key(" ")
    page.key("ArrowDown")  # with the pen lifted
    _settle(page)
    assert page.evaluate("[strokes.length, strokes[0].length]") == [1, 17]
    assert _digit(page) == "1"
    assert page.complaints() == []


def test_a_finger_on_a_phone_in_the_dark(browser: Browser, server: DrawServer, tmp_path: Path) -> None:
    page = _open(browser, server, width=390, height=844, phone=True, dark=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.touch(_points(page, SEVEN))
    _settle(page)
    assert _digit(page) == "7"
    assert page.evaluate("scrollY") == 0  # a finger that draws does not scroll
    for answer in ("#digit", "#seen", "#bars"):  # in sight while one draws
        left, top, width, height = page.box(answer)
        assert 0 <= left <= left + width <= 390
        assert 0 <= top <= top + height <= 844
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 20, 23)"
    page.screenshot(tmp_path / "phone.png")
    assert not _is_plain(tmp_path / "phone.png")
    assert page.complaints() == []


def test_a_server_that_is_gone_is_told(browser: Browser, server: DrawServer) -> None:
    page = _open(browser, server)
    page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    page.drag(_points(page, SEVEN))
    page.wait("!document.querySelector('#failure').hidden")
    assert "is `fastcnn draw` still running?" in page.evaluate("document.querySelector('#failure').textContent")
    page.call("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    page.drag(_points(page, [(0.3, 0.33), (0.31, 0.33)]))
    _settle(page)
    assert page.evaluate("document.querySelector('#failure').hidden") is True
