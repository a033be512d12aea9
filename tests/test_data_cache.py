"""The cache of downloads, against servers on the loopback interface that lie, stall, or are not there."""

import contextlib
import gzip
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import fastcnn
from fastcnn.data.cache import LIMITS, File, damage, fill
from fastcnn.files import cache_folder

BODIES = {f"{n}.gz": gzip.compress(os.urandom(500), mtime=0) for n in range(4)}
NAMES = list(BODIES)
PATIENT = LIMITS._replace(body=20_000, content=50_000)
HASTY = PATIENT._replace(silence=0.4, total=0.6)


def pinned(of="idx"):
    """Return the files, with the SHA-256 of what is inside the gzip files, or of these."""
    unpack = gzip.decompress if of == "idx" else bytes
    return [File(name, hashlib.sha256(unpack(body)).hexdigest(), of) for name, body in BODIES.items()]


FILES = pinned()


def names_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- A server, and its lies -------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked, self.closing = answer, [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.closing.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.name = self.path.rsplit("/", 1)[-1]
        self.body = BODIES[self.name]
        self.server.asked.append(self.name)
        with contextlib.suppress(OSError):  # the client hung up, as it should
            self.server.answer(self)

    def log_message(self, *args):
        pass

    def begin(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, body, length=None):
        self.begin(Content_Length=len(body) if length is None else length)
        self.wfile.write(body)

    def drip(self, chunk, pause):
        self.begin()
        while not self.server.closing.wait(pause):
            self.wfile.write(chunk)

    def stall(self):
        self.send(self.body[:50], len(self.body))
        self.server.closing.wait(10)

    def pack_twice(self, body):
        self.begin(Content_Encoding="gzip")
        self.wfile.write(gzip.compress(body))


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    servers = []

    def start(answer=lambda h: h.send(h.body)):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


LIES = {
    "other bytes": (lambda h: h.send(b"<html>Please log in</html>"), "expected SHA-256"),
    "other data": (lambda h: h.send(gzip.compress(bytes(500))), "expected SHA-256"),
    "nothing": (lambda h: h.send(b""), "expected SHA-256"),
    "cut off": (lambda h: h.send(h.body[:-9], len(h.body)), "IncompleteRead"),
    "cut off, honest length": (lambda h: h.send(h.body[:-9]), "whole, undamaged gzip file"),
    "longer than it says": (lambda h: h.send(h.body, 60), "whole, undamaged gzip file"),
    "status 404": (lambda h: h.begin(404, Content_Length=0), "404 Client Error"),
    "status 503": (lambda h: h.begin(503, Content_Length=0), "503 Server Error"),
    "not HTTP": (lambda h: h.wfile.write(b"SSH-2.0-OpenSSH\r\n"), "BadStatusLine"),
    "hangs up": (lambda h: None, "closed connection without response"),
    "redirect to a file": (lambda h: h.begin(302, Location=Path(__file__).as_uri()), "InvalidSchema"),
    "redirect to ftp": (lambda h: h.begin(302, Location="ftp://127.0.0.1/" + h.name), "InvalidSchema"),
    "redirect to nonsense": (lambda h: h.begin(302, Location="http://[::1"), "Invalid"),
    "redirect in a circle": (lambda h: h.begin(302, Location=h.path), "TooManyRedirects"),
    "endless": (lambda h: h.drip(bytes(10_000), 0), "more than 20,000 bytes"),
    "bomb": (lambda h: h.send(gzip.compress(bytes(10**6))), "more than 50,000 bytes"),
    "bomb in transit": (lambda h: h.pack_twice(bytes(10**6)), "more than 20,000 bytes"),
    "endless and slow": (lambda h: h.drip(bytes(1024), 0.1), "not complete after 0.6 s"),
    "stalled": (lambda h: h.stall(), "Read timed out"),
    "silent": (lambda h: h.server.closing.wait(10), "Read timed out"),
}


# --- Downloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["idx", "gzip"])
def test_a_download_is_verified_and_whole(serve, tmp_path, of):
    server = serve()
    assert fill((server.url,), tmp_path / "new" / "cache", pinned(of), PATIENT) == []
    assert server.asked == NAMES
    assert names_in(tmp_path) == NAMES
    for file in pinned(of):
        path = tmp_path / "new" / "cache" / file.name
        assert damage(path, file, PATIENT) is None
        assert path.read_bytes() == BODIES[file.name]


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_mirror_leaves_no_file_and_the_next_one_is_asked(serve, tmp_path, lie):
    answer, message = LIES[lie]
    limits = HASTY if lie in ("endless and slow", "stalled", "silent") else PATIENT
    liar, honest = serve(answer), serve()
    start = time.perf_counter()
    (reason,) = fill((liar.url,), tmp_path, FILES, limits)
    assert time.perf_counter() - start < 3
    assert reason.startswith(f"{liar.url}: ")
    assert message in reason
    assert "\n" not in reason
    assert names_in(tmp_path) == []
    if lie != "redirect in a circle":
        assert liar.asked == NAMES[:1]  # no retries, and no other file from a mirror that failed

    assert fill((liar.url, honest.url), tmp_path, FILES, limits) == []
    assert honest.asked == NAMES
    assert names_in(tmp_path) == NAMES


def test_another_wrapper_is_refused_only_where_the_wrapper_is_pinned(serve, tmp_path):
    server = serve(lambda h: h.send(gzip.compress(gzip.decompress(h.body), 1, mtime=7)))
    (reason,) = fill((server.url,), tmp_path, pinned("gzip"), PATIENT)
    assert f"expected SHA-256 {pinned('gzip')[0].sha256} of the gzip bytes; got " in reason
    assert fill((server.url,), tmp_path, pinned("idx"), PATIENT) == []


def test_redirects_to_http_are_followed(serve, tmp_path):
    target = serve()
    moved = serve(lambda h: h.begin(302, Location=target.url + h.name))
    assert fill((moved.url,), tmp_path, FILES, PATIENT) == []


def test_what_one_mirror_delivered_is_not_asked_of_the_next(serve, tmp_path):
    first = serve(lambda h: h.send(h.body) if h.name in NAMES[:2] else h.begin(404))
    second = serve()
    assert fill((first.url, second.url), tmp_path, FILES, PATIENT) == []
    assert (first.asked, second.asked) == (NAMES[:3], NAMES[2:])


def test_no_network_is_told_at_once_with_a_line_per_mirror(serve, tmp_path):
    dead = serve()
    dead.close()
    start = time.perf_counter()
    refused, unknown = fill((dead.url, "http://fastcnn.invalid/"), tmp_path, FILES, LIMITS)
    assert time.perf_counter() - start < 5
    assert refused.startswith(f"{dead.url}: ConnectionError: ")
    assert unknown.startswith("http://fastcnn.invalid/: ConnectionError: ")
    assert "Max retries" not in refused + unknown
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told(serve, tmp_path):
    (tmp_path / "file").touch()
    (reason,) = fill((serve().url,), tmp_path / "file" / "cache", FILES, PATIENT)
    assert "Error: " in reason
    assert names_in(tmp_path) == ["file"]


def test_a_missing_requests_is_told(serve, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    server = serve()
    assert fill((server.url,), tmp_path, FILES, PATIENT) == ['needs requests: pip install "fastcnn[train]"']
    assert server.asked == names_in(tmp_path) == []


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_only(serve, tmp_path, monkeypatch, capsys, terminal):
    body = os.urandom(3 * 2**18)
    monkeypatch.setitem(BODIES, NAMES[0], body)
    stderr = io.StringIO()
    stderr.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stderr)
    server = serve()
    assert fill((server.url,), tmp_path, [File(NAMES[0], hashlib.sha256(body).hexdigest(), "gzip")], LIMITS) == []
    line = f"Downloading {server.url}{NAMES[0]}"
    shown = "".join([line, *(f"\r{line}: {mib} MiB" for mib in ("0.2", "0.5", "0.8")), "\n"])
    assert stderr.getvalue() == (shown if terminal else "")
    assert capsys.readouterr().out == ""


# --- Several at once, and the killed ----------------------------------------------------------------------------------


def test_threads_may_fill_one_cache_at_once(serve, tmp_path):
    server = serve()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: fill((server.url,), tmp_path, FILES, LIMITS), range(8))) == [[]] * 8
    assert names_in(tmp_path) == NAMES
    assert [damage(tmp_path / file.name, file, LIMITS) for file in FILES] == [None] * 4


