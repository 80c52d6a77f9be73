"""The report of a zoo: what is compared is not averaged, lines have vertices where models are, nulls are values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.commands.publish import make_page
from landsweep.orchestrator.report.parts import Figure, Report, Table
from landsweep.sweeps.zoo.figures import median_line
from landsweep.sweeps.zoo.kind import ZooKind
from landsweep.sweeps.zoo.report import metric_of, splits_of, zoo_report


def zoo_rows(**axes: list[Any]) -> pd.DataFrame:
    """A row for each combination; the accuracy is .1 for the first recipe, .9 for the second, else .5."""
    table = pd.MultiIndex.from_product(axes.values(), names=axes.keys()).to_frame(index=False).astype(object)
    for name in table:
        table[name] = table[name].infer_objects()
    n = len(table)
    recipe = table["recipe"] if "recipe" in table else pd.Series([""] * n)
    accuracy = recipe.map({"r10": 0.1, "r9": 0.9}).fillna(0.5)
    meters = {"attempt": 1, "worker": "h", "ended": 1e9, "seconds": 1.0, "cpu_seconds": 1.0, "peak_memory": 1.0}
    more = {"status": "ok", "error": None, "cause": None, "split": "train", "parameters": 10, **meters}
    losses = {"train_loss": 1 - accuracy, "test_loss": 1 - accuracy, "test_accuracy": accuracy}
    return table.assign(key=[f"{i:032x}" for i in range(n)], **losses, **more)


def figure(report: Report, name: str) -> Figure:
    return next(p for s in report.sections for p in s.parts if isinstance(p, Figure) and p.name == name)


NO_SERIES = pd.DataFrame({"key": [], "step": [], "metric": [], "value": []})


def test_recipes_have_a_map_each_in_the_order_of_the_spec() -> None:
    rows = zoo_rows(recipe=["r9", "r10", "r11"], a=[0.1, 0.2], b=[1, 2, 4], seed=[0, 1])
    names = {"recipe": ["r10", "r9", "r11"]}
    found = figure(zoo_report(["recipe", "a", "b", "seed"], rows, NO_SERIES, names), "map")
    panels = [ax for ax in found.picture.axes if ax.images]
    assert [ax.get_title() for ax in panels] == ["r10", "r9", "r11"]
    for ax, value in zip(panels, (0.1, 0.9, 0.5), strict=True):
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), value)
    assert "a map for each recipe, over seeds" in found.caption and "over recipe" not in found.caption


@pytest.mark.parametrize("branch", [[None, "cool"], ["long", "short"]])
def test_branches_are_compared_too_the_main_run_among_them(branch: list[Any]) -> None:
    rows = zoo_rows(branch=branch, a=[0.1, 0.2], b=[1, 2], seed=[0])
    found = figure(zoo_report(["branch", "a", "b", "seed"], rows, NO_SERIES), "map")
    titles = [ax.get_title() for ax in found.picture.axes if ax.images]
    assert sorted(titles) == sorted("none" if b is None else b for b in branch)


def test_many_recipes_become_an_axis_of_the_map() -> None:
    rows = zoo_rows(recipe=[f"r{i}" for i in range(12)], a=[0.1, 0.2], b=[1, 2], seed=[0])
    found = figure(zoo_report(["recipe", "a", "b", "seed"], rows, NO_SERIES), "map")
    (panel,) = [ax for ax in found.picture.axes if ax.images]
    assert [t.get_text() for t in panel.get_yticklabels()] == [f"r{i}" for i in range(12)]
    assert "over b and seeds" in found.caption


@pytest.mark.parametrize("values", [[None, '{"ema":0.9}'], [None, "[4,8]", "[16]"], [None, True, False]])
def test_a_swept_field_may_hold_nulls(values: list[Any], tmp_path: Path) -> None:
    rows = zoo_rows(averaging=values, **{"optimizer.learning_rate": [0.1, 0.2], "seed": [0, 1]})
    rows.loc[0, "status"] = "diverged"
    report = zoo_report(["averaging", "optimizer.learning_rate", "seed"], rows, NO_SERIES)
    shares = next(p for s in report.sections for p in s.parts if isinstance(p, Table) and "Share of" in p.caption)
    assert [line[1] for line in shares.lines if line[0] == "averaging"][-1] == "none"
    assert sum(int(str(line[2])) for line in shares.lines if line[0] == "averaging") == len(rows)
    kind = ZooKind()
    page, _ = make_page(kind, kind.example(), {"spec": {"name": "z"}}, rows, NO_SERIES, tmp_path)
    assert "could not be drawn" not in page.read_text(encoding="utf-8")


def test_the_median_line_has_a_vertex_at_each_value_and_nowhere_else() -> None:
    x = np.repeat([0.0, 0.001, 0.01, 0.1], [7, 5, 9, 3])
    y = np.random.default_rng(0).normal(size=len(x))
    at, middle = median_line(x, y)
    assert at.tolist() == [0.0, 0.001, 0.01, 0.1]
    assert middle.tolist() == [float(np.median(y[x == v])) for v in at]


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_many_values_never_part_models_of_equal_value(seed: int) -> None:
    source = np.random.default_rng(seed)
    x = source.integers(0, 40, 500) / 7.0
    at, middle = median_line(x, x)
    assert len(at) == 15 and (np.diff(at) > 0).all() and set(at) <= set(x)
    np.testing.assert_allclose(middle, at, atol=1 / 7 + 1e-9, rtol=0)  # at most one value of the grid away
    assert median_line(np.array([np.nan, 1.0]), np.array([5.0, 6.0]))[1].tolist() == [6.0]


@pytest.mark.parametrize("held_out", ["validation", "test", "dev_2"])
def test_splits_of_any_name_are_known(held_out: str) -> None:
    rows = zoo_rows(a=[0.1, 0.2], b=[1, 2], seed=[0])
    rows = rows.rename(columns={"test_loss": f"{held_out}_loss", "test_accuracy": f"{held_out}_accuracy"})
    rows["best_test_loss"] = rows["initial_loss"] = 1.0
    assert splits_of(rows) == ["train", held_out]
    assert metric_of(rows) == f"{held_out}_accuracy"
    report = zoo_report(["a", "b", "seed"], rows, NO_SERIES)
    assert report.summary[f"{held_out}_accuracy_best"] == 0.5
    quantiles = next(p for s in report.sections for p in s.parts if isinstance(p, Table) and p.name == "quantiles")
    assert [line[0] for line in quantiles.lines][:3] == ["train_loss", f"{held_out}_loss", f"{held_out}_accuracy"]
