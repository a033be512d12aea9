"""Checkpoints: a resumed run ends with the bits of an uninterrupted one, whatever it died of; a damaged file changes nothing.

The same on full MNIST, killed ten times: FASTCNN_KILLS=10 FASTCNN_DATA=... pytest -s tests/test_checkpoint.py -k mnist
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _killed
import numpy as np
import pytest

from fastcnn import files
from fastcnn.layers import Dropout, Sequential
from fastcnn.train import Callback, Checkpoint, History
from fastcnn.train import checkpoint as checkpoints
from fastcnn.train.interrupt import Interrupted
from fastcnn.train.loop import Run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def whole() -> tuple[Sequential, History]:
    """Return the run that nothing interrupts."""
    return _killed.train(None)


def timeless(history: History) -> History:
    return History(
        [epoch._replace(seconds=0) for epoch in history.epochs],
        history.step_losses,
        history.mean,
        history.deviation,
        history.step_accuracies,
    )


def require_same(found: tuple[Sequential, History], expected: tuple[Sequential, History]) -> None:
    assert timeless(found[1]) == timeless(expected[1])
    state = expected[0].state_dict()
    assert all(np.array_equal(value, state[name]) for name, value in found[0].state_dict().items())


class Signal(Callback):
    """Presses Ctrl-C after a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_step(self, run: Run) -> None:
        if run.step == self.at:
            signal.raise_signal(signal.SIGINT)


def test_the_problem_is_worth_it(whole: tuple[Sequential, History]) -> None:
    """The run has a last batch that is smaller, a last epoch that is half, and a best epoch before its end."""
    losses = [epoch.validation_loss for epoch in whole[1].epochs]
    assert len(whole[1].step_losses) % 17
    assert 0 < int(np.argmin(losses)) < len(losses) - 1


