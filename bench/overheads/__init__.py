"""What fastcnn costs beside its arithmetic: import, compilation at first use, threads, other programs on the cores, denormal numbers.

From the root of the repository::

    python -m bench.overheads                      # some minutes: every operation, direction and variant compiles into a cache of its own
    python -m bench.overheads --quick              # a sample of each group, about a minute
    python -m bench.overheads --only threads,denormals --json overheads.json

Every figure stands beside the limit that is asked of it (`figure.py`); one that misses it is marked. First use is timed in fresh
processes (`child.py`), each with an empty cache folder.
"""
