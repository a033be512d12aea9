"""All ranks begin with the state of rank 0, and go on to hold the same weights."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .communicator import Communicator

if TYPE_CHECKING:
    from ..train.loop import Run


def begin_alike(comm: Communicator, run: Run, settings: Mapping[str, Any], load: Callable[[], None] | None = None) -> None:
    """Give every rank the state of rank 0: weights, buffers, optimiser, random generators, and what a checkpoint brought.

    Parameters
    ----------
    settings : mapping
        What decides the course of training beside the state; must be the same on all ranks.
    load : callable, optional
        Called on rank 0 before: brings its run to where a checkpoint was saved.

    Raises
    ------
    ValueError
        On a rank whose model, data or settings are others than those of rank 0; `PeerError` on the others.
    """
    from ..train.state import pack, unpack

    error: Exception | None = None
    try:
        if load is not None and comm.is_leader:
            load()
    except Exception as raised:
        error = raised
    comm.agree(error)
    arrays = comm.broadcast_arrays(pack(run, settings) if comm.is_leader else {})
    try:
        if not comm.is_leader:
            unpack(arrays, run, settings)
    except ValueError as raised:
        error = ValueError(f"fit: rank {comm.rank} cannot train with rank 0: {raised}")
    comm.agree(error)


def require_alike(comm: Communicator, weights: Mapping[str, np.ndarray]) -> None:
    """Raise on all ranks unless all hold the same weights, to the bit: what every rank computes for itself has the same result.

    Raises
    ------
    RuntimeError
        They do not.
    """
    found = 0
    for name in sorted(weights):
        found = zlib.crc32(weights[name].tobytes(), found)
    least, most = comm.extremes(found)
    if least != most:
        raise RuntimeError(
            "fit: ranks no longer hold the same weights: a callback that changes the model must do so on all of them; and hosts of "
            "different CPUs must compute alike: set FASTCNN_ISA to the instruction set that all of them have"
        )