@pytest.mark.parametrize("step", [1, 16, 17, 18, 40, 67, 68, 85, 110])
def test_ctrl_c_and_resume_give_the_same_bits(step: int, whole: tuple[Sequential, History], tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    with pytest.raises(Interrupted, match=f"after step {step} of 111, saved in .*c.npz"):
        _killed.train(path, callbacks=[Signal(step)])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    require_same(_killed.train(path, resume=True), whole)
    require_same(_killed.train(path, resume=True), whole)  # the run is finished: loaded only


@pytest.mark.parametrize("changes", [{"average": None, "patience": None}, {"patience": None}, {"average": None, "patience": 1}])
def test_many_interruptions(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    for step in (5, 17, 19, 34, 50):
        with pytest.raises(Interrupted):
            _killed.train(path, resume=path.exists(), callbacks=[Signal(step)], **changes)
    require_same(_killed.train(path, resume=True, **changes), _killed.train(None, **changes))


def test_without_a_checkpoint_ctrl_c_ends_after_a_whole_step() -> None:
    with pytest.raises(KeyboardInterrupt, match="after step 7 of 111; no checkpoint was asked for"):
        _killed.train(None, callbacks=[Signal(7)])


def test_a_callback_that_stops_can_be_gone_on_from(whole: tuple[Sequential, History], tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step(self, run: Run) -> bool:
            return run.step == 25

    _, history = _killed.train(tmp_path / "c.npz", callbacks=[Stop()])
    assert len(history.step_losses) == 25
    require_same(_killed.train(tmp_path / "c.npz", resume=True), whole)


def test_failures_leave_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"

    class Failing(Callback):
        def on_step(self, run: Run) -> None:
            if run.step == 10:
                run.model.params["0.weight"][...] = np.nan

    message = r"step 11 of 111 \(epoch 1, batch 11 of 17\).*c.npz holds step 8"
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=message):
        _killed.train(Checkpoint(path, None, 8), callbacks=[Failing()])
    with np.load(path) as saved:
        assert len(saved["step_losses"]) == 8
        assert np.isfinite(saved["model/0.weight"]).all()


# --- Killed ------------------------------------------------------------------------------------------------------------


def start(options: dict[str, Any]) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(_killed.__file__)), json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def test_killed_at_random_and_while_saving(whole: tuple[Sequential, History], tmp_path: Path) -> None:
    """Killed twice by us and three times in the middle of saving; what they leave behind is no obstacle."""
    options = {"checkpoint": str(tmp_path / "c.npz"), "out": str(tmp_path / "out.npz")}
    chance, begun = random.Random(), []
    for death in ([1, "middle"], "random", [3, "before"], "random", [3, "middle"], [2, "after"], None):
        ours = {"step_seconds": 0.02} if death == "random" else {"die": death}
        with start({**options, **ours}) as child:
            line = child.stdout.readline()
            if death == "random":
                time.sleep(chance.uniform(0.1, 0.5))
                child.kill()
            child.communicate(timeout=60)
        assert (child.returncode == 0) == (death is None)
        begun.append(int(line.split()[1]))
    assert begun == sorted(begun), "every run went on where a checkpoint was"
    assert begun[0] == begun[1] == 1, "the first one died before its first checkpoint was whole"
    assert begun[-1] > 20
    found = files.load_arrays(tmp_path / "out.npz")
    state = whole[0].state_dict()
    assert all(np.array_equal(found[name], state[name]) for name in state)
    assert timeless(History.from_json((tmp_path / "out.json").read_text())) == timeless(whole[1])


@pytest.mark.skipif(not os.environ.get("FASTCNN_KILLS") or not os.environ.get("FASTCNN_DATA"), reason="takes minutes: see above")
def test_mnist_killed_at_random(tmp_path: Path) -> None:
    """A training on MNIST by the command, killed FASTCNN_KILLS times, and long enough for that: an epoch takes a second or two."""
    epochs = str(2 + int(os.environ["FASTCNN_KILLS"]))
    command = [sys.executable, "-m", "fastcnn", "train", "--dataset", "mnist", "--recipe", "fast", "--checkpoint-every", "0.1"]
    command += ["--epochs", epochs]
    env, chance = {**os.environ, "PYTHONPATH": str(ROOT)}, random.Random()
    for number in range(int(os.environ["FASTCNN_KILLS"])):
        path = tmp_path / "killed.npz"
        options = ["--checkpoint", str(path), *(["--resume"] if path.exists() else [])]
        with subprocess.Popen([*command, *options], env=env, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout:
                if line.startswith("recipe"):
                    break
            time.sleep(chance.uniform(0.3, 1.5))  # the kernels are loaded after some 0.4 s
            child.kill()
        if path.exists():
            with np.load(path) as saved:
                print(f"killed {number + 1}: {len(saved['step_losses'])} steps are saved")
    weights = []
    for name, options in (("killed.npz", ["--resume"]), ("whole.npz", [])):
        subprocess.run([*command, "--checkpoint", str(tmp_path / name), *options], env=env, check=True)
        weights.append(files.load_arrays(tmp_path / name))
    for name in weights[1]:
        assert name in ("position", "history") or np.array_equal(weights[0][name], weights[1][name]), name


# --- Damage ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "c.npz"
    with pytest.raises(Interrupted):
        _killed.train(path, callbacks=[Signal(23)])
    return path


def refused(path: Path, message: str, kind: type[Exception] = ValueError, **changes: Any) -> None:
    """Require that resuming raises, and that it has changed neither the model nor any state of the run, nor the file."""
    seen: list[Run] = []
    states: list[Any] = []
    content = path.read_bytes() if path.is_file() else b""

    def state(run: Run) -> Any:
        generators = {name: str(rng.bit_generator.state) for name, rng in run.model.generators().items()}
        averages = run.average.state_dict() if run.average else {}
        arrays = [part.tobytes() for store in (run.model.state_dict(), run.optimizer.state_dict(), averages) for part in store.values()]
        return arrays, generators, run.step, run.total_loss, run.history, run.best

    def watched(path: Any, run: Run, settings: Any) -> None:
        seen.append(run)
        states.append(state(run))
        load(path, run, settings)

    load = checkpoints.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "load", watched)
        with pytest.raises(kind, match=message) as raised:
            _killed.train(path, resume=True, **changes)
    assert str(path) in str(raised.value)
    assert state(seen[0]) == states[0]
    assert (path.read_bytes() if path.is_file() else b"") == content


def test_truncated_and_flipped(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    path = tmp_path / "damaged.npz"
    for length in (0, 1, 30, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, "not a checkpoint of fastcnn, or a damaged one")
    chance = random.Random(1)
    with zipfile.ZipFile(saved) as archive:
        weights = archive.getinfo("model/0.weight.npy").header_offset + 200
    for place in [weights, *(chance.randrange(len(content)) for _ in range(30))]:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises((ValueError, Interrupted)) as raised:
            _killed.train(path, resume=True, callbacks=[Signal(24)])
        if raised.type is ValueError:
            assert str(path) in str(raised.value)
        else:  # a byte that means nothing: a date, padding, an attribute
            with zipfile.ZipFile(saved) as archive:
                entries = archive.infolist()
            assert not any(e.header_offset + 100 < place < e.header_offset + e.compress_size for e in entries), place
    with pytest.raises(ValueError, match="not a checkpoint"):
        damaged = bytearray(content)
        damaged[weights] ^= 0xFF
        path.write_bytes(damaged)
        _killed.train(path, resume=True)


def _npz(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.putenv, ("FASTCNN_BOMB",)  # fails without a second argument: unpickling would raise a TypeError


@pytest.mark.parametrize(
    "content",
    [b"text", _npy(np.arange(3)), _npz({"weight": np.ones(3)}), _npz({"format": np.array("fastcnn checkpoint 0")}),
     _npz({"format": np.array([_Bomb()], dtype=object)}), _npz({"format": np.array(checkpoints.FORMAT)})],
    ids=["text", "npy", "other-npz", "other-format", "pickle", "empty"],
)  # fmt: skip
def test_foreign_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign.npz"
    path.write_bytes(content)
    refused(path, "not a checkpoint of fastcnn|cannot go on")


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "no checkpoint to resume from", FileNotFoundError)
    with pytest.raises(OSError):
        _killed.train(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("model/0.bias"), r"model: misses \['0.bias'\]"),
        (lambda a: a.update({"model/9.bias": np.ones(1)}), r"unknown \['9.bias'\]"),
        (lambda a: a.update({"model/0.bias": np.ones(5, np.float32)}), r"0.bias must be float32 \(4,\); got float32 \(5,\)"),
        (lambda a: a.update({"model/0.bias": np.ones(4)}), r"got float64"),
        (lambda a: a.pop("average/0.bias"), "average: misses"),
        (lambda a: a.pop("best/0.bias"), "best: misses"),
        (lambda a: a.update({"optimizer/first.0.bias": np.ones(7, np.float32)}), "0.bias"),
        (lambda a: a.update({"optimizer/nonsense": np.ones(7, np.float32)}), "nonsense"),
        (lambda a: a.update({"other/0.bias": np.ones(4)}), "unknown entry 'other/0.bias'"),
        (lambda a: a.pop("step_losses"), "has no 'step_losses'"),
        (lambda a: a.update({"step_losses": np.ones(3)}), "step 23 of 111, with the losses of 3"),
        (lambda a: a.pop("step_accuracies"), "has no 'step_accuracies'"),
        (lambda a: a.update({"position": np.array("{")}), "cannot go on"),
        (lambda a: a.update({"position": np.array(str(a["position"]).replace('"step": 23', '"step": "23"'))}), "step must be of type int"),
        (lambda a: a.update({"generators": np.array(str(a["generators"]).replace("MT19937", "PCG64"))}), "generators"),
        (lambda a: a.update({"generators": np.array(str(a["generators"]).replace('"inc": ', '"inc": "x", "was": '))}), "cannot go on"),
        (lambda a: a.update({"history": np.array("{}")}), "not a history"),
    ],
)  # fmt: skip
def test_what_does_not_fit_changes_nothing(change: Callable[[dict[str, Any]], Any], message: str, saved: Path, tmp_path: Path) -> None:
    arrays = files.load_arrays(saved)
    change(arrays)
    files.save_arrays(tmp_path / "c.npz", arrays)
    refused(tmp_path / "c.npz", message)


