"""The report: numbers from rows alone, a page that stands by itself, nothing that breaks it."""

from __future__ import annotations

import base64
import gzip
import math
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure as Picture
from plotly.offline import get_plotlyjs

from landsweep.orchestrator.report import render
from landsweep.orchestrator.report.generic import generic_section
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.report.tables import counts, headline, metric_table, times
from landsweep.orchestrator.report.units import Reading
from landsweep.orchestrator.row import Cause, Column, Outcome, RowMaker, Status
from landsweep.orchestrator.text import anchor
from landsweep.orchestrator.unit import Keys
from tests.support.ui import Looker, running_browser

NO_SERIES = pd.DataFrame({"key": [], "step": [], "metric": [], "value": []})
KEYS = Keys("demo", 1, {})
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    x\nValueError: <b>bad</b>\n'


def table(
    params: list[dict[str, Any]], metrics: list[dict[str, Any]], bad: dict[int, tuple[Status, str]] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows as the ledger gives them, and the head that goes with them."""
    columns = {k: [p[k] for p in params] for k in params[0]} if params else {"x": []}
    kinds = {k: {type(v) for v in values} for k, values in columns.items()}
    types = {k: "text" if str in t else "int" if t == {int} else "float" for k, t in kinds.items()}
    declared = [Column(k, "param of the unit", type=t) for k, t in types.items()]  # type: ignore[arg-type]
    units = [KEYS.unit(p) for p in params]
    outcomes = [Outcome(u.key, m) for u, m in zip(units, metrics, strict=True)]
    for i, (status, error) in (bad or {}).items():
        cause = Cause.error if status is Status.failed else None
        outcomes[i] = Outcome(units[i].key, {}, status, error, cause)
    meters = [
        {"attempt": 1, "worker": "h:1", "ended": 1000.0 + i, "seconds": 0.5, "cpu_seconds": 0.4, "peak_memory": 99.0}
        for i in range(len(units))
    ]
    rows = RowMaker(declared, None).batch(units, outcomes, meters).to_pandas()
    return rows, {"spec": {"name": "demo", "kind": "function"}, "params": declared, "columns": None}


class Page(HTMLParser):
    """What a browser would load or show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.images = 0
        self.feed(html)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)
        self.images += tag == "img"
        self.sources += [v for k, v in given.items() if k in ("src", "href") and v and not v.startswith("data:")]
        self.ids += [v for k, v in given.items() if k == "id" and v]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def shown(rows: pd.DataFrame, head: dict[str, Any], out: Path, report: Report | None = None) -> Page:
    path = render(report or Report(()), head, rows, NO_SERIES, out)
    assert path == out / "report" / "index.html"
    page = Page(path.read_text(encoding="utf-8"))
    for source in page.sources:
        assert (path.parent / source).is_file(), f"{source}: the page may only point to its own pictures"
    assert len(set(page.ids)) == len(page.ids)
    return page


def pictures(out: Path) -> list[str]:
    found = sorted(p.name for p in (out / "report" / "figures").glob("*.png"))
    assert all((out / "report" / "figures" / p).read_bytes().startswith(b"\x89PNG") for p in found)
    return found


def test_one_numeric_axis_gives_a_line_and_two_a_heat_map(tmp_path: Path) -> None:
    rows, head = table([{"lr": 10.0**-i} for i in range(6)], [{"loss": 0.1 * i, "same": 1.0} for i in range(6)])
    page = shown(rows, head, tmp_path / "one")
    assert pictures(tmp_path / "one") == ["loss-by-lr.png"]
    assert "loss-by-lr" in page.ids
    grid = [{"a": a, "b": b} for a in (0, 1, 2) for b in (0.5, 1.5)]
    rows, head = table(grid, [{"loss": p["a"] * p["b"], "gap": -p["b"]} for p in grid])
    shown(rows, head, tmp_path / "two")
    assert pictures(tmp_path / "two") == ["gap-by-a-b.png", "loss-by-a-b.png"]


