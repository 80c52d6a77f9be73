"""Spectral densities laid over each other: bulk and outliers of the curvature of several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, new_picture, panel_grid, plain, shades
from landsweep.orchestrator.report.canvas import words as in_words
from landsweep.orchestrator.report.parts import Figure, Part, Table
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import label, ordered
from landsweep.sweeps.lab.arrays import Floats

__all__ = ["smoothed", "spectra_parts"]

_PANELS = 6
_POINTS = 600  # of a curve
_WIDTH = 0.01  # of the kernel, as a share of the range of a line's nodes
_LOWEST = 1e-7  # of the highest density: what is below is not drawn
_ROOM = 3.5  # kernel widths beyond the outermost nodes
_ROW = 0.45  # decades from one row of marks to the next
_STYLES = ("-", "--", "-.", ":")


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """One line of a panel: the spectra of its subjects, each with weight 1.

    Attributes:
        name: measure, and checkpoint where there are several.
        nodes: of all its subjects.
        weights: of the nodes; their sum is 1.
        outliers: of all its subjects.
    """

    name: str
    nodes: Floats
    weights: Floats
    outliers: Floats


def smoothed(nodes: Floats, weights: Floats, at: Floats, width: float) -> Floats:
    """The density of weighted nodes at some points: a Gaussian of standard deviation `width` for each node."""
    z = (at[:, None] - nodes[None]) / width
    density: Floats = np.exp(-0.5 * z**2) @ weights / (width * np.sqrt(2 * np.pi))
    return density


def spectra_parts(params: Sequence[str], rows: pd.DataFrame, series: pd.DataFrame) -> list[Part]:
    """How many outliers there are, and the densities: a panel for each value of the first setting.

    Args:
        params: columns of the units' params.
        rows: of units that ended well.
        series: curves of all units; those that measures `spectrum` give are drawn.
    """
    if not len(series) or "spectrum_outliers" not in rows:
        return []
    rows = rows[rows["spectrum_outliers"].notna()].reset_index(drop=True)
    if not len(rows):
        return []
    rows = rows.assign(_line=_names(rows))
    setting = _setting(params, rows)
    values = [None] if setting is None else ordered(rows[setting].unique())
    picked = [values[i] for i in np.unique(np.linspace(0, len(values) - 1, _PANELS).round().astype(int))]
    curves = series[series["key"].isin(rows["key"])]
    parts = {value: rows if setting is None else rows[rows[setting] == value] for value in picked}
    panels = {value: list(_lines(mine, curves)) for value, mine in parts.items()}
    return [
        _counts(rows, setting),
        Figure("spectra_overlaid", _caption(setting, values, picked), _picture(panels, setting)),
    ]


def _names(rows: pd.DataFrame) -> pd.Series:
    """What a unit's line is called: its measure, and its checkpoint where there are several."""
    if "of_label" not in rows or rows["of_label"].nunique() < 2:
        return rows["measure"]
    return rows["measure"] + ", " + rows["of_label"].astype(str)


def _setting(params: Sequence[str], rows: pd.DataFrame) -> str | None:
    """The first param that differs between models and is no seed."""
    names = [p for p in params if p in rows and p not in ("measure", "seed") and not p.startswith("of_")]
    return next((p for p in names if 1 < rows[p].nunique() < len(rows)), None)


def _lines(rows: pd.DataFrame, curves: pd.DataFrame) -> list[_Line]:
    lines = []
    for name, mine in rows.groupby("_line", sort=False):
        here = curves[curves["key"].isin(mine["key"])].sort_values(["key", "step"], kind="stable")
        nodes, weights, outliers = (
            numbers(here.loc[here["metric"] == what, "value"]) for what in ("nodes", "weights", "outliers")
        )
        if len(nodes):
            lines.append(_Line(str(name), nodes, weights / weights.sum(), outliers))
    return lines


