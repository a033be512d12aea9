"""Guard pages and canaries themselves: what lies beside an array is found, read or written, and what is in it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from .pages import MARGIN, PLACES, Pages, can_protect

ROOT = Path(__file__).parents[2]
protects = pytest.mark.skipif(not can_protect(), reason="this system's pages cannot be protected here")


def _ended(code: str) -> bool:
    """Run code in a fresh interpreter; return whether an access to memory ended it. It says "here" before that access."""
    program = "from tests.canaries.pages import Pages\nimport numpy as np, ctypes\n" + textwrap.dedent(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60)
    assert done.stdout.startswith("here"), done.stderr
    assert done.returncode in (0, -10, -11), done.stderr  # SIGBUS on macOS, SIGSEGV
    return done.returncode < 0


@protects
@pytest.mark.parametrize("access", ["ctypes.string_at({}, 1)", "ctypes.memset({}, 0, 1)"], ids=["read", "write"])
@pytest.mark.parametrize(("place", "offset", "ends"), [
    ("end", 12, True), ("end", 11, False), ("end", 0, False), ("start", -1, True), ("start", 0, False), ("start", 11, False),
])  # fmt: skip
def test_the_byte_beside_an_array_ends_the_process(place: str, offset: int, ends: bool, access: str) -> None:
    code = f"""
        values = Pages({place!r}).array(np.arange(3, dtype=np.float32))
        print("here", flush=True)
        {access.format(f"values.__array_interface__['data'][0] + {offset}")}
    """
    assert _ended(code) == ends


@protects
@pytest.mark.parametrize("place", ["end", "start"])
@pytest.mark.parametrize(("read_only", "line"), [(True, "x[1] = 2"), (True, "x.sum()"), (False, "x[1] = 2")])
def test_an_input_can_be_read_and_not_written(place: str, read_only: bool, line: str) -> None:
    code = f"""
        x = Pages({place!r}).array(np.arange(3.0), read_only={read_only})
        assert x.flags.carray and x.sum() == 3
        print("here", flush=True)
        {line}
    """
    assert _ended(code) == (read_only and "=" in line)


@protects
def test_what_was_freed_is_gone() -> None:
    code = """
        pages = Pages("end")
        x = pages.array(np.arange(3.0))
        address = x.__array_interface__["data"][0]
        pages.release(x)
        print("here", flush=True)
        ctypes.string_at(address, 1)
    """
    assert _ended(code)


SIDES = [(place, side) for place, sides in (("end", "before"), ("start", "behind"), ("between", "before behind")) for side in sides.split()]


@pytest.mark.parametrize(("place", "side"), SIDES)
@pytest.mark.parametrize("how", ["check", "release"])
def test_a_byte_changed_beside_an_array_is_told(place: str, side: str, how: str) -> None:
    if place != "between" and not can_protect():
        pytest.skip("this system's pages cannot be protected here")
    import ctypes

    pages = Pages(place)
    x = pages.array(np.arange(5, dtype=np.int16))
    pages.check()
    assert pages.touched == []
    address = x.__array_interface__["data"][0]
    ctypes.memset(address - 3 if side == "before" else address + 10 + 2, 0, 1)
    pages.check(everything=True) if how == "check" else pages.release(x)
    assert pages.touched == [f"1 bytes {side} an array of 10 bytes, the nearest 3 from it"]


@pytest.mark.parametrize("place", PLACES if can_protect() else PLACES[2:])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 4096, 5001])
def test_an_array_is_a_copy_in_its_own_order_and_a_new_block_is_full_of_nan(place: str, size: int) -> None:
    pages = Pages(place)
    values = np.arange(6 * size, dtype=np.float32).reshape(2, size, 3).transpose(0, 2, 1)
    copy = pages.array(values)
    np.testing.assert_array_equal(copy, values)
    assert copy.strides == values.strides
    pages.release(copy)
    import ctypes

    for clear in (False, True):
        address = pages.allocate(4 * size, clear)
        fresh = np.frombuffer((ctypes.c_char * (4 * size)).from_address(address), np.float32)
        assert (fresh == 0).all() if clear else np.isnan(fresh).all()
        pages.free(address)
    assert pages.blocks == {}
    assert pages.touched == []
    assert pages.made == 3
    assert MARGIN >= 2 * 64


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(ValueError, match="Pages: place must be one of"):
        Pages("middle")