def test_a_heat_map_puts_each_unit_into_its_own_cell(tmp_path: Path) -> None:
    grid = [{"a": a, "b": b} for b in (3.0, 1.0) for a in (2, 0, 1)]
    rows, head = table(grid, [{"loss": 10 * p["a"] + p["b"]} for p in grid], {4: (Status.diverged, "nan at step 1")})
    section = generic_section(rows, head["params"], [Column("loss", "")])
    figure = next(p for p in section.parts if isinstance(p, Figure))
    heat = figure.interactive.data[0]
    expected = np.array([[math.nan, 11, 21], [3, 13, 23]])  # rows: b = 1, 3; columns: a = 0, 1, 2
    np.testing.assert_array_equal(np.array(heat.z, dtype=float), expected)
    assert (list(heat.x), list(heat.y)) == (["0", "1", "2"], ["1", "3"])
    axis = figure.interactive.layout.xaxis
    assert (list(axis.tickvals), list(axis.ticktext)) == (["0", "1", "2"], ["0", "1", "2"])
    assert "n = 6 units, 1 of them without a finite value" in figure.caption


def test_text_axes_split_lines_and_zipped_axes_count_once(tmp_path: Path) -> None:
    params = [{"opt": o, "lr": lr, "wd": 10 * lr} for o in ("sgd", "adam") for lr in (0.1, 0.2, 0.3)]
    rows, head = table(params, [{"loss": p["lr"] if p["opt"] == "sgd" else 1.0} for p in params])
    figure = next(p for p in generic_section(rows, head["params"], [Column("loss", "")]).parts if isinstance(p, Figure))
    assert [(line.name, list(line.y)) for line in figure.interactive.data] == [
        ("sgd", [0.1, 0.2, 0.3]), ("adam", [1.0, 1.0, 1.0])
    ]  # fmt: skip


def test_categories_are_counted_with_the_units_that_have_none(tmp_path: Path) -> None:
    params = [{"lr": lr, "start": s} for lr in (0.1, 0.2) for s in range(20)]
    metrics = [{"found": "left" if p["start"] < 15 else "right"} for p in params]
    rows, head = table(params, metrics, {20: (Status.diverged, "x"), 21: (Status.failed, TRACEBACK)})
    section = generic_section(rows, head["params"], [Column("found", "", type="text")])
    bars = {b.name: list(b.y) for b in next(p for p in section.parts if isinstance(p, Figure)).interactive.data}
    assert bars == {"left": [15, 13], "right": [5, 5], "diverged": [0, 1], "failed": [0, 1]}


def test_units_without_numbers_give_a_table(tmp_path: Path) -> None:
    params = [{"a": a, "b": b, "c": c} for a in range(3) for b in range(4) for c in range(6)]
    rows, head = table(params, [{"told": f"text {i}"} for i in range(72)])
    page = shown(rows, head, tmp_path)
    assert pictures(tmp_path) == []
    assert "The first 50 units in the plan's order; the other 22 are in rows/*.parquet" in page.words


def figure_named(section: PageSection, name: str) -> Figure:
    return next(p for p in section.parts if isinstance(p, Figure) and p.name == name)


def test_three_numeric_axes_give_a_panel_each_with_the_median_over_the_others() -> None:
    params = [{"a": a, "b": b, "c": c} for a in range(3) for b in range(4) for c in range(5)]
    rows, head = table(params, [{"loss": 10.0 * p["a"] + p["b"]} for p in params])
    figure = figure_named(generic_section(rows, head["params"], [Column("loss", "")]), "loss-effects")
    panels = [[(list(line.get_xdata()), list(line.get_ydata())) for line in p.lines] for p in figure.picture.axes]
    assert panels[0] == [([0, 1, 2], [1.5, 11.5, 21.5])]
    assert panels[1] == [([0, 1, 2, 3], [10, 11, 12, 13])]
    assert panels[2] == [([0, 1, 2, 3, 4], [11.5] * 5)]
    assert "the median over all others" in figure.caption