def _counts(rows: pd.DataFrame, setting: str | None) -> Table:
    """Outliers, the gap below them, and both ends of the spectra."""
    by = ["_line", *([] if setting is None else [setting])]
    shown = ("spectrum_outliers", "spectrum_gap", "spectrum_highest", "spectrum_bulk", "spectrum_lowest")
    lines: list[list[object]] = []
    order = pd.Categorical(rows["_line"], rows["_line"].unique())
    for cell, part in rows.assign(_line=order).groupby(by, observed=True):
        counts = numbers(part["spectrum_outliers"])
        medians = [float(np.nanmedian(v)) if np.isfinite(v := numbers(part[c])).any() else None for c in shown]
        lines.append([*map(str, cell[:1]), *cell[1:], len(part), *medians, f"{counts.min():.0f} to {counts.max():.0f}"])
    header = ["spectrum", *([] if setting is None else [in_words(setting)]), "models"]
    names = ["outliers", "gap", "largest", "bulk", "lowest", "outliers, range"]
    caption = (
        "Outliers: eigenvalues above the largest gap, if it is wide enough; gap: ratio of the eigenvalues at it; bulk: "
        "root mean square of what lies below. Medians over models."
    )
    return Table(caption, [*header, *names], lines, name="spectra", digits=3)


def _caption(setting: str | None, values: Sequence[Any], picked: Sequence[Any]) -> str:
    text = (
        "Spectral densities of the curvature, mean over models of a panel; each node of the quadrature is drawn as a "
        f"Gaussian whose standard deviation is {_WIDTH:.0%} of the line's range. Marks at the top: eigenvalues that "
        "count as outliers, of all models."
    )
    if setting is None:
        return text
    some = f", {len(picked)} of {len(values)}" if len(picked) < len(values) else ""
    return f"{text} A panel for each {in_words(setting)}{some}."


def _picture(panels: dict[Any, list[_Line]], setting: str | None) -> Any:  # noqa: ANN401 - matplotlib has no types
    down, wide = panel_grid(len(panels), 3)
    picture = new_picture(3.6 * wide + 1.6, 2.9 * down + 0.3)
    names = list(dict.fromkeys(line.name for lines in panels.values() for line in lines))
    colours = PALETTE if len(names) <= len(PALETTE) else shades(len(names))
    for i, (value, lines) in enumerate(panels.items()):
        plot = picture.add_subplot(down, wide, i + 1)
        if lines:
            _panel(plot, lines, names, colours)
        if i % wide == 0:
            plot.set_ylabel("density")
        if i >= len(panels) - wide:
            plot.set_xlabel("eigenvalue")
        if setting is not None:
            plot.set_title(plain(f"{in_words(setting)} {label(value)}"), fontsize=9)
        plot.grid(alpha=0.3)
    for i, (name, colour) in enumerate(zip(names, colours, strict=False)):
        style = _STYLES[i % len(_STYLES)]
        picture.axes[0].plot([], [], color=colour, linestyle=style, linewidth=1.4, label=plain(name))
    picture.legend(fontsize=8, loc="outside right upper")
    return picture


def _panel(plot: Any, lines: Sequence[_Line], names: Sequence[str], colours: Sequence[Any]) -> None:  # noqa: ANN401
    densities = [_curve(line) for line in lines]
    top = max(float(density.max()) for _, density in densities)
    floor = _LOWEST * top
    for i, (line, (at, density)) in enumerate(zip(lines, densities, strict=True)):
        k = names.index(line.name)
        plot.plot(at, np.maximum(density, floor), color=colours[k], linestyle=_STYLES[k % len(_STYLES)], linewidth=1.2)
        height = top * 10 ** (_ROW * (i + 1))
        plot.plot(line.outliers, np.full(len(line.outliers), height), "|", color=colours[k], markersize=6)
    plot.set(yscale="log", ylim=(floor, top * 10 ** (_ROW * (len(lines) + 1))))


def _curve(line: _Line) -> tuple[Floats, Floats]:
    """Where the density of a line is drawn, and what it is there."""
    low, high = float(line.nodes.min()), float(line.nodes.max())
    width = _WIDTH * ((high - low) or abs(high) or 1.0)
    at = np.linspace(low - _ROOM * width, high + _ROOM * width, _POINTS)
    return at, smoothed(line.nodes, line.weights, at, width)