def _constant(step: int) -> float:
    return 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "seed was 3, now 4"),
        ({"batch_size": 8, "schedule": _constant}, "batch_size was 16, now 8"),
        ({"epochs": 6}, "epochs was 6.5, now 6"),
        ({"average": None}, "average was 0.9, now None"),
        ({"patience": 4}, "early_stopping was .*3.*, now .*4"),
        ({"dropout": 0.4}, "model was .*0.3.*, now .*0.4"),
        ({"schedule": _constant}, "learning_rates was 111 steps .* now 111 steps from 0.1, up to 0.1"),
        ({"optimizer": None}, "optimizer was .*0.999.*now .*0.7"),
        ({"validation": 0.25}, "validation was 0.2, now 0.25"),
        ({"validation": _killed.problem(), "schedule": _constant}, "validation was 0.2, now 330 images"),
        ({"precision": "medium"}, "precision was high, now medium"),
    ],
)
def test_other_settings_are_refused_by_name(changes: dict[str, Any], message: str, saved: Path) -> None:
    refused(saved, message, **changes)


def test_other_data_are_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = _killed.problem()
    images[329, 5, 5] += 1
    monkeypatch.setattr(_killed, "problem", lambda: (images, labels))
    refused(saved, r"data was 330 images \(6, 6\) .*, now 330 images")


