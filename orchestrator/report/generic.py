"""Sections for kinds that bring none: lines over one axis, heat maps over two, effects of more, counts, the best units.

Axes that only repeat a unit (seeds) are averaged over.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.effects import shares_of_order, shares_table
from landsweep.orchestrator.report.means import grid_of, line_of
from landsweep.orchestrator.report.parallel import named_coordinate, number_coordinate, parallel_figure
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Table
from landsweep.orchestrator.report.plots import counts_figure, effects_figure, heat_figure, line_figure
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.report.readable import readable_rows, readable_series
from landsweep.orchestrator.report.tables import first_units, numbers
from landsweep.orchestrator.report.values import group_labels, is_missing, label, number, ordered
from landsweep.orchestrator.row import Column, Status

__all__ = ["Reading", "generic_answer", "generic_section"]

_MOST_METRICS = 4
_MOST_PANELS = 6  # lines in one plot, heat maps in one figure
_MOST_EFFECTS = 9
_MOST_CATEGORIES = 12
_MOST_BARS = 24
_LEAST_COORDINATES = 3
_MOST_CURVES = 8
_BEST = 10
_LEAST_SHARE = 0.1  # of the order: an axis that explains less is not said to matter
_REPEATS = re.compile(r"(^|[._])(seed|replicate|replica|repeat|repetition|rep|trial|fold)s?(_?(id|index))?$", re.I)
_MORE = re.compile(r"acc|score|reward|return|auc|f1|precision|recall|throughput|per_second|success|correlation", re.I)

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Group = tuple[str, Mask]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rows alone don't say.

    Attributes:
        repeats: axes that only repeat a unit; None: those that are called seed, replicate, repeat, trial or fold.
        goal: the metric that says which units are best; None: the first that varies.
        less: whether less of it is better; None: by its name, as an accuracy or a loss.
    """

    repeats: tuple[str, ...] | None = None
    goal: str | None = None
    less: bool | None = None


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows with the columns by the part that they play."""

    rows: pd.DataFrame
    axes: list[Column]
    repeats: list[Column]
    metrics: list[Column]

    @property
    def over(self) -> str:
        """What is averaged, for a caption."""
        return f", means over {' and '.join(c.name for c in self.repeats)}" if self.repeats else ""


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
    reading = reading or Reading()
    table = _table(rows, params, metrics, reading)
    rows, measured = table.rows, table.metrics
    counted = [c for c in metrics if _is_category(rows, c)]
    varying = [*table.axes, *table.repeats]
    parts: list[Part] = [_words(table)]
    parts += [figure for c in counted[:_MOST_METRICS] if (figure := _counts(rows, varying, c)) is not None]
    parts += [*_pictures(table), *_parallel(table, reading)]
    if series is not None and len(series):
        parts += _along(table, readable_series(series), reading)
    if len(measured) and len(rows) > 1:
        parts.append(_best(table, reading))
        if len(table.axes) > 1 and (shares := _shares(table, reading)):
            parts.append(shares_table(shares, _goal(table, reading)[0].name))
    if not any(isinstance(part, Figure) for part in parts):
        parts.append(first_units(rows, [*params, *metrics]))
    if len(measured) > _MOST_METRICS:
        parts.append(f"{len(measured) - _MOST_METRICS} more metrics are in the table of metrics and in the rows.")
    return PageSection("Results", parts)


def generic_answer(
    rows: pd.DataFrame, params: Sequence[Column], metrics: Sequence[Column], reading: Reading | None = None
) -> str:
    """The best units in one sentence, and the axis that matters most; empty where nothing can be compared."""
    reading = reading or Reading()
    if len(rows) < 2:
        return ""
    table = _table(rows, params, metrics, reading)
    if not table.metrics or not table.axes:
        return ""
    metric, less = _goal(table, reading)
    ranked = _ranked(table, reading)[0].dropna(subset="goal")
    if len(ranked) < 2 or ranked["goal"].iloc[0] == ranked["goal"].median():  # then half of them are as good
        return ""
    first, goal = int(ranked["first"].iloc[0]), ranked["goal"]
    where = ", ".join(f"{c.name} = {label(table.rows[c.name].iloc[first])}" for c in table.axes[:_MOST_METRICS])
    over = f" (mean over {' and '.join(c.name for c in table.repeats)})" if table.repeats else ""
    best, median = number(float(goal.iloc[0]), 3), number(float(goal.median()), 3)
    text = f"The {'lowest' if less else 'highest'} {metric.name} is {best}, at {where}{over}; the median of "
    text += f"{len(ranked):,} {'combinations' if table.repeats else 'units'} is {median}."
    shares = _shares(table, reading) if len(table.axes) > 1 else {}
    name, share = next(iter(shares.items()), ("", 0.0))
    if share >= _LEAST_SHARE:
        text += f" {name} matters most: alone it explains {share:.0%} of their order."
    return text


def _table(rows: pd.DataFrame, params: Sequence[Column], metrics: Sequence[Column], reading: Reading) -> _Table:
    rows = readable_rows(rows, [*params, *metrics])
    measured = [c for c in metrics if not _is_category(rows, c) and _varies(rows, c)]
    varying = _independent(rows, [c for c in params if _count(rows, c) > 1])
    repeats = [c for c in varying if _repeats(c, reading)]
    axes = [c for c in varying if c not in repeats]
    return _Table(rows, axes, repeats, measured) if axes else _Table(rows, repeats, [], measured)


def _shares(table: _Table, reading: Reading) -> dict[str, float]:
    """Axis to the share of the order of the combinations that it explains alone."""
    ranked = _ranked(table, reading)[0]
    labels = pd.DataFrame({c.name: [_labels(table.rows, c)[0][int(i)] for i in ranked["first"]] for c in table.axes})
    return shares_of_order(labels, ranked["goal"].tolist())


def _repeats(c: Column, reading: Reading) -> bool:
    return bool(_REPEATS.search(c.name)) if reading.repeats is None else c.name in reading.repeats


def _count(rows: pd.DataFrame, c: Column) -> int:
    """Distinct values, nothing at all among them where it occurs beside others."""
    return int(rows[c.name].nunique(dropna=False))


def _labels(rows: pd.DataFrame, c: Column) -> tuple[list[str], list[str]]:
    """A label for each row, and the labels in order: numbers by size, text in the order of the plan."""
    given = list(dict.fromkeys(rows[c.name])) if c.type == "text" else []
    return group_labels(rows[c.name], given)


def _words(table: _Table) -> str:
    if not table.axes:
        return "No param varies between these units."
    text = "Axes: " + ", ".join(f"{c.name} ({_count(table.rows, c)} values)" for c in table.axes) + "."
    if table.repeats:
        text += f" Figures average over {' and '.join(c.name for c in table.repeats)}, which only repeats them."
    return text


def _independent(rows: pd.DataFrame, axes: list[Column]) -> list[Column]:
    """The axes without those that an earlier one determines, as zipped axes are."""
    independent: list[Column] = []
    for c in axes:
        count = _count(rows, c)
        pairs = (rows[[k.name, c.name]].drop_duplicates() for k in independent if _count(rows, k) == count)
        if not any(len(pair) == count for pair in pairs):
            independent.append(c)
    return independent


def _is_category(rows: pd.DataFrame, c: Column) -> bool:
    return c.type != "float" and 1 <= rows[c.name].nunique() <= _MOST_CATEGORIES


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
        count = _count(rows, c)
        # an axis is left out, and averaged over, rather than split units into bars of less than three
        if count <= _MOST_CATEGORIES and bars * count <= _MOST_BARS and len(rows) / (bars * count) >= 3:
            by.append(c)
            bars *= count
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


def _pictures(table: _Table) -> list[Part]:
    """Lines or maps over one or two numeric axes, one for each combination of the others; else effects."""
    rows = table.rows
    numeric = [c for c in table.axes if c.type in ("int", "float")]
    others = [c for c in table.axes if c not in numeric]
    few = not others or len(rows[[c.name for c in others]].drop_duplicates()) <= _MOST_PANELS
    groups = _combinations(rows, others) if few else []
    parts: list[Part] = []
    for metric in table.metrics[:_MOST_METRICS]:
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


def _effects(table: _Table, metric: Column) -> Figure:
    axes, values = table.axes[:_MOST_EFFECTS], numbers(table.rows[metric.name])
    panels = []
    for c in axes:
        by_row, names = _labels(table.rows, c)
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


def _parallel(table: _Table, reading: Reading) -> Iterator[Part]:
    """Every unit through its axes, where these are too many for a line or a map."""
    if len(table.axes) < _LEAST_COORDINATES or not table.metrics:
        return
    metric, less = _goal(table, reading)
    value = numbers(table.rows[metric.name])
    rows, value = table.rows[np.isfinite(value)], value[np.isfinite(value)]
    if len(rows) < 2:
        return
    few = {c.name for c in table.axes if c.type == "text" or _count(rows, c) <= _MOST_CATEGORIES}
    coordinates = [
        named_coordinate(c.name, *_labels(rows, c), value)
        if c.name in few
        else number_coordinate(c.name, rows[c.name].tolist())
        for c in table.axes
    ]
    unset = any(c.name not in few and rows[c.name].isna().any() for c in table.axes)
    yield parallel_figure(coordinates, value, metric.name, minimise=less, units="units", unset=unset)


def _lost(values: np.ndarray[Any, Any]) -> str:
    lost = int((~np.isfinite(values)).sum())
    return f", {lost} of them without a finite value" if lost else ""


def _caption(table: _Table, metric: Column, numeric: Sequence[Column], what: str, shown: Range) -> str:
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
    columns = [_labels(rows, c) for c in by]
    cells = [np.array(labels) for labels, _ in columns]
    groups = []
    for combination in itertools.product(*(names for _, names in columns)):
        mask = np.logical_and.reduce([column == name for column, name in zip(cells, combination, strict=True)])
        if mask.any():
            groups.append((" · ".join(combination), mask))
    return groups


def _goal(table: _Table, reading: Reading) -> tuple[Column, bool]:
    """The metric that ranks the units, and whether less of it is better."""
    metric = next((c for c in table.metrics if c.name == reading.goal), table.metrics[0])
    less = reading.less if reading.less is not None else not _MORE.search(metric.name)
    return metric, less


def _ranked(table: _Table, reading: Reading) -> tuple[pd.DataFrame, list[int]]:
    """A line for each combination of the axes, the best first; and for each row the combination it belongs to.

    Returns:
        Columns `goal`, `metric0`, ... (means), `n` (values that the goal's mean is of) and `first` (place of a row of
        the combination), by the combination's number; and that number of each row.
    """
    metric, less = _goal(table, reading)
    shown = table.metrics[:_MOST_METRICS]
    frame = pd.DataFrame(index=range(len(table.rows)))
    for name, c in {"goal": metric, **{f"metric{i}": c for i, c in enumerate(shown)}}.items():
        values = numbers(table.rows[c.name])
        frame[name] = np.where(np.isfinite(values), values, np.nan)
    names = pd.DataFrame({i: _labels(table.rows, c)[0] for i, c in enumerate(table.axes)}, index=frame.index)
    codes = names.groupby(list(names), sort=False).ngroup().to_numpy() if len(names.columns) else np.arange(len(frame))
    groups = frame.groupby(codes)
    ranked = groups.mean().assign(n=groups["goal"].count())
    ranked["first"] = np.unique(codes, return_index=True)[1]
    return ranked.sort_values("goal", ascending=less, kind="stable"), codes.tolist()


def _best(table: _Table, reading: Reading) -> Table:
    metric, less = _goal(table, reading)
    ranked = _ranked(table, reading)[0].dropna(subset="goal")
    metrics = [metric, *(c for c in table.metrics[:_MOST_METRICS] if c.name != metric.name)]
    places = {c.name: f"metric{i}" for i, c in enumerate(table.metrics[:_MOST_METRICS])}
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


def _along(table: _Table, series: pd.DataFrame, reading: Reading) -> Iterator[Part]:
    """Metrics over steps, a line for each combination of the axes: all of them where they are few, else the best."""
    if not table.metrics:
        return
    ranked, codes = _ranked(table, reading)
    shown = ranked.head(_MOST_CURVES)
    labels = [_labels(table.rows, c)[0] for c in table.axes]
    names = {code: " · ".join(by_row[int(first)] for by_row in labels) for code, first in shown["first"].items()}
    of = {key: code for key, code in zip(table.rows["key"], codes, strict=True) if code in names}
    series = series.assign(code=series["key"].map(of)).dropna(subset="code")
    for name in ordered(series["metric"].unique())[:_MOST_METRICS]:
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
