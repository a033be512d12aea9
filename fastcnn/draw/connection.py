"""What any small server on this machine must do right: refuse in plain text, read no more than announced, and wait for nobody for long."""

from __future__ import annotations

import io
import re
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

LOCALHOST = "127.0.0.1"
SECONDS = 10.0  # in which a request must have arrived whole, and an answer be taken; an idle connection is closed after them
CONNECTIONS = 64  # at a time
_LINGER_SECONDS, _LINGER_BYTES = 1.0, 2**21  # of what a refused client is still sending, so that it reads the refusal
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Nothing but the page's own three files and its requests to this server; nothing inline, nothing from elsewhere, in no frame.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refusal(Exception):
    """A request is refused: with a status, and a line that repeats nothing of the request."""

    def __init__(self, status: HTTPStatus, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


class Deadline(io.RawIOBase):
    """Reads a socket until a moment in time, however slowly bytes drip; then it raises TimeoutError."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self.restart()

    def restart(self) -> None:
        """Begin to count anew."""
        self._end = time.monotonic() + self._seconds

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer; 0 at the end."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._seconds)  # for the answer


class LocalServer(ThreadingHTTPServer):
    """A server that only programs on this machine reach, of a bounded number of connections.

    Parameters
    ----------
    port : int
        0 takes any free one.
    handler : type
        A subclass of `LocalHandler`.
    seconds : float
        For a request to arrive.
    """

    daemon_threads = True
    request_queue_size = 2 * CONNECTIONS  # of the default 5, a sixth client who comes at once would wait for a second
    block_on_close = False  # Ctrl-C does not wait for a client that keeps its connection
    allow_reuse_address = sys.platform != "win32"  # where it would let two programs listen on one port

    def __init__(self, port: int, handler: type[LocalHandler], seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((LOCALHOST, port), handler)
        names = [LOCALHOST, "localhost"]
        self.hosts = {f"{name}:{self.port}" for name in names} | (set(names) if self.port == 80 else set())

    def server_bind(self) -> None:
        """Bind; unlike HTTPServer's, without asking the network for a name, which takes seconds where there is none."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOCALHOST, self.server_address[1]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """What to type into a browser."""
        return f"http://{LOCALHOST}:{self.port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or close it where there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what went wrong in serving, but for clients that went away or are too slow."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class LocalHandler(BaseHTTPRequestHandler):
    """Requests on one connection. A subclass answers by `respond`, or raises Refusal."""

    protocol_version = "HTTP/1.1"
    server: LocalServer

    def setup(self) -> None:
        """Read through a deadline."""
        super().setup()
        self.rfile.close()
        self._deadline = Deadline(self.connection, self.server.seconds)
        self.rfile = io.BufferedReader(self._deadline)
        self.connection.settimeout(self.server.seconds)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def handle_one_request(self) -> None:
        """Serve a request; the time for it begins anew."""
        self._deadline.restart()
        super().handle_one_request()

    def answer(self) -> None:
        """Answer the request, by `send` or with a Refusal."""
        raise Refusal(HTTPStatus.NOT_FOUND, "nothing here")

    def _serve(self) -> None:
        try:
            self._check_headers()
            self.answer()
        except Refusal as refusal:
            self._refuse(refusal)

    # The methods that HTTP knows; http.server answers any other with 501, through `send_error`.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _serve

    def _check_headers(self) -> None:
        """Refuse what another site's page sends through the user's browser, and requests whose length is not plain."""
        if self.request_version == "HTTP/0.9":  # whose answers have no headers to protect them
            raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.0 or HTTP/1.1 is needed")
        # "Content-Length : 5" and folded lines are read in two ways, by us and by whatever may stand before us
        if self.headers.defects or not all(_NAME.fullmatch(name) and "\n" not in value for name, value in self.headers.items()):
            raise Refusal(HTTPStatus.BAD_REQUEST, "a header is malformed")
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:  # a name that was made to point here (DNS rebinding)
            raise Refusal(HTTPStatus.FORBIDDEN, f"this server answers to {self.server.url} only")
        origins = self.headers.get_all("Origin", [])
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            raise Refusal(HTTPStatus.FORBIDDEN, "requests from other sites are refused")
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) > 1 or not all(length.isascii() and length.isdigit() and len(length) < 19 for length in lengths):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length must be one whole number")
        if "Transfer-Encoding" in self.headers:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed; chunks are not read")

    def body(self, length: int, kind: str) -> bytes:
        """Return the body of a request, which must be of exactly this length and media type."""
        given = self.headers.get("Content-Length")
        if given is None:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed")
        if int(given) > length:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must be {length} bytes; more were announced")
        if self.headers.get_all("Content-Type", []) != [kind]:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {kind}")
        if int(given) != length:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the body must be {length} bytes; fewer were announced")
        try:
            found = self.rfile.read(length)
        except TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body took too long") from None
        if len(found) != length:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the body ended early")
        return found

    def send(self, status: HTTPStatus, kind: str, content: bytes, **headers: str) -> None:
        """Send an answer, with the headers that keep a browser from loading or running anything else."""
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, refusal: Refusal) -> None:
        """Send a line of plain text, and close: what may remain of the request's body is no request."""
        self.close_connection = True
        self.request_version = self.protocol_version  # else what http.server could not parse is answered without a head
        self.send(refusal.status, "text/plain; charset=utf-8", f"{refusal.status.value} {refusal.reason}\n".encode(), **refusal.headers)
        self._linger()

    def _linger(self) -> None:
        """Take what the client still sends, for a moment: closing on it would reset the connection before it reads the answer."""
        self.wfile.flush()
        end, taken = time.monotonic() + _LINGER_SECONDS, 0
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while taken < _LINGER_BYTES and (left := end - time.monotonic()) > 0:
                self.connection.settimeout(left)
                some = self.connection.recv(2**16)
                if not some:
                    return
                taken += len(some)
        except OSError:
            return  # it went away, or waits for more than it gets

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send what http.server refuses, malformed requests and unknown methods, as plain as the rest and without their words."""
        status = HTTPStatus(code)
        self.command = self.command or ""
        self._refuse(Refusal(status, status.phrase))

    def version_string(self) -> str:
        """Return the name of the server."""
        return "fastcnn"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: a request every few milliseconds is nothing to read, and its words may be anybody's."""
