"""These operations inside other frameworks, a module for each: `torch`, `autograd`, `jax`, `keras`; and column orders of courses.

Nothing here is imported with the package: ``from fastcnn.adapters import torch`` (or ``import fastcnn.adapters.torch``) brings one partner.
"""
