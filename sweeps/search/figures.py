"""Figures of a search, each as a matplotlib picture and as a Plotly figure for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, page_style, panel_grid, plain, words
from landsweep.orchestrator.report.parts import Figure
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.search.space import Dimension
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.search.table import exists_in
from landsweep.sweeps.search.trials import TRIAL

__all__ = [
    "floats",
    "front_figure",
    "history_figure",
    "importance_figure",
    "slice_figure",
    "wide",
]

_GREY = "#9a9a9a"
_STATES = (("ok", PALETTE[0], "o", "circle"), ("pruned", _GREY, "v", "triangle-down"))  # with matplotlib's and Plotly's
_WIDE = 8.0  # a positive goal that spans so much is drawn on a logarithmic scale
_MOST_PANELS = 12


def floats(values: Any) -> Floats:  # noqa: ANN401 - a column of a table
    """A column as floats."""
    return np.asarray(values, dtype=np.float64)


def wide(values: Floats) -> bool:
    """Whether positive values span so much that a logarithmic scale shows them better."""
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() > _WIDE)


def history_figure(trials: pd.DataFrame, goals: Sequence[tuple[str, bool]]) -> Figure:
    """Each goal over the number of the trial, and the best so far.

    Args:
        trials: of `trials_of`.
        goals: metric, and whether less is better.
    """
    picture = new_picture(7.2, 3.2 * len(goals) + 0.4)
    page = make_subplots(rows=len(goals), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for i, (metric, less) in enumerate(goals, 1):
        plot = picture.add_subplot(len(goals), 1, i)
        value, number = floats(trials[metric]), trials[TRIAL].to_numpy()
        log = wide(value[(trials["state"] == "ok").to_numpy()])
        ended = np.where((trials["state"] == "ok").to_numpy(), value, np.nan)
        so_far = _running_best(ended, less=less)
        plot.step(number, so_far, where="post", color=PALETTE[3], linewidth=1.6, label="best so far", zorder=3)
        at, line = {"row": i, "col": 1}, {"shape": "hv", "color": PALETTE[3]}
        page.add_scatter(x=number, y=so_far, name="best so far", line=line, **at)
        for state, colour, marker, symbol in _STATES:
            chosen = (trials["state"] == state).to_numpy() & np.isfinite(value)
            if chosen.any():
                label = "trial" if state == "ok" else "pruned, at its end"
                x, y = number[chosen], value[chosen]
                plot.plot(x, y, marker, ms=3.6, alpha=0.75, color=colour, label=label, mew=0)
                style = {"color": colour, "size": 6, "symbol": symbol, "opacity": 0.75}
                page.add_scatter(x=x, y=y, mode="markers", name=label, marker=style, **at)
        lost = number[trials["state"].isin(["diverged", "failed"]).to_numpy()]
        if len(lost):
            top = np.full(len(lost), 0.98 if less else 0.02)
            across = plot.get_xaxis_transform()
            plot.plot(lost, top, "x", ms=5, color="black", label="diverged or failed", transform=across)
        plot.set(ylabel=words(metric), yscale="log" if log else "linear")
        log_ticks(plot)
        plot.grid(alpha=0.3)
        page.update_yaxes(title=words(metric), type="log" if log else "linear", exponentformat="power", **at)
    picture.axes[-1].set(xlabel="trial")
    page.update_xaxes(title="trial", row=len(goals), col=1)
    picture.axes[0].legend(fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    page.update_layout(showlegend=len(goals) == 1, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    states = ", ".join(f"{n} {s}" for s, n in trials["state"].value_counts().items())
    caption = f"Value of each trial in the order of their numbers ({states}); the line is the best of those that ended."
    return Figure("history", caption, picture, page_style(page, 260 * len(goals) + 120))


def _running_best(values: Floats, *, less: bool) -> Floats:
    filled = np.where(np.isfinite(values), values, np.inf if less else -np.inf)
    best = np.minimum.accumulate(filled) if less else np.maximum.accumulate(filled)
    return np.where(np.isfinite(best), best, np.nan)


def importance_figure(shares: Mapping[str, float], groups: Mapping[str, int], goal: str) -> Figure:
    """Bars of importance, a colour for each group of settings that exist in the same trials."""
    names = list(shares)[::-1]
    colours = [PALETTE[groups[n] % len(PALETTE)] for n in names]
    picture = new_picture(7.0, 0.34 * len(names) + 1.1)
    plot = picture.add_subplot()
    plot.barh([words(n) for n in names], [shares[n] for n in names], color=colours)
    plot.set(xlabel=f"importance for {words(goal)}", xlim=(0, 1))
    plot.grid(alpha=0.3, axis="x")
    page = go.Figure(go.Bar(x=[shares[n] for n in names], y=names, orientation="h", marker_color=colours))
    page.update_xaxes(title=f"importance for {words(goal)}", range=[0, 1])
    page.update_yaxes(automargin=True)
    caption = (
        f"How much each setting decides whether a trial is among the best by {words(goal)} (PED-ANOVA, "
        "arXiv 2304.10255). Shares of settings that exist in the same trials sum to 1: those of one colour. A setting "
        "without influence has a small share, not 0."
    )
    return Figure("importances", caption, picture, page_style(page, 60 + 34 * len(names) + 80))


def slice_figure(trials: pd.DataFrame, dimensions: Sequence[Dimension], goal: str) -> Figure:
    """A panel for each setting: the goal of every trial in which it exists, later trials darker."""
    done = trials[np.isfinite(floats(trials[goal]))]
    parts = {d.name: done[exists_in(done, d, dimensions)] for d in dimensions}
    shown = [d for d in dimensions if len(parts[d.name])][:_MOST_PANELS]
    lines, columns = panel_grid(len(shown))
    picture = new_picture(3.1 * columns + 1.2, 2.7 * lines + 0.4)
    page = make_subplots(rows=lines, cols=columns, shared_yaxes=True, vertical_spacing=0.28 / lines)
    log = wide(floats(done.loc[done["state"] == "ok", goal]))
    for i, d in enumerate(shown):
        part = parts[d.name]
        plot = picture.add_subplot(lines, columns, i + 1)
        x, names = _places(part, d)
        y, number = floats(part[goal]), part[TRIAL].to_numpy()
        spread = x if not names else x + 0.24 * np.sin(2.4 * number)  # so that points of one category lie apart
        last = max(1, int(trials[TRIAL].max()))
        plot.scatter(spread, y, c=number, s=11, cmap="viridis_r", linewidths=0, vmin=0, vmax=last)
        plot.set(xlabel=words(d.name), ylabel=words(goal) if i % columns == 0 else "")
        plot.set(xscale="log" if d.setting.log else "linear", yscale="log" if log else "linear")
        if d.setting.log:
            plot.set_xlim(*Range(*d.setting.bounds, log=True, beyond=0).limits())
        log_ticks(plot)
        plot.grid(alpha=0.3)
        where = {"row": i // columns + 1, "col": i % columns + 1}
        marker = {"color": number, "colorscale": "Viridis", "reversescale": True, "size": 5, "showscale": i == 0}
        marker |= {"cmin": 0, "cmax": last, "colorbar": {"title": {"text": "trial"}}}
        page.add_scatter(x=spread, y=y, mode="markers", marker=marker, showlegend=False, text=part[TRIAL], **where)
        page.update_xaxes(title=d.name, type="log" if d.setting.log else "linear", exponentformat="power", **where)
        page.update_yaxes(title=words(goal) if i % columns == 0 else None, type="log" if log else "linear", **where)
        if names:
            turned = 25 if sum(map(len, names)) > 22 else 0
            plot.set_xticks(range(len(names)), [plain(name) for name in names], rotation=turned)
            page.update_xaxes(tickvals=list(range(len(names))), ticktext=names, **where)
    picture.colorbar(picture.axes[0].collections[0], ax=picture.axes, label="trial", shrink=0.8)
    left = f" The first {len(shown)} settings are shown." if len(shown) < len(dimensions) else ""
    caption = f"{words(goal).capitalize()} of every trial against each of its settings; later trials are darker.{left}"
    return Figure("slices", caption, picture, page_style(page, 250 * lines + 90))


def _places(part: pd.DataFrame, d: Dimension) -> tuple[Floats, list[str]]:
    """Where points stand on the axis of a setting; and, for a choice, the names there."""
    if d.setting.choice is None:
        return floats(part[d.name]), []
    options = list(d.setting.options())
    places = {canonical(o): i for i, o in enumerate(options)}
    names = [str(o) if isinstance(o, str) else canonical(o) for o in options]
    return floats([places[canonical(d.restored(cell))] for cell in part[d.name]]), names


def front_figure(trials: pd.DataFrame, front: pd.DataFrame, goals: Sequence[tuple[str, bool]]) -> Figure:
    """Two goals against each other, and the trials that no other one beats in both."""
    (first, _), (second, _) = goals[:2]
    done = trials[trials["state"] == "ok"]
    picture, page = new_picture(6.4, 4.4), go.Figure()
    plot = picture.add_subplot()
    logs = [wide(floats(done[m])) for m in (first, second)]
    plot.plot(done[first], done[second], "o", ms=4, mew=0, alpha=0.5, color=_GREY, label=f"{len(done)} trials")
    plot.plot(
        front[first], front[second], "o-", ms=5, color=PALETTE[3], linewidth=1, label=f"{len(front)} on the front"
    )
    scale = ["log" if log else "linear" for log in logs]
    plot.set(xlabel=words(first), ylabel=words(second), xscale=scale[0], yscale=scale[1])
    log_ticks(plot)
    plot.grid(alpha=0.3)
    plot.legend()
    page.add_scatter(x=done[first], y=done[second], mode="markers", name="trials", marker_color=_GREY, text=done[TRIAL])
    page.add_scatter(x=front[first], y=front[second], name="front", marker_color=PALETTE[3], text=front[TRIAL])
    page.update_xaxes(title=words(first), type=scale[0], exponentformat="power")
    page.update_yaxes(title=words(second), type=scale[1], exponentformat="power")
    caption = (
        f"{words(second).capitalize()} against {words(first)}; no trial is better in one goal than those on the front "
    )
    caption += "without being worse in another."
    return Figure("front", caption, picture, page_style(page, 440))
