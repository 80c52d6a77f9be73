"""The order of a page, the numbers beside each figure, and the commands that go on with a sweep."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from landsweep.orchestrator.report import render
from landsweep.orchestrator.report.commands import commands_for
from landsweep.orchestrator.report.order import figures_first
from landsweep.orchestrator.report.parts import Figure, PageSection, Report, Table
from landsweep.orchestrator.report.question_and_answer import answer_of, question_of
from landsweep.orchestrator.report.units import Units
from landsweep.orchestrator.report.values import within
from landsweep.orchestrator.row import Column
from tests.support.ui import Looker, running_browser

NO_SERIES = pd.DataFrame({"key": [], "step": [], "metric": [], "value": []})
ROWS = pd.DataFrame(
    {"key": ["k0", "k1"], "lr": [0.1, 0.2], "loss": [1.0, 2.0], "status": "ok", "seconds": 1.0, "ended": [1.0, 2.0]}
    | {"cpu_seconds": 1.0, "peak_memory": 9.0, "worker": "w", "attempt": 1, "error": None, "cause": None}
)
TABLE = Table("what the lines are", ("a", "b"), [["x", 1.0]])


def drawn(name: str, caption: str = "Losses, by width. Bands: quartiles.") -> Figure:
    picture = matplotlib.figure.Figure(figsize=(3.0, 2.0))
    picture.subplots().plot([1.0, 2.0], [3.0, 4.5], label="skip")
    return Figure(name, caption, picture)


def test_the_figure_that_shows_the_answer_comes_first_and_tables_last() -> None:
    first, second, third = map(drawn, ("first", "second", "third"))
    sections = [PageSection("A", ["of the table", TABLE, first]), PageSection("B", [second, "why", third, "after"])]
    ordered = figures_first(sections, "third")
    assert ordered.lead is third
    assert ordered.figures == [PageSection("A", [first]), PageSection("B", [second, "why", "after"])]
    assert ordered.tables == [PageSection("A", ["of the table", TABLE])]
    assert figures_first(sections).lead is first
    assert figures_first(sections, "none such").lead is first
    alone = [PageSection("A", ["There is no model yet."])]
    assert figures_first(alone) == type(ordered)(None, alone, [])


def page_of(report: Report, out: Path) -> str:
    head = {"spec": {"name": "demo", "kind": "function"}, "command": ["run", "demo.yaml"], "folder": "results/demo"}
    return render(report, {**head, "total": 2}, ROWS, NO_SERIES, out).read_text(encoding="utf-8")


def test_a_page_is_read_from_question_and_answer_over_figures_to_tables_and_commands(tmp_path: Path) -> None:
    sections = [PageSection("Part", [TABLE, drawn("other"), drawn("leading")])]
    report = Report(sections, {"loss_best": 1 / 3}, question="Which one?", answer="This one.", lead="leading")
    html = page_of(report, tmp_path)
    marks = ["Which one?", "This one.", 'id="leading"', 'id="other"', "what the lines are", "loss_best", "Metrics"]
    marks += ["Go on from here", "landsweep run demo.yaml --out results/demo-again", "The spec"]
    places = [html.index(mark) for mark in marks]
    assert places == sorted(places)
    assert ">0.3333<" in html and "0.33333" not in html


def test_each_figure_has_its_picture_and_its_numbers_beside_the_page(tmp_path: Path) -> None:
    own = pd.DataFrame({"x": [1.0], "loss": [1 / 3]})
    given = Figure("cells", "c", drawn("cells").picture, go.Figure(go.Scatter(x=[1], y=[2])), own)
    html = page_of(Report([PageSection("S", [drawn("read"), given])]), tmp_path)
    assert re.findall(r'<a href="(figures/[^"]*)">', html) == [
        "figures/read.png", "figures/read.csv", "figures/cells.png", "figures/cells.csv",
    ]  # fmt: skip
    assert pd.read_csv(tmp_path / "report/figures/cells.csv").equals(own)
    read = pd.read_csv(tmp_path / "report/figures/read.csv")
    assert read[["x", "y"]].to_numpy().tolist() == [[1.0, 3.0], [2.0, 4.5]]
    assert re.findall(r'alt="([^"]*)"', html) == ["Losses, by width.", "c."]
    page_of(Report([PageSection("S", [TABLE])]), tmp_path)
    assert not list((tmp_path / "report/figures").iterdir()), "files of a figure that is gone are gone"


def test_a_plot_is_data_that_no_text_in_it_can_end(tmp_path: Path) -> None:
    evil = "</script><script>evil()</script>&amp;\u2028"
    figure = Figure("plot", "c", None, go.Figure(go.Scatter(x=[1.5], y=[2.5], name=evil)))
    html = page_of(Report([PageSection("S", [figure])]), tmp_path)
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert json.loads(data)["data"][0]["x"] == [1.5] and "evil" in data and "<" not in data


@pytest.mark.slow
def test_plots_are_drawn_by_the_library_in_the_page_and_pictures_stand_in_for_them(tmp_path: Path) -> None:
    plot = go.Figure(go.Scatter(x=[1, 2], y=[1, 2]), {"height": 300})
    page_of(Report([PageSection("S", [Figure("plot", "c", drawn("plot").picture, plot)])]), tmp_path)
    seen = "[...document.querySelectorAll('.plot img, .plot .drawing')].map(e => e.checkVisibility())"
    with running_browser() as browser:
        with Looker(browser) as looker:
            looker.page.goto((tmp_path / "report/index.html").as_uri())
            looker.until("document.querySelectorAll('.drawing .main-svg').length > 0")
            assert looker.page.evaluate(seen) == [False, True]
            looker.page.emulate_media(media="print")
            assert looker.page.evaluate(seen) == [True, False]
            looker.page.emulate_media(media="screen")
            looker.page.set_viewport_size({"width": 400, "height": 800})
            assert looker.page.evaluate(seen) == [True, False]
            assert looker.page.evaluate("document.documentElement.scrollWidth") <= 400 and not looker.wrong
        with Looker(browser, java_script_enabled=False) as looker:
            looker.page.goto((tmp_path / "report/index.html").as_uri())
            assert looker.page.locator(".plot img").is_visible()


def test_commands_resume_extend_and_reproduce_a_sweep() -> None:
    commands = commands_for("results/a b", ["run", "a.yaml", "--out", "results/a b", "axes.x=[1]"])
    resume, again = list(commands.values())[:2]
    assert resume == "landsweep run a.yaml --out 'results/a b' 'axes.x=[1]'"
    assert again == "landsweep run a.yaml 'axes.x=[1]' --out 'results/a b-again'"
    assert (
        commands_for("r", "run a.yaml --out=r")["reproduce it in another folder"]
        == "landsweep run a.yaml --out r-again"
    )
    for typed in (["-m", "pytest"], [], "ipykernel_launcher.py -f x.json"):
        assert not any("again" in command for command in commands_for("r", typed).values())
    assert "hunter2" not in str(commands_for("r", ["run", "a.yaml", "--token", "hunter2"]))
    assert commands_for("r", ["run", "'" * 5000])["check its files"] == "landsweep verify r"
    assert next(iter(commands_for("r", ["run", "'" * 5000]).values())).startswith("# this command has")


@pytest.mark.parametrize("seed", range(20))
def test_no_digit_is_shown_beyond_the_second_of_the_error(seed: int) -> None:
    """What is shown lies within a twentieth of the error from the number, and has no more digits than that needs."""
    chance = np.random.default_rng(seed)
    value, error = chance.normal() * 10.0 ** chance.integers(-3, 4), 10.0 ** chance.uniform(-6, 3)
    text = within(value, error)
    off, digits = abs(float(text.replace(",", "")) - value), len(re.sub(r"e.*|[^\d]", "", text).strip("0"))
    assert off <= error / 20 + 1e-12 or digits <= 2
    assert digits <= 2 or abs(value) / error >= 10 ** (digits - 3)


def test_what_is_counted_is_told_in_shares() -> None:
    sorts = [0, 0, 0, 1, 1, 2, None, None]
    states = ["ok"] * 6 + ["diverged"] * 2
    rows = pd.DataFrame({"lr": [0.1, 0.2] * 4, "minimum": pd.array(sorts, "Int64"), "status": states, "key": range(8)})
    units = Units.of(rows, (Column("lr", ""),), (Column("minimum", "", type="int"),))
    assert question_of(units) == "How often is each minimum reached, over lr?"
    assert answer_of(units) == "Minimum is 0 in 38 %, 1 in 25 %, 2 in 12 % of 8 units. 25 % diverged."


def test_the_question_names_axes_and_goal() -> None:
    params, metrics = (Column("lr", ""),), (Column("test_loss", ""),)
    rows = ROWS.rename(columns={"loss": "test_loss"})
    assert question_of(Units.of(rows, params, metrics)) == "Which value of lr gives the lowest test loss?"
    assert [question_of(Units.of(rows.iloc[:n], params, metrics)) for n in (0, 1)] == ["", ""]
