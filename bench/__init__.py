"""Benchmarks of every variant on every case of its operation, beside the code that people write without fastcnn.

Nothing is listed here: the grid is the registry's, so a new file in ``fastcnn/ops/<operation>/`` is timed with no other edit. Everything
is checked against the reference before it is timed. From the root of the repository::

    pytest bench --suite quick                  # the first cases of every operation, some two minutes
    pytest bench                                # every case
    pytest bench -k "conv2d-forward and mnist"  # ids read operation-direction-variant-case
    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 pytest bench
    pytest bench --benchmark-json=a.json        # GFLOP/s, GB/s and all samples in extra_info, the machine in machine_info
    fastcnn bench-report a.json b.json          # what has become of each row, and whether that is more than noise
    fastcnn bench-report a.json,a2.json b.json,b2.json    # surer: runs of several processes, which must agree
    python -m bench.sensitivity                 # tries that on kernels slowed on purpose
    pytest bench --benchmark-autosave; pytest bench --benchmark-compare

Each operation, direction and case is a group of its own, so that pytest-benchmark's tables show the competitors side by side. They take
samples in turns, a block of them in each of twelve processes.
Baselines that would take too long on a case are left out; the summary names them. `fastcnn compare` prints the same as one table.
"""