CHILD = """
import sys
from pathlib import Path
from fastcnn.data.cache import LIMITS, File, fill
url, folder, *files = sys.argv[1:]
files = [File(*file.split(",")) for file in files]
print(fill((url,), Path(folder), files, LIMITS))
"""


def start_child(url, folder, before="", files=FILES, shell=()):
    command = [*shell, sys.executable, "-c", before + CHILD, url, str(folder), *(",".join(file) for file in files)]
    env = {**os.environ, "PYTHONPATH": str(Path(fastcnn.__file__).parents[1])}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def test_processes_may_fill_one_cache_at_once(serve, tmp_path):
    server = serve()
    children = [start_child(server.url, tmp_path) for _ in range(4)]
    assert [child.communicate(timeout=60)[0] for child in children] == ["[]\n"] * 4
    assert names_in(tmp_path) == NAMES


def test_a_killed_download_leaves_nothing_that_is_taken_for_a_file(serve, tmp_path):
    server = serve(lambda h: h.stall())
    child = start_child(server.url, tmp_path)
    while not server.asked:
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.communicate()
    (left,) = names_in(tmp_path)
    assert left.startswith(".0.gz.")
    assert left.endswith(".part")
    assert damage(tmp_path / NAMES[0], FILES[0], PATIENT) == f"{tmp_path / NAMES[0]}: no such file"
    os.utime(tmp_path / left, (time.time() - 7200,) * 2)
    assert fill((serve().url,), tmp_path, FILES, PATIENT) == []
    assert names_in(tmp_path) == NAMES, "two hours later the next download has removed what the dead one left"


