"""Pictures of landscapes with matplotlib: curves, heat maps with contours, surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, panel_grid, plain
from landsweep.orchestrator.report.drawing import Figure as Canvas
from landsweep.orchestrator.report.drawing import LogNorm, MaxNLocator, Normalize
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.landscape.colour_scale import Scale
from landsweep.sweeps.landscape.marks import Marks
from landsweep.sweeps.landscape.surfaces import Surface

__all__ = ["MeanCurve", "curves_picture", "draw_marks", "draws_curve", "maps_picture", "surfaces_picture"]

_MAP = "viridis"


@dataclass(frozen=True, slots=True)
class MeanCurve:
    """A line with its band.

    Attributes:
        label: for the legend.
        x: coordinates [n].
        y: values [n].
        low: lower edge of the band [n], None when there is only one draw.
        high: upper edge of the band [n].
        diverged: coordinates where at least one draw diverged.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats | None
    high: Floats | None
    diverged: Floats


def draws_curve(label: str, draws: Sequence[Surface], *, log: bool) -> MeanCurve:
    """One-dimensional surfaces of several draws as a mean with a band.

    With three or more draws the band is Student's 95 % confidence interval of the mean, with two their range. On a
    logarithmic scale mean and interval are those of log10, so the line is the geometric mean.
    """
    values = np.ma.masked_invalid(np.stack([s.values for s in draws]))  # points without a row are left out
    diverged = draws[0].points[0][np.any([s.diverged for s in draws], axis=0)]
    used = np.ma.log10(np.ma.maximum(values, 1e-12)) if log else values
    mean = used.mean(axis=0).filled(np.nan)
    low = high = None
    if len(draws) == 2:
        low, high = used.min(axis=0).filled(np.nan), used.max(axis=0).filled(np.nan)
    elif len(draws) > 2:
        count = used.count(axis=0)
        spread = used.std(axis=0, ddof=1).filled(np.nan)
        half = student.ppf(0.975, np.maximum(count - 1, 1)) * spread / np.sqrt(np.maximum(count, 1))
        low, high = mean - half, mean + half
    if log:
        mean, low, high = 10**mean, None if low is None else 10**low, None if high is None else 10**high
    return MeanCurve(label, draws[0].points[0], mean, low, high, diverged)


def curves_picture(panels: Sequence[tuple[str, str, bool, Sequence[MeanCurve]]]) -> Canvas:
    """Curves of several models in common axes.

    Args:
        panels: for each its title, the name of the x axis, whether y is logarithmic, and the curves.
    """
    rows, columns = panel_grid(len(panels), 2)
    picture = new_picture(5.6 * columns, 3.9 * rows)
    for i, (title, axis, log, curves) in enumerate(panels):
        ax = picture.add_subplot(rows, columns, i + 1)
        for j, curve in enumerate(curves):
            colour = PALETTE[j % len(PALETTE)]
            ax.plot(curve.x, curve.y, color=colour, label=plain(curve.label), lw=1.8)
            if curve.low is not None and curve.high is not None:
                ax.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.22, lw=0)
            for at in curve.diverged:
                ax.axvline(at, color="0.6", ls=":", lw=1)
        ax.set(title=plain(title), xlabel=plain(axis), yscale="log" if log else "linear")
        log_ticks(ax)
        ax.grid(alpha=0.25)
        ax.legend(frameon=False)
    return picture


