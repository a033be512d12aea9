"""Training beside PyTorch, step by step: ``python -m bench.training``."""
