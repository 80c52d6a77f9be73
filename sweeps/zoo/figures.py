"""Pictures of a zoo, in matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, panel_grid, plain, thinned, words
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import group_labels, label
from landsweep.sweeps.lab.arrays import Floats

__all__ = [
    "MOST_BANDS",
    "curves_picture",
    "distribution_picture",
    "groups_of",
    "map_picture",
    "median_line",
    "scatter_picture",
]

_BINS = 40
_MOST_CURVES = 8
_MOST_VERTICES = 15  # of a median line
_MOST_NAMES = 12  # below a panel
MOST_BANDS = 4  # more quartile bands than that hide each other
_ANNOTATED = 80  # cells of a map that are small enough in number to hold their value as text
_STRETCH = 15.0  # even values over [0, x] have 9, three decades of log-even ones 250


def _log(values: Floats) -> bool:
    """Whether the middle of positive values spans so much that a logarithmic scale shows them better."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() <= 0:
        return False
    low, high = np.quantile(finite, [0.1, 0.9])
    return bool(high / low > _STRETCH)


def distribution_picture(values: Mapping[str, Floats], kind: str) -> Any:  # noqa: ANN401 - matplotlib has no types
    """Histograms of one metric on several splits, on common bins; a mark at each median."""
    picture = new_picture(7.0, 3.6)
    plot = picture.add_subplot()
    everything = np.concatenate(list(values.values()))
    everything = everything[np.isfinite(everything)]
    log = kind == "loss" and _log(everything)
    low, high = everything.min(), everything.max()
    high = high if high > low else low + (abs(low) or 1.0) * 1e-3
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    bins = [float(edge) for edge in edges]
    for i, (name, v) in enumerate(values.items()):
        finite = v[np.isfinite(v)]
        colour = PALETTE[i % len(PALETTE)]
        plot.hist(finite, bins, histtype="stepfilled", alpha=0.35, color=colour, label=words(name))
        plot.hist(finite, bins, histtype="step", color=colour)
        plot.axvline(float(np.median(finite)), color=colour, linestyle="--", linewidth=1)
    plot.set(xlabel=words(kind), ylabel="models", xscale="log" if log else "linear")
    log_ticks(plot)
    plot.grid(alpha=0.3)
    plot.legend()
    return picture


def map_picture(
    rows: pd.DataFrame, across: str, up: str, metric: str, compared: str | None, names: Mapping[str, Sequence[str]]
) -> tuple[Any, int]:
    """Mean of a metric in each cell of two swept fields, in a panel for each value of a third one, on one scale.

    Args:
        rows: of models that ended.
        across: the field along x.
        up: the field along y.
        metric: what the colour shows.
        compared: the field whose values have a panel each; None: one panel for all.
        names: order of the values of fields that have names.

    Returns:
        The picture, and the largest number of models in a cell.
    """
    values = np.where((rows["status"] == "ok") & np.isfinite(numbers(rows[metric])), numbers(rows[metric]), np.nan)
    fields = {f: group_labels(rows[f], names.get(f, ())) for f in (across, up, *([compared] if compared else []))}
    columns, lines = fields[across][1], fields[up][1]
    frame = pd.DataFrame({"x": fields[across][0], "y": fields[up][0], "value": values})
    frame["panel"] = fields[compared][0] if compared else ""
    titles = fields[compared][1] if compared else [""]
    cells = frame.groupby(["panel", "y", "x"])["value"]
    means = cells.mean()
    grids = [
        np.array([[means.get((title, y, x), np.nan) for x in columns] for y in lines], dtype=float) for title in titles
    ]
    down, wide = panel_grid(len(titles))
    size = max(5.0, 0.62 * len(columns) + 2.6), max(3.4, 0.42 * len(lines) + 1.4)
    shrink = 1.0 if len(titles) == 1 else 0.7
    picture = new_picture(size[0] * wide * shrink, size[1] * down * (1 if shrink == 1 else 0.9))
    span = Range.of(*grids)
    for i, (title, grid) in enumerate(zip(titles, grids, strict=True)):
        plot = picture.add_subplot(down, wide, i + 1)
        shown = np.ma.masked_invalid(grid)
        plot.imshow(shown, origin="lower", aspect="auto", interpolation="nearest", vmin=span.low, vmax=span.high)
        plot.set(xlabel=words(across), ylabel=words(up) if i % wide == 0 else "", facecolor="#dddddd")
        if title:
            plot.set_title(plain(title), size=9)
        turned = 45 if len(columns) > 8 or max(map(len, columns)) * len(columns) > (48 if shrink == 1 else 32) else 0
        plot.set_xticks(range(len(columns)), [plain(v) for v in columns], rotation=turned)
        plot.set_yticks(range(len(lines)), [plain(v) for v in lines])
        if grid.size * len(titles) <= _ANNOTATED:
            _write_cells(plot, grid, span)
    picture.colorbar(picture.axes[0].images[0], ax=picture.axes, label=words(metric))
    return picture, int(frame.groupby(["panel", "y", "x"]).size().max())


