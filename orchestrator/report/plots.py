"""The engine's own figures, each as a matplotlib picture and as a Plotly figure for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, page_style, panel_grid, plain, thinned
from landsweep.orchestrator.report.parts import Figure
from landsweep.orchestrator.report.ranges import Range, nearly_geometric
from landsweep.orchestrator.report.values import number
from landsweep.orchestrator.row import Column

__all__ = ["Line", "counts_figure", "effects_figure", "heat_figure", "line_figure"]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_GREYS = ("#bbbbbb", "#888888", "#555555", "#333333")
_MOST_LETTERS = 18  # of the ticks below a map, side by side
_MOST_TICKS = 7  # of an axis whose values stand side by side


def _title(c: Column) -> str:
    return f"{c.name} [{c.unit}]" if c.unit else c.name


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a figure: its name, x in ascending order, y, and the edges of its band, where it has one."""

    name: str
    x: Floats
    y: Floats
    band: tuple[Floats, Floats] | None = None

    @property
    def values(self) -> Floats:
        """All that is drawn along y."""
        return self.y if self.band is None else np.concatenate([self.y, *self.band])


def line_figure(name: str, caption: str, lines: Sequence[Line], axis: Column, metric: Column) -> Figure:
    """Lines of a metric over one axis. Non-finite points are gaps; values far beyond all others are cut off."""
    log_x = nearly_geometric(np.concatenate([line.x for line in lines]))
    span = Range.of(*(line.values for line in lines))
    low, high = span.limits()
    picture, page = new_picture(), page_style(go.Figure(), 420)
    plot = picture.add_subplot()
    for i, line in enumerate(lines):
        colour, y = PALETTE[i % len(PALETTE)], np.where(np.isfinite(line.y), line.y, np.nan)
        marker = "o" if len(line.x) <= 60 else ""
        plot.plot(line.x, y, marker=marker, markersize=3.5, color=colour, label=plain(line.name))
        if line.band is not None:
            lower, upper = (np.clip(edge, low, high) for edge in line.band)
            plot.fill_between(line.x, lower, upper, color=colour, alpha=0.18, linewidth=0)
            around = {"x": np.concatenate([line.x, line.x[::-1]]), "y": np.concatenate([upper, lower[::-1]])}
            style = {"fill": "toself", "opacity": 0.2, "line_width": 0, "fillcolor": colour, "line_color": colour}
            page.add_scatter(**around, **style, mode="lines", showlegend=False, hoverinfo="skip")
        page.add_scatter(x=line.x, y=y, name=line.name, mode="lines+markers" if marker else "lines", line_color=colour)
    plot.set(xlabel=plain(_title(axis)), ylabel=plain(_title(metric)))
    plot.set(xscale="log" if log_x else "linear", yscale="log" if span.log else "linear", ylim=(low, high))
    log_ticks(plot)
    plot.grid(alpha=0.3)
    if len(lines) > 1:
        plot.legend(fontsize=8)
    page.update_layout(showlegend=len(lines) > 1, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    page.update_xaxes(title=_title(axis), type="log" if log_x else "linear", exponentformat="power")
    ends = [math.log10(low), math.log10(high)] if span.log else [low, high]
    page.update_yaxes(title=_title(metric), type="log" if span.log else "linear", exponentformat="power", range=ends)
    return Figure(name, caption, picture, page)


def effects_figure(
    name: str,
    caption: str,
    panels: Sequence[tuple[Column, Sequence[str], Sequence[float | None], Sequence[Floats]]],
    metric: Column,
) -> Figure:
    """A panel for each axis: median and quartiles of a metric at each of its values, over all other axes.

    Args:
        name: of the file.
        caption: what is seen.
        panels: axis, labels of its values in order, their places (None: no number), the metric's values at each.
        metric: what is shown; on a logarithmic scale when it spans more than three decades.
    """
    span = Range.of(*(v for *_, groups in panels for v in groups))
    lines, columns = panel_grid(len(panels))
    picture = new_picture(3.3 * columns + 0.8, 2.9 * lines + 0.3)
    for i, (axis, labels, places, groups) in enumerate(panels):
        plot = picture.add_subplot(lines, columns, i + 1)
        finite = [v[np.isfinite(v)] for v in groups]
        low, middle, high = (
            np.array([np.quantile(v, q) if len(v) else np.nan for v in finite]) for q in (0.25, 0.5, 0.75)
        )
        if all(place is not None for place in places):
            x = np.array(places, dtype=float)
            plot.plot(x, middle, "o-", markersize=3.5, color=PALETTE[0])
            edges = (np.clip(edge, *span.limits()) for edge in (low, high))
            plot.fill_between(x, *edges, color=PALETTE[0], alpha=0.2, linewidth=0)
            plot.set_xscale("log" if nearly_geometric(x) else "linear")
            if len(x) <= _MOST_TICKS:
                plot.set_xticks(x, labels)
                plot.minorticks_off()
        else:
            x = np.arange(len(labels), dtype=float)
            plot.errorbar(x, middle, (middle - low, high - middle), fmt="o", color=PALETTE[0], capsize=3)
            ticks = thinned(len(labels), _MOST_TICKS)
            turned = sum(len(labels[tick]) for tick in ticks) > 24
            plot.set_xticks(ticks, [plain(labels[tick]) for tick in ticks], rotation=30 if turned else 0, size=8)
            plot.set_xlim(-0.5, len(labels) - 0.5)
        plot.set(xlabel=plain(_title(axis)), ylabel=plain(_title(metric)) if i % columns == 0 else "")
        plot.set(yscale="log" if span.log else "linear", ylim=span.limits())
        log_ticks(plot)
        plot.grid(alpha=0.3)
    return Figure(name, caption, picture)


def heat_figure(
    name: str,
    caption: str,
    panels: Sequence[tuple[str, Sequence[float], Sequence[float], Floats]],
    across: Column,
    up: Column,
    metric: Column,
) -> Figure:
    """Heat maps of a metric, a cell for each unit; all panels share one colour scale.

    Args:
        name: of the file.
        caption: what is seen.
        panels: title, x values, y values, metric at [y, x].
        across: the axis x.
        up: the axis y.
        metric: what the colour shows; on a logarithmic scale when it spans more than three decades. Values far beyond
            all others have the colour of the scale's end.
    """
    span = Range.of(*(grid for *_, grid in panels))
    shown = [(title, xs, ys, np.log10(grid) if span.log else grid) for title, xs, ys, grid in panels]
    low, high = (math.log10(span.low), math.log10(span.high)) if span.log else (span.low, span.high)
    label = f"log10 {_title(metric)}" if span.log else _title(metric)
    lines, columns = panel_grid(len(shown))
    picture = new_picture(max(6.0, 3.8 * columns), 3.6 * lines + 0.4)
    page = make_subplots(rows=lines, cols=columns, subplot_titles=[t for t, *_ in shown] if len(shown) > 1 else None)
    for i, (title, xs, ys, grid) in enumerate(shown):
        plot = picture.add_subplot(lines, columns, i + 1)
        plot.imshow(grid, origin="lower", aspect="auto", vmin=low, vmax=high, interpolation="nearest")
        plot.set(xlabel=plain(_title(across)), ylabel=plain(_title(up)), title=plain(title), facecolor="#dddddd")
        places, texts = _ticks(xs)
        plot.set_xticks(places, texts, rotation=30 if sum(map(len, texts)) > _MOST_LETTERS else 0)
        plot.set_yticks(*_ticks(ys))
        where = {"row": i // columns + 1, "col": i % columns + 1}
        hover = f"{across.name} %{{x}}<br>{up.name} %{{y}}<br>{label} %{{z:.6g}}<extra></extra>"
        names = [[f"{v:.12g}" for v in values] for values in (xs, ys)]
        page.add_heatmap(z=grid, x=names[0], y=names[1], coloraxis="coloraxis", hovertemplate=hover, **where)
        for update, texts, values, axis in (
            (page.update_xaxes, names[0], xs, across),
            (page.update_yaxes, names[1], ys, up),
        ):
            places, shown_texts = _ticks(values)
            at = [texts[place] for place in places]  # by name: a number would be looked up as a name, too
            update(type="category", tickvals=at, ticktext=shown_texts, title=_title(axis), showgrid=False, **where)
    ends = "both" if span.beyond else "neither"
    picture.colorbar(picture.axes[0].images[0], ax=picture.axes, label=plain(label), extend=ends)
    page_style(page, 380 * lines + 40)
    page.update_layout(
        plot_bgcolor="#dddddd",
        coloraxis={
            "colorscale": "Viridis",
            "cmin": low,
            "cmax": high,
            "colorbar": {"title": {"text": label, "side": "right"}},
        },
    )
    cells = [(t, x, y, grid[j, i]) for t, xs, ys, grid in panels for j, y in enumerate(ys) for i, x in enumerate(xs)]
    data = pd.DataFrame(cells, columns=["panel", across.name, up.name, metric.name])
    return Figure(name, caption, picture, page, data)


def _ticks(values: Sequence[float]) -> tuple[list[int], list[str]]:
    """At most seven positions at equal distances among cells that are evenly spaced, with their values as text."""
    places = list(thinned(len(values), _MOST_TICKS))
    return places, [number(values[i], 3) for i in places]


def counts_figure(
    name: str,
    caption: str,
    labels: Sequence[str],
    table: Mapping[str, Sequence[int]],
    metric: str,
    axis: str,
    uncounted: Sequence[str],
) -> Figure:
    """Stacked bars: for each label, how many units gave each category; those in `uncounted` are grey."""
    picture = new_picture(max(7.0, 0.45 * len(labels) + 2), 4.4)
    page = page_style(go.Figure(), 460)
    plot = picture.add_subplot()
    bottom = np.zeros(len(labels))
    greys = iter(_GREYS)
    for i, (category, heights) in enumerate(table.items()):
        colour = next(greys) if category in uncounted else PALETTE[i % len(PALETTE)]
        hatch = "//" if i >= len(PALETTE) else None
        plot.bar(range(len(labels)), heights, bottom=bottom, color=colour, hatch=hatch, label=plain(category))
        page.add_bar(
            x=list(range(len(labels))),
            y=list(heights),
            name=category,
            marker_color=colour,
            marker_pattern_shape="/" if hatch else "",
        )
        bottom += np.asarray(heights)
    plot.set(ylabel="units", xlabel=plain(axis))
    turned = sum(len(t) for t in labels) > 60
    texts = [plain(t) for t in labels]
    plot.set_xticks(range(len(labels)), texts, rotation=45 if turned else 0, ha="right" if turned else "center")
    picture.legend(title=plain(metric), loc="outside right upper")
    page.update_layout(
        barmode="stack", legend={"title": {"text": metric}, "orientation": "v", "y": 1, "yanchor": "top"}
    )
    page.update_xaxes(tickvals=list(range(len(labels))), ticktext=list(labels), title=axis)
    page.update_yaxes(title="units")
    return Figure(name, caption, picture, page)
