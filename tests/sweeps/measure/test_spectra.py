"""The overlay of spectra in the report: densities, outliers, panels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from landsweep.orchestrator.report.parts import Figure, Table
from landsweep.sweeps.measure.spectra import smoothed, spectra_parts


def test_a_density_is_the_sum_of_gaussians_and_keeps_mass_and_mean() -> None:
    nodes, weights = np.array([-1.0, 0.5, 3.0]), np.array([0.2, 0.7, 0.1])
    at = np.linspace(-3, 5, 4001)
    density = smoothed(nodes, weights, at, 0.1)
    assert density == pytest.approx(sum(w * norm.pdf(at, x, 0.1) for x, w in zip(nodes, weights, strict=True)))
    assert np.trapezoid(density, at) == pytest.approx(1, rel=1e-6)
    assert np.trapezoid(at * density, at) == pytest.approx(float(nodes @ weights), rel=1e-6)


def measured(*, labels: tuple[str, ...] = ("step-000000", "last")) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two seeds of two widths: models of `last` have outliers at 5 and 6, the others none."""
    rows: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    for width in (8, 16):
        for seed in (0, 1):
            for of_label in labels:
                key = f"{width}-{seed}-{of_label}"
                outliers = [6.0, 5.0] if of_label == "last" else []
                values = {"spectrum_outliers": len(outliers), "spectrum_gap": 5.0, "spectrum_highest": 6.0}
                ends = {"spectrum_bulk": 0.5, "spectrum_lowest": -1.0}
                params = {"measure": "hessian", "net.hidden.0": width, "seed": seed, "of_label": of_label}
                rows.append({"key": key, **params, **values, **ends})
                curves = {"nodes": [-1.0, 0.0, 1.0, *outliers[::-1]], "outliers": outliers}
                curves["weights"] = [1 / len(curves["nodes"])] * len(curves["nodes"])
                series += [
                    {"key": key, "metric": metric, "step": i, "value": value}
                    for metric, curve in curves.items()
                    for i, value in enumerate(curve)
                ]
    return pd.DataFrame(rows), pd.DataFrame(series)


PARAMS = ["of_key", "of_label", "net.hidden.0", "seed"]


def test_panels_are_settings_and_lines_are_measures_and_checkpoints() -> None:
    table, figure = spectra_parts(PARAMS, *measured())
    assert isinstance(table, Table) and isinstance(figure, Figure)
    assert [line[:3] for line in table.lines] == [
        ["hessian, step-000000", 8, 2],
        ["hessian, step-000000", 16, 2],
        ["hessian, last", 8, 2],
        ["hessian, last", 16, 2],
    ]
    assert [line[3] for line in table.lines] == [0, 0, 2, 2]
    titles = [plot.get_title() for plot in figure.picture.axes]
    assert titles == ["net.hidden.0 8", "net.hidden.0 16"]
    for plot in figure.picture.axes:
        marks = [line.get_xdata() for line in plot.get_lines() if line.get_marker() == "|"]
        assert sorted(np.concatenate(marks)) == [5, 5, 6, 6]
    texts = [text.get_text() for text in figure.picture.legends[0].get_texts()]
    assert texts == ["hessian, step-000000", "hessian, last"]


def test_a_drawn_density_is_that_of_its_models() -> None:
    rows, series = measured(labels=("last",))
    _, figure = spectra_parts(PARAMS, rows, series)
    assert isinstance(figure, Figure)
    line = figure.picture.axes[0].get_lines()[0]
    x, y = line.get_data()
    wanted = smoothed(np.array([-1.0, 0, 1, 5, 6]), np.full(5, 0.2), np.asarray(x), 0.07)
    assert np.asarray(y) == pytest.approx(np.maximum(wanted, 1e-7 * wanted.max()), rel=1e-9)


@pytest.mark.parametrize("change", ["no spectrum", "no series", "one model", "one number"])
def test_little_to_show(change: str) -> None:
    rows, series = measured()
    if change == "no spectrum":
        assert spectra_parts(PARAMS, rows.drop(columns="spectrum_outliers"), series) == []
    elif change == "no series":
        assert spectra_parts(PARAMS, rows, series[:0]) == []
    else:
        rows = rows.assign(**{"net.hidden.0": 8})[:1]
        if change == "one number":
            series = series.assign(value=np.where(series["metric"] == "nodes", 2.0, series["value"]))
        table, figure = spectra_parts(PARAMS, rows, series)
        assert isinstance(table, Table) and isinstance(figure, Figure)
        assert len(table.lines) == 1 and len(figure.picture.axes) == 1
