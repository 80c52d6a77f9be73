"""The topology of surfaces in the report: basins, the saddles between them, and how deep each basin is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from landsweep.orchestrator.report.canvas import PALETTE, new_picture, panel_grid, plain
from landsweep.orchestrator.report.drawing import Figure as Canvas
from landsweep.orchestrator.report.drawing import MaxNLocator
from landsweep.orchestrator.report.parts import Figure, Part, Table
from landsweep.sweeps.lab.topology import Basin, MergeTree, merge_tree
from landsweep.sweeps.landscape.surfaces import Surface

__all__ = ["topology_parts"]

_NOISE = 1e-6  # of the range of a surface: basins less deep than that are rounding
_LISTED = 6  # basins of each surface in the table


def topology_parts(evaluator: str, firsts: Mapping[str, Surface]) -> list[Part]:
    """A table of basins of each model's first draw, and, where basins meet, the diagram of their persistence.

    Args:
        evaluator: whose loss the surfaces show.
        firsts: model to surface.
    """
    trees = {model: _tree(s) for model, s in firsts.items()}
    trees = {model: tree for model, tree in trees.items() if tree.basins}
    if not trees:
        return []
    lines = [[model, *_line(firsts[model], basin)] for model, tree in trees.items() for basin in tree.basins[:_LISTED]]
    totals = "; ".join(f"{model} {_total(tree)}" for model, tree in trees.items())
    caption = (
        f"Basins of the loss under {evaluator}, the deepest first, at most {_LISTED} of a model. As the level rises, a "
        "basin begins at its minimum and ends at the saddle over which a deeper one takes it in; persistence is the "
        f"height between the two. {totals}."
    )
    header = ("model", "minimum at", "lowest loss", "loss where it ends", "persistence", "points below the rim")
    parts: list[Part] = [Table(caption, header, lines, name=f"basins-{evaluator}", digits=4)]
    met = {model: tree for model, tree in trees.items() if tree.pairs()}
    if met:
        shown = (
            f"Persistence of the basins under {evaluator}: each point is a basin, its height above the diagonal is its "
            "persistence. Basins that no deeper one takes in have no point."
        )
        parts.append(Figure(f"persistence-{evaluator}", shown, _diagram(met)))
    return parts


def _tree(surface: Surface) -> MergeTree:
    finite = surface.values[np.isfinite(surface.values)]
    least = _NOISE * float(finite.max() - finite.min()) if finite.size else 0.0
    return merge_tree(surface.values, neighbours="diagonals" if surface.values.ndim < 3 else "axes", least=least)


def _line(surface: Surface, basin: Basin) -> list[object]:
    place = ", ".join(
        f"{axis} {points[i]:.4g}" for axis, points, i in zip(surface.axes, surface.points, basin.minimum, strict=True)
    )
    ends = math.isfinite(basin.death)
    return [
        place,
        basin.lowest,
        basin.death if ends else "never",
        basin.persistence if ends else None,
        basin.size,
    ]


def _total(tree: MergeTree) -> str:
    distance = tree.saddle_minimum_distance()
    count = f"{len(tree.basins)} basin{'s' if len(tree.basins) > 1 else ''}"
    return count if distance is None else f"{count}, saddle-minimum average distance {distance:.4g}"


def _diagram(trees: Mapping[str, MergeTree]) -> Canvas:
    rows, columns = panel_grid(len(trees))
    picture = new_picture(4.2 * columns, 3.9 * rows)
    for i, (model, tree) in enumerate(trees.items()):
        ax = picture.add_subplot(rows, columns, i + 1)
        births, deaths = zip(*tree.pairs(), strict=True)
        low, high = _padded([*births, *deaths])
        ax.plot([low, high], [low, high], color="0.6", lw=1)
        ax.plot(births, deaths, "o", color=PALETTE[i % len(PALETTE)], ms=5, mec="white", mew=0.6)
        ax.set(title=plain(model), xlabel="lowest loss of the basin", ylabel="loss where it ends")
        ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4))
        ax.grid(alpha=0.25)
    return picture


def _padded(values: Sequence[float]) -> tuple[float, float]:
    room = 0.06 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room