def _write_cells(plot: Any, grid: Floats, span: Range) -> None:  # noqa: ANN401 - matplotlib has no types
    middle = (span.low + span.high) / 2
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            text = f"{value:.3f}".lstrip("0") if abs(value) < 1 else f"{value:.2g}"
            plot.text(j, i, text, ha="center", va="center", size=7, color="white" if value < middle else "black")


def scatter_picture(rows: pd.DataFrame, fields: Sequence[str], metric: str, names: Mapping[str, Sequence[str]]) -> Any:  # noqa: ANN401 - matplotlib has no types
    """A panel for each field: the metric of every model, its median by value, crosses for those that diverged."""
    lines, columns = panel_grid(len(fields))
    picture = new_picture(3.2 * columns + 0.8, 2.9 * lines + 0.3)
    values = np.where((rows["status"] == "ok") & np.isfinite(numbers(rows[metric])), numbers(rows[metric]), np.nan)
    good, bad = np.isfinite(values), (rows["status"] == "diverged").to_numpy(dtype=bool)
    y = values[good]
    span = Range.of(y)
    log_y = metric.endswith("loss") and _log(y) and span.low > 0
    for i, field in enumerate(fields):
        plot = picture.add_subplot(lines, columns, i + 1)
        if pd.api.types.is_numeric_dtype(rows[field]):
            x = numbers(rows[field])
            _numeric_panel(plot, x[good], x[bad], y)
        else:
            labels, order = group_labels(rows[field], names.get(field, ()))
            by_row = np.array(labels)
            _category_panel(plot, by_row[good], by_row[bad], y, order)
        plot.set(xlabel=words(field), ylabel=words(metric) if i % columns == 0 else "")
        plot.set(yscale="log" if log_y else "linear", ylim=Range(span.low, span.high, log_y, 0).limits())
        log_ticks(plot)
        plot.grid(alpha=0.3)
    return picture