@pytest.mark.parametrize("name", ["seed", "data.seed", "replicate", "trial_id", "model_seed"])
def test_seeds_are_averaged_with_a_band(name: str) -> None:
    params = [{"lr": lr, name: s} for lr in (0.1, 0.2, 0.4) for s in range(5)]
    rows, head = table(params, [{"loss": 10 * p["lr"] + p[name]} for p in params])
    section = generic_section(rows, head["params"], [Column("loss", "")])
    band, line = figure_named(section, "loss-by-lr").interactive.data
    assert list(line.x) == [0.1, 0.2, 0.4] and list(line.y) == pytest.approx([3, 4, 6])
    assert list(band.y) == pytest.approx([5, 6, 8, 4, 2, 1])
    best = next(p for p in section.parts if isinstance(p, Table))
    assert [list(line) for line in best.lines] == [[0.1, 3.0, 5], [0.2, 4.0, 5], [0.4, 6.0, 5]]
    assert "lowest loss, each the mean over" in best.caption


def test_what_repeats_and_what_is_best_can_be_said() -> None:
    params = [{"lr": lr, "start": s} for lr in (0.1, 0.2) for s in range(3)]
    rows, head = table(params, [{"depth": p["lr"] * (1 + p["start"])} for p in params])
    reading = Reading(repeats=("start",), goal="depth", less=False)
    section = generic_section(rows, head["params"], [Column("depth", "")], None, reading)
    assert figure_named(section, "depth-by-lr")
    best = next(p for p in section.parts if isinstance(p, Table))
    assert [line[0] for line in best.lines] == [0.2, 0.1] and "highest depth" in best.caption
    plain = generic_section(rows, head["params"], [Column("depth", "")], None, Reading(repeats=()))
    assert figure_named(plain, "depth-by-lr-start"), "and nothing repeats where one says so"


@pytest.mark.parametrize("huge", [1e37, -1e37, 1e140])
def test_one_diverged_unit_does_not_flatten_the_map(huge: float) -> None:
    grid = [{"a": a, "b": b} for a in range(4) for b in range(5)]
    metrics = [{"loss": 1.0 + p["a"] + p["b"]} for p in grid]
    metrics[7] = {"loss": huge}
    rows, head = table(grid, metrics)
    figure = figure_named(generic_section(rows, head["params"], [Column("loss", "")]), "loss-by-a-b")
    colours = figure.interactive.layout.coloraxis
    assert (colours.cmin, colours.cmax) == (1.0, 8.0)
    assert "1 value lies far beyond the scale" in figure.caption
    assert Range.of(np.array([1.0, 2.0, math.nan, math.inf])).beyond == 0, "what is not finite has no place at all"
    assert Range.of(np.geomspace(1e-3, 1e3, 20)) == Range(1e-3, 1e3, log=True, beyond=0)


def test_ticks_of_a_map_stand_at_equal_distances() -> None:
    grid = [{"a": 10 ** (a / 2), "b": b} for a in range(9) for b in (0, 1)]
    rows, head = table(grid, [{"loss": p["a"] + p["b"]} for p in grid])
    figure = figure_named(generic_section(rows, head["params"], [Column("loss", "")]), "loss-by-a-b")
    assert list(figure.interactive.layout.xaxis.ticktext) == ["1", "10", "100", "1,000", "10,000"]


