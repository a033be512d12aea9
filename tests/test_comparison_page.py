"""The page of a comparison: what it says, and how a browser shows it on a desk, on a phone, in the dark and on paper."""

from __future__ import annotations

import base64
import html.parser
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from _browser import Browser, Page, find_browser

from fastcnn.compare import Ratio, Row
from fastcnn.registry import Case, operations
from fastcnn.report.ceilings import Grown, write_roofline
from fastcnn.report.comparison import page, write_comparison
from fastcnn.report.problems import colours, duration, megabytes, problems, ratio, short
from fastcnn.roofline import Ceilings, Level, Roofline
from fastcnn.roofline.caches import Cache
from fastcnn.roofline.ceilings import Point
from fastcnn.roofline.growth import growths
from fastcnn.timing import Timing

MACHINE = {"cpu": "Fast & <b>cheap</b>", "threads": 2, "versions": {"numpy": "2.0"}, "load": [0.5, 0.6]}
LEVELS = (Level("L1", 400.0, 390.0), Level("L2", 200.0, 190.0), Level("memory", 20.0, 18.0))
ROOF = Roofline(
    MACHINE, (Cache("L1", 49_152, 1), Cache("L2", 2**20, 1)), "system", (Ceilings(1, 100.0, LEVELS), Ceilings(2, 200.0, LEVELS)),
    tuple(Point(threads, 8192 * 4**i, 400.0 / 2**i, 390.0 / 2**i) for threads in (1, 2) for i in range(6)),
)  # fmt: skip


def _row(case: str, variant: str, seconds: float | None = None, **more: object) -> Row:
    """Return a row of 1 MFLOP on 100 kB."""
    row = Row("conv2d", "forward", "float32", case, variant, **more)  # type: ignore[arg-type]
    if seconds is None:
        return row
    timing = Timing(seconds, 0.98 * seconds, 1.02 * seconds, 30)
    return row._replace(timing=timing, gflops=1e6 / seconds / 1e9, gbytes=1e5 / seconds / 1e9, share_of_peak=0.5)


def _rows() -> list[Row]:
    return [
        _row("small", "slow", 4e-5, error=0.25, ratios={"naive": Ratio(50.0, 45.0, 55.0, 8)}),
        _row("small", "quick", 1e-5, chosen=True, error=0.0, ratios={"naive": Ratio(200.0, None, None, 8)}),
        _row("small", "naive", 2e-3, baseline=True, error=0.5),
        _row("small", "lost", error=math.inf, note="WRONG: error is inf times the tolerance; not timed"),
        _row("small", "odd<er>", note="refuses: groups & more"),
        _row("small", "other", note="refuses: groups & more"),
        _row("large", "quick", 0.5, chosen=True, ratios={"naive": Ratio(0.5, 0.4, 0.6, 8)}),
        _row("none", "quick", chosen=True, note="refuses: today"),
    ]


def _grown() -> list[Grown]:
    conv = operations()["conv2d"]
    case = Case("own", next(case for case in conv.problem.BENCH if case.name == "resnet-64").problem)
    found = []
    for growth in growths(conv, case, "forward"):
        work = [float(conv.problem.work(each.problem, "forward")) for _, each in growth.cases]
        sizes = list(zip(work, growth.cases, strict=True))
        rows = [_row(each.name, name, w * f) for name, f in (("quick", 1e-11), ("slow", 1e-10)) for w, (_, each) in sizes]
        found.append(Grown("conv2d", "own", growth, tuple(rows), tuple(work)))
    return found


