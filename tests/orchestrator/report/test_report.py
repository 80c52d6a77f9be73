"""The page of a report: it stands by itself, nothing breaks it, and nothing in it runs."""

from __future__ import annotations

import base64
import gzip
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure as Picture
from plotly.offline import get_plotlyjs

from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.text import anchor
from tests.orchestrator.report.demo_page import TRACEBACK, pictures, shown, table
from tests.support.ui import Looker, running_browser


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
