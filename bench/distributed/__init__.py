"""Ranks beside threads: ``python -m bench.distributed``; on paper for many ranks: ``python -m bench.distributed.scale``."""
