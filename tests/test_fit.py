"""`fit`: what it trains, records, refuses and stops at."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest

from fastcnn.data.batches import Batches
from fastcnn.layers import Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential
from fastcnn.losses import SoftmaxCrossEntropy
from fastcnn.optim import SGD, Adam
from fastcnn.train import Callback, EarlyStopping, Epoch, History, count_steps, evaluate, fit, predict, split
from fastcnn.train.callbacks import Best
from fastcnn.train.loop import Loop, Run
from fastcnn.train.progress import BarProgress, LineProgress, Silence, progress_for


def problem(count: int = 90, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images of 6 x 6 with a bright row whose place is the class, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype(np.uint8)
    images = rng.integers(0, 100, (count, 6, 6), np.uint8)
    images[np.arange(count), 2 * labels] += 100
    return images, labels


def network(seed: int = 0, classes: int = 3, dropout: float = 0.0) -> Sequential:
    rng = np.random.default_rng(seed)
    last = [Dropout(dropout, rng=seed)] if dropout else []
    return Sequential(Conv2d(1, 4, 3, rng=rng), ReLU(), MaxPool2d(2), Flatten(), *last, Linear(16, classes, rng=rng))


def test_learns_and_predicts() -> None:
    images, labels = problem(300)
    net = network()
    history = fit(net, images[:200], labels[:200], epochs=15, batch_size=16, validation=(images[200:], labels[200:]))
    assert [epoch.number for epoch in history.epochs] == list(range(1, 16))
    assert len(history.step_losses) == 15 * 13
    assert history.epochs[-1].loss < 0.5 * history.epochs[0].loss
    final = history.epochs[-1]
    logits = predict(net, images[200:], history.mean, history.deviation, batch_size=7)
    shifted = logits.astype(float) - logits.max(axis=1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert final.validation_loss == pytest.approx(-log[np.arange(100), labels[200:]].mean(), rel=1e-5)
    assert final.validation_accuracy == evaluate(net, images[200:], labels[200:], history.mean, history.deviation) > 0.9
    x = (images[200:, None] - history.mean) / history.deviation
    np.testing.assert_allclose(logits, net.eval().forward(x.astype(np.float32)), rtol=1e-4, atol=1e-5)
    assert all(a.seconds < b.seconds for a, b in zip(history.epochs, history.epochs[1:], strict=False))


def test_matches_a_plain_loop() -> None:
    """The same batches through plain forward, backward and update give the same numbers."""
    images, labels = problem(50)
    net, other = network(), network()
    loss = SoftmaxCrossEntropy(0.1)
    history = fit(net, images, labels, epochs=1.5, batch_size=16, loss=loss, optimizer=SGD(net.params, 0.1, 0.9),
                  schedule=lambda step: 0.1 / (1 + step), seed=4)  # fmt: skip
    batches, optimizer, losses, right = Batches(images, labels, 16, seed=4), SGD(other.params, 0.1, 0.9), [], []
    for step in range(6):
        x, target = batches.batch(*divmod(step, 4))
        logits = other.forward(x)
        losses.append(loss.forward(logits, target))
        right.append((logits.argmax(axis=1) == target).sum())
        other.backward(loss.backward())
        optimizer.lr = 0.1 / (1 + step)
        optimizer.step(other.grads)
    np.testing.assert_allclose(history.step_losses, losses, rtol=1e-5)
    np.testing.assert_allclose(history.step_accuracies, np.array(right) / [16, 16, 16, 2, 16, 16])
    first, second = history.epochs
    assert first.loss == pytest.approx(np.average(losses[:4], weights=[16, 16, 16, 2]), rel=1e-5)
    assert first.accuracy == pytest.approx(sum(right[:4]) / 50)
    assert second.loss == pytest.approx(np.mean(losses[4:]), rel=1e-5)
    assert (first.learning_rate, second.learning_rate) == (0.1 / 4, 0.1 / 6)
    for name, param in net.params.items():
        np.testing.assert_allclose(param, other.params[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "epochs", "steps"), [(60_000, 0.5, 235), (60_000, 1, 469), (100, 0.01, 1), (1280, 0.7, 7), (1280, 0.3, 3), (1281, 2.5, 28)]
)
def test_steps_of_fractions(images: int, epochs: float, steps: int) -> None:
    assert count_steps(images, epochs, 128) == steps


@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3, 0.9])
def test_split_is_stratified_seeded_and_complete(share: float) -> None:
    labels = np.repeat([0, 1, 2, 7], [400, 100, 37, 3])
    labels = np.random.default_rng(1).permutation(labels)
    kept, held = split(labels, share, 5)
    assert sorted([*kept, *held]) == list(range(540))
    assert len(held) == int(540 * share + 1e-6)
    for label in (0, 1, 2, 7):
        assert abs((labels[held] == label).sum() - share * (labels == label).sum()) <= 1
    assert all(np.array_equal(a, b) for a, b in zip(split(labels, share, 5), (kept, held), strict=True))
    assert not np.array_equal(split(labels, share, 6)[1], held)


def test_a_share_is_not_trained_on() -> None:
    images, labels = problem(60)
    kept, held = split(labels, 0.25, 3)
    one, two = network(), network()
    first = fit(one, images, labels, validation=0.25, seed=3, batch_size=8)
    second = fit(two, images[kept], labels[kept], validation=(images[held], labels[held]), seed=3, batch_size=8)
    assert first.step_losses == second.step_losses
    assert first.epochs[0].validation_loss == second.epochs[0].validation_loss


def test_seeds_and_modes() -> None:
    images, labels = problem()
    losses = [fit(network(dropout=0.3).eval(), images, labels, seed=seed, batch_size=16).step_losses for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    net = network().eval()
    fit(net, images, labels)
    assert not net.training, "the mode comes back"


def test_float_inputs_are_taken_as_they_are() -> None:
    images, labels = problem()
    history = fit(network(), images, labels, batch_size=16)
    inputs = ((images[:, None] - np.float32(history.mean)) * np.float32(1 / history.deviation)).astype(np.float32)
    again = fit(network(), inputs, labels, batch_size=16)
    np.testing.assert_allclose(again.step_losses, history.step_losses, rtol=1e-5)
    assert (again.mean, again.deviation) == (0, 1)


def test_average_is_what_is_judged_and_kept() -> None:
    images, labels = problem()
    net, plain = network(), network()
    seen: list[dict[str, np.ndarray]] = []

    class Recorder(Callback):
        def on_step(self, run: Run) -> None:
            seen.append(run.model.state_dict())

    mean = {name: param.astype(float) for name, param in net.params.items()}
    history = fit(net, images, labels, batch_size=16, epochs=2, average=0.8, validation=(images, labels), callbacks=[Recorder()])
    for t, weights in enumerate(seen):
        decay = min(0.8, (1 + t) / (10 + t))  # warm-up of the average
        mean = {name: decay * mean[name] + (1 - decay) * weights[name] for name in mean}
    for name, param in net.params.items():
        np.testing.assert_allclose(param, mean[name], rtol=1e-4, atol=1e-6)
    assert history.epochs[-1].validation_accuracy == evaluate(net, images, labels, history.mean, history.deviation)
    assert fit(plain, images, labels, batch_size=16, epochs=2).step_losses == history.step_losses, "training itself is untouched"


def test_early_stopping_goes_back_to_the_best_epoch() -> None:
    images, labels = problem(64)
    rng = np.random.default_rng(1)
    net, states, values = network(), [], []

    class Recorder(Callback):
        def on_epoch(self, run: Run) -> None:
            states.append(run.model.state_dict())
            values.append(run.history.epochs[-1].validation_loss)

    noise = rng.integers(0, 3, 64)  # labels without sense: the validation loss rises sooner or later
    history = fit(net, images, labels, epochs=200, batch_size=16, validation=(images, noise), optimizer=Adam(net.params, 0.01),
                  early_stopping=EarlyStopping(3), callbacks=[Recorder()])  # fmt: skip
    best = int(np.argmin(values))
    assert len(history.epochs) == best + 4 < 200
    assert all(np.array_equal(param, states[best][name]) for name, param in net.params.items())
    assert not np.array_equal(net.params["0.weight"], states[-1]["0.weight"])


@pytest.mark.parametrize(
    ("monitor", "delta", "values", "improves"),
    [
        ("loss", 0.0, [2.0, 1.0, 1.0, 0.9, float("nan"), 0.5], [1, 1, 0, 1, 0, 1]),
        ("accuracy", 0.0, [0.2, 0.1, 0.3, 0.3], [1, 0, 1, 0]),
        ("loss", 0.25, [2.0, 1.875, 1.5], [1, 0, 1]),
        ("validation_accuracy", 0.125, [float("nan"), 0.5, 0.625, 0.75], [0, 1, 0, 1]),
    ],
)
def test_improvement(monitor: str, delta: float, values: list[float], improves: list[int]) -> None:
    stopping, best = EarlyStopping(2, monitor, delta), Best()
    found = []
    for value in values:
        epoch = Epoch(1, 0, 0, 0, 0)._replace(**{monitor: value})
        found.append(int(stopping.improves(epoch, best.value)))
        if found[-1]:
            best.value = value
    assert found == improves


@pytest.mark.parametrize(("method", "steps", "epochs"), [("on_step", 8, 2), ("on_epoch", 12, 2)])
def test_callbacks_stop_and_count(method: str, steps: int, epochs: int) -> None:
    images, labels = problem()
    ended: list[int] = []

    class Stop(Callback):
        def on_end(self, run: Run) -> None:
            ended.append(run.step)

    def decide(self: Any, run: Run) -> bool:
        return run.step >= 8

    setattr(Stop, method, decide)
    history = fit(network(), images, labels, epochs=5, batch_size=16, callbacks=[Stop()])
    assert len(history.step_losses) == steps
    assert len(history.epochs) == epochs
    assert history.epochs[-1].loss == pytest.approx(np.average(history.step_losses[6:], weights=([16] * 5 + [10])[: steps - 6]))
    assert ended == [steps]


def test_exceptions_of_callbacks_pass_through() -> None:
    class Broken:
        def on_step(self, run: Run) -> None:
            raise RuntimeError("mine")

    images, labels = problem()
    with pytest.raises(RuntimeError, match="mine"):
        fit(network(), images, labels, callbacks=[Broken()])
    with pytest.raises(TypeError, match="on_step, on_epoch or on_end"):
        fit(network(), images, labels, callbacks=[print])


def test_nan_names_the_step_and_leaves_the_weights() -> None:
    images, labels = problem()
    net, weights = network(), []

    class Recorder(Callback):
        def on_step(self, run: Run) -> None:
            weights.append(run.model.state_dict())

    rates = [0.01] * 7 + [1e30] * 100
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"step (9|10) of 12 \(epoch 2, batch [34] of 6\): the loss"):
        fit(
            net, images, labels, epochs=2, batch_size=16, optimizer=SGD(net.params, 0.1), schedule=rates.__getitem__, callbacks=[Recorder()]
        )
    assert all(np.array_equal(param, weights[-1][name], equal_nan=True) for name, param in net.params.items())


def _wrong() -> dict[str, tuple[type[Exception], str, dict[str, Any]]]:
    images, labels = problem(20)
    other = network(1)
    return {
        "label-out-of-range": (ValueError, "between 0 and 2, .* got 3 at position 4", {"labels": np.where(np.arange(20) == 4, 3, labels)}),
        "label-negative": (ValueError, "got -1 at position 0", {"labels": np.full(20, -1)}),
        "labels-float": (ValueError, "integers", {"labels": labels.astype(float)}),
        "labels-one-hot": (ValueError, "argmax", {"labels": np.eye(3, dtype=int)[labels]}),
        "lengths": (ValueError, "as many as images, 20; got 19", {"labels": labels[1:]}),
        "rank": (ValueError, r"\(N, H, W\) or \(N, C, H, W\).*got shape \(20, 36\)", {"images": images.reshape(20, 36)}),
        "rank-float": (ValueError, r"images\[:, None\]", {"images": images.astype(np.float32)}),
        "dtype": (TypeError, "uint8 .* float32; got float64", {"images": images.astype(float)}),
        "list": (TypeError, "NumPy array; got list", {"images": images.tolist()}),
        "empty": (ValueError, "not empty", {"images": images[:0], "labels": labels[:0]}),
        "size": (ValueError, "does not take images of shape", {"images": np.zeros((20, 2, 2), np.uint8)}),
        "epochs-zero": (ValueError, "epochs must be a number above 0; got 0", {"epochs": 0}),
        "epochs-nan": (ValueError, "epochs .* got nan", {"epochs": float("nan")}),
        "batch": (ValueError, "batch_size .* at least 1; got 0", {"batch_size": 0}),
        "seed": (ValueError, "seed .* at least 0; got -1", {"seed": -1}),
        "share-one": (ValueError, "between 0 and 1", {"validation": 1.0}),
        "share-zero": (ValueError, "between 0 and 1", {"validation": 0}),
        "share-small": (ValueError, "leave images on both sides; got 0.01 of 20", {"validation": 0.01}),
        "validation-lengths": (ValueError, "validation labels must be as many", {"validation": (images, labels[:3])}),
        "validation-dtype": (ValueError, "like those to train on", {"validation": (images[:, None].astype(np.float32), labels)}),
        "monitor-without-validation": (ValueError, "needs validation=", {"early_stopping": EarlyStopping()}),
        "average": (ValueError, "below 1; got 1.0", {"average": 1.0}),
        "precision": (ValueError, "precision", {"precision": "low"}),
        "resume": (ValueError, "resume=True needs checkpoint=", {"resume": True}),
        "optimizer": (ValueError, "made of model.params", {"optimizer": Adam(other.params)}),
        "schedule-short": (ValueError, "steps 0 to 2; step 2", {"schedule": [0.1, 0.1].__getitem__}),
        "schedule-negative": (ValueError, "at least 0; step 0: -1", {"schedule": lambda step: -1}),
        "augment": (TypeError, "Augment", {"augment": 2}),
        "model": (TypeError, "must be a Layer", {"model": print}),
    }


@pytest.mark.parametrize("case", _wrong())
def test_errors_say_what_to_do(case: str) -> None:
    images, labels = problem(20)
    kind, message, changes = _wrong()[case]
    net = network()
    before = net.state_dict()
    with pytest.raises(kind, match=message):
        fit(**{"model": net, "images": images, "labels": labels, "batch_size": 8, **changes})  # type: ignore[arg-type]
    assert all(np.array_equal(param, before[name]) for name, param in net.params.items())


@pytest.mark.parametrize("arguments", [{"patience": 0}, {"patience": 1.5}, {"monitor": "los"}, {"min_delta": -1}, {"min_delta": np.nan}])
def test_wrong_early_stopping(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        EarlyStopping(**arguments)


def test_predict_needs_the_normalisation_of_bytes() -> None:
    images, _ = problem()
    with pytest.raises(ValueError, match="mean and deviation"):
        predict(network(), images)
    with pytest.raises(ValueError, match="as many as images"):
        evaluate(network(), images, [0], 0, 1)


@pytest.mark.parametrize("form", ["grey bytes", "bytes", "floats"])
def test_predict_averages_shifted_copies(form: str) -> None:
    """Against copies that np.pad makes and a softmax in float64, over batches whose last is smaller."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (11, 1, 6, 6), np.uint8)
    inputs = ((images - 100.0) / 50).astype(np.float32)
    net = network().eval()
    padded = np.pad(inputs, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    chances = []
    for top, left in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2)):
        outputs = np.exp(net.forward(padded[:, :, top : top + 6, left : left + 6]).astype(np.float64))
        chances.append(outputs / outputs.sum(axis=1, keepdims=True))
    given = {"grey bytes": images[:, 0], "bytes": images, "floats": inputs}[form]
    got = predict(net, given, 100, 50, batch_size=4, shifts=1) if form != "floats" else predict(net, given, batch_size=4, shifts=1)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.log(np.mean(chances, axis=0)), rtol=1e-4, atol=1e-5)
    assert np.abs(np.exp(got) - chances[0]).max() > 1e-3, "the copies answer otherwise than the image"
    labels = got.argmax(axis=1)
    assert evaluate(net, images, labels, 100, 50, shifts=1) == 1