class _Text(html.parser.HTMLParser):
    """The words of every table row, and the names of the tags."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.lines: list[list[str]] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self._inside = False
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th") and self.lines:
            self.lines[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())
        if self._inside:
            self.lines[-1][-1] += data


# --- What it says --------------------------------------------------------------------------------------------------------


def test_tables_hold_the_figures_fastest_first() -> None:
    found = _Text(page(_rows(), MACHINE))
    at = found.lines.index(["variant", "speed", "time", "±", "GFLOP/s", "GB/s", "peak", "× naive", "error"])
    assert found.lines[at + 1 : at + 4] == [
        ["quick chosen", "", "10 µs", "2.0 %", "100", "10", "50 %", "200", "0"],
        ["slow", "", "40 µs", "2.0 %", "25", "2.5", "50 %", "50 ±10 %", "0.25"],
        ["naive baseline", "", "2 ms", "2.0 %", "0.5", "0.05", "50 %", "", "0.5"],
    ]
    content = page(_rows(), MACHINE)
    assert [float(width) for width in re.findall(r'class="bar"><i style="width:([\d.]+)%', content)] == [100, 25, 0.5, 100]


def test_roofs_take_the_place_of_the_peak() -> None:
    """100 kB for two threads fit L2: at 10 FLOP/byte it allows 2,000 GFLOP/s, more than the peak of 200."""
    found = _Text(page(_rows(), MACHINE, ROOF))
    at = found.lines.index(["variant", "speed", "time", "±", "GFLOP/s", "GB/s", "roof", "× naive", "error"])
    assert [line[6] for line in found.lines[at + 1 : at + 4]] == ["50 %", "12 %", "0.25 %"]
    assert "fits L2, which allows 200 GFLOP/s" in found.words
    one = _Text(page(_rows(), {**MACHINE, "threads": 1}, ROOF))
    assert "fits L2, which allows 100 GFLOP/s" in one.words


def test_many_points_have_numbers() -> None:
    rows = [_row(f"case-{i}", "quick", 1e-5 * 1.5**i, chosen=True) for i in range(8)]
    drawn = page(rows, MACHINE, ROOF).partition("<svg")[2].partition("</svg>")[0]
    assert re.findall(r">(\d)</text>", drawn)[-8:] == [str(i + 1) for i in range(8)]
    assert "<title>case-7: " in drawn, "the whole name is under the pointer"
    few = page(rows[:3], MACHINE, ROOF).partition("<svg")[2].partition("</svg>")[0]
    assert ">case-2</text>" in few
    assert re.findall(r"<small>(\d)</small> <a", page(rows, MACHINE)) == [str(i + 1) for i in range(8)]


def test_refusals_and_mistakes_have_their_reasons() -> None:
    content = page(_rows(), MACHINE)
    assert "<li><b>odd&lt;er&gt;, other</b> refuses: groups &amp; more</li>" in content
    assert '<li class="wrong"><b>lost</b> WRONG: error is inf times the tolerance; not timed</li>' in content
    assert "<p>Nothing was timed.</p>" in content
    assert "nothing was timed" in " ".join(_Text(content).words)


def test_the_head_sums_up_and_names_lead_to_tables() -> None:
    content = page(_rows(), MACHINE)
    told = _Text(content)
    pairs = {told.words[i]: told.words[i + 1] for i in range(len(told.words) - 1)}
    assert pairs["problems"] == "3"
    assert pairs["choice is the fastest"] == "2 of 2"
    assert pairs["× naive, geometric mean"] == "10", "of 200 and 0.5"
    assert pairs["cpu"] == "Fast & <b>cheap</b>"
    assert any("slower on 1" in words for words in told.words), "losses are shown"
    links = re.findall(r'href="#([^"]*)"', content)
    assert len(links) == 3
    assert all(f'id="{link}"' in content for link in links)


def test_growth_and_rooflines_are_on_it() -> None:
    content = page(_rows(), MACHINE, ROOF, _grown())
    assert content.count("<svg") == 2 + 2 + len(_grown()), "roofs and bandwidth; a roofline for each problem that was timed; growth"
    assert "Growth: conv2d forward own" in _Text(content).words
    assert "script" not in _Text(content).tags
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)|url\(|@import""", content), "nothing lies outside the page"


def test_colours_are_of_those_that_were_timed() -> None:
    found = colours(_rows())
    assert found == {
        "slow": "s0", "quick": "s1", "naive (baseline)": "s7", "lost": "s7", "odd<er>": "s7", "other": "s7"
    }  # fmt: skip


def test_figures_are_short() -> None:
    assert [duration(s) for s in (1.5, 2e-3, 3.456e-6)] == ["1.5 s", "2 ms", "3.46 µs"]
    assert [short(v) for v in (None, math.inf, 1234.5, 0.0123456)] == ["", "∞", "1,230", "0.0123"]
    assert [megabytes(n) for n in (1_234_567, 5_500)] == ["1.23 MB", "5.5 kB"]
    banded = _row("a", "b", 1.0, ratios={"x": Ratio(2.0, 1.9, 2.03, 8)})
    assert ratio(banded, "x") == "2 ±1.5 %"
    assert ratio(banded, "y") == ""
    assert problems([banded])[0].intensity == pytest.approx(10.0)


