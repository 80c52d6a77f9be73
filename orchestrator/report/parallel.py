"""Parallel coordinates: every unit as a line through its settings, coloured by what it reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landsweep.orchestrator.report.canvas import new_picture, page_style, plain, words
from landsweep.orchestrator.report.drawing import LogNorm, Normalize, ScalarMappable, colormaps
from landsweep.orchestrator.report.parts import Figure
from landsweep.orchestrator.report.values import is_missing, label

__all__ = ["UNSET", "Coordinate", "named_coordinate", "number_coordinate", "parallel_figure"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

UNSET = -0.12
"""Height at which a unit that lacks a setting crosses its axis."""
_MOST_AXES = 10
_MOST_LINES = 1000
_MOST_NAMES = 12  # beside an axis
_APART = 0.3  # of the space between two names
_WIDE = 100.0  # a logarithmic scale shows values better that span more than this
_PLATE = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.6}


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One axis.

    Attributes:
        name: of the setting.
        heights: [n] where units cross it, from 0 to 1, or `UNSET`.
        labels: heights and what stands there.
    """

    name: str
    heights: Floats
    labels: Sequence[tuple[float, str]]


def number_coordinate(name: str, cells: Sequence[object]) -> Coordinate:
    """The axis of a numeric column, logarithmic where values above 0 span more than two decades; None is not set."""
    values = np.array([np.nan if is_missing(v) else float(str(v)) for v in cells])
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    log = bool(low > 0 and high > _WIDE * low)
    a, b, x = (np.log(v) for v in (low, high, np.where(values > 0, values, np.nan))) if log else (low, high, values)
    heights = (x / 2 - a / 2) / ((b / 2 - a / 2) or 1.0)  # halves: the difference of two floats may be none
    ends = [(0.0, label(float(low))), (1.0, label(float(high)))] if high > low else [(0.0, label(float(low)))]
    return Coordinate(name, np.where(np.isfinite(heights), heights, UNSET), ends)


def named_coordinate(name: str, labels: Sequence[str], order: Sequence[str], value: Floats) -> Coordinate:
    """The axis of a column with few values, evenly spaced. Units cross it a little apart: those of a grid coincide.

    Args:
        name: of the column.
        labels: [n], of the units.
        order: all labels from below to above.
        value: [n] what units reach; less crosses lower.
    """
    places = {text: i / max(1, len(order) - 1) for i, text in enumerate(order)}
    ranks = np.argsort(np.argsort(value, kind="stable"), kind="stable") / max(1, len(value) - 1)
    heights = np.array([places[text] for text in labels]) + _APART * (ranks - 0.5) / max(1, len(order) - 1)
    shown = list(places.items())[:: -(-len(order) // _MOST_NAMES) or 1]
    return Coordinate(name, heights, [(height, text) for text, height in shown])


def parallel_figure(
    coordinates: Sequence[Coordinate], value: Floats, goal: str, *, minimise: bool, units: str, unset: bool
) -> Figure:
    """All units, the best drawn last; of more than a thousand, a thousand from all ranks.

    Args:
        coordinates: of the settings, in order; ten at most are shown.
        value: [n] what is reached; finite.
        goal: name of it.
        minimise: whether less is better.
        units: what the caption calls them, such as "trials that ended".
        unset: whether units may lack settings.
    """
    order = np.argsort(-value if minimise else value, kind="stable")
    if len(order) > _MOST_LINES:
        order = order[np.unique(np.linspace(0, len(order) - 1, _MOST_LINES).round().astype(int))]
    total, value = len(value), value[order]
    shown = [Coordinate(c.name, c.heights[order], c.labels) for c in coordinates[:_MOST_AXES]]
    log = bool(value.min() > 0 and value.max() > _WIDE * value.min())
    norm = (LogNorm if log else Normalize)(float(value.min()), float(value.max()) or 1.0)
    picture = _picture(shown, value, norm, goal, minimise=minimise, unset=unset)
    axes = [_page_axis(c) for c in shown]
    axes.append({"label": goal, "values": np.log10(value) if log else value, **(_decades(value) if log else {})})
    line = {"color": np.log10(value) if log else value, "colorscale": "Viridis", "reversescale": not minimise}
    page = page_style(go.Figure(go.Parcoords(line=line, dimensions=axes, labelangle=-18)), 440)
    page.update_layout(margin={"l": 70, "r": 50, "t": 70, "b": 30})
    which = f"Every one of the {total:,} {units}"
    if len(order) < total:
        which = f"Of the {total:,} {units} {len(order):,} from all ranks, each"
    caption = (
        f"{which} as a line through its settings to its {words(goal)}, the best drawn last; on the page a stretch of "
        "an axis can be marked to see only the lines through it."
    )
    return Figure("parallel", caption, picture, page)


def _picture(
    shown: Sequence[Coordinate],
    value: Floats,
    norm: Any,  # noqa: ANN401
    goal: str,
    *,
    minimise: bool,
    unset: bool,
) -> Any:  # noqa: ANN401 - matplotlib has no types
    lines = np.column_stack([*(c.heights for c in shown), np.asarray(norm(value), dtype=float)])
    picture = new_picture(1.35 * len(shown) + 3.2, 4.4)
    plot = picture.add_subplot()
    colours = colormaps["viridis" if minimise else "viridis_r"]
    for line, v in zip(lines, value, strict=True):
        plot.plot(line, color=colours(float(norm(v))), alpha=0.5, linewidth=1)
    for i, c in enumerate(shown):
        plot.axvline(i, color="black", linewidth=0.8)
        for height, text in c.labels:
            plot.text(i + 0.04, height, plain(text), size=7, va="center", bbox=_PLATE)
    plot.axvline(len(shown), color="black", linewidth=0.8)
    if unset:
        plot.axhline(UNSET, color="#cccccc", linewidth=0.6, zorder=0)
        plot.text(-0.06, UNSET, "not set", size=7, ha="right", va="center")
    names = [words(n) for n in (*(c.name for c in shown), goal)]
    plot.set_xticks(range(len(names)), names, rotation=25, ha="right", size=8)
    plot.set(yticks=[], xlim=(-0.1, len(shown) + 0.1))
    for side in ("top", "right", "left", "bottom"):
        plot.spines[side].set_visible(False)
    picture.colorbar(ScalarMappable(norm, colours), ax=plot, label=words(goal))
    return picture


def _page_axis(c: Coordinate) -> Mapping[str, object]:
    labels = [(UNSET, "not set"), *c.labels] if (c.heights == UNSET).any() else list(c.labels)
    return {
        "label": c.name.split(".", c.name.count(".") - 1)[-1],  # the page is narrow
        "values": c.heights,
        "range": [min(*c.heights, *(height for height, _ in labels)), max(1, *c.heights)],
        "tickvals": [height for height, _ in labels],
        "ticktext": [text for _, text in labels],
    }


def _decades(value: Floats) -> dict[str, object]:
    ends = [float(np.log10(value.min())), float(np.log10(value.max()))]
    return {"tickvals": ends, "ticktext": [f"{10**e:.3g}" for e in ends]}
