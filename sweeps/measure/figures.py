"""Pictures of measures, in matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, panel_grid, plain, shades, thinned
from landsweep.orchestrator.report.canvas import words as in_words
from landsweep.orchestrator.report.ranges import Range, nearly_geometric
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import group_labels
from landsweep.sweeps.lab.arrays import Floats

__all__ = ["Scatter", "curves_picture", "lines_picture", "matrix_picture", "scatter_picture"]

_MOST_LINES = 8
_MOST_NAMES = 12  # along a matrix
_ANNOTATED = 100  # cells of a matrix that are small enough in number to hold their value as text


@dataclass(frozen=True, slots=True)
class Scatter:
    """A panel: a column of the measure against a metric of the models, and what is written above it."""

    across: str
    up: str
    title: str


def lines_picture(rows: pd.DataFrame, columns: Sequence[str], across: str, by: str | None) -> Any:  # noqa: ANN401
    """A panel for each column: medians over models of each value of a param, with quartiles; lines by another one."""
    down, wide = panel_grid(len(columns), 2)
    picture = new_picture(4.6 * wide + 1.2, 3.2 * down + 0.3)
    labels, order = (["all"] * len(rows), ["all"]) if by is None else group_labels(rows[by])
    numeric = pd.api.types.is_numeric_dtype(rows[across])
    names, places = group_labels(rows[across])
    x = numbers(rows[across]) if numeric else np.array([float(places.index(name)) for name in names])
    colours = PALETTE if len(order) <= len(PALETTE) else shades(len(order))
    for i, column in enumerate(columns):
        plot = picture.add_subplot(down, wide, i + 1)
        y = numbers(rows[column])
        drawn = []
        for k, name in enumerate(order):
            mine = np.array([label == name for label in labels]) & np.isfinite(x) & np.isfinite(y)
            points = np.unique(x[mine])
            if not len(points):
                continue
            cells = [y[mine & (x == point)] for point in points]
            low, middle, high = (np.array([np.quantile(c, q) for c in cells]) for q in (0.25, 0.5, 0.75))
            style = "o-" if numeric else "o"
            plot.plot(
                points, middle, style, color=colours[k], markersize=3.5, label=plain(str(name)) if i == 0 else None
            )
            if numeric and len(order) <= 4:
                plot.fill_between(points, low, high, color=colours[k], alpha=0.18, linewidth=0)
            drawn.append(middle)
        span = Range.of(*drawn) if drawn else Range.of(np.array([]))
        plot.set(xlabel=in_words(across.removeprefix("of_")), ylabel=in_words(column))
        plot.set(yscale="log" if span.log else "linear")
        if numeric and nearly_geometric(x):
            plot.set_xscale("log")
        if not numeric:
            ticks = thinned(len(places), _MOST_NAMES)
            turned = 30 if sum(len(places[t]) for t in ticks) > 24 else 0
            plot.set_xticks(list(ticks), [plain(places[t]) for t in ticks], rotation=turned, size=8)
        log_ticks(plot)
        plot.grid(alpha=0.3)
    if by is not None and 1 < len(order) <= 2 * _MOST_LINES:
        picture.legend(title=in_words(by.removeprefix("of_")), fontsize=8, loc="outside right upper")
    return picture


def scatter_picture(rows: pd.DataFrame, panels: Sequence[Scatter], by: str | None) -> Any:  # noqa: ANN401
    """A panel for each pair of columns: a point for each model, coloured by a param."""
    down, wide = panel_grid(len(panels))
    picture = new_picture(3.4 * wide + 1.2, 3.1 * down + 0.3)
    labels, order = (["all"] * len(rows), ["all"]) if by is None else group_labels(rows[by])
    colours = PALETTE if len(order) <= len(PALETTE) else shades(len(order))
    for i, panel in enumerate(panels):
        plot = picture.add_subplot(down, wide, i + 1)
        x, y = numbers(rows[panel.across]), numbers(rows[panel.up])
        for k, name in enumerate(order):
            mine = np.array([label == name for label in labels]) & np.isfinite(x) & np.isfinite(y)
            plot.scatter(
                x[mine],
                y[mine],
                s=16,
                alpha=0.75,
                color=colours[k],
                linewidths=0,
                label=plain(str(name)) if i == 0 else None,
            )
        across, up = Range.of(x), Range.of(y)
        plot.set(xlabel=in_words(panel.across.removeprefix("of_")), ylabel=in_words(panel.up))
        plot.set(xscale="log" if across.log else "linear", yscale="log" if up.log else "linear")
        plot.set_title(plain(panel.title), size=9)
        log_ticks(plot)
        plot.grid(alpha=0.3)
    if by is not None and 1 < len(order) <= 2 * _MOST_LINES:
        picture.legend(title=in_words(by.removeprefix("of_")), fontsize=8, loc="outside right upper")
    return picture


def matrix_picture(names: Sequence[str], grid: Floats, column: str) -> Any:  # noqa: ANN401 - matplotlib has no types
    """A cell for each pair of models, equal on both sides of the diagonal; pairs that were not measured are grey."""
    n = len(names)
    size = min(10.0, max(4.2, 0.32 * n + 2.4))
    picture = new_picture(size + 0.9, size)
    plot = picture.add_subplot()
    span = Range.of(grid)
    shown = np.ma.masked_invalid(grid)
    plot.imshow(shown, interpolation="nearest", vmin=span.low, vmax=span.high)
    ticks = list(thinned(n, _MOST_NAMES))
    texts = [plain(names[t]) for t in ticks]
    plot.set_xticks(ticks, texts, rotation=45, ha="right", size=8)
    plot.set_yticks(ticks, texts, size=8)
    plot.set_facecolor("#dddddd")
    if n * n <= _ANNOTATED:
        middle = (span.low + span.high) / 2
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                colour = "white" if value < middle else "black"
                plot.text(j, i, f"{value:.3g}", ha="center", va="center", size=7, color=colour)
    picture.colorbar(plot.images[0], ax=plot, label=in_words(column))
    return picture


def curves_picture(panels: Sequence[tuple[str, pd.DataFrame]], groups: pd.Series | None, *, each: bool) -> Any:  # noqa: ANN401 - matplotlib has no types
    """A panel for each curve of a measure, coloured by group.

    Args:
        panels: name of the curve, and its key, step and value.
        groups: key of the unit to the value of a param; None: one colour.
        each: a line for each subject; else their median at each position, with quartiles where groups are few.
    """
    down, wide = panel_grid(len(panels), 2)
    picture = new_picture(4.6 * wide + 1.2, 3.2 * down + 0.3)
    labels, order = ([], ["all"]) if groups is None else group_labels(groups)
    group_of = {} if groups is None else dict(zip(groups.index, labels, strict=True))
    colours = PALETTE if len(order) <= len(PALETTE) else shades(len(order))
    for i, (name, curve) in enumerate(panels):
        plot = picture.add_subplot(down, wide, i + 1)
        lines = curve.assign(group=[group_of.get(key, "all") for key in curve["key"]])
        for k, group in enumerate(order):
            mine = lines[lines["group"] == group]
            style: dict[str, Any] = {"color": colours[k], "linewidth": 1.3}
            if each:
                for _, line in mine.groupby("key", sort=False):
                    plot.plot(line["step"], line["value"], alpha=0.7, **style)
            elif len(mine):
                at = mine.groupby("step")["value"]
                plot.plot(at.median().index, at.median(), **style)
                if len(order) <= 4:
                    plot.fill_between(at.median().index, at.quantile(0.25), at.quantile(0.75), alpha=0.18, **style)
            if i == 0:
                plot.plot([], [], label=plain(group), **style)
        span = Range.of(numbers(curve["value"]))
        plot.set(xlabel="position", ylabel=in_words(name), yscale="log" if span.log else "linear")
        log_ticks(plot)
        plot.grid(alpha=0.3)
    if groups is not None and 1 < len(order) <= 2 * _MOST_LINES:
        picture.legend(title=in_words(str(groups.name).removeprefix("of_")), fontsize=8, loc="outside right upper")
    return picture