def test_files_are_replaced_whole_and_rows_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_comparison(path, _rows(), MACHINE)
    assert path.read_text("utf-8") == page(_rows(), MACHINE)
    with pytest.raises(ValueError, match="write_comparison: rows must hold at least one Row; got none"):
        write_comparison(path, [], MACHINE)
    assert path.read_text("utf-8") == page(_rows(), MACHINE)
    assert [found.name for found in path.parent.iterdir()] == ["page.html"]


# --- In a browser --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip("needs Chromium or Chrome (Debian: apt-get install chromium)")
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    write_comparison(path, _rows(), MACHINE, ROOF, _grown())
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height", "phone"), [(1280, 900, False), (390, 844, True), (820, 1180, True)])
def test_nothing_is_asked_for_nothing_complained_of_and_nothing_sticks_out(
    browser: Browser, written: Path, width: int, height: int, phone: bool, dark: bool, tmp_path: Path
) -> None:
    shown = Page(browser, width, height, phone, dark)
    shown.open(written.as_uri())
    assert shown.complaints() == []
    assert [url for url in shown.requests() if not url.startswith("data:")] == [written.as_uri()]
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    right = "Math.max(...[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right))"
    assert shown.evaluate(right) <= width
    dim = "getComputedStyle(document.querySelector('section')).backgroundColor.match(/\\d+/g).reduce((a, b) => a + +b, 0) < 300"
    assert shown.evaluate(dim) is dark
    shown.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_a_phone_reads_tables_as_cards(browser: Browser, written: Path) -> None:
    """Below one another, with every figure under its heading, and letters of charts that can be read."""
    shown = Page(browser, 390, 844, phone=True)
    shown.open(written.as_uri())
    assert shown.evaluate("getComputedStyle(document.querySelector('.problem tbody tr')).display") == "grid"
    heading = "getComputedStyle(document.querySelector('.problem td[data-of=time]'), '::before').content"
    assert shown.evaluate(heading) == '"time"'
    letters = "document.querySelector('svg text').getBoundingClientRect().height"
    assert shown.evaluate(letters) >= 9


def test_drawn_points_are_where_the_page_says(browser: Browser, written: Path) -> None:
    """Half of 200 GFLOP/s lies under the flat roof; what is slower lies below, and all of one problem in one column."""
    shown = Page(browser)
    shown.open(written.as_uri())
    drawn = "document.querySelector('.roofline svg').querySelectorAll('.dot')"
    dots = shown.evaluate(f"[...{drawn}].map(e => [+e.getAttribute('cx'), +e.getAttribute('cy')])")
    assert len(dots) == 3
    assert {x for x, _ in dots} == {dots[0][0]}
    heights = [y for _, y in dots]
    assert heights == sorted(heights)
    per_decade = (heights[1] - heights[0]) / math.log10(4)
    assert heights[2] - heights[0] == pytest.approx(per_decade * math.log10(200), abs=0.5)


def test_paper_gets_pages_and_black_ink(browser: Browser, written: Path, tmp_path: Path) -> None:
    shown = Page(browser, dark=True)
    shown.open(written.as_uri())
    content = base64.b64decode(shown.call("Page.printToPDF")["data"])
    assert content.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 1 < pages < 12
    shown.call("Emulation.setDeviceMetricsOverride", width=718, height=1000, deviceScaleFactor=1, mobile=False)  # A4
    shown.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert shown.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert shown.evaluate("getComputedStyle(document.querySelector('.problem tbody tr')).display") == "table-row"
    assert shown.evaluate("document.documentElement.scrollWidth") == 718


def test_the_machine_alone_has_a_page(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "roofline.html"
    write_roofline(path, ROOF)
    shown = Page(browser, 390, 844, phone=True)
    shown.open(path.as_uri())
    assert shown.complaints() == []
    assert shown.evaluate("document.querySelectorAll('svg').length") == 2
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    assert "Fast & <b>cheap</b>" in shown.evaluate("document.querySelector('h1').textContent")