def test_shifted_copies_of_certain_answers_stay_finite() -> None:
    net = network().eval()
    net.params["4.weight"][...] *= 1e4
    got = predict(net, np.random.default_rng(0).standard_normal((5, 1, 6, 6)).astype(np.float32), shifts=1)
    assert np.isfinite(got).all()
    assert got.min() < -100, "beyond what a float32 exponential can tell from 0"


@pytest.mark.parametrize("shifts", [2, -1, True, 0.5])
def test_predict_refuses_other_shifts(shifts: Any) -> None:
    with pytest.raises(ValueError, match="predict: shifts must be 0 or 1"):
        predict(network(), np.zeros((1, 1, 6, 6), np.float32), shifts=shifts)


def test_history_survives_json() -> None:
    history = History([Epoch(1, 0.1 + 0.2, 1 / 3, 1e-17, 2.0), Epoch(2, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)], [1 / 7, 2.0], 33.3, 78.5)
    assert History.from_json(history.to_json()) == history
    for text in ("", "[]", "{}", '{"epochs": [{"numbr": 1}], "step_losses": [], "mean": 0, "deviation": 1}'):
        with pytest.raises(ValueError, match="not a history"):
            History.from_json(text)


class _StubModel(Layer):
    """Costs nothing, so that what remains is the loop."""


class _StubBatches:
    def __len__(self) -> int:
        return 1000

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        return self.pair

    pair = np.zeros((128, 1, 1, 1), np.float32), np.zeros(128, np.int64)


def test_the_loop_itself_costs_little() -> None:
    """2 to 4 us a step here; a step of MNIST takes some 5,000."""

    class Counter(Callback):
        steps = 0

        def on_step(self, run: Run) -> None:
            self.steps += 1

    model, best, counter = _StubModel(), float("inf"), Counter()
    for _ in range(3):
        run = Run(model=model, criterion=SoftmaxCrossEntropy(), optimizer=SGD({}, 0.1), take_step=lambda x, target, rate: (1.0, 3),
                  batches=_StubBatches(), schedule=lambda step: 0.1, steps=5000)  # type: ignore[arg-type]  # fmt: skip
        begin = time.perf_counter()
        Loop(run, LineProgress(), [counter])()
        best = min(best, time.perf_counter() - begin)
    assert counter.steps == 15_000
    print(f"{1e6 * best / 5000:.1f} us per step")
    assert best / 5000 < 20e-6


def test_progress_is_plain_in_a_pipe_and_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    assert isinstance(progress_for(io.StringIO()), LineProgress)
    bar = progress_for(Terminal())
    assert isinstance(bar, BarProgress)
    for shown in (bar, LineProgress(0.0), Silence()):
        shown.begin(5, 2, 1)  # two and a half epochs of two batches, of which the first batch is done
        for step in range(1, 5):
            shown.advance(3, 0.5, 0.25)
            if step % 2 or step == 4:
                shown.end_epoch(Epoch(step // 2 + 1, 0.5, 0.25, 1.0, 0.1, 0.75, 0.875))
        shown.close()
    out = capsys.readouterr().out
    epochs = [line.split("  ")[0] for line in out.splitlines() if line.startswith("epoch")]
    assert epochs[-3:] == [
        "epoch 1/2.5",
        "epoch 2/2.5",
        "epoch 2.5/2.5",
    ]
    assert "validation 0.7500  87.50 %" in out
    assert " 60 %  loss 0.5000  accuracy 25.00 %" in out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastcnn.train.progress.BarProgress.__init__", _without_rich)
        assert isinstance(progress_for(Terminal()), LineProgress)
    assert 'pip install "fastcnn[train]"' in capsys.readouterr().out


def _without_rich(self: BarProgress) -> None:
    raise ImportError("rich")
