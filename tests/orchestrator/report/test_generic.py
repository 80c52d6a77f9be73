"""The figures that a report chooses by itself: lines, maps, bars and curves of any sweep."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.report.generic import generic_section
from landsweep.orchestrator.report.parts import Figure, Table
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.report.units import Reading
from landsweep.orchestrator.row import Column, Status
from tests.orchestrator.report.demo_page import TRACEBACK, figure_named, pictures, shown, table


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
