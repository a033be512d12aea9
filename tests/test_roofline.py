"""The roofline: what is measured of a machine, how it is kept, and where its drawings put what was measured."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from fastcnn import machine
from fastcnn.cli import main
from fastcnn.compare import Row
from fastcnn.registry import Case, operations
from fastcnn.report import loglog
from fastcnn.report.charts import Axis
from fastcnn.roofline import Ceilings, Level, Roofline, keep, roofline
from fastcnn.roofline.caches import Cache, _linux, caches_from_curve
from fastcnn.roofline.ceilings import Point, restored
from fastcnn.roofline.chart import Mark, axes, bandwidth_chart, roofline_chart, size
from fastcnn.roofline.growth import AXES, growth_chart, growths
from fastcnn.roofline.measure import ladder, levels, measure
from fastcnn.roofline.streams import STEP, Streams
from fastcnn.timing import Timing

KIB, MIB = 2**10, 2**20
CACHES = (Cache("L1", 48 * KIB, 1), Cache("L2", MIB, 1), Cache("L3", 32 * MIB, 8))
ONE = Ceilings(1, 100.0, (Level("L1", 400.0, 410.0), Level("L2", 200.0, 190.0), Level("L3", 100.0, 90.0), Level("memory", 20.0, 18.0)))
ALL = Ceilings(4, 400.0, tuple(Level(name, 4 * read, 4 * copy) for name, read, copy in ONE.levels))
FOUND = Roofline({"cpu": "a CPU"}, CACHES, "system", (ONE, ALL), (Point(1, 8192, 400.0, 410.0), Point(4, 8192, 1600.0, 1640.0)))

needs_jit = pytest.mark.skipif(machine.jit_is_disabled(), reason="NUMBA_DISABLE_JIT is set: there is no compiled code to time")


# --- Measuring -----------------------------------------------------------------------------------------------------------


@needs_jit
def test_what_is_near_is_faster() -> None:
    """Within a core's own cache a pass is faster than one over 96 MiB, by far more than noise; and both are rates that a core can have."""
    streams = Streams(96 * MIB)
    for copy in (False, True):
        near, far = streams.bandwidth(16 * KIB, 1, copy), streams.bandwidth(96 * MIB, 1, copy)
        assert 5 < near < 5000
        assert 0.3 < far < near / 1.5


@needs_jit
def test_a_copy_copies_and_reading_reads_all() -> None:
    """The kernel has the xor of what it read, and its second half equals the first one after a copy."""
    streams = Streams(8 * STEP)
    memory = streams._memory
    memory[: 2 * STEP] = np.random.default_rng(0).integers(0, 256, 2 * STEP, np.uint8)
    second = memory[STEP : 2 * STEP].copy()
    streams.bandwidth(2 * STEP, 1, copy=True)
    assert np.array_equal(memory[:STEP], memory[STEP : 2 * STEP])
    assert not np.array_equal(memory[:STEP], second)
    assert (memory[2 * STEP :] == 1).all(), "nothing behind the working set was written"


@pytest.mark.parametrize("wrong", [0, STEP + 1, 16 * STEP])
@needs_jit
def test_working_sets_are_checked(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"size must be a multiple of {STEP}, at most {8 * STEP}; got {wrong}"):
        Streams(8 * STEP).bandwidth(wrong, 1)


def test_without_compiled_code_there_is_no_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "jit_is_disabled", lambda: True)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT is set"):
        Streams(STEP)


def test_working_sets_rise_in_equal_ratios() -> None:
    sizes = ladder(10 * MIB)
    assert sizes[0] == 8 * KIB
    assert sizes[-1] == 10 * MIB
    ratios = [b / a for a, b in itertools.pairwise(sizes[:-1])]
    assert all(1.3 < ratio < 1.55 for ratio in ratios)
    assert not any(number % STEP for number in sizes)


def test_a_level_is_the_best_of_the_sets_inside_it() -> None:
    """Sets near the end of a cache, or just beyond one, belong to neither."""
    rates = {16: 390.0, 32: 400.0, 44: 380.0, 64: 250.0, 100: 195.0, 512: 200.0, 1000: 150.0, 4096: 100.0, 65_536: 50.0, 131_072: 20.0}
    curve = [Point(1, kib * KIB, rate, rate / 2) for kib, rate in rates.items()]
    assert levels(curve, CACHES, 1) == (
        Level("L1", 400.0, 200.0), Level("L2", 200.0, 100.0), Level("L3", 100.0, 50.0), Level("memory", 20.0, 10.0)
    )  # fmt: skip
    tiny = levels(curve[:2], CACHES, 1)
    assert [level.read for level in tiny] == [400.0, 400.0, 400.0, 400.0], "where nothing lies inside, the nearest set tells"


