"""Reports that answer first: a sentence made from numbers, what matters, and pictures with the data behind them."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from landsweep.orchestrator.report.effects import shares_of_order
from landsweep.orchestrator.report.figure_data import data_of
from landsweep.orchestrator.report.generic import generic_section
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.report.plots import heat_figure
from landsweep.orchestrator.report.question_and_answer import answer_of
from landsweep.orchestrator.report.styles import styled
from landsweep.orchestrator.report.units import Reading, Units
from landsweep.orchestrator.row import Column
from tests.support.app import app
from tests.support.cli import command, write_spec

GRID = pd.DataFrame({"a": [a for a in (0, 1) for _ in range(4)], "b": [0, 1, 2, 3] * 2})
PARAMS = (Column("a", "", type="int"), Column("b", "", type="int"))


def rows_of(loss: list[float], **more: list[int]) -> pd.DataFrame:
    return GRID.assign(loss=loss, status="ok", key=[f"k{i}" for i in range(8)], **more)


def test_shares_of_a_sum_are_those_of_its_parts() -> None:
    """Ranks 1 to 8: between a's values lies 32 of their 42, between b's 10."""
    values = [10.0 * a + b for a, b in zip(GRID["a"], GRID["b"], strict=True)]
    assert shares_of_order(GRID, values) == pytest.approx({"a": 32 / 42, "b": 10 / 42})
    assert shares_of_order(GRID, [*values[:-1], 1e37]) == pytest.approx({"a": 32 / 42, "b": 10 / 42})
    assert shares_of_order(GRID, [-v for v in values]) == pytest.approx({"a": 32 / 42, "b": 10 / 42})


@pytest.mark.parametrize("seed", range(20))
def test_an_axis_explains_no_order_of_chance_however_many_values_it_has(seed: int) -> None:
    """Between the 60 values of an axis lies half of the variance of 120 random ranks: all of it is chance."""
    random = np.random.default_rng(seed)
    grid = pd.DataFrame([(a, b) for a in range(60) for b in range(2)], columns=["many", "two"])
    assert max(shares_of_order(grid, random.normal(size=120).tolist()).values()) < 0.35
    pulled = shares_of_order(grid, (2 * grid["two"] + random.normal(size=120)).tolist())
    assert next(iter(pulled)) == "two" and 0.3 < pulled["two"] < 0.7


def test_shares_of_chance_are_none_on_average_and_those_of_a_sum_hold_with_missing_units() -> None:
    random, grid = np.random.default_rng(0), pd.DataFrame([(a, b) for a in range(30) for b in range(4)])
    found = [shares_of_order(grid, random.normal(size=120).tolist()) for _ in range(200)]
    assert np.mean([share["0"] for share in found]) < 0.06, "a fourth of the variance without the correction"
    thin = grid.drop(index=[3, 17, 40, 41, 99]).reset_index(drop=True)
    plain = pd.Series(list(range(len(thin)))).rank()
    shares = shares_of_order(thin, (thin[0] * 10.0 + thin[1]).tolist())
    between = plain.groupby(thin[0]).transform("mean") - plain.mean()
    assert shares["0"] == pytest.approx((between**2).sum() / ((plain - plain.mean()) ** 2).sum(), abs=1e-3)


def test_axes_with_as_many_values_as_there_are_units_explain_nothing() -> None:
    units = pd.DataFrame({"id": range(10), "b": [0, 1] * 5})
    assert shares_of_order(units, list(range(10))) == {}


def test_shares_are_not_made_of_too_little() -> None:
    assert shares_of_order(GRID, [1.0] * 8) == {}
    assert shares_of_order(GRID, [*range(7), float("nan")]) == {}
    lost = shares_of_order(pd.concat([GRID, GRID]), [*range(8), *[float("inf")] * 8])
    assert lost == shares_of_order(GRID, list(range(8)))


def test_the_answer_names_the_best_the_median_and_the_axis_that_matters() -> None:
    rows = rows_of([10.0 * a + b + 1 for a, b in zip(GRID["a"], GRID["b"], strict=True)])
    metrics = (Column("loss", "", type="float"),)
    assert answer_of(Units.of(rows, PARAMS, metrics)) == (
        "The lowest loss is 1, at a = 0, b = 0; the median of 8 units is 7.5. "
        "a matters most: alone it explains 76 % of their order."
    )
    more = answer_of(Units.of(rows, PARAMS, metrics, Reading(goal="loss", less=False)))
    assert more.startswith("The highest loss is 14, at a = 1, b = 3; the median")
    averaged = answer_of(Units.of(rows, PARAMS, metrics, Reading(repeats=("b",))))
    assert averaged == "The lowest loss is 2.5, at a = 0 (mean over b); the median of 2 combinations is 7.5."
    tables = [p.name for p in generic_section(rows, PARAMS, metrics).parts if isinstance(p, Table)]
    assert tables == ["best", "shares"]


@pytest.mark.parametrize("loss", [[1.0] * 8, [float("nan")] * 8, [0.0, 0, 0, 0, 0, 1, 2, 3]])
def test_nothing_to_compare_is_no_answer(loss: list[float]) -> None:
    for rows in (rows_of(loss), rows_of(loss).iloc[:1], rows_of(loss).iloc[:0]):
        assert answer_of(Units.of(rows, PARAMS, (Column("loss", "", type="float"),))) == ""


def test_the_data_of_a_picture_are_what_is_drawn() -> None:
    picture = matplotlib.figure.Figure()
    left, right = picture.subplots(1, 2)
    left.set_title("lines")
    left.plot([1.0, 2.0], [3.0, 4.0], label="skip")
    left.axhline(1.0)
    left.fill_between([1.0, 2.0], [0.0, 0.0], [1.0, 1.0])
    left.scatter([5.0], [6.0], c=[7.0], label="points")
    left.bar([10.0], [2.5], label="bars")
    mesh = right.pcolormesh([0.0, 1.0, 2.0], [0.0, 2.0], [[8.0, 9.0]])
    right.imshow([[1.0, 2.0], [3.0, 4.0]], extent=(0, 2, 0, 2), origin="lower")
    picture.colorbar(mesh, ax=right)
    data = data_of(picture)
    lines = data.astype(object).where(data.notna(), None).to_numpy().tolist()
    assert ["lines", "line", "skip", 1.0, 3.0, None] in lines and ["lines", "line", "skip", 2.0, 4.0, None] in lines
    assert ["lines", "point", "points", 5.0, 6.0, 7.0] in lines
    assert ["lines", "bar", "bars", 10.0, 2.5, None] in lines
    assert ["panel 2", "cell", "", 0.5, 1.0, 8.0] in lines and ["panel 2", "cell", "", 1.5, 1.0, 9.0] in lines
    assert ["panel 2", "cell", "", 0.5, 1.5, 3.0] in lines and ["panel 2", "cell", "", 1.5, 0.5, 2.0] in lines
    assert len(lines) == 2 + 1 + 1 + 2 + 4


def test_bars_have_their_own_size_and_the_words_of_their_axis() -> None:
    picture = matplotlib.figure.Figure()
    stacked, lying, numbers, drawn = picture.subplots(1, 4)
    stacked.bar([0, 1], [2.0, 3.0], label="a")
    stacked.bar([0, 1], [4.0, 5.0], bottom=[2.0, 3.0], label="b")
    stacked.set_xticks([0, 1], ["sgd", r"\$adam"])
    lying.barh(["depth", "width"], [0.25, 0.75])
    numbers.plot([0.00123, 2.0], [1.0, 2.0])
    numbers.set_xticks([0.00123, 2.0], ["0.00123", "2"])
    drawn.hist([1.0, 1.0, 2.0], bins=[0.5, 1.5, 2.5], histtype="stepfilled", label="h")
    lines = [list(line) for line in data_of(picture)[["mark", "name", "x", "y"]].itertuples(index=False)]
    assert lines[:2] == [["bar", "a", "sgd", 2.0], ["bar", "a", "$adam", 3.0]]
    assert lines[2:4] == [["bar", "b", "sgd", 4.0], ["bar", "b", "$adam", 5.0]], "not the top of the stack"
    assert lines[4:6] == [["bar", "", 0.25, "depth"], ["bar", "", 0.75, "width"]]
    assert lines[6:8] == [["line", "", 0.00123, 1.0], ["line", "", 2.0, 2.0]], "numbers are not rounded to their labels"
    assert ["outline", "h", 1.5, 2.0] in lines and ["outline", "h", 2.5, 1.0] in lines


def test_cells_of_a_map_have_the_values_of_axes_and_metric() -> None:
    """On the picture they stand at 0, 1, ..., and their colours are logarithms."""
    a, b, m = Column("a", ""), Column("b", ""), Column("loss", "")
    figure = heat_figure("f", "c", [("p", [0.1, 0.2], [3.0], np.array([[1e-9, 1.0]]))], a, b, m)
    assert figure.data is not None
    assert figure.data.to_dict("list") == {"panel": ["p", "p"], "a": [0.1, 0.2], "b": [3.0, 3.0], "loss": [1e-9, 1.0]}


@pytest.mark.parametrize(("style", "width"), [("report", 7.0), ("paper", 3.3), ("talk", 10.0)])
def test_styles_have_their_sizes(style: str, width: float, tmp_path: Path) -> None:
    picture = matplotlib.figure.Figure(figsize=(7.0, 4.2))
    panel = picture.subplots()
    panel.plot([1, 2], [3, 4])
    panel.set_title("t", fontsize=12)
    (tmp_path / "a.svg").write_bytes(styled(picture, "svg", style))
    assert picture.get_size_inches()[0] == width
    assert "<text" in (tmp_path / "a.svg").read_text(), "text stays text"
    size = panel.title.get_fontsize()
    assert (size == 12.0) if style == "report" else (size <= 8.0) if style == "paper" else (size > 12.0)


@pytest.mark.parametrize("file_format", ["pdf", "svg", "png"])
@pytest.mark.parametrize("text", [r"$\evil$", r"$\frac{1}$", "$x^$ </text><script>evil()</script>"])
def test_text_that_is_no_mathematics_is_drawn_as_it_stands(text: str, file_format: str) -> None:
    picture = matplotlib.figure.Figure(figsize=(3.0, 2.0))
    picture.subplots().set_title(text)
    data = styled(picture, file_format, "paper")
    assert data.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[file_format])
    assert b"<script" not in data


def test_the_figures_of_a_sweep_and_their_numbers_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {
        "kind": "function",
        "name": "curve",
        "function": "landsweep.sweeps.function.examples:descend",
        "fixed": {"steps": 5},
        "axes": {"lr": [0.001, 0.003, 0.01], "start": {"range": 4}},
        "repeats": ["start"],
        "goal": {"minimise": "value"},
    }
    write_spec(tmp_path, spec)
    done = command("run", "spec.yaml", "--site", "local", "site.tracking=off", cwd=tmp_path)
    assert "The lowest value is" in done.stderr
    assert '<p class="answer">The lowest value is' in (tmp_path / "results/curve/report/index.html").read_text()
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["figures", "results/curve", "--only", "value-by-lr"])
    assert said.exit_code == 0, said.output
    assert sorted(p.name for p in Path("figures-curve").iterdir()) == ["value-by-lr.csv", "value-by-lr.pdf"]
    assert Path("figures-curve/value-by-lr.pdf").read_bytes().startswith(b"%PDF")
    rows = pd.read_parquet("results/curve/rows")
    means = rows.groupby("lr")["value"].mean()
    data = pd.read_csv("figures-curve/value-by-lr.csv")
    drawn = data[data["mark"] == "line"].drop_duplicates("x").set_index("x")["y"]
    assert np.allclose(drawn.loc[means.index], means)
    refused = CliRunner().invoke(app, ["figures", "results/curve", "--only", "nothing"])
    assert "there is no such figure to write; its figures are" in str(refused.exception)
