"""Many ranks on paper: the model's arithmetic, and the page that is made of measurements."""

from __future__ import annotations

import pytest

from bench.distributed import run, scale
from bench.distributed.model import Link, Work, fit_link, fit_work, images_for_share


def test_rings_move_the_fewest_bytes_and_trees_take_the_fewest_steps() -> None:
    link = Link(1e-3, 1e6)
    assert link.ring(4, 8000) == pytest.approx(2 * 3 * (1e-3 + 2e-3))
    assert link.tree(4, 8000) == pytest.approx(2 * 2 * (1e-3 + 8e-3))
    assert link.tree(5, 0) == pytest.approx(2 * 3 * 1e-3)
    assert link.sums(4, [8000, 0]) == pytest.approx(18e-3 + 4e-3), "each sum in its quicker way"
    assert link.sums(1, [8000]) == 0


def test_lines_are_found_again() -> None:
    work = Work(2e-3, 5e-5)
    found = fit_work([16, 64, 256], [work.seconds(n) for n in (16, 64, 256)])
    assert found == pytest.approx(work)
    assert fit_work([10, 20], [1.0, 3.0]).step == 0, "no step takes less than nothing"
    link = Link(4e-6, 2e9)
    assert fit_link([100, 1e4, 1e6], [link.ring(2, size) for size in (100, 1e4, 1e6)]) == pytest.approx(link)


def test_a_fifth_of_a_step() -> None:
    work = Work(1e-3, 1e-4)
    images = images_for_share(work, 2e-3, 0.2)
    assert images == pytest.approx(70)
    assert 2e-3 / (work.seconds(images) + 2e-3) == pytest.approx(0.2)
    assert images_for_share(work, 1e-6, 0.2) == 1


def test_the_page_has_every_network_and_the_check() -> None:
    apart = {"rows": [{"batch": n, "seconds": 1e-3 + 1e-4 * n} for n in (16, 64)]}
    measured = [
        {"ranks": p, "sums": [(64, 1e-5), (215_258, 2e-4), (1_000_000, 1e-3)], "rows": [{"batch": 256, "seconds": 0.014 * p / 2}]}
        for p in (2, 4)
    ]
    text = scale.page(apart, measured, cores=2)
    assert "In short: 1.000 ms + 100.00 us an image." in text
    assert text.count("| 1 Gbit/s | ") == text.count("| 100 Gbit/s | ") == 10
    assert text.count("| step of a global batch of 256 | ") == 2
    assert text.count("| sum of 4.00 MB | ") == 2
    sizes = scale.message_sizes()
    assert sizes == [4 * 215_258, 520, 520]
    row = next(line for line in text.splitlines() if line.startswith("| 10 Gbit/s | 1024 |"))
    images = float(row.split("|")[6].replace(",", ""))
    sums = scale.NETWORKS["10 Gbit/s"].sums(1024, sizes)
    assert sums / (1e-3 + 1e-4 * images + sums) == pytest.approx(0.2, rel=0.01)


def test_a_line_of_the_table_of_ranks() -> None:
    line = run.line(512, [0.010, 0.012, 0.011], [0.011, 0.012, 0.010], [0.001, 0.001, 0.002])
    assert line == "| 512 | 46,545 | 46,545 | 1.00 (0.91 to 1.10) | 11.00 ms | 1.00 ms, 9.1 % |"