def maps_picture(panels: Sequence[tuple[str, Surface]], scale: Scale, label: str, marks: Sequence[Marks]) -> Canvas:
    """Heat maps above contours, a column for each panel, on one colour scale.

    Args:
        panels: title and two-dimensional surface.
        scale: shared by all.
        label: of the colour bar.
        marks: what else is drawn on each panel.
    """
    picture = new_picture(1.4 + 4.3 * len(panels), 7.6)
    colours = (LogNorm if scale.log else Normalize)(scale.low, scale.high)
    axes = picture.subplots(2, len(panels), squeeze=False)
    mesh = None
    for column, (title, surface) in enumerate(panels):
        heat, lines = axes[0][column], axes[1][column]
        x, y = surface.points
        shown = np.ma.masked_invalid(scale.clip(surface.values).T)
        mesh = heat.pcolormesh(x, y, shown, norm=colours, cmap=_MAP, shading="nearest")
        if min(len(x), len(y)) > 1 and shown.count() > 3:
            drawn = lines.contour(x, y, shown, levels=scale.levels(), norm=colours, cmap=_MAP, linewidths=1.2)
            lines.clabel(drawn, drawn.levels[12::5], fontsize=8, fmt=lambda v: f"{v:.2g}")
        lines.set(xlim=heat.get_xlim(), ylim=heat.get_ylim())
        for ax, kind in ((heat, "heat map"), (lines, "contours")):
            _hatch(ax, surface)
            if ax is lines and (computed := marks[column].computed) is not None:
                ax.plot(*computed.T, ".", color="0.55", ms=2.2, mec="none", zorder=0.5)
            draw_marks(ax, marks[column])
            ax.plot(*surface.origin, "+", color=PALETTE[3], ms=10, mew=2)
            ax.set(xlabel=plain(surface.axes[0]), ylabel=plain(surface.axes[1]))
            ax.set_title(f"{plain(title)}: {kind}", fontsize=11)
    if mesh is not None:
        picture.colorbar(mesh, ax=axes, label=plain(label), extend="max" if scale.cut else "neither", shrink=0.8)
    return picture


def draw_marks(ax: Any, marks: Marks) -> None:  # noqa: ANN401 - matplotlib has no types
    """The path, from its ring to the centre, and places of models or samples by name."""
    limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    if marks.path is not None:
        ax.plot(*marks.path.T, "-o", color=PALETTE[3], ms=3.5, lw=1.4, mec="white", mew=0.5)
        ax.plot(*marks.path[0], "o", mfc="white", mec=PALETTE[3], ms=7, mew=1.6)
    for name, (x, y) in marks.places.items():
        ax.plot(x, y, "D", color=PALETTE[3], ms=5, mec="white", mew=0.8)
        ax.annotate(
            plain(name),
            (x, y),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
        )
    ax.set(**limits)
    if marks.aspect is not None:
        ax.set_aspect(marks.aspect)


def _hatch(ax: Any, surface: Surface) -> None:  # noqa: ANN401 - matplotlib has no types
    """Grey hatching where the loss was not finite."""
    if surface.diverged.any():
        where = np.ma.masked_where(~surface.diverged.T, np.ones(surface.diverged.T.shape))
        ax.pcolor(*surface.points, where, shading="nearest", cmap="Greys", vmin=0, vmax=3, hatch="///", edgecolor="0.4")


def surfaces_picture(panels: Sequence[tuple[str, Surface]], scale: Scale, label: str) -> Canvas:
    """Surfaces in space, side by side, of equal height and colour scale."""
    picture = new_picture(5.2 * len(panels), 4.4)
    bottom, top = scale.height(np.array([scale.low, scale.high]))
    for column, (title, surface) in enumerate(panels):
        ax = picture.add_subplot(1, len(panels), column + 1, projection="3d")
        x, y = np.meshgrid(*surface.points, indexing="ij")
        heights = scale.height(surface.values)
        ax.plot_surface(x, y, heights, cmap=_MAP, vmin=bottom, vmax=top, rcount=80, ccount=80, lw=0.1, edgecolor="0.3")
        ax.set(xlabel=plain(surface.axes[0]), ylabel=plain(surface.axes[1]), zlim=(bottom, top))
        for way in (ax.xaxis, ax.yaxis):
            way.set_major_locator(MaxNLocator(4))
        ax.set_zlabel(plain(f"log10 {label}" if scale.log else label))
        ax.set_title(plain(title), fontsize=12, y=0.98)
        ax.view_init(elev=32, azim=-55)
        ax.set_box_aspect((1, 1, 0.8), zoom=0.9)
    return picture
