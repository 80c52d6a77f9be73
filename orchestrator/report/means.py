"""Means of a metric over one or two numeric axes, for lines and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.plots import Line
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.row import Column

__all__ = ["grid_of", "line_of"]


def _means(x: pd.Series, y: pd.Series) -> pd.DataFrame:
    """Mean, lowest and highest finite y of each x, by x."""
    finite = pd.Series(np.where(np.isfinite(numbers(y)), numbers(y), np.nan))
    return finite.groupby(numbers(x)).agg(["mean", "min", "max", "count"])


def line_of(rows: pd.DataFrame, axis: Column, metric: Column, name: str) -> Line:
    """The mean at each value of an axis, with the lowest and highest where a mean is of several units."""
    means = _means(rows[axis.name], rows[metric.name])
    spread = (means["min"].to_numpy(), means["max"].to_numpy()) if (means["count"] > 1).any() else None
    return Line(name, means.index.to_numpy(dtype=float), means["mean"].to_numpy(), spread)


def grid_of(
    rows: pd.DataFrame, axes: Sequence[Column], metric: Column
) -> tuple[list[float], list[float], np.ndarray[Any, Any]]:
    """Values of both axes, ascending, and the metric at [second axis, first axis]; nan where there is no unit."""
    values = numbers(rows[metric.name])
    cells = pd.DataFrame({"x": numbers(rows[axes[0].name]), "y": numbers(rows[axes[1].name])})
    cells["value"] = np.where(np.isfinite(values), values, np.nan)
    table = cells.groupby(["y", "x"])["value"].mean().unstack("x")
    return [float(v) for v in table.columns], [float(v) for v in table.index], table.to_numpy(dtype=float)
