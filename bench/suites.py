"""The suites that `python -m bench.peers` measures are those of ``fastcnn compare --suite``."""

from fastcnn.compare.suites import SUITES, WEIGHT_SCALE

__all__ = ["SUITES", "WEIGHT_SCALE"]
