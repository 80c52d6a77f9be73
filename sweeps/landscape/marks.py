"""What is drawn on a map beside the surface: the path of a training, and the places of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.landscape.directions import LineDirections
from landsweep.sweeps.landscape.surfaces import Surface

__all__ = ["Marks", "marks_of"]


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks on one map, in its coordinates.

    Attributes:
        path: [T, 2] where the plane is nearest to each point of the path; None: there is none.
        computed: [n, 2] points that were computed, where the others are interpolated; None: all were.
        places: of models, by name.
        aspect: length of the second direction over that of the first, to draw the plane to scale; None: not to scale.
    """

    path: Floats | None = None
    computed: Floats | None = None
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    aspect: float | None = None

    def in_words(self) -> str:
        """For captions; ends with a blank where there is anything to say."""
        words = "Dots: the points that were computed. " if self.computed is not None else ""
        words += "Line: the path, from the ring on, projected onto the plane. " if self.path is not None else ""
        words += "Diamonds: the models. " if self.places else ""
        return words + ("The plane is drawn to scale. " if self.aspect is not None else "")

    def on(self, surface: Surface) -> Marks:
        """These, and which points of the surface were computed."""
        if surface.computed is None:
            return self
        places = np.nonzero(surface.computed)
        return replace(self, computed=np.stack([p[i] for p, i in zip(surface.points, places, strict=True)], axis=1))


def marks_of(
    axes: Sequence[str], line: LineDirections | None, rows: pd.DataFrame, path: pd.DataFrame
) -> dict[str, Marks]:
    """Marks for each value of the param `model`, of its first draw; none unless there are two axes.

    Args:
        axes: names.
        line: the ends, where directions lead from model to model.
        rows: of the grid.
        path: rows of the path, in its order.
    """
    if len(axes) != 2:
        return {}
    marks = {}
    for model, part in rows.groupby("model", sort=False):
        first = part.iloc[0]
        places: dict[str, tuple[float, float]] = {}
        aspect = None
        if line is not None:
            places = dict(zip(line.ends, ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)), strict=True))
        if line is not None and line.orthogonal:
            places[line.ends[2]] = (float(first[f"end_{axes[1]}_{axes[0]}"]), 1.0)
            aspect = float(first[f"norm_{axes[1]}"] / first[f"norm_{axes[0]}"])
        own = path[(path["model"] == model) & (path["draw"] == first["draw"])] if len(path) else path
        points = own[[f"path_{a}" for a in axes]].to_numpy(float) if len(own) else None
        marks[str(model)] = Marks(points, None, places, aspect)
    return marks
