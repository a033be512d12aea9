"""Cores are divided among ranks, not oversubscribed."""

from __future__ import annotations

import pytest

from fastcnn.distributed.communicator import share_of_cores


@pytest.mark.parametrize(
    ("ranks", "threads"),
    [
        ([range(8)], [8]),
        ([range(8)] * 2, [4, 4]),
        ([range(8)] * 3, [2, 2, 2]),
        ([range(2)] * 4, [1, 1, 1, 1]),  # more ranks than cores: one thread each
        ([range(4), range(4, 8)], [4, 4]),  # bound by the launcher: each has its cores to itself
        ([range(4), range(8)], [2, 6]),
    ],
)
def test_every_core_is_shared_by_those_who_may_use_it(ranks: list[range], threads: list[int]) -> None:
    cores = [frozenset(own) for own in ranks]
    assert [share_of_cores(own, cores) for own in cores] == threads
    if len(ranks) <= len(frozenset().union(*cores)):
        assert sum(threads) <= len(frozenset().union(*cores))
