"""Two hosts: two network namespaces of this machine with a cable between them, and nothing else in common but the files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from . import _worker
from ._launch import ROOT, WORKER, mpiexec

ADDRESSES = "10.77.0.1", "10.77.0.2"
# What plays ssh between the hosts: options, the host, the command.
SHELL = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
case $host in %s) space=%s;; *) space=%s;; esac
exec ip netns exec $space sh -c "$*"
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces with an address each; skipped where this system does not let us make them."""
    if shutil.which("ip") is None or os.getuid() != 0:
        pytest.skip("network namespaces need root, and the command ip")
    mark = os.getpid()
    names = f"fastcnn-a-{mark}", f"fastcnn-b-{mark}"
    cables = f"fca{mark}", f"fcb{mark}"
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
            _ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
        for name, cable, address in zip(names, cables, ADDRESSES, strict=True):
            _ip("link", "set", cable, "netns", name)
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
            _ip("-n", name, "link", "set", cable, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_two_hosts_come_to_the_weights_of_one(hosts: tuple[str, str], tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text(SHELL % (ADDRESSES[0], *hosts))
    shell.chmod(0o755)
    launcher = [mpiexec(), "-launcher", "ssh", "-launcher-exec", str(shell), "-localhost", ADDRESSES[0], "-hosts", ",".join(ADDRESSES)]
    command = ["ip", "netns", "exec", hosts[0], *launcher, "-n", "2", sys.executable, str(WORKER), str(tmp_path), "everything", "hosts"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert np.load(tmp_path / "hosts-2.npz")["sizes"].tolist() == [2, 1], "two ranks, one on each host"
    found, expected = np.load(tmp_path / "everything-2.npz"), _worker.everything(None, tmp_path)
    for name, array in expected.items():
        assert np.abs(found[name] - array).max() <= 1e-12 * np.abs(array).max(), name
