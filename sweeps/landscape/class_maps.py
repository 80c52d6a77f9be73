"""Pictures of which class a network gives to each point of a plane of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.report.canvas import new_picture, plain
from landsweep.orchestrator.report.drawing import Figure as Canvas
from landsweep.orchestrator.report.drawing import colormaps
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.landscape.figures import draw_marks
from landsweep.sweeps.landscape.marks import Marks
from landsweep.sweeps.landscape.surfaces import Surface

__all__ = ["classes_picture"]

_FEW = 10  # classes that the map of ten colours tells apart
_LISTED = 20  # classes in the legend
_PALEST = 0.25  # how much of its colour a point keeps, however unsure the network is


def classes_picture(panels: Sequence[tuple[str, Surface, Surface]], marks: Sequence[Marks]) -> Canvas:
    """A map for each panel: colours are classes, and paler where the network is less sure.

    Args:
        panels: title, the predicted classes, and the probabilities of these.
        marks: what else is drawn on each panel.
    """
    classes = np.unique(np.concatenate([surface.values[np.isfinite(surface.values)] for _, surface, _ in panels]))
    picture = new_picture(1.6 + 4.3 * len(panels), 4.3)
    axes = picture.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, surface, sure), mark in zip(axes, panels, marks, strict=True):
        ax.pcolormesh(*surface.points, _colours(surface.values, sure.values).transpose(1, 0, 2), shading="nearest")
        draw_marks(ax, mark)
        ax.plot(0, 0, "+", color="black", ms=10, mew=2)
        ax.set(xlabel=plain(surface.axes[0]), ylabel=plain(surface.axes[1]))
        ax.set_title(plain(title), fontsize=11)
    handles = [axes[-1].plot([], [], "s", color=_colour(c), ms=8, label=f"{c:g}")[0] for c in classes[:_LISTED]]
    axes[-1].legend(handles=handles, title="class", loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return picture


def _colours(classes: Floats, sure: Floats) -> NDArray[np.float64]:
    """[n, m, 4]: the colour of each class mixed with white; nothing where there is no class."""
    colours = np.ones((*classes.shape, 4))
    for one in np.unique(classes[np.isfinite(classes)]):
        where = classes == one
        strength = (_PALEST + (1 - _PALEST) * np.nan_to_num(sure[where]))[:, None]
        colours[where, :3] = strength * np.array(_colour(one)[:3]) + (1 - strength)
    colours[~np.isfinite(classes), 3] = 0
    return colours


def _colour(one: float) -> Any:  # noqa: ANN401 - matplotlib has no types
    """The same for a class wherever it occurs: ten colours, then the hues between."""
    if one < _FEW:
        return colormaps["tab10"](int(one))
    return colormaps["hsv"](one * 0.618034 % 1)
