"""The command ``fastcnn draw``: find a network, serve the page, end at Ctrl-C."""

from __future__ import annotations

import errno
import sys
import threading
import webbrowser
from pathlib import Path

from .. import warmup
from ..data import DatasetNotFound, IdxError
from .model import NoReader, reader_of, trained_reader
from .reader import Reader
from .server import DrawServer


class CannotDraw(ValueError):
    """What the user must mend, in one line."""


def draw(weights: Path | None, port: int, browser: bool) -> int:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    weights : path or None
        A run folder or a file of weights; None trains a network, or takes the one trained before.
    port : int
        0 takes any free one.
    browser : bool
        Whether to open the page in the user's browser.

    Returns
    -------
    int
        Exit code: 0 when Ctrl-C ended the serving, 130 when it ended the training before.

    Raises
    ------
    CannotDraw
        No network can be had, or the port not be used.
    """
    try:
        if not 0 <= port <= 65535:
            raise CannotDraw(f"--port must be between 0 and 65535; got {port}")
        reader = trained_reader() if weights is None else reader_of(weights)
        with warmup.compiling_line():
            server = _server(reader, port)
    except (NoReader, DatasetNotFound, IdxError, ImportError, OSError) as error:
        raise CannotDraw(error) from error
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    with server:
        accuracy = "" if reader.accuracy is None else f": {100 * reader.accuracy:.2f} % of its test images right"
        print(f"{reader.source}{accuracy}\nDraw at {server.url} (Ctrl-C ends)", flush=True)
        try:
            if browser:
                threading.Thread(target=_open, args=(server.url,), daemon=True).start()  # some browsers return when they are closed
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print()  # behind the terminal's ^C
    return 0


def _server(reader: Reader, port: int) -> DrawServer:
    try:
        return DrawServer(reader, port)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            reason = "is in use" if error.errno == errno.EADDRINUSE else "is not ours to use"
            raise CannotDraw(f"port {port} {reason}; --port N takes another one, --port 0 any that is free") from error
        raise


def _open(url: str) -> None:
    """Open the page, unless the only browser is one for terminals: it would take the one that this command prints to."""
    try:
        if type(webbrowser.get()) is not webbrowser.GenericBrowser:
            webbrowser.open(url)
    except webbrowser.Error:
        return  # there is none; the address was printed