# --- A full disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "size"), [(0, 500), (1, 500), (500, 500), (9000, 500_000)])
def test_a_download_that_may_not_grow_leaves_the_old_file(serve, tmp_path, monkeypatch, limit, size):
    """RLIMIT_FSIZE stops a write in its middle, as a full disk does: at the end of a short body, within a long one."""
    monkeypatch.setitem(BODIES, NAMES[0], gzip.compress(os.urandom(size)))
    server = serve()
    (tmp_path / NAMES[0]).write_bytes(b"damaged")
    little = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    said, _ = start_child(server.url, tmp_path, little, pinned()).communicate(timeout=60)
    assert said == f"['{server.url}: OSError: [Errno 27] File too large']\n"
    assert server.asked == NAMES[:1]
    assert names_in(tmp_path) == NAMES[:1]
    assert (tmp_path / NAMES[0]).read_bytes() == b"damaged"
    assert fill((server.url,), tmp_path, pinned(), LIMITS) == []
    assert [damage(tmp_path / file.name, file, LIMITS) for file in pinned()] == [None] * 4


# In namespaces of its own a user may mount: a file system in memory with room for two short files.
TWO_FILES = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=8k tmpfs "$0" && exec "$@"')
TELL = """
import atexit
from fastcnn.data.cache import damage
atexit.register(lambda: print([damage(Path(folder) / file.name, file, LIMITS) for file in files[:2]]))
atexit.register(lambda: print(sorted(path.name for path in Path(folder).iterdir())))
"""


def may_mount(folder):
    try:
        return subprocess.run([*TWO_FILES, folder, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_a_download_to_a_full_disk_keeps_what_is_whole(serve, tmp_path):
    if not may_mount(tmp_path):
        pytest.skip("this system or user may not mount a file system in namespaces of its own")
    server = serve()
    said, _ = start_child(server.url, tmp_path, TELL, FILES, (*TWO_FILES, str(tmp_path))).communicate(timeout=60)
    full = f"['{server.url}: OSError: [Errno 28] No space left on device']"
    assert said.splitlines() == [full, str(NAMES[:2]), "[None, None]"]
    assert server.asked == NAMES[:3]


# --- The folder -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "variables", "want"),
    [
        ("linux", {}, "home/.cache/fastcnn"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/fastcnn"),
        ("linux", {"XDG_CACHE_HOME": ""}, "home/.cache/fastcnn"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "home/Library/Caches/fastcnn"),
        ("win32", {}, "home/AppData/Local/fastcnn/Cache"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/fastcnn/Cache"),
    ],
)
def test_the_cache_lies_where_the_system_wants_it(monkeypatch, platform, variables, want):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, variables.get(name, ""))
    assert cache_folder() == Path(want)