def test_series_become_curves_of_all_combinations_or_the_best() -> None:
    params = [{"lr": lr, "seed": s} for lr in range(12) for s in range(2)]
    rows, head = table(params, [{"loss": float(p["lr"])} for p in params])
    told = [(key, step, "loss", float(i // 2 + step)) for i, key in enumerate(rows["key"]) for step in (0, 5)]
    series = pd.DataFrame(told, columns=["key", "step", "metric", "value"])
    few = generic_section(rows.iloc[:6], head["params"], [Column("loss", "")], series)
    lines = [line for line in figure_named(few, "along-loss").interactive.data if line.name]
    assert [(line.name, list(line.y)) for line in lines] == [("0", [0, 5]), ("1", [1, 6]), ("2", [2, 7])]
    many = figure_named(generic_section(rows, head["params"], [Column("loss", "")], series), "along-loss")
    assert "the 8 best by lr" in many.caption and len([line for line in many.interactive.data if line.name]) == 8


def test_tables_with_a_name_are_files_with_all_digits(tmp_path: Path) -> None:
    rows, head = table([{"x": 1}], [{"loss": 1.0}])
    part = Table("c", ["a", "b", "c"], [[1 / 3, None, "x,y"], [math.nan, True, "z"]], name="some optima", digits=3)
    page = shown(rows, head, tmp_path, Report([PageSection("S", [part])]))
    assert "0.333" in page.words and "0.3333" not in page.words
    file = tmp_path / "report" / "tables" / "some-optima.csv"
    assert file.read_text(encoding="utf-8") == 'a,b,c\n0.3333333333333333,,"x,y"\n,True,z\n'
    assert "tables/some-optima.csv" in page.sources
    shown(rows, head, tmp_path)
    assert not file.exists(), "tables of the report before are gone"


@pytest.mark.parametrize("size", [10**6, pytest.param(10**8, marks=pytest.mark.slow)])
def test_texts_of_any_length_end_in_a_page_that_can_be_opened(size: int, tmp_path: Path) -> None:
    params = [{"x": i} for i in range(12)]
    bad = {0: (Status.failed, TRACEBACK + "e" * size)}
    rows, head = table(params, [{"told": f"{i % 3}" + "t" * (size if i == 1 else 10**6)} for i in range(12)], bad)
    shown(rows, head, tmp_path)
    assert (tmp_path / "report" / "index.html").stat().st_size < 10_000_000


@pytest.mark.parametrize("case", ["empty", "no columns", "all failed", "nan and inf", "one unit", "no head"])
def test_the_page_is_made_whatever_the_rows_are(tmp_path: Path, case: str) -> None:
    params = [{"x": i} for i in range(4)]
    bad = dict.fromkeys(range(4), (Status.failed, TRACEBACK))
    made: dict[str, Callable[[], tuple[pd.DataFrame, dict[str, Any]]]] = {
        "empty": lambda: table([], []),
        "no columns": lambda: (pd.DataFrame(), {}),
        "all failed": lambda: table(params, [{}] * 4, bad),
        "nan and inf": lambda: table(params, [{"loss": v} for v in (math.nan, math.inf, -math.inf, 1e308)]),
        "one unit": lambda: table(params[:1], [{"loss": 0.5, "name": "$x_1$"}]),
        "no head": lambda: (table(params, [{"loss": 0.5 * i} for i in range(4)])[0], {}),
    }
    rows, head = made[case]()
    page = shown(rows, head, tmp_path)
    assert "Infinity" not in page.words
    told = {"empty": "no rows yet", "no columns": "no rows yet", "all failed": "4 failed", "one unit": "1 ok"}
    assert told.get(case, "4 ok") in page.words


def test_text_of_users_is_shown_and_never_run(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    rows, head = table([{"x": evil}, {"x": "b"}], [{}, {"m": evil}], {0: (Status.failed, TRACEBACK + evil)})
    head["spec"] = {"name": evil, "kind": evil, "description": f"</style>{evil}", "note": evil}
    head["versions"] = {evil: evil}
    picture = Picture()
    picture.add_subplot()
    parts: list[Part] = [evil, Table(evil, [evil], [[evil]]), Figure(evil, evil, picture)]
    chart = Figure("chart", evil, None, go.Figure(go.Scatter(x=[1], y=[1], name=evil)))
    page = shown(rows, head, tmp_path, Report([PageSection(evil, [*parts, chart])], {evil: 1.0}))
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert evil not in html
    assert page.words.count("alert('x')") >= 10, "all of it is there to read"
    assert "ValueError: <b>bad</b>" in page.words


def test_failed_units_come_with_what_happened_and_the_command(tmp_path: Path) -> None:
    rows, head = table([{"x": i} for i in range(60)], [{}] * 60, dict.fromkeys(range(58), (Status.failed, TRACEBACK)))
    page = shown(rows, head, tmp_path)
    assert f"landsweep rerun {tmp_path} --status failed" in page.words
    assert "8 more are in the rows" in page.words
    assert page.words.count('File "a.py", line 1') == 1, "equal tracebacks are shown once"


def test_plotly_is_inlined_once_and_only_if_needed(tmp_path: Path) -> None:
    rows, head = table([{"x": i} for i in range(4)], [{"loss": 1.0 * i, "gain": 2.0 * i} for i in range(4)])
    shown(rows, head, tmp_path)
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    (packed,) = re.findall(r'<script class="library"[^>]*>([^<]*)</script>', html)
    assert gzip.decompress(base64.b64decode(packed, validate=True)).decode() == get_plotlyjs()
    picture = Picture()
    picture.add_subplot().plot([1, 2])
    page = shown(rows, head, tmp_path, Report([PageSection("S", [Figure("only picture", "c", picture)])]))
    assert page.images == 1
    assert len((tmp_path / "report" / "index.html").read_bytes()) < 200_000
    assert pictures(tmp_path) == ["only-picture.png"], "pictures of the report before are gone"


@pytest.mark.parametrize("pixels", [2, 60, 300])
def test_a_picture_on_the_page_is_the_whole_file_beside_it(pixels: int, tmp_path: Path) -> None:
    """Noise can't be compressed: 2 pixels give a file of some kilobytes, 300 one of more than a hundred."""
    rows, head = table([{"x": 1}], [{"loss": 1.0}])
    picture = Picture()
    picture.add_subplot().imshow(np.random.default_rng(0).random((pixels, pixels)), interpolation="nearest")
    shown(rows, head, tmp_path, Report([PageSection("S", [Figure("noise", "c" * 30_000, picture)])]))
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    (given,) = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    assert base64.b64decode(given, validate=True) == (tmp_path / "report/figures/noise.png").read_bytes()
    assert "c" * 20_000 not in html, "texts are still cut"


@pytest.mark.slow
@pytest.mark.parametrize("columns", [3, 15, 30])
def test_printed_pages_are_dark_on_white_and_no_table_is_wider_than_the_page(columns: int, tmp_path: Path) -> None:
    rows, head = table([{"x": 1}], [{"loss": 1.0}], {0: (Status.failed, TRACEBACK)})
    picture = Picture()
    picture.add_subplot().imshow(np.random.default_rng(0).random((60, 60)))
    header = [f"spectrum_outliers_{i}" for i in range(columns)]
    parts = [Table("c", header, [[f"{i}a" * 16, *([0.0123456] * (columns - 1))] for i in range(3)])]
    shown(rows, head, tmp_path, Report([PageSection("S", [*parts, Figure("noise", "c", picture)])]))
    with running_browser() as browser, Looker(browser, color_scheme="dark") as looker:
        looker.page.set_viewport_size({"width": 720, "height": 1000})  # an A4 page less its margins
        looker.page.goto((tmp_path / "report" / "index.html").as_uri())
        assert looker.page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)") == [True]
        looker.page.emulate_media(media="print", color_scheme="dark")
        width, colour, ground, bad = looker.page.evaluate(
            "[document.documentElement.scrollWidth, getComputedStyle(document.body).color, "
            "getComputedStyle(document.body).backgroundColor, "
            "getComputedStyle(document.querySelector('.failed b, .failed h2, .problem')).color]"
        )
        assert (colour, ground, bad) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)", "rgb(179, 38, 30)")
        assert width <= 720 and not looker.wrong


def test_a_figure_that_cannot_be_drawn_leaves_the_rest(tmp_path: Path) -> None:
    rows, head = table([{"x": 1}], [{"loss": 1.0}])

    class Torn(Artist):
        def draw(self, renderer: object) -> None:
            raise RuntimeError("torn <b>")

    picture = Picture()
    picture.add_artist(Torn())
    section = PageSection("S", [Figure("broken", "c", picture), "after", Figure("none", "empty")])
    page = shown(rows, head, tmp_path, Report([section]))
    assert "This figure could not be drawn: RuntimeError: torn <b>" in page.words
    assert "after" in page.words and "This figure is empty" in page.words


def test_text_that_is_no_valid_mathematics_is_drawn_as_it_stands(tmp_path: Path) -> None:
    rows, head = table([{"x": 1}], [{"loss": 1.0}])
    picture = Picture()
    picture.add_subplot().set(title="$\\nonsense{$", xlabel="$_$", ylabel="a\\$^$")
    page = shown(rows, head, tmp_path, Report([PageSection("S", [Figure("odd", "c", picture)])]))
    assert "could not be drawn" not in page.words
    assert pictures(tmp_path) == ["odd.png"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows, head = table([{"x": i} for i in range(4)], [{"loss": 1.0 * i} for i in range(4)])
    made = []
    for _ in range(2):
        shown(rows, head, tmp_path)
        made.append({p.name: p.read_bytes() for p in (tmp_path / "report").rglob("*") if p.is_file()})
    assert made[0] == made[1]


def test_the_table_of_metrics_against_numpy() -> None:
    values = [1.0, 2.0, 4.0, math.nan, math.inf]
    rows, _ = table([{"x": i} for i in range(6)], [*({"m": v} for v in values), {}], {5: (Status.diverged, "x")})
    found = metric_table(rows, [Column("m", "meaning", "s")])
    assert found is not None
    expected = (7 / 3, float(np.std([1, 2, 4], ddof=1)), 1.0, 2.0, 4.0)
    assert list(found.lines[0]) == ["m [s]", "meaning", 3, 2, *map(pytest.approx, expected)]


def test_counts_and_times() -> None:
    bad = {0: (Status.failed, "x"), 1: (Status.diverged, "y")}
    rows, _ = table([{"x": i} for i in range(4)], [{}] * 4, bad)
    assert counts(rows, 10) == {"ok": 2, "diverged": 1, "failed": 1, "failed: error": 1, "not yet run": 6}
    rows["ended"] = [100.0, 101.0, 5000.0, 5001.0]  # resumed after a pause of more than an hour
    rows["seconds"] = [1.0, 1.0, 1.0, 1.0]
    found = times(rows)
    assert found["unit_seconds"] == 4
    assert found["elapsed_seconds"] == 4, "the pause does not count"
    assert found["units_per_second"] == 1
    assert times(rows.iloc[:0]) == {}


def test_headlines_of_errors() -> None:
    assert headline(TRACEBACK) == "ValueError: <b>bad</b>"
    assert headline("worker died (signal 11)\nmore") == "worker died (signal 11)"
    chained = "During handling of the above exception, another exception occurred:"
    two = f"{TRACEBACK}\n{chained}\n\n{TRACEBACK.replace('ValueError', 'KeyError')}"
    assert headline(two) == "KeyError: <b>bad</b>"
    assert headline(TRACEBACK.rstrip() + "\nsecond line of the message\n  third") == "ValueError: <b>bad</b>"
    assert headline(None) == headline(float("nan")) == "no message"


def test_names_of_files_are_safe() -> None:
    assert anchor("../../etc/passwd") == "etc-passwd"
    assert anchor("loss vs λ") == "loss-vs"
    assert anchor("...") == "figure"


def test_no_plotting_library_is_imported_early() -> None:
    code = (
        "import sys, landsweep.orchestrator.report, landsweep.orchestrator.kind\n"
        "import landsweep.orchestrator.tracking.mlflow\n"
        "sys.exit(any(m in sys.modules for m in ('plotly', 'matplotlib', 'mlflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
