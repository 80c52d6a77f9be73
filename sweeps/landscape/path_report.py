"""The path of a training in the report: true losses beside the surface's, and how far it leaves the plane."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, plain
from landsweep.orchestrator.report.drawing import Figure as Canvas
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Table

__all__ = ["parted", "path_section"]


def parted(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the grid, and those of the path that have a result, in the order of its points."""
    if "checkpoint" not in rows:
        return rows, rows.iloc[:0]
    on_path = rows["checkpoint"].notna()
    path = rows[on_path & rows["status"].isin(["ok", "diverged"])]
    return rows[~on_path], path.sort_values("checkpoint", kind="stable")


def path_section(axes: Sequence[str], evaluators: Sequence[str], path: pd.DataFrame) -> PageSection:
    """Tables and a figure of the path of each model, in its first draw.

    Args:
        axes: names.
        evaluators: names.
        path: rows of the path, in its order.
    """
    parts: list[Part] = []
    explained = [f"explained_{a}" for a in axes if f"explained_{a}" in path]
    if explained:
        lines = [
            [model, *(float(part[e].iloc[0]) for e in explained), float(part[explained].iloc[0].sum())]
            for model, part in path.groupby("model", sort=False)
        ]
        caption = "Share of the path's variance along each axis, and in all of them."
        parts.append(Table(caption, ("model", *(e.replace("_", " ") for e in explained), "sum"), lines))
    for model, whole in path.groupby("model", sort=False):
        own = whole[whole["draw"] == whole["draw"].iloc[0]]
        parts += [_table(str(model), axes, evaluators, own), _figure(str(model), evaluators, own)]
    return PageSection("The path", parts)


def _table(model: str, axes: Sequence[str], evaluators: Sequence[str], own: pd.DataFrame) -> Table:
    columns = ["step", *(f"path_{a}" for a in axes), "distance", "off_plane"]
    columns += [f"{e}_{what}" for e in evaluators for what in ("loss", "loss_projected")]
    caption = (
        f"{model}: points of its path. Off plane: share of the distance from the centre that the plane does not show. "
        "Projected: the loss where the plane comes nearest to the point; the surface shows that one, the point itself "
        "has the other."
    )
    header = [c.replace("_", " ") for c in columns]
    lines = own[columns].astype(object).where(own[columns].notna(), None).to_numpy().tolist()
    return Table(caption, header, lines, name=f"points-of-{_file(model)}", digits=4)


def _figure(model: str, evaluators: Sequence[str], own: pd.DataFrame) -> Figure:
    worst = own["off_plane"].max()
    caption = (
        f"{model} along its path. Solid: the loss of the point itself; dashed: the loss where the plane comes nearest "
        f"to it. Right: how much of the distance from the centre lies outside of the plane, at most {worst:.1%}."
    )
    return Figure(_file(model), caption, _picture(model, evaluators, own))


def _picture(model: str, evaluators: Sequence[str], own: pd.DataFrame) -> Canvas:
    picture = new_picture(11.2, 3.9)
    losses, apart = picture.subplots(1, 2)
    steps = own["step"].to_numpy(float)
    drawn = own[[f"{e}_{what}" for e in evaluators for what in ("loss", "loss_projected")]]
    for i, e in enumerate(evaluators):
        colour = PALETTE[i % len(PALETTE)]
        losses.plot(steps, own[f"{e}_loss"], "-o", color=colour, ms=3.5, lw=1.6, label=plain(f"{e}, itself"))
        losses.plot(
            steps, own[f"{e}_loss_projected"], "--o", color=colour, ms=3, lw=1.2, label=plain(f"{e}, projected")
        )
    scale = "log" if (drawn.dropna() > 0).all(axis=None) else "linear"
    losses.set(title=plain(f"{model}: loss"), xlabel="step", yscale=scale)
    losses.legend(frameon=False)
    apart.plot(steps, own["off_plane"], "-o", color=PALETTE[2], ms=3.5, lw=1.6)
    apart.set(title="distance outside of the plane", xlabel="step", ylabel="share", ylim=(0, 1))
    for ax in (losses, apart):
        ax.grid(alpha=0.25)
        log_ticks(ax)
    return picture


def _file(model: str) -> str:
    return f"path-{model.replace(' ', '-')}"
