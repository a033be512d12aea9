"""Variants of an operation side by side: each checked against the reference, then timed in turns with the others.

How the comparison is kept fair stands where it is done: what takes part and in which order in `contest`, other libraries in processes of
their own in `peers`, blocks far apart in `measuring`, what may be concluded in `statistics`, how quiet the machine was in `noise`.
"""

from .baseline import Baseline, baselines
from .contest import LONGEST_CALL
from .measuring import Comparison, compare, run
from .problems import cases_named, directions_named, operation
from .row import Ratio, Row
from .table import render

__all__ = [
    "LONGEST_CALL",
    "Baseline",
    "Comparison",
    "Ratio",
    "Row",
    "baselines",
    "cases_named",
    "compare",
    "directions_named",
    "operation",
    "render",
    "run",
]