def median_line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Median of y over x: at each value of x where they repeat, else of groups of neighbours at a middle one of theirs.

    Groups never part models of equal x, so every vertex stands at a value that models have.

    Example:
        >>> x, y = np.array([0.0, 0.0, 1.0, 1.0, 1.0]), np.array([1.0, 3.0, 5.0, 6.0, 7.0])
        >>> median_line(x, y)
        (array([0., 1.]), array([2., 6.]))
    """
    points, place = np.unique(x[np.isfinite(x)], return_inverse=True)
    inside = y[np.isfinite(x)]
    if len(points) > _MOST_VERTICES:
        neighbours = np.minimum(np.arange(len(points)) * _MOST_VERTICES // len(points), _MOST_VERTICES - 1)
        place = neighbours[place]
    groups = sorted(set(place.tolist()))
    middle = [float(np.quantile(x[np.isfinite(x)][place == g], 0.5, method="lower")) for g in groups]
    return np.array(middle), np.array([float(np.median(inside[place == g])) for g in groups])


def _numeric_panel(plot: Any, x: Floats, lost: Floats, y: Floats) -> None:  # noqa: ANN401 - matplotlib has no types
    plot.scatter(x, y, s=5, alpha=0.4, color=PALETTE[0], linewidths=0)
    plot.plot(*median_line(x, y), color="black", linewidth=1.4)
    if len(lost):
        plot.plot(lost, np.zeros(len(lost)) + 0.01, "x", color=PALETTE[3], ms=4, transform=plot.get_xaxis_transform())
    if _log(np.concatenate([x, lost])):
        plot.set_xscale("log")


def _category_panel(
    plot: Any,  # noqa: ANN401 - matplotlib has no types
    x: NDArray[np.str_],
    lost: NDArray[np.str_],
    y: Floats,
    names: Sequence[str],
) -> None:
    plot.boxplot([y[x == n] for n in names], widths=0.6, showfliers=False, medianprops={"color": "black"})
    ticks = thinned(len(names), _MOST_NAMES)
    turned = 30 if len(ticks) > 3 or sum(len(names[tick]) for tick in ticks) > 24 else 0
    plot.set_xticks([tick + 1 for tick in ticks], [plain(names[tick]) for tick in ticks], rotation=turned, size=8)
    for place, n in enumerate(names, 1):
        if count := int((lost == n).sum()):
            plot.plot([place], [0.01], "x", color=PALETTE[3], ms=4, transform=plot.get_xaxis_transform())
            plot.annotate(f" {count}", (place, 0.01), xycoords=plot.get_xaxis_transform(), color=PALETTE[3], size=8)


def curves_picture(
    series: pd.DataFrame, rows: pd.DataFrame, by: str | None, metric: str, names: Mapping[str, Sequence[str]]
) -> tuple[Any, int]:
    """Median, and for a few groups quartiles, of a metric over steps, for each value of a field or quarter of them."""
    picture = new_picture(7.0, 3.9)
    plot = picture.add_subplot()
    column = rows[by] if by is not None else None
    many = column is not None and pd.api.types.is_numeric_dtype(column) and column.nunique() > _MOST_CURVES
    labels, order = (
        (["all"] * len(rows), ["all"])
        if column is None
        else groups_of(column, 4 if many else None, names.get(str(by), ()))
    )
    merged = series.merge(pd.DataFrame({"key": rows["key"], "_group": labels}), on="key")
    present = [n for n in order if n in set(merged["_group"])]
    for i, name in enumerate(present):
        part = merged[merged["_group"] == name].groupby("step")["value"]
        middle, low, high = part.median(), part.quantile(0.25), part.quantile(0.75)
        colour = PALETTE[i % len(PALETTE)]
        marker = "o" if len(middle) < 20 else ""
        plot.plot(middle.index, middle, color=colour, marker=marker, ms=3, label=plain(str(name)))
        if len(present) <= MOST_BANDS:
            plot.fill_between(middle.index, low, high, color=colour, alpha=0.18, linewidth=0)
    log = metric.endswith("loss") and _log(merged["value"].to_numpy(float))
    plot.set(xlabel="step", ylabel=words(metric), yscale="log" if log else "linear")
    log_ticks(plot)
    plot.grid(alpha=0.3)
    if by is not None and len(present) > 1:
        picture.legend(title=words(by), fontsize=8, loc="outside right upper")
    return picture, len(present)


def groups_of(column: pd.Series, parts: int | None, given: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """A label for each row, and the labels in order: of each value, or of this many equal parts of the numbers."""
    if parts is None:
        return group_labels(column, given)
    values = pd.Series(numbers(column))
    cut = pd.qcut(values, parts, duplicates="drop")
    ranges = values.groupby(cut, observed=True).agg(["min", "max"])
    names = {i: f"{label(low)} to {label(high)}" for i, low, high in ranges.itertuples()}
    labels = [names.get(i, label(None)) for i in cut]
    return labels, list(dict.fromkeys([*names.values(), *labels]))