def test_sharing_threads_divide_a_cache() -> None:
    assert Cache("L3", 32, 8).share(1) == 32
    assert Cache("L3", 32, 8).share(4) == 8
    assert Cache("L3", 32, 8).share(16) == 4
    assert FOUND.level(40 * KIB, 1).name == "L1"
    assert FOUND.level(160 * KIB, 4) == ALL.levels[0], "four threads have four first caches"
    assert FOUND.level(160 * KIB, 1).name == "L2"
    assert FOUND.level(33 * MIB, 4).name == "memory"


# --- Cache sizes ---------------------------------------------------------------------------------------------------------


def _curve(noise: float, plateaus: tuple[tuple[int, float], ...], seed: int = 0) -> tuple[list[int], list[float]]:
    """Return sizes and bandwidths with plateaus up to (bytes, GB/s), and noise of so much as a share."""
    rng = np.random.default_rng(seed)
    sizes = ladder(256 * MIB)
    rates = [next(rate for limit, rate in plateaus if number <= limit) for number in sizes]
    return sizes, [rate * float(rng.uniform(1 - noise, 1)) for rate in rates]


@pytest.mark.parametrize("seed", range(5))
def test_the_ends_of_plateaus_are_caches(seed: int) -> None:
    sizes, rates = _curve(0.1, ((48 * KIB, 500.0), (MIB, 240.0), (32 * MIB, 120.0), (2**40, 40.0)), seed)
    found = caches_from_curve(sizes, rates, 8)
    assert [cache.name for cache in found] == ["L1", "L2", "L3"]
    assert [cache.sharers for cache in found] == [1, 1, 8]
    for cache, true in zip(found, (48 * KIB, MIB, 32 * MIB), strict=True):
        assert true / 1.5 < cache.bytes <= true, "the largest set that still fitted"


def test_a_machine_may_have_fewer_caches() -> None:
    sizes, rates = _curve(0.05, ((128 * KIB, 300.0), (2**40, 60.0)))
    (only,) = caches_from_curve(sizes, rates, 4)
    assert only == Cache("L1", max(number for number in sizes if number <= 128 * KIB), 1)
    assert caches_from_curve(*_curve(0.05, ((2**40, 60.0),)), 4) == ()
    with pytest.raises(ValueError, match=r"four points or more.*got 3 sizes and 3 bandwidths"):
        caches_from_curve([1, 2, 3], [1.0, 1.0, 1.0], 1)


def test_the_system_is_read_as_linux_writes_it(tmp_path: Path) -> None:
    told = [("Data", 1, "48K", "0"), ("Instruction", 1, "32K", "0"), ("Unified", 2, "1024K", "0,64"), ("Unified", 3, "32M", "0-7,64-71")]
    for i, (kind, level, size_, shared) in enumerate(told):
        index = tmp_path / f"index{i}"
        index.mkdir()
        for name, text in (("type", kind), ("level", level), ("size", size_), ("shared_cpu_list", shared)):
            (index / name).write_text(f"{text}\n")
    (tmp_path / "index4").mkdir()  # some virtual machines leave files out
    assert _linux(tmp_path) == [Cache("L1", 48 * KIB, 1), Cache("L2", MIB, 2), Cache("L3", 32 * MIB, 16)]


# --- Kept ----------------------------------------------------------------------------------------------------------------


