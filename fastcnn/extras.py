"""Optional dependencies: imported where they are needed, and where one is missing, one line says what to install."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, name: str, extra: str, user: str) -> Any:
    """Return an imported module of an optional dependency.

    Parameters
    ----------
    module : str
        What to import.
    name : str
        What people call it.
    extra : str
        The extra of this package that brings it.
    user : str
        What needs it.

    Raises
    ------
    ImportError
        It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{user} needs {name}: pip install "fastcnn[{extra}]" ({error})') from error
