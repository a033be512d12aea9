"""The rows: names of what must never happen (those that a mutation may name)."""

from __future__ import annotations

ROWS: dict[str, str] = {
    "out-of-bounds": "an access outside of an array",
    "crash": "a crash, a hang or an abort from any argument",
    "nonsense": "nonsense is accepted",
    "inputs-changed": "the caller's arrays are changed",
    "unusual-arrays": "wrong bits from unusual arrays",
    "nan-lost": "a NaN is lost",
    "ties": "the wrong one of several maxima takes the gradient",
    "threads": "threads, forks or the end of a process crash, hang or compute wrong",
    "thread-dependent": "results depend on the number of threads or change from run to run",
    "ctrl-c": "Ctrl-C is ignored or leaves a broken state",
    "jit-cache": "a stale or corrupt cache of compiled code is an error or a wrong result",
    "import": "importing surprises",
    "leaks": "memory or file handles leak",
    "code-from-data": "data are executed",
    "memory-bombs": "a small file or an absurd header takes all memory",
    "half-written": "a file is half-written",
    "data-cache": "the cache of data is poisoned",
    "lost-training": "training is lost",
    "numba-byte-order": "a big-endian or unaligned array is read as a native one",
    "numba-cache-race": "two processes fill an empty cache and leave a wrong index",
    "numba-cache-garbage": "a truncated or planted cache file fails or is executed",
    "numba-exceptions": "an exception inside a parallel loop vanishes",
    "numba-fastmath": "fast arithmetic takes NaN for a number",
    "numba-cpu-key": "code of another CPU or of an older source is run",
    "agreement": "a result differs from the float64 oracle by more than its bound",
}
