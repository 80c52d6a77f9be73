"""Parallel coordinates: where units cross an axis, which of many are drawn, and when reports have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.report.generic import generic_section
from landsweep.orchestrator.report.parallel import UNSET, named_coordinate, number_coordinate, parallel_figure
from landsweep.orchestrator.report.parts import Figure
from landsweep.orchestrator.row import Column


@pytest.mark.parametrize(
    ("cells", "heights"),
    [
        ([1, 2, 3, None], [0, 0.5, 1, UNSET]),
        ([0.001, 0.1, 10.0], [0, 0.5, 1]),
        ([-1.0, 0.0, 1.0], [0, 0.5, 1]),
        ([-1.7e308, 1.7e308], [0, 1]),
        ([4, 4], [0, 0]),
        ([None, None], [UNSET, UNSET]),
    ],
)
def test_numbers_cross_an_axis_between_their_ends(cells: list[object], heights: list[float]) -> None:
    np.testing.assert_allclose(number_coordinate("x", cells).heights, heights, atol=1e-12)


def test_names_stand_in_their_order_and_not_too_many_are_written() -> None:
    few = named_coordinate("x", ["b", "a", "b"], ["a", "b"], np.array([3.0, 2.0, 1.0]))
    np.testing.assert_allclose(few.heights, [1.15, 0, 0.85])
    assert few.labels == [(0, "a"), (1, "b")]
    names = [f"n{i}" for i in range(30)]
    assert [text for _, text in named_coordinate("x", names, names, np.zeros(30)).labels] == names[::3]


@pytest.mark.parametrize("minimise", [True, False])
def test_of_many_units_a_thousand_are_drawn_the_best_last(minimise: bool) -> None:
    value = np.random.default_rng(0).permutation(2500).astype(float)
    figure = parallel_figure(
        [number_coordinate("x", value.tolist())], value, "loss", minimise=minimise, units="units", unset=False
    )
    drawn = figure.interactive.data[0].dimensions[-1]["values"]
    assert len(drawn) == 1000 and {drawn[0], drawn[-1]} == {0.0, 2499.0} and (drawn[-1] == 0.0) == minimise
    assert "Of the 2,500 units 1,000 from all ranks" in figure.caption
    assert len(figure.picture.axes[0].lines) == 1000 + 2, "a line for each, and two axes"


@pytest.mark.parametrize(("axes", "shown"), [(2, False), (3, True)])
def test_reports_have_them_where_axes_are_too_many_for_a_map(axes: int, shown: bool) -> None:
    grid = np.stack(np.meshgrid(*[[1, 2, 3]] * axes), -1).reshape(-1, axes)
    rows = pd.DataFrame(grid, columns=[f"a{i}" for i in range(axes)]).assign(status="ok", seconds=1.0)
    rows["key"] = [f"k{i}" for i in range(len(rows))]
    rows["loss"] = grid.sum(1) + 0.5
    rows.loc[0, "loss"] = np.nan
    params = [Column(f"a{i}", "", type="int") for i in range(axes)]
    section = generic_section(rows, params, [Column("loss", "")])
    figures = {part.name: part for part in section.parts if isinstance(part, Figure)}
    assert ("parallel" in figures) == shown
    if shown:
        assert f"Every one of the {3**axes - 1} units" in figures["parallel"].caption
