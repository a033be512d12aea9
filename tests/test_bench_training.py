"""Training beside PyTorch: what is compared, and how it is written."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from bench.training import run, with_torch
from fastcnn.layers import BatchNorm1d, Sequential
from fastcnn.models import digit_net
from fastcnn.train.recipes import RECIPES, build


def test_a_row_shows_rates_ratios_and_the_whole_training() -> None:
    line = run.Row("fast", "high", 2, 128, 0.004, 0.010, 0.016).line(60_000, 1.0)
    assert line == "| fast | high | 2 | 128 | 32,000 | 12,800 | 8,000 | 2.50 | 4.00 | 1.88 s |"
    assert line.count("|") == run.HEAD.splitlines()[0].count("|") == run.HEAD.splitlines()[1].count("|")


def test_networks_are_described_in_torch_s_terms() -> None:
    found = with_torch.description(digit_net(28, 0, norm=True))
    assert found[0] == ("Conv2d", 1, 24, (5, 5), 1, 0, 1, 1)
    assert found[2] == ("MaxPool2d", 2, None, 0)
    assert [kind for kind, *_ in found].count("BatchNorm2d") == 1
    assert found[-1] == ("Linear", 256, 10)
    with pytest.raises(TypeError, match=r"BatchNorm1d.* has no counterpart"):
        with_torch.description(Sequential(BatchNorm1d(3)))


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run.main([]) == 2
    assert "fastcnn[peers]" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_both_sides_train_alike() -> None:
    rng = np.random.default_rng(0)
    row = run.measure("fast", 16, 1, 0.05, "high", rng.integers(0, 256, (64, 28, 28), np.uint8), rng.integers(0, 10, 64))
    assert min(row[4:]) > 0


def test_a_schedule_lasts_for_batches_of_one() -> None:
    assert build(replace(RECIPES["mnist"]["fast"], batch_size=1, epochs=run.EPOCHS), 28, 60_000, seed=0).schedule(10**8) > 0