def test_records_go_to_json_and_back() -> None:
    assert restored(json.loads(json.dumps(FOUND.record()))) == FOUND


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 0}, "format must be 1; got 0"),
        ({"ceilings": []}, "expected ceilings of 3 caches"),
        ({"ceilings": [{"threads": 1, "gflops": 0.0, "levels": []}]}, "a rate must be a positive number; got 0.0"),
        ({"ceilings": [{"threads": 1, "gflops": 1.0, "levels": []}]}, "expected ceilings of 3 caches"),
        ({"curve": [{"threads": 1, "bytes": 1, "read": "fast", "copy": 1.0}]}, "got 'fast'"),
        ({"curve": [{"threads": 1}]}, "does not hold what it should"),
        ({"machine": None}, "does not hold what it should"),
    ],
)
def test_other_records_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        restored({**FOUND.record(), **change})


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Give the cache a folder of its own, and count measurements, which take no time."""
    calls: list[int | None] = []

    def instead(threads: int | None = None) -> Roofline:
        calls.append(threads)
        return FOUND._replace(machine={"cpu": f"measurement {len(calls)}"})

    monkeypatch.setattr("fastcnn.files.cache_folder", lambda: tmp_path)
    monkeypatch.setattr(keep, "measure", instead)
    return calls


def test_it_is_measured_once(measured: list[int | None]) -> None:
    first = roofline()
    assert roofline() == first
    assert len(measured) == 1
    assert roofline(again=True).machine["cpu"] == "measurement 2"
    assert roofline().machine["cpu"] == "measurement 2"
    roofline(1)
    others = [1] if machine.max_threads() > 1 else []
    assert measured == [None, None, *others], "another number of threads has a roofline of its own"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}', b"null"])
def test_what_is_damaged_is_measured_anew(measured: list[int | None], damage: bytes) -> None:
    roofline()
    path = keep.location(machine.max_threads())
    path.write_bytes(damage)
    assert roofline().machine["cpu"] == "measurement 2"
    assert restored(json.loads(path.read_text("utf-8"))).machine["cpu"] == "measurement 2"
    assert [found.name for found in path.parent.iterdir()] == [path.name], "nothing half-written is left"


def test_a_folder_that_cannot_be_written_is_no_obstacle(measured: list[int | None], tmp_path: Path) -> None:
    (tmp_path / "roofline").write_text("a file where the folder should be")
    assert roofline().machine["cpu"] == "measurement 1"
    assert roofline().machine["cpu"] == "measurement 2"


# --- Drawings ------------------------------------------------------------------------------------------------------------


def _circles(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle class="dot[^"]*" cx="([\d.]+)" cy="([\d.]+)"', svg)]


def _lines(svg: str, kind: str) -> list[list[tuple[float, ...]]]:
    found = re.findall(rf'<polyline class="{kind}" points="([^"]*)"', svg)
    return [[tuple(map(float, point.split(","))) for point in points.split()] for points in found]


def test_a_point_lands_where_its_logarithms_say() -> None:
    frame = loglog.Frame(Axis(0.1, 1000.0, True), Axis(1.0, 10_000.0, True))
    left, right, top, bottom = loglog.LEFT, loglog.WIDTH - loglog.RIGHT, loglog.TOP, loglog.HEIGHT - loglog.BOTTOM
    assert frame.at(0.1, 1.0) == pytest.approx((left, bottom))
    assert frame.at(1000.0, 10_000.0) == pytest.approx((right, top))
    assert frame.at(10.0, 100.0) == pytest.approx(((left + right) / 2, (top + bottom) / 2))
    assert frame.at(1.0, 10.0) == pytest.approx((left + (right - left) / 4, bottom - (bottom - top) / 4))


def test_marks_and_roofs_are_in_place() -> None:
    marks = [Mark("near", 5.0, 90.0, "s0", True), Mark("far & <small>", 5.0, 0.9, "s1")]
    frame, first = axes(marks, ONE)
    svg = roofline_chart("roofs", marks, ONE)
    assert _circles(svg) == [pytest.approx(frame.at(mark.intensity, mark.gflops), abs=0.06) for mark in marks]
    lines = _lines(svg, "roof")
    for level, (start, ridge) in zip(ONE.levels, lines, strict=False):
        assert start == pytest.approx(frame.at(first, first * level.read), abs=0.06)
        assert ridge == pytest.approx(frame.at(100.0 / level.read, 100.0), abs=0.06), "the ridge lies at peak / bandwidth"
    assert lines[4] == [pytest.approx(frame.at(x, 100.0), abs=0.06) for x in (0.25, frame.across.high)]
    assert "far &amp; &lt;small&gt;" in svg
    assert "memory 20" in svg
    assert "100 GFLOP/s, 1 thread<" in svg


def test_roofs_are_the_least_of_peak_and_bandwidth() -> None:
    memory = ONE.levels[-1]
    assert ONE.attainable(1.0, memory) == 20.0
    assert ONE.attainable(5.0, memory) == 100.0
    assert ONE.attainable(50.0, memory) == 100.0
    assert ONE.attainable(50.0, memory, "float64") == 50.0
    assert FOUND.of(1) is ONE
    assert FOUND.of(4) is ALL


def test_names_keep_apart() -> None:
    assert loglog.spread([10.0, 11.0, 50.0], 0, 100, 10) == [10, 20, 50]
    assert loglog.spread([95.0, 96.0, 97.0], 0, 100, 10) == [80, 90, 100]
    crowded = loglog.spread([5.0] * 21, 0, 100, 10)
    assert np.allclose(np.diff(crowded), 5)
    assert crowded[-1] <= 100
    assert loglog.spread([], 0, 1) == []
    marks = [Mark(name, 5.0, 90.0) for name in ("one", "two", "three")]
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="start">(?:one|two|three)<', roofline_chart("", marks, ONE))]
    assert len(heights) == 3
    assert min(np.diff(sorted(heights))) >= loglog.LINE - 0.11


def test_bandwidths_are_drawn_with_the_caches() -> None:
    curve = tuple(Point(threads, number, 100.0 * threads, 90.0) for threads in (1, 4) for number in ladder(64 * MIB))
    svg = bandwidth_chart("bandwidth", FOUND._replace(curve=curve))
    assert svg.count("<polyline") == 2
    for words in ("L1 48 KiB", "L2 1 MiB", "L3 32 MiB"):
        assert f">{words}</text>" in svg
    assert [size(n) for n in (48 * KIB, 1.5 * MIB, 2**31)] == ["48 KiB", "1.5 MiB", "2 GiB"]


# --- Growth --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(operations()))
def test_whatever_grows_grows_in_its_work(name: str) -> None:
    """Every operation's cases can be offered: each axis found has at least three valid problems of rising work."""
    op = operations()[name]
    axes_found = {growth.axis for case in op.problem.BENCH for growth in growths(op, case, op.directions[0])}
    expected = {axis for axis, fields in AXES.items() if set(fields) & set(getattr(op.problem.BENCH[0].problem, "_fields", ()))}
    assert axes_found <= expected
    for case in op.problem.BENCH[:2]:
        for growth in growths(op, case, op.directions[0]):
            sizes = [number for number, _ in growth.cases]
            work = [op.problem.work(each.problem, growth.direction) for _, each in growth.cases]
            assert len(sizes) >= 3
            assert sizes == sorted(set(sizes))
            assert work == sorted(work)
            arrays = op.problem.outputs(growth.cases[0][1].problem, growth.direction, np.float32)
            assert all(min(array.shape, default=1) > 0 for array in arrays)


