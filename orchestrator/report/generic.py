"""Sections for kinds that bring none: lines over one axis, heat maps over two, effects of more, counts, the best units.

Axes that only repeat a unit (seeds) are averaged over.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.effects import shares_table
from landsweep.orchestrator.report.means import grid_of, line_of
from landsweep.orchestrator.report.parallel import named_coordinate, number_coordinate, parallel_figure
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Table
from landsweep.orchestrator.report.plots import counts_figure, effects_figure, heat_figure, line_figure
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.report.readable import readable_series
from landsweep.orchestrator.report.tables import first_units, numbers
from landsweep.orchestrator.report.units import MOST_CATEGORIES, MOST_METRICS, Reading, Units, count, labels_of
from landsweep.orchestrator.report.values import group_labels, is_missing, label, ordered
from landsweep.orchestrator.row import Column, Status

__all__ = ["generic_section"]

_MOST_PANELS = 6  # lines in one plot, heat maps in one figure
_MOST_EFFECTS = 9
_MOST_BARS = 24
_LEAST_COORDINATES = 3
_MOST_CURVES = 8
_BEST = 10

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Group = tuple[str, Mask]


def generic_section(
    rows: pd.DataFrame,
    params: Sequence[Column],
    metrics: Sequence[Column],
    series: pd.DataFrame | None = None,
    reading: Reading | None = None,
) -> PageSection:
    """What the rows show when the kind says nothing: at most four metrics, in the order of their columns."""
    if not len(rows):
        return PageSection("Results", ["There are no rows yet."])
    table = Units.of(rows, params, metrics, reading)
    rows, measured = table.rows, table.metrics
    varying = [*table.axes, *table.repeats]
    parts: list[Part] = [_words(table)]
    parts += [figure for c in table.counted[:MOST_METRICS] if (figure := _counts(rows, varying, c)) is not None]
    parts += [*_pictures(table), *_parallel(table)]
    if series is not None and len(series):
        parts += _along(table, readable_series(series))
    if len(measured) and len(rows) > 1:
        parts.append(_best(table))
        if len(table.axes) > 1 and (shares := table.shares()):
            parts.append(shares_table(shares, table.goal[0].name))
    if not any(isinstance(part, Figure) for part in parts):
        parts.append(first_units(rows, [*params, *metrics]))
    if len(measured) > MOST_METRICS:
        parts.append(f"{len(measured) - MOST_METRICS} more metrics are in the table of metrics and in the rows.")
    return PageSection("Results", parts)


def _words(table: Units) -> str:
    if not table.axes:
        return "No param varies between these units."
    text = "Axes: " + ", ".join(f"{c.name} ({count(table.rows, c)} values)" for c in table.axes) + "."
    if table.repeats:
        text += f" Figures average over {' and '.join(c.name for c in table.repeats)}, which only repeats them."
    return text


def _counts(rows: pd.DataFrame, axes: Sequence[Column], metric: Column) -> Figure | None:
    """How many units gave each category, per combination of the axes that have few values."""
    by: list[Column] = []
    bars = 1
    for c in axes:
        distinct = count(rows, c)
        # an axis is left out, and averaged over, rather than split units into bars of less than three
        if distinct <= MOST_CATEGORIES and bars * distinct <= _MOST_BARS and len(rows) / (bars * distinct) >= 3:
            by.append(c)
            bars *= distinct
    if len(by) == len(axes) or len(rows) < 3:
        return None  # each bar would be a single unit
    groups = _combinations(rows, by)
    without = [is_missing(v) for v in rows[metric.name]]
    names, seen = group_labels([v for v, missing in zip(rows[metric.name], without, strict=True) if not missing])
    remaining = iter(names)
    uncounted = ("no value", *(s.value for s in Status))
    states = ["no value" if s == Status.ok.value else str(s) for s in rows["status"]]
    categories = np.array(
        [state if missing else next(remaining) for state, missing in zip(states, without, strict=True)]
    )
    extra = [a for a in uncounted if a in set(categories[np.array(without)])]
    table = {m: [int((categories[mask] == m).sum()) for _, mask in groups] for m in [*seen, *extra]}
    over = " and ".join(c.name for c in by) or "all axes"
    caption = f"How many units gave each value of {_with_meaning(metric)}, by {over}; n = {len(rows)} units."
    labels = [name or "all units" for name, _ in groups]
    return counts_figure(f"counts-{metric.name}", caption, labels, table, metric.name, over, uncounted)


def _with_meaning(metric: Column) -> str:
    return f"{metric.name} ({metric.doc.rstrip('.')})" if metric.doc else metric.name


def _pictures(table: Units) -> list[Part]:
    """Lines or maps over one or two numeric axes, one for each combination of the others; else effects."""
    rows = table.rows
    numeric = [c for c in table.axes if c.type in ("int", "float")]
    others = [c for c in table.axes if c not in numeric]
    few = not others or len(rows[[c.name for c in others]].drop_duplicates()) <= _MOST_PANELS
    groups = _combinations(rows, others) if few else []
    parts: list[Part] = []
    for metric in table.metrics[:MOST_METRICS]:
        if len(numeric) == 1 and few:
            lines = [line_of(rows[mask], numeric[0], metric, name) for name, mask in groups]
            caption = _caption(table, metric, numeric, "line", Range.of(*(line.values for line in lines)))
            parts.append(line_figure(f"{metric.name}-by-{numeric[0].name}", caption, lines, numeric[0], metric))
        elif len(numeric) == 2 and few:
            panels = [(name, *grid_of(rows[mask], numeric, metric)) for name, mask in groups]
            caption = _caption(table, metric, numeric, "map", Range.of(*(panel[3] for panel in panels)))
            name = f"{metric.name}-by-{'-'.join(c.name for c in numeric)}"
            parts.append(heat_figure(name, caption, panels, numeric[0], numeric[1], metric))
        elif table.axes:
            parts.append(_effects(table, metric))
    return parts


def _effects(table: Units, metric: Column) -> Figure:
    axes, values = table.axes[:_MOST_EFFECTS], numbers(table.rows[metric.name])
    panels = []
    for c in axes:
        by_row, names = labels_of(table.rows, c)
        parts = {name: part.to_numpy() for name, part in pd.Series(values).groupby(by_row)}
        places: list[float | None] = [None] * len(names)
        if c.type in ("int", "float"):
            places = [None if is_missing(v) else float(v) for v in ordered(table.rows[c.name])]
        panels.append((c, names, places, [parts[name] for name in names]))
    more = f" The first {len(axes)} of {len(table.axes)} axes." if len(axes) < len(table.axes) else ""
    caption = (
        f"{_with_meaning(metric)} over each axis: the median over all others, with the quartiles as a band or a bar; "
        f"n = {len(values)} units{_lost(values)}.{more}{Range.of(values).remark()}"
    )
    return effects_figure(f"{metric.name}-effects", caption, panels, metric)


def _parallel(table: Units) -> Iterator[Part]:
    """Every unit through its axes, where these are too many for a line or a map."""
    if len(table.axes) < _LEAST_COORDINATES or not table.metrics:
        return
    metric, less = table.goal
    value = numbers(table.rows[metric.name])
    rows, value = table.rows[np.isfinite(value)], value[np.isfinite(value)]
    if len(rows) < 2:
        return
    few = {c.name for c in table.axes if c.type == "text" or count(rows, c) <= MOST_CATEGORIES}
    coordinates = [
        named_coordinate(c.name, *labels_of(rows, c), value)
        if c.name in few
        else number_coordinate(c.name, rows[c.name].tolist())
        for c in table.axes
    ]
    unset = any(c.name not in few and rows[c.name].isna().any() for c in table.axes)
    yield parallel_figure(coordinates, value, metric.name, minimise=less, units="units", unset=unset)


def _lost(values: np.ndarray[Any, Any]) -> str:
    lost = int((~np.isfinite(values)).sum())
    return f", {lost} of them without a finite value" if lost else ""


def _caption(table: Units, metric: Column, numeric: Sequence[Column], what: str, shown: Range) -> str:
    others = [c for c in table.axes if c not in numeric]
    text = f"{_with_meaning(metric)} over {' and '.join(c.name for c in numeric)}"
    if others:
        text += f", one {what} per {' and '.join(c.name for c in others)}"
    text += table.over
    if table.repeats and what == "line":
        text += ", bands from the lowest to the highest"
    lost = _lost(numbers(table.rows[metric.name]))
    text += f"; n = {len(table.rows)} units{lost}"
    return text + (" (a gap in a line, a grey cell in a map)." if lost else ".") + shown.remark()


def _combinations(rows: pd.DataFrame, by: Sequence[Column]) -> list[Group]:
    """Each combination of values that occurs, in their order, with its name and the mask of its rows."""
    if not by:
        return [("", np.ones(len(rows), dtype=bool))]
    columns = [labels_of(rows, c) for c in by]
    cells = [np.array(labels) for labels, _ in columns]
    groups = []
    for combination in itertools.product(*(names for _, names in columns)):
        mask = np.logical_and.reduce([column == name for column, name in zip(cells, combination, strict=True)])
        if mask.any():
            groups.append((" · ".join(combination), mask))
    return groups


def _best(table: Units) -> Table:
    metric, less = table.goal
    ranked = table.ranked()[0].dropna(subset="goal")
    metrics = [metric, *(c for c in table.metrics[:MOST_METRICS] if c.name != metric.name)]
    places = {c.name: f"metric{i}" for i, c in enumerate(table.metrics[:MOST_METRICS])}
    averaged = bool(table.repeats)
    lines = [
        [*(table.rows[c.name].iloc[int(line["first"])] for c in table.axes), line["goal"],
         *(line[places[c.name]] for c in metrics[1:]), *([int(line["n"])] if averaged else [])]
        for line in ranked.head(_BEST).to_dict("records")
    ]  # fmt: skip
    over = f", each the mean over {' and '.join(c.name for c in table.repeats)}" if averaged else ""
    what = "combinations" if averaged else "units"
    caption = f"The {len(lines)} {what} with the {'lowest' if less else 'highest'} {metric.name}{over}."
    header = [*(c.name for c in table.axes), *(c.name for c in metrics), *(["n"] if averaged else [])]
    return Table(caption, header, lines, name="best")


def _along(table: Units, series: pd.DataFrame) -> Iterator[Part]:
    """Metrics over steps, a line for each combination of the axes: all of them where they are few, else the best."""
    if not table.metrics:
        return
    ranked, codes = table.ranked()
    shown = ranked.head(_MOST_CURVES)
    labels = [labels_of(table.rows, c)[0] for c in table.axes]
    names = {code: " · ".join(by_row[int(first)] for by_row in labels) for code, first in shown["first"].items()}
    of = {key: code for key, code in zip(table.rows["key"], codes, strict=True) if code in names}
    series = series.assign(code=series["key"].map(of)).dropna(subset="code")
    for name in ordered(series["metric"].unique())[:MOST_METRICS]:
        part = series[series["metric"] == name]
        by_code = {code: part[part["code"] == code] for code in names}
        step, value = Column("step", ""), Column("value", "")
        lines = [line_of(by_code[code], step, value, title) for code, title in names.items() if len(by_code[code])]
        if not lines or max(len(line.x) for line in lines) < 2:
            continue
        which = f"the {len(lines)} best" if len(ranked) > _MOST_CURVES else f"all {len(lines)}"
        caption = f"{label(name)} along the way, {which} by {' and '.join(c.name for c in table.axes) or 'unit'}"
        caption += f"{table.over}.{Range.of(*(line.values for line in lines)).remark()}"
        yield line_figure(f"along-{name}", caption, lines, Column("step", ""), Column(str(name), ""))
