"""Sections for kinds that bring none: lines over one axis, heat maps over two, counts of categories, else a table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.report.parts import Figure, Part, Section, Table
from orchestrator.report.plots import counts_figure, heat_figure, line_figure
from orchestrator.report.tables import numbers
from orchestrator.report.values import number
from orchestrator.row import Column, Status

__all__ = ["generic_section"]

_MOST_METRICS = 4
_MOST_PANELS = 6  # lines in one plot, heat maps in one figure
_MOST_CATEGORIES = 12
_MOST_BARS = 24
_MOST_LINES = 50


def generic_section(rows: pd.DataFrame, params: Sequence[Column], metrics: Sequence[Column]) -> Section:
    """What the rows show when the kind says nothing: at most four metrics, in the order of their columns."""
    if not len(rows):
        return Section("Results", ["There are no rows yet."])
    axes = _independent(rows, [c for c in params if rows[c.name].nunique(dropna=False) > 1])
    counted = [c for c in metrics if _is_category(rows, c)]
    measured = [c for c in metrics if c not in counted and _varies(rows, c)]
    parts: list[Part] = [_words(rows, axes)]
    parts += [figure for c in counted[:_MOST_METRICS] if (figure := _counts(rows, axes, c)) is not None]
    parts += _curves(rows, axes, measured)
    if len(parts) == 1:
        parts.append(_first_lines(rows, params, metrics))
    if len(measured) > _MOST_METRICS and len(parts) > 1:
        parts.append(f"{len(measured) - _MOST_METRICS} more metrics are in the table of metrics and in the rows.")
    return Section("Results", parts)


def _words(rows: pd.DataFrame, axes: Sequence[Column]) -> str:
    if not axes:
        return "No param varies between these units."
    return "Axes: " + ", ".join(f"{c.name} ({rows[c.name].nunique()} values)" for c in axes) + "."


def _independent(rows: pd.DataFrame, axes: list[Column]) -> list[Column]:
    """The axes without those that an earlier one determines, as zipped axes are."""
    kept: list[Column] = []
    for c in axes:
        count = rows[c.name].nunique()
        pairs = (rows[[k.name, c.name]].drop_duplicates() for k in kept if rows[k.name].nunique() == count)
        if not any(len(pair) == count for pair in pairs):
            kept.append(c)
    return kept


def _is_category(rows: pd.DataFrame, c: Column) -> bool:
    if c.type == "float":
        return False
    return bool(1 <= rows[c.name].nunique() <= _MOST_CATEGORIES)


def _varies(rows: pd.DataFrame, c: Column) -> bool:
    if c.type in ("text", "bool"):
        return False
    values = numbers(rows[c.name])
    return len(np.unique(values[np.isfinite(values)])) > 1


def _counts(rows: pd.DataFrame, axes: Sequence[Column], metric: Column) -> Figure | None:
    """How many units gave each category, per combination of the axes that have few values."""
    by: list[Column] = []
    bars = 1
    for c in axes:
        count = rows[c.name].nunique()
        if count <= _MOST_CATEGORIES and bars * count <= _MOST_BARS and len(rows) / (bars * count) >= 3:
            by.append(c)
            bars *= count
    if len(by) == len(axes) or len(rows) < 3:
        return None  # each bar would be a single unit
    groups = _combinations(rows, by)
    labels = [" · ".join(_text(v) for v in values) or "all units" for values, _ in groups]
    marks = rows[metric.name].map(lambda v: "" if pd.isna(v) else _text(v))
    marks = marks.where(marks != "", rows["status"].map(lambda s: "no value" if s == Status.ok.value else str(s)))
    aside = ("no value", *(s.value for s in Status))
    seen = sorted(set(marks), key=lambda m: (m in aside, _sortable(m)))
    table = {m: [int((marks[mask] == m).sum()) for _, mask in groups] for m in seen}
    over = " and ".join(c.name for c in by) or "all axes"
    doc = f" ({metric.doc.rstrip('.')})" if metric.doc else ""
    caption = f"How many units gave each value of {metric.name}{doc}, by {over}; n = {len(rows)} units."
    return counts_figure(f"counts-{metric.name}", caption, labels, table, metric.name, over, aside)


def _curves(rows: pd.DataFrame, axes: Sequence[Column], metrics: Sequence[Column]) -> list[Part]:
    """Lines or heat maps of metrics over the numeric axes; one line or panel for each combination of the others."""
    numeric = [c for c in axes if c.type in ("int", "float")]
    others = [c for c in axes if c not in numeric]
    groups = _combinations(rows, others)
    if len(numeric) not in (1, 2) or len(groups) > _MOST_PANELS:
        return []
    titles = [" · ".join(_text(v) for v in values) for values, _ in groups]
    parts: list[Part] = []
    for metric in metrics[:_MOST_METRICS]:
        values = numbers(rows[metric.name])
        lost = int((~np.isfinite(values)).sum())
        caption = _caption(metric, numeric, others, len(rows), lost)
        name = f"{metric.name}-by-{'-'.join(c.name for c in numeric)}"
        if len(numeric) == 1:
            x = numbers(rows[numeric[0].name])
            lines = [(title, x[mask], values[mask]) for title, (_, mask) in zip(titles, groups, strict=True)]
            parts.append(line_figure(name, caption, lines, numeric[0], metric))
        else:
            panels = [
                (title, *_grid(rows[mask], numeric, metric)) for title, (_, mask) in zip(titles, groups, strict=True)
            ]
            parts.append(heat_figure(name, caption, panels, numeric[0], numeric[1], metric))
    return parts


def _caption(metric: Column, numeric: Sequence[Column], others: Sequence[Column], units: int, lost: int) -> str:
    doc = f" ({metric.doc.rstrip('.')})" if metric.doc else ""
    text = f"{metric.name}{doc} over {' and '.join(c.name for c in numeric)}"
    if others:
        text += f", one {'line' if len(numeric) == 1 else 'map'} per {' and '.join(c.name for c in others)}"
    text += f"; n = {units} units"
    return text + (f", {lost} of them without a finite value (a gap in a line, a grey cell in a map)." if lost else ".")


def _grid(
    rows: pd.DataFrame, axes: Sequence[Column], metric: Column
) -> tuple[list[float], list[float], np.ndarray[Any, Any]]:
    """Values of both axes, ascending, and the metric at [second axis, first axis]; nan where there is no unit."""
    x, y = numbers(rows[axes[0].name]), numbers(rows[axes[1].name])
    xs, ys = np.unique(x), np.unique(y)
    grid = np.full((len(ys), len(xs)), np.nan)
    values = numbers(rows[metric.name])
    grid[np.searchsorted(ys, y), np.searchsorted(xs, x)] = np.where(np.isfinite(values), values, np.nan)
    return xs.tolist(), ys.tolist(), grid


def _combinations(
    rows: pd.DataFrame, by: Sequence[Column]
) -> list[tuple[tuple[object, ...], np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Each combination of values that occurs, in the order of the rows, with the mask of its rows."""
    if not by:
        return [((), np.ones(len(rows), dtype=bool))]
    values = [list(dict.fromkeys(rows[c.name])) for c in by]
    found = []
    for combination in itertools.product(*values):
        mask = np.ones(len(rows), dtype=bool)
        for c, value in zip(by, combination, strict=True):
            mask &= (rows[c.name].isna() if pd.isna(value) else rows[c.name] == value).to_numpy(dtype=bool)
        if mask.any():
            found.append((combination, mask))
    return found


def _text(value: object, digits: int = 4) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | float | np.number):
        return number(float(f"{float(value):.{digits}g}")).replace(",", "")
    return str(value)


def _sortable(mark: str) -> tuple[int, float, str]:
    try:
        return 0, float(mark), mark
    except ValueError:
        return 1, 0.0, mark


def _first_lines(rows: pd.DataFrame, params: Sequence[Column], metrics: Sequence[Column]) -> Table:
    shown = [*params, *metrics][:12]
    header = [*(f"{c.name} [{c.unit}]" if c.unit else c.name for c in shown), "status"]
    lines = [
        [*("-" if pd.isna(v) else _text(v, 6) for v in line[:-1]), str(line[-1])]
        for line in rows[[*(c.name for c in shown), "status"]].head(_MOST_LINES).itertuples(index=False)
    ]
    more = f"; the other {len(rows) - _MOST_LINES} are in rows/*.parquet" if len(rows) > _MOST_LINES else ""
    return Table(f"The first {len(lines)} units in the plan's order{more}.", header, lines)