# --- When --------------------------------------------------------------------------------------------------------------


def _steps_saved(monkeypatch: pytest.MonkeyPatch, checkpoint: Any) -> list[int]:
    steps: list[int] = []
    save = checkpoints.save

    def counted(path: Any, run: Run, settings: Any) -> None:
        steps.append(run.step)
        save(path, run, settings)

    monkeypatch.setattr(checkpoints, "save", counted)
    _killed.train(checkpoint, patience=None)
    return steps


def test_saves_every_few_steps_and_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps = _steps_saved(monkeypatch, Checkpoint(tmp_path / "c.npz", None, 10))
    assert {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 111} <= set(steps)
    assert set(steps) - set(range(0, 111, 10)) <= {17, 34, 51, 68, 85, 102, 111}, "besides only the ends of epochs"
    assert len(steps) == len(set(steps))


def test_saves_by_the_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _steps_saved(monkeypatch, Checkpoint(tmp_path / "c.npz", 0.0))[-1] == 111
    assert len(_steps_saved(monkeypatch, Checkpoint(tmp_path / "d.npz", 1e9))) < 10


def test_short_epochs_are_not_spent_on_saving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first epoch is saved, and after that none before saving is a hundredth of the time."""
    save = checkpoints.save

    def slow(path: Any, run: Run, settings: Any) -> None:
        time.sleep(0.2)
        save(path, run, settings)

    monkeypatch.setattr(checkpoints, "save", slow)
    assert _steps_saved(monkeypatch, tmp_path / "c.npz") == [17, 111]


def test_stale_parts_are_removed_and_fresh_ones_left(tmp_path: Path) -> None:
    stale, fresh, other = (tmp_path / name for name in (".c[1].npz.aa.part", ".c[1].npz.bb.part", ".d.npz.cc.part"))
    for part in (stale, fresh, other):
        part.write_bytes(b"half")
    for part in (stale, other):
        os.utime(part, (time.time() - 3600,) * 2)
    checkpoints.Saver(Checkpoint(tmp_path / "c[1].npz"), {})
    assert (stale.exists(), fresh.exists(), other.exists()) == (False, True, True)


@pytest.mark.parametrize("arguments", [{"seconds": -1}, {"seconds": float("nan")}, {"steps": 0}])
def test_wrong_intervals(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Checkpoint("c.npz", **arguments)


def test_generators_are_found_by_name() -> None:
    rngs = [np.random.default_rng(i) for i in range(2)]
    net = Sequential(Dropout(0.1, rng=rngs[0]), Sequential(Sequential(), Dropout(0.1, rng=rngs[1])))
    assert net.generators() == {"0.rng": rngs[0], "1.1.rng": rngs[1]}
