"""Dask's workers, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("joblib", reason="joblib is not installed (extra 'search')")
pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra 'search')")


@pytest.fixture(scope="session")
def dask_client() -> Iterator[Any]:
    """Two workers of one thread each, on this machine."""
    pytest.importorskip("distributed", reason="Dask is not installed (extra 'dask')")
    from fastcnn.search import dask_cluster

    with dask_cluster.local(2) as client:
        yield client
