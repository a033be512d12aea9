"""What a process uses: memory, file descriptors, threads. For tests that see whether it grows."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import NamedTuple

AVAILABLE = sys.platform == "linux"  # else there is no /proc to read


class Use(NamedTuple):
    """What a process uses now."""

    memory: int  # bytes that lie in memory
    objects: int  # blocks of Python's allocator
    files: int
    threads: int


def use() -> Use:
    """Return what this process uses once Python has collected its garbage."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Use(
        pages * os.sysconf("SC_PAGE_SIZE"), sys.getallocatedblocks(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    )