def test_channels_and_filters_grow_together_and_pools_count_their_outputs() -> None:
    conv = operations()["conv2d"]
    case = next(case for case in conv.problem.BENCH if case.name == "resnet-128-down")
    by_axis = {growth.axis: growth for growth in growths(conv, case, "forward")}
    assert all(each.problem.C == each.problem.K == number for number, each in by_axis["channels"].cases)
    depthwise = next(case for case in conv.problem.BENCH if case.name == "mobilenet-32")
    channels = next(growth for growth in growths(conv, depthwise, "forward") if growth.axis == "channels")
    assert all(each.problem.groups == each.problem.C == number for number, each in channels.cases)
    pool = operations()["max_pool2d"]
    image = next(growth for growth in growths(pool, pool.problem.BENCH[0], "forward") if growth.axis == "image")
    assert all((number // 2, number // 2) == (each.problem.P, each.problem.Q) for number, each in image.cases)


def test_growth_is_drawn_in_place() -> None:
    conv = operations()["conv2d"]
    case = Case("own", next(case for case in conv.problem.BENCH if case.name == "resnet-64").problem)
    growth = next(growth for growth in growths(conv, case, "forward") if growth.axis == "image")
    work = [conv.problem.work(each.problem, "forward") for _, each in growth.cases]
    rows = [
        Row("conv2d", "forward", "float32", each.name, label, timing=Timing(w * factor, w * factor, w * factor, 9))
        for label, factor in (("quick", 1e-12), ("slow", 1e-10))
        for w, (_, each) in zip(work, growth.cases, strict=True)
    ]
    alone = Row("conv2d", "forward", "float32", growth.cases[0][1].name, "alone", timing=Timing(1e3, 1e3, 1e3, 1))
    svg = growth_chart("growth", growth, [*rows, alone], {"quick": "s0", "slow": "s1", "alone": "s2"}, work)
    assert "alone" not in svg, "a single point is no curve"
    lines = [
        [tuple(map(float, p.split(","))) for p in found.split()] for found in re.findall(r'<polyline class="[^"]*" points="([^"]*)"', svg)
    ]
    ideal, quick, slow = lines
    assert quick == ideal, "what takes the same time for every operation lies on the dashed line"
    heights = np.array(quick)[:, 1] - np.array(slow)[:, 1]
    assert heights == pytest.approx(heights[0], abs=0.11), "a hundred times as slow is equally far above, everywhere"
    steps = np.diff(np.array(quick)[:, 0])
    assert steps == pytest.approx(steps[0], abs=0.11), "sizes that double are equally far apart"
    assert len(_circles(svg)) == 2 * len(work)


# --- The command ---------------------------------------------------------------------------------------------------------


def test_the_command_tells_and_writes(measured: list[int | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, record = tmp_path / "roof.html", tmp_path / "roof.json"
    assert main(["roofline", "--html", str(page), "--json", str(record)]) == 0
    told = capsys.readouterr().out
    assert "measurement 1: peak 100 on 1 thread, 400 on 4 threads (GFLOP/s, float32)" in told
    line = next(line for line in told.splitlines() if "memory" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["memory", "", "20", "18", "80", "72"]
    assert restored(json.loads(record.read_text())["roofline"]).ceilings == FOUND.ceilings
    assert "measurement 1" in page.read_text("utf-8")
    assert main(["roofline", "--again"]) == 0
    assert "measurement 2" in capsys.readouterr().out


@needs_jit
def test_an_operation_is_set_against_the_roof(measured: list[int | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 KiB of ReLU for one thread: 1/8 FLOP/byte, which 400 GB/s of L1 make 50 GFLOP/s at most."""
    page, record = tmp_path / "page.html", tmp_path / "rows.json"
    op = operations()["relu"]
    case = next(case for case in op.problem.CASES if 100 < case.problem.size < 5000)
    command = ["roofline", "relu", "--case", case.name, "--direction", "forward", "--threads", "1", "--seconds", "0.1"]
    assert main([*command, "--peers", "naive", "--blocks", "2", "--html", str(page), "--json", str(record)]) == 0
    told = capsys.readouterr().out
    line = next(line for line in told.splitlines() if "FLOP/byte" in line)
    kept = json.loads(record.read_text())
    rates = {row["variant"]: row["gflops"] for row in kept["rows"] if row["chosen"]}
    ((variant, rate),) = rates.items()
    intensity = op.problem.work(case.problem, "forward") / op.problem.traffic(case.problem, "forward", np.float32)
    roof = 400 * intensity
    assert line == (
        f"forward {case.name}: {intensity:.4g} FLOP/byte, bound by reading L1: {variant} has {rate / roof:.0%} of {roof:.4g} GFLOP/s"
    )
    assert restored(kept["roofline"]).ceilings == FOUND.ceilings
    content = page.read_text("utf-8")
    assert f"Growth: relu forward {case.name}" in content
    assert "fits L1, which allows" in content


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "resnet-64"], "a problem needs its operation: fastcnn roofline OP"),
        (["conv3d"], "unknown operation 'conv3d'"),
        (["conv2d", "--case", "resnet-65"], "unknown conv2d case 'resnet-65'"),
        (["--html", "{folder}"], "cannot write --html"),
    ],
)
def test_mistakes_are_one_line(measured: list[int | None], arguments: list[str], message: str, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["roofline", *(part.format(folder=tmp_path) for part in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert measured == [], "what is wrong is told before measuring"


@needs_jit
def test_a_whole_measurement_is_plausible(monkeypatch: pytest.MonkeyPatch) -> None:
    """On working sets of up to 24 MiB, to be quick: rates that a core can have, the first cache ahead of what lies last."""
    monkeypatch.setattr("fastcnn.roofline.measure._LEAST", 24 * MIB)
    monkeypatch.setattr("fastcnn.roofline.measure._MOST", 24 * MIB)
    monkeypatch.setattr("fastcnn.roofline.measure._RATIO", 4.0)
    found = measure(1)
    (one,) = found.ceilings
    assert one.threads == 1
    assert 1 < one.gflops < 2000
    assert [level.name for level in one.levels] == [*(cache.name for cache in found.caches), "memory"]
    assert one.levels[0].read > one.levels[-1].read
    assert [point.bytes for point in found.curve][-1] == 24 * MIB
    assert found.source in ("system", "curve")
    assert restored(json.loads(json.dumps(found.record()))) == found
    with pytest.raises(ValueError, match="threads: count must be between"):
        measure(10_000)
