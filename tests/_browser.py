"""A Chromium without a window, driven through the DevTools protocol over two pipes: no port, and nothing to install but the browser.

Messages are JSON objects that end in a zero byte, on descriptors 3 (to the browser) and 4 (from it); a process that lies between puts
the pipes there. https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import functools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox",  # as root it refuses to run with one
    "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a page that asks another host for anything fails
)  # fmt: skip
_PIPES = """
import os, sys
r, w = (os.dup(int(fd)) for fd in sys.argv[1:3])
while r in (3, 4): r = os.dup(r)
while w in (3, 4): w = os.dup(w)
os.dup2(r, 3)
os.dup2(w, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


@functools.cache
def find_browser() -> str | None:
    """Return the path of a Chromium or Chrome that starts, or None."""
    if sys.platform == "win32":
        return None  # pipes at fixed descriptors are POSIX's
    for path in filter(None, map(shutil.which, NAMES)):
        tried = subprocess.run([path, "--version"], capture_output=True, timeout=60)
        if tried.returncode == 0:  # Ubuntu's chromium-browser may be a stub that asks for a snap
            return path
    return None


class Browser:
    """A browser process; a context manager that ends it."""

    def __init__(self, folder: Path) -> None:
        path = find_browser()
        assert path is not None, "there is no browser; see find_browser"
        ours, theirs = os.pipe(), os.pipe()  # to read from it, to write to it
        command = [path, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        with open(folder / "browser.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PIPES, str(theirs[0]), str(ours[1]), *command],
                pass_fds=(theirs[0], ours[1]), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        os.close(theirs[0])
        os.close(ours[1])
        self._read, self._write = ours[0], theirs[1]
        self._rest, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._process.poll() is None:
                self.call("Browser.close")
                self._process.wait(20)
        except (OSError, EOFError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        finally:
            os.close(self._read)
            os.close(self._write)

    def call(self, method: str, session: str | None = None, seconds: float = 60.0, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that arrive meanwhile are kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._write, content) :]
        end = time.monotonic() + seconds
        while True:
            found = self._next(end)
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return dict(found["result"])
            if "method" in found:
                self.events.append(found)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            some = os.read(self._read, 2**20)
            if not some:
                raise EOFError("the browser has ended; its folder has browser.log")
            self._rest += some
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


class Page:
    """A tab.

    Parameters
    ----------
    browser : Browser
    width, height : int
        Of the window, in CSS pixels.
    phone : bool
        Touch, and two device pixels to one.
    dark : bool
        Dark mode.
    """

    def __init__(self, browser: Browser, width: int = 1280, height: int = 900, phone: bool = False, dark: bool = False) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        scale = 2 if phone else 1
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this tab."""
        return self._browser.call(method, self._session, **params)

    def open(self, url: str, ready: str = "true", seconds: float = 60.0) -> None:
        """Go to an address, and wait until its document is there and the expression `ready` is true."""
        found = self.call("Page.navigate", url=url)
        assert "errorText" not in found, found
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(url)} && ({ready})", seconds)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, as JSON can hold it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"after {seconds:g} s it is still not true: {expression}"
            time.sleep(0.02)

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Press the left button at the first point, move through the others, and release it: real mouse events, in CSS pixels."""
        self._mouse("mouseMoved", points[0], "none")
        self._mouse("mousePressed", points[0], "left")
        for point in points[1:]:
            self._mouse("mouseMoved", point, "left")
        self._mouse("mouseReleased", points[-1], "left")

    def _mouse(self, kind: str, point: tuple[float, float], button: str) -> None:
        x, y = point
        held = int(button == "left" and kind != "mouseReleased")
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=held, clickCount=int(kind != "mouseMoved"))

    def touch(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw with a finger."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": points[0][0], "y": points[0][1]}])
        for x, y in points[1:]:
            self.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key: str, ctrl: bool = False) -> None:
        """Press and release a key, named as in KeyboardEvent.key."""
        text = {} if ctrl or len(key) > 1 else {"text": key}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=2 * ctrl, **(text if kind == "keyDown" else {}))

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Return left, top, width and height of an element in the window."""
        where = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        found = self.evaluate(f"(({{x, y, width, height}}) => [x, y, width, height])({where})")
        return tuple(found)

    def screenshot(self, path: Path, full: bool = True) -> None:
        """Write a PNG of the page, or of what the window shows."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(found["data"]))

    def complaints(self) -> list[str]:
        """Return what the page has put on the console as an error or warning, its exceptions, and what its policy blocked."""
        self.evaluate("1")  # events before it have arrived
        found = []
        for event in self._events():
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(str(params["entry"]))
        return found

    def requests(self) -> list[str]:
        """Return the addresses that the page has asked for."""
        self.evaluate("1")
        return [event["params"]["request"]["url"] for event in self._events() if event["method"] == "Network.requestWillBeSent"]

    def _events(self) -> list[dict[str, Any]]:
        return [event for event in self._browser.events if event.get("sessionId") == self._session]
