"""The report of a run: its folder, the page made of it alone, charts, pictures, and what a browser says to it."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import files
from fastcnn.cli import main
from fastcnn.data import Dataset, class_names
from fastcnn.models import digit_net
from fastcnn.report import charts, confusion, curves, images
from fastcnn.report.features import Unknown, feature_maps, rebuild
from fastcnn.report.run_folder import RunFolderError, read_run, write_report, write_run

FILES = {"weights.npz", "initial.npz", "history.json", "result.json", "evaluation.npz", "report.html"}
TESTED = 60


class History:
    """The JSON that `fastcnn.train.History` writes."""

    def to_json(self) -> str:
        epochs = [
            {"number": n, "loss": 1 / n, "accuracy": 1 - 0.3 / n, "seconds": 2.0 * n, "learning_rate": 0.01 / n,
             "validation_loss": 1.1 / n, "validation_accuracy": 1 - 0.4 / n}
            for n in (1, 2, 3)
        ]  # fmt: skip
        return json.dumps({"epochs": epochs, "step_losses": [2.0 / (1 + i) for i in range(900)], "mean": 33.0, "deviation": 78.0})


def _dataset(name: str = "digits") -> Dataset:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (TESTED, 8, 8), np.uint8)
    labels = np.arange(TESTED, dtype=np.uint8) % 10
    return Dataset(name, pictures[:0], labels[:0], pictures, labels)


def _logits(dataset: Dataset) -> np.ndarray:
    """Return logits with eight mistakes: image 10 i + 3 is taken for a 5, image 11 for a 7 with the most confidence."""
    logits = np.zeros((TESTED, 10), np.float32)
    logits[np.arange(TESTED), dataset.test_labels] = 4
    for i in range(6):
        logits[10 * i + 3, 5] = 5 + i / 10
    logits[11, 7], logits[20, 9] = 30, 4.5
    return logits


RESULT: dict[str, Any] = {
    "model": "digit-net", "recipe": "quick <b>&", "train_seconds": 12.5, "images_per_second": 31_234.5, "epochs": 3, "batch_size": 32,
    "threads": 1, "seed": 0, "augment": {"shift": 2.0, "rotate": 10.0}, "early_stopping": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "new" / "folder"
    model = digit_net(8, 3)
    initial = {name: value * 0.5 for name, value in model.state_dict().items()}
    paths = write_run(folder, model, initial, History(), RESULT, _logits(_dataset()), _dataset())
    assert {path.name for path in paths} == {path.name for path in folder.iterdir()} == FILES
    return folder


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


class _Page(HTMLParser):
    """Checks that every element is closed in turn, and collects attributes and texts."""

    EMPTY = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _page(folder: Path) -> _Page:
    return _Page((folder / "report.html").read_text("utf-8"))


# --- The page -----------------------------------------------------------------------------------------------------------


def test_the_page_has_every_part(written: Path) -> None:
    page = _page(written)
    text = " ".join(page.words)
    for part in (
        "Training",
        "Filters of the first layer",
        "Through the layers",
        "Confusion matrix",
        "Worst mistakes",
        "Classes",
        "Settings",
    ):
        assert part in page.words
    assert "Environment" in page.words
    for figure in (
        "86.67 %",
        "8 of 60 test images wrong",
        "12.5 s",
        "31,234",
        "quick <b>&",
        "augment: shift",
        "early stopping",
        "batch size",
    ):
        assert figure in text, figure
    assert sum(tag == "svg" and name == "class" for tag, name, _ in page.attributes) == 3
    assert "Left out" not in text
    assert "Conv2d(1 -> 24, 3x3, padding=1), ReLU: 24 maps of 8 × 8" in page.words
    assert "versions: numpy" in page.words
    cards = re.findall(r"no\. (\d+)", text)
    assert cards == ["11", "53", "43", "33", "23", "13", "3", "20"], "the most confident mistakes first"


def test_the_page_loads_nothing(written: Path) -> None:
    text = (written / "report.html").read_text("utf-8")
    sources = [value for _, name, value in _page(written).attributes if name in ("src", "href")]
    assert len(sources) > 10
    assert all(value is not None and value.startswith("data:") for value in sources)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert "<script" not in text
    assert len(text) < 300_000


def test_every_text_of_the_run_is_escaped(run: Path) -> None:
    attack = "<script>alert(1)</script>\"'&"
    result = json.loads((run / "result.json").read_text())
    for name in ("dataset", "recipe", "model", "threads", attack):
        result[name] = attack
    result["environment"] = {attack: [attack, {"deep": attack}]}
    files.save_json(run / "result.json", result)
    write_report(run)
    page = _page(run)
    assert not any(tag == "script" for tag, *_ in page.attributes)
    assert "<script" not in (run / "report.html").read_text("utf-8")
    assert sum(attack in word for word in page.words) >= 6


def test_a_report_is_made_of_the_folder_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "report.html").read_text("utf-8")
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_text("utf-8") == before


def test_clothes_have_names(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    files.save_json(run / "result.json", {**result, "dataset": "fashion-mnist"})
    write_report(run)
    words = _page(run).words
    assert {"T-shirt/top", "Ankle boot"} <= set(words)
    assert class_names("mnist", 10) == tuple("0123456789")
    assert class_names("fashion-mnist", 3) == ("0", "1", "2")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("of_my_own", "fastcnn.models has no of_my_own"),
        ("np", "fastcnn.models has no np"),
        ("_hidden", "fastcnn.models has no _hidden"),
        (None, "result.json does not name the network"),
    ],
)
def test_an_unknown_network_leaves_its_section_out(run: Path, model: str | None, reason: str) -> None:
    result = json.loads((run / "result.json").read_text())
    files.save_json(run / "result.json", {**result, "model": model})
    write_report(run)
    text = " ".join(_page(run).words)
    assert f"Left out: {reason}." in text
    assert "Worst mistakes" in text


def test_weights_of_another_network_leave_its_section_out(run: Path) -> None:
    files.save_arrays(run / "weights.npz", {"0.weight": np.ones((2, 3, 5, 5), np.float32)})
    write_report(run)
    text = " ".join(_page(run).words)
    assert "Left out: the weights do not fit digit-net: " in text
    assert "The network has no filters that were there before training." in text


def test_a_run_without_mistakes_history_or_filters(run: Path) -> None:
    found = read_run(run)
    right = np.eye(10, dtype=np.float32)[found.labels]
    files.save_arrays(
        run / "evaluation.npz", {"logits": right, "labels": found.labels, "images": found.images[:0], "shown": found.shown[:0]}
    )
    files.save_json(run / "history.json", {"epochs": [], "step_losses": []})
    files.save_arrays(run / "weights.npz", {"weight": np.ones((10, 64), np.float32)})
    write_report(run)
    text = " ".join(_page(run).words)
    for part in ("100.00 %", "The history is empty.", "There are none.", "Left out: the folder holds no pictures."):
        assert part in text, part


# --- The folder ---------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(written: Path) -> None:
    run, dataset = read_run(written), _dataset()
    assert run.result["accuracy"] == pytest.approx(52 / 60)
    assert run.result["dataset"] == "digits"
    assert run.result["environment"]["versions"]["numpy"] == np.__version__
    assert run.history == json.loads(History().to_json())
    assert np.array_equal(run.logits, _logits(dataset))
    assert np.array_equal(run.labels, dataset.test_labels)
    assert np.array_equal(run.images, dataset.test_images[run.shown])
    assert run.shown.tolist() == [11, 53, 43, 33, 23, 13, 3, 20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "mistakes, then a picture of each class"
    assert set(run.weights) == set(run.initial) == set(digit_net(8, 0).state_dict())
    assert not np.array_equal(run.weights["0.weight"], run.initial["0.weight"])


def test_logits_of_another_set_are_refused(tmp_path: Path) -> None:
    model = digit_net(8, 3)
    with pytest.raises(ValueError, match=r"write_run: logits must be \(60, classes\).*got shape \(59, 10\)"):
        write_run(tmp_path / "run", model, model.state_dict(), History(), RESULT, np.zeros((59, 10), np.float32), _dataset())
    assert not (tmp_path / "run").exists()


def test_pixels_may_have_moments_of_their_own(run: Path) -> None:
    """The network sees what it was trained on: (v - mean) / deviation of each pixel."""
    write_report(run)
    before = _page(run)
    (run / "history.json").write_text(_moments(mean=np.full((1, 8, 8), 33.0).tolist(), deviation=np.full((1, 8, 8), 78.0).tolist()))
    write_report(run)
    assert _page(run).attributes == before.attributes, "the same pictures"
    (run / "history.json").write_text(_moments(mean=np.arange(64.0).reshape(1, 8, 8).tolist()))
    write_report(run)
    assert _page(run).attributes != before.attributes


def test_no_run_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert main(["report", str(folder)]) == 2
        error = capsys.readouterr().err
        assert error == f"fastcnn: {folder} holds no run: there is no result.json (`fastcnn train --out DIR` writes one)\n"


def _evaluation(**changes: Any) -> Any:
    def damage(path: Path) -> None:
        files.save_arrays(path, {**files.load_arrays(path), **changes})

    return damage


def _text(value: str) -> Any:
    return lambda path: path.write_text(value)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _bits_turned(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def _epoch(**changes: Any) -> str:
    epoch = {"number": 1, "loss": 1.0, "accuracy": 0.5, "seconds": 1.0, "learning_rate": 0.1}
    return json.dumps({"epochs": [{**epoch, **changes}], "step_losses": [1.0]})


def _moments(**values: Any) -> str:
    return json.dumps({**json.loads(History().to_json()), **values})


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("weights.npz", Path.unlink, "is missing"),
        ("history.json", Path.unlink, "is missing"),
        ("initial.npz", _truncated, "cannot be read"),
        ("evaluation.npz", _truncated, "cannot be read"),
        ("initial.npz", _bits_turned, "cannot be read"),
        ("evaluation.npz", _single_array, "holds a single array"),
        ("weights.npz", _text(""), "cannot be read"),
        ("weights.npz", _text("no archive"), "cannot be read"),
        ("result.json", _text("{"), "cannot be read"),
        ("result.json", lambda path: path.write_bytes(b"\xff\xfe{}"), "cannot be read"),
        ("result.json", _text("[]"), "expected a JSON object; got list"),
        ("history.json", _text("{}"), "expected lists `epochs` and `step_losses`"),
        ("history.json", _text('{"epochs": [], "step_losses": ["a"]}'), "of numbers"),
        ("history.json", _text('{"epochs": [], "step_losses": [NaN]}'), "of numbers"),
        ("history.json", _text(_epoch(loss="low")), "expected number, loss, accuracy, learning_rate in every epoch"),
        ("history.json", _text(_epoch(validation_loss=[])), "validation_loss must be a number or null"),
        ("history.json", _text(_moments(mean="low")), "mean must be a number, or an array"),
        ("history.json", _text(_moments(mean=[[[1.0, 2.0]]])), "mean must hold numbers that broadcast to an image's shape (1, 8, 8)"),
        ("history.json", _text(_moments(deviation=[[["a"]]])), "deviation must hold numbers"),
        ("evaluation.npz", _evaluation(shown=np.arange(17)), "its arrays do not fit together"),
        ("evaluation.npz", _evaluation(shown=np.full(18, TESTED)), "its arrays do not fit together"),
        ("evaluation.npz", _evaluation(labels=np.full(TESTED, 10, np.uint8)), "its arrays do not fit together"),
        ("evaluation.npz", _evaluation(logits=np.zeros((TESTED, 10), np.int32)), "logits must have 2 axes and dtype kind 'f'"),
        ("evaluation.npz", _evaluation(logits=np.full((TESTED, 10), np.nan, np.float32)), "logits must be finite"),
        ("evaluation.npz", _evaluation(more=np.zeros(1)), "expected logits, labels, images and shown; got"),
    ],
)  # fmt: skip
def test_damage_is_one_line_and_exit_code_2(run: Path, name: str, damage: Any, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage(run / name)
    assert main(["report", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fastcnn: {run / name}")
    assert message in error
    assert error.count("\n") == 1
    with pytest.raises(RunFolderError):
        read_run(run)


@pytest.mark.parametrize("value", [10**400, 1e308, -1e308, 1e100, -1e100, 1e-320, -1e-320, 0, -1, 1e-200])
def test_numbers_at_the_ends_of_floats_are_told_or_make_a_whole_page(run: Path, value: float) -> None:
    """Wherever they stand: no arithmetic of the page may overflow, divide by 0 or take its time."""
    history, result = (json.loads((run / name).read_text()) for name in ("history.json", "result.json"))
    few = {**history, "step_losses": [2.0, value, 1.0]}
    damaged = [few, {**few, "step_losses": [value] * 3}, {**few, "mean": value}, {**few, "deviation": value}]
    for name in ("number", "loss", "accuracy", "learning_rate", "validation_loss"):
        damaged += [{**few, "epochs": [history["epochs"][0], {**history["epochs"][1], name: value}]}]
        damaged += [{**few, "epochs": [{**epoch, name: value} for epoch in history["epochs"]]}]
    figures = [{**result, name: value} for name in ("epochs", "train_seconds", "images_per_second", "parameters", "threads")]
    made = 0
    for pair in [*((changed, result) for changed in damaged), *((few, changed) for changed in figures)]:
        for name, content in zip(("history.json", "result.json"), pair, strict=True):
            files.save_json(run / name, content)
        (run / "report.html").unlink(missing_ok=True)
        try:
            write_report(run)
        except RunFolderError:
            assert not (run / "report.html").exists()
        else:
            made += 1
            assert "nan" not in "".join(re.findall(r'(?:points|x1|cx)="[^"]*"', (run / "report.html").read_text()))
            _page(run)
    assert made == 0 if abs(value) > 1e100 else made >= 10


# --- Its parts ----------------------------------------------------------------------------------------------------------


def test_smoothed_is_the_weighted_mean_of_what_was() -> None:
    values, memory = np.random.default_rng(0).uniform(0, 3, 60), 6.0
    for i, found in enumerate(curves.smoothed(values.tolist(), memory)):
        weights = [np.prod([1 - 1 / max(1, min(memory, k / 4)) for k in range(j + 1, i + 1)]) for j in range(i + 1)]
        assert found == pytest.approx(np.average(values[: i + 1], weights=weights), rel=1e-12)
    assert curves.smoothed([3.0, 1.0], 5.0) == [3.0, 1.0], "nothing to remember yet"
    assert curves.smoothed([2.0] * 50, 5.0) == pytest.approx([2.0] * 50)


def test_one_epoch_has_a_curve_of_its_steps_and_no_charts_of_a_single_point() -> None:
    row = {"number": 1, "loss": 0.5, "accuracy": 0.9, "seconds": 1.0, "learning_rate": 0.1}
    assert len(curves.charts({"epochs": [row], "step_losses": [2.0, 1.0, 0.5]})) == 1
    assert len(curves.charts({"epochs": [row, {**row, "number": 2}], "step_losses": [2.0, 1.0, 0.5]})) == 3


def test_a_begun_epoch_ends_where_the_run_did() -> None:
    history = json.loads(History().to_json())
    whole, begun = curves.charts(history), curves.charts(history, 2.5)
    assert ">3</text>" in whole[1]
    assert ">3</text>" not in begun[1]
    assert ">2</text>" in begun[1]


def test_a_chart_draws_its_points_in_place() -> None:
    svg = charts.line_chart("a < b", [charts.Series("x & y", [(0, 10.0), (5, 20.0), (10, 30.0)], dots=True)], x_label="step", unit=" %")
    points = [tuple(map(float, p.split(","))) for p in re.search(r'class="line s0" points="([^"]*)"', svg)[1].split()]
    assert [x for x, _ in points] == pytest.approx([46, (46 + 408) / 2, 408])
    assert [y for _, y in points] == pytest.approx([224, (224 + 30) / 2, 30])
    assert "a &lt; b" in svg
    assert "x &amp; y: 20 %" in svg
    assert ">10 %</text>" in svg
    assert ">30 %</text>" in svg


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ([0.0, 1.0], False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([93.0, 99.5], False, [93, 94, 95, 96, 97, 98, 99]),
        ([0.02, 2.3], True, [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]),
        ([1e-5, 1.0], True, [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]),
        ([0.4, 0.5], True, [0.4, 0.42, 0.44, 0.46, 0.48, 0.5]),
        ([5.0], False, [3, 4, 5, 6, 7]),
        ([], False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0.0], True, [-0.4, -0.2, 0, 0.2, 0.4]),
    ],
)
def test_ticks_are_round_and_inside(values: list[float], log: bool, expected: list[float]) -> None:
    assert charts.axis(values, log).ticks(7) == pytest.approx(expected)


def test_ticks_of_epochs_are_whole() -> None:
    assert charts.axis([0.0, 2.0]).ticks(6, whole=True) == [0, 1, 2]
    assert charts.axis([0.0, 40.0]).ticks(6, whole=True) == [0, 10, 20, 30, 40]


def test_numbers_are_short() -> None:
    assert [charts.number(v) for v in (0.006, 12.0, 3e-5, 60_000.0, 1.5e7, 0.0)] == ["0.006", "12", "3e-05", "60,000", "15,000,000", "0"]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (28, 28), (4, 7, 3)])
def test_png_holds_its_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    assert np.array_equal(_decoded(images.png(pixels)), pixels)
    assert base64.b64decode(images.data_uri(pixels).partition(",")[2]) == images.png(pixels)


def _decoded(data: bytes) -> np.ndarray:
    """Return the pixels of a PNG without filters; the checksums are checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape((height, width, 3) if colour == 2 else (height, width))


