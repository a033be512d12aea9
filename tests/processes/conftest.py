"""The threading layers that are installed, for every test that asks for one."""

from tests.processes._python import layer

__all__ = ["layer"]
