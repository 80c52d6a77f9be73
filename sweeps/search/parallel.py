"""Parallel coordinates: every trial as a line through its settings, coloured by what it reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from landsweep.orchestrator.report.canvas import new_picture, page_style, plain, words
from landsweep.orchestrator.report.drawing import LogNorm, Normalize, ScalarMappable, colormaps
from landsweep.orchestrator.report.parts import Figure
from landsweep.orchestrator.search.space import Dimension
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.search.figures import floats, wide
from landsweep.sweeps.search.table import exists_in

__all__ = ["parallel_figure"]

_MOST = 10
_PLATE = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.6}
_UNSET = -0.12  # where a setting that does not exist in a trial is drawn


def parallel_figure(trials: pd.DataFrame, dimensions: Sequence[Dimension], goal: str, *, minimise: bool) -> Figure:
    """All trials with a finite goal, the best drawn last.

    Args:
        trials: of `trials_of`, at least one with a finite goal.
        dimensions: of the space.
        goal: its metric.
        minimise: whether less is better.
    """
    done = trials[(trials["state"] == "ok") & np.isfinite(floats(trials[goal]))]
    done = done.sort_values(goal, ascending=not minimise, kind="stable")
    exists = {d.name: exists_in(done, d, dimensions) for d in dimensions}
    shown = [d for d in dimensions if exists[d.name].any()][:_MOST]
    heights = {d.name: _heights(done, d, exists[d.name]) for d in shown}
    value = floats(done[goal])
    log = wide(value)
    norm = (LogNorm if log else Normalize)(float(value.min()), float(value.max()) or 1.0)
    lines = np.column_stack([*(heights[d.name] for d in shown), floats(norm(value))])
    picture = new_picture(1.35 * len(shown) + 3.2, 4.4)
    plot = picture.add_subplot()
    colours = colormaps["viridis" if minimise else "viridis_r"]
    for line, v in zip(lines, value, strict=True):
        plot.plot(line, color=colours(float(norm(v))), alpha=0.5, linewidth=1)
    for i, d in enumerate(shown):
        plot.axvline(i, color="black", linewidth=0.8)
        for height, text in _labels(d):
            plot.text(i + 0.04, height, plain(text), size=7, va="center", bbox=_PLATE)
    plot.axvline(len(shown), color="black", linewidth=0.8)
    if any(d.when for d in shown):
        plot.axhline(_UNSET, color="#cccccc", linewidth=0.6, zorder=0)
        plot.text(-0.06, _UNSET, "not set", size=7, ha="right", va="center")
    names = [words(n) for n in (*(d.name for d in shown), goal)]
    plot.set_xticks(range(len(names)), names, rotation=25, ha="right", size=8)
    plot.set(yticks=[], xlim=(-0.1, len(shown) + 0.1))
    for side in ("top", "right", "left", "bottom"):
        plot.spines[side].set_visible(False)
    picture.colorbar(ScalarMappable(norm, colours), ax=plot, label=words(goal))
    axes = [_page_axis(d, heights[d.name]) for d in shown]
    axes.append({"label": goal, "values": np.log10(value) if log else value, **(_decades(value) if log else {})})
    line = {"color": np.log10(value) if log else value, "colorscale": "Viridis", "reversescale": not minimise}
    page = page_style(go.Figure(go.Parcoords(line=line, dimensions=axes, labelangle=-18)), 440)
    page.update_layout(margin={"l": 70, "r": 50, "t": 70, "b": 30})
    caption = (
        f"Every one of the {len(done)} trials that ended as a line through its settings to its {words(goal)}, the best "
        "drawn last; on the page a stretch of an axis can be marked to see only the trials through it."
    )
    return Figure("parallel", caption, picture, page)


def _heights(done: pd.DataFrame, d: Dimension, exists: NDArray[np.bool_]) -> Floats:
    """Where each trial crosses the axis of a setting: 0 at its lower end, 1 at its upper one."""
    cells = zip(done[d.name], exists, strict=True)
    return floats([_share(d, d.restored(cell)) if is_set else _UNSET for cell, is_set in cells])


def _share(d: Dimension, value: object) -> float:
    if d.setting.choice is not None:
        options = [canonical(o) for o in d.setting.options()]
        return options.index(canonical(value)) / max(1, len(options) - 1)
    low, high = d.setting.bounds
    x, a, b = (np.log(v) if d.setting.log else v for v in (float(str(value)), low, high))
    return float((x - a) / (b - a))


def _labels(d: Dimension) -> list[tuple[float, str]]:
    if d.setting.choice is not None:
        return [(_share(d, o), o if isinstance(o, str) else canonical(o)) for o in d.setting.options()]
    return [(share, f"{end:.3g}") for share, end in zip((0.0, 1.0), d.setting.bounds, strict=True)]


def _page_axis(d: Dimension, heights: Floats) -> dict[str, object]:
    labels = _labels(d)
    if (heights == _UNSET).any():
        labels = [(_UNSET, "not set"), *labels]
    return {
        "label": d.name.split(".", d.name.count(".") - 1)[-1],  # the page is narrow
        "values": heights,
        "range": [min(h for h, _ in labels), 1],
        "tickvals": [h for h, _ in labels],
        "ticktext": [t for _, t in labels],
    }


def _decades(value: Floats) -> dict[str, object]:
    ends = [float(np.log10(value.min())), float(np.log10(value.max()))]
    return {"tickvals": ends, "ticktext": [f"{10**e:.3g}" for e in ends]}