@pytest.mark.parametrize("pixels", [np.zeros((2, 2)), np.zeros((0, 3), np.uint8), np.zeros((2, 2, 4), np.uint8)])
def test_png_refuses_what_it_cannot_hold(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"png: pixels must be"):
        images.png(pixels)


def test_colours_and_tiles() -> None:
    assert images.ink(np.array([0.0, 1.0, 2.0, 9.0]), 2.0).tolist() == [255, 128, 0, 0]
    assert images.ink(np.zeros(2)).tolist() == [255, 255]
    blue, white, red = images.diverging(np.array([-3.0, 0.0, 1.0]), 1.0).tolist()
    assert white == [255, 255, 255]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    whole = images.tiles([np.full((2, 3), i, np.uint8) for i in range(5)], 2, shade=9)
    expected = np.full((8, 7), 9, np.uint8)
    for i in range(5):
        expected[i // 2 * 3 : i // 2 * 3 + 2, i % 2 * 4 : i % 2 * 4 + 3] = i
    assert np.array_equal(whole, expected)


def test_confusion_counts_and_probabilities() -> None:
    labels, answers = np.array([0, 1, 1, 2, 2, 2], np.uint8), np.array([0, 2, 1, 2, 0, 0])
    assert confusion.confusion_matrix(labels, answers, 3).tolist() == [[1, 0, 0], [0, 1, 1], [2, 0, 1]]
    logits = np.array([[1e4, 0.0], [0.5, -1.0]], np.float32)
    assert confusion.probabilities(logits)[1, 0] == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert confusion.probabilities(logits)[0].tolist() == [1, 0], "no overflow"
    assert confusion.examples(np.eye(3)[[0, 0, 1]], np.array([2, 0, 0]), 3) == [1, 0], "the first that was right, or else the first"


def test_feature_maps_are_those_of_the_network(written: Path) -> None:
    run = read_run(written)
    model = rebuild("digit-net", 8, run.weights)
    x = np.random.default_rng(5).standard_normal((1, 1, 8, 8)).astype(np.float32)
    maps = feature_maps(model, x)
    expected = model(np.concatenate([x, x]))[0]
    assert maps[-1].values == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert [m.values.shape for m in maps] == [(24, 8, 8), (24, 4, 4), (32, 4, 4), (32, 2, 2), (256,), (10,)]
    first = np.maximum(_correlate(x[0, 0], run.weights["0.weight"][:, 0]) + run.weights["0.bias"][:, None, None], 0)
    assert maps[0].values == pytest.approx(first, rel=1e-4, abs=1e-5)
    with pytest.raises(Unknown, match="no chain of layers"):
        feature_maps(model[0], x)


def _correlate(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    padded = np.pad(image.astype(np.float64), 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    result: np.ndarray = np.einsum("pqrs,krs->kpq", windows, weight.astype(np.float64))
    return result


# --- In a browser -------------------------------------------------------------------------------------------------------


def test_a_browser_has_nothing_to_complain_of(written: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here: whether the page's console stays empty was not looked at")
    control = tmp_path / "control.html"
    page = (written / "report.html").read_text("utf-8")
    control.write_text(page.replace("<main>", '<main><img src="http://127.0.0.1:9/x.png"><script>1</script>', 1), "utf-8")
    assert "CONSOLE" in _console(browser, control, tmp_path), "the page's policy must stop what is not inside it, and say so"
    said = _console(browser, written / "report.html", tmp_path)
    assert "CONSOLE" not in said
    assert html.escape("quick <b>&") in said, "the page was shown"


def _console(browser: str, page: Path, tmp_path: Path) -> str:
    """Return what Chromium logs while it shows a page, and then the page as it understood it."""
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--dump-dom", page.resolve().as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout
