"""Four processes begin at once on a machine where nobody has used the library: the cache of compiled code and that of data are empty."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import struct
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.processes._python import environment, program

pytest.importorskip("requests", reason="downloads need requests")
_NAMES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
_CODE = """
    import hashlib, sys
    import numpy as np
    import fastcnn.data.mnist
    from fastcnn import builds
    from fastcnn.data.cache import File
    module = sys.modules["fastcnn.data.mnist"]  # its name in fastcnn.data is the function's
    module.MNIST = module.Source("mnist", (sys.argv[1],), tuple(File(*text.split(","), "idx") for text in sys.argv[2:]))
    images = module.mnist().train_images[:, None].astype(np.float32)
    states = []
    with builds.watching(lambda build: states.append(build)):
        y = fastcnn.conv2d(images, np.ones((4, 1, 5, 5), np.float32), algorithm="direct")
    want = np.lib.stride_tricks.sliding_window_view(images[:, 0], (5, 5), (1, 2)).sum((3, 4))
    assert all(np.array_equal(y[:, k], want) for k in range(4))
    print(hashlib.sha256(y.tobytes()).hexdigest(), "compiled", sorted({build.name for build in states if build.state == "compiled"}))
"""


class _Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - of the class: every request is an object

    def log_message(self, *arguments: object) -> None:
        self.asked.append(self.path)


def _write_data(folder: Path) -> list[str]:
    """Write a small MNIST, and return what pins each file."""
    rng, pins = np.random.default_rng(0), []
    for name in _NAMES:
        shape = (16, 28, 28) if "images" in name else (16,)
        body = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + rng.integers(0, 10, shape, np.uint8).tobytes()
        (folder / name).write_bytes(gzip.compress(body, mtime=0))
        pins.append(f"{name},{hashlib.sha256(body).hexdigest()}")
    return pins


def test_four_processes_begin_at_once_with_empty_caches(tmp_path: Path) -> None:
    served, home, cache = tmp_path / "served", tmp_path / "home", tmp_path / "cache"
    for folder in (served, home, cache):
        folder.mkdir()
    pins = _write_data(served)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        (tmp_path / "program.py").write_text(program(_CODE))
        command = [sys.executable, str(tmp_path / "program.py"), f"http://127.0.0.1:{server.server_port}/", *pins]
        env = environment(
            NUMBA_CACHE_DIR=str(cache), HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), LOCALAPPDATA=str(home), NO_PROXY="*"
        )
        env.pop("FASTCNN_DATA", None)

        def run(count: int) -> list[str]:
            """Run so many processes at once and return what each printed."""
            printed = []
            with contextlib.ExitStack() as stack:
                pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
                running = [stack.enter_context(subprocess.Popen(command, env=env, cwd=home, **pipes)) for _ in range(count)]
                for process in running:
                    output, errors = process.communicate(timeout=200)
                    assert process.returncode == 0, errors
                    assert "Traceback" not in errors
                    printed.append(output)
            return printed

        first = run(4)
        assert len({line.split()[0] for line in first}) == 1, first
        assert not first[0].endswith("[]\n")
        asked = len(_Quiet.asked)
        assert asked >= 4
        assert run(1) == [first[0].split()[0] + " compiled []\n"]
        assert len(_Quiet.asked) == asked, "downloaded again"
    finally:
        server.shutdown()
        server.server_close()
    left = [path.name for folder in (home, cache) for path in folder.rglob("*") if path.is_file()]
    assert sorted(name for name in left if not name.endswith(".nbc")) == sorted(_NAMES)
    if os.name == "posix":
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in cache.rglob("*.nbc"))
