"""Data-parallel training on MPI: `mpiexec -n 4 python scripts/train_mnist.py --distributed`, or `fit(..., comm=world())`.

Every process (rank) holds the whole model and takes a contiguous part of each global batch; gradients are added up over all ranks in one
message, and every rank takes the same step. For a fixed batch size and seed any number of ranks gives the training of a single process,
within rounding: order, augmentation and Dropout follow from the place in the global batch, batch normalisation from the statistics of
all of it. The engine is MPI, by mpi4py (extra "mpi"), which is imported here only, when a communicator is made.
"""

from .communicator import Communicator, PeerError, world

__all__ = ["Communicator", "PeerError", "world"]
