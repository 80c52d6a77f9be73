"""Surfaces of a refined grid: what was computed, with the rest interpolated, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.parts import Part, Table
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.landscape.refinement import Refinement, interpolated
from landsweep.sweeps.landscape.spec import Refine
from landsweep.sweeps.landscape.surfaces import Surface, surfaces

__all__ = ["RefinedGrid"]


@dataclass(frozen=True, slots=True)
class RefinedGrid:
    """How the grid of a sweep is refined, to read its surfaces off the rows.

    Attributes:
        refine: the spec's settings.
        metric: column that decides.
        points: coordinates along each axis, by its name.
    """

    refine: Refine
    metric: str
    points: Mapping[str, Floats]

    def surfaces(self, rows: pd.DataFrame, metric: str) -> list[Surface]:
        """A surface for each model and draw on the whole grid; what has no row is interpolated.

        Losses are interpolated on the scale of the refinement, shares of right answers on a linear one.
        """
        complete = {(s.model, s.draw): self._search(s).complete for s in self._measured(rows, self.metric)}
        filled = []
        for s in self._measured(rows, metric):
            computed = np.isfinite(s.values) | s.diverged
            if metric.endswith("_accuracy"):
                values = np.clip(interpolated(s.values, computed, "linear", self.refine.start), 0, 1)
            else:
                values = interpolated(s.values, computed, self.refine.scale, self.refine.start)
            holes = s.diverged | (~computed & np.isnan(values) & complete[s.model, s.draw] & s.diverged.any())
            filled.append(replace(s, values=values, diverged=holes, computed=computed))
        return filled

    def table(self, rows: pd.DataFrame) -> list[Part]:
        """What was computed, and how far further points lie from the interpolation."""
        unit = "decades" if self.refine.scale == "log" else "units of the loss"
        lines: list[list[object]] = []
        for s in self._measured(rows, self.metric):
            search = self._search(s)
            filled = search.filled()
            errors = filled.errors
            lines.append(
                [
                    s.model,
                    s.draw,
                    int(filled.computed.sum()),
                    filled.computed.size,
                    f"{filled.computed.mean():.1%}",
                    len(errors),
                    float(np.median(errors)) if len(errors) else None,
                    float(errors.max()) if len(errors) else None,
                    "yes" if search.complete else "not yet",
                ]
            )
        caption = (
            f"The grid was computed only where {self.metric} bends by more than {self.refine.tolerance:g} {unit}; all "
            "other points of maps and tables are interpolated. Checks: points that the interpolation did not ask for, "
            f"computed to measure it; their errors are in {unit}."
        )
        header = ("model", "draw", "computed", "of points", "share", "checks", "median error", "largest error", "done")
        return [Table(caption, header, lines, name="refinement", digits=3)]

    def _measured(self, rows: pd.DataFrame, metric: str) -> list[Surface]:
        axes = list(self.points)
        on_grid = np.logical_and.reduce([rows[a].isin(self.points[a]) for a in axes])
        return surfaces(rows[on_grid], axes, metric, tuple(self.points.values()))

    def _search(self, s: Surface) -> Refinement:
        """The refinement of a surface of the deciding metric, told all its points."""
        refine = self.refine
        search = Refinement(s.values.shape, refine.tolerance, refine.scale, start=refine.start, checks=refine.checks)
        for index in np.argwhere(np.isfinite(s.values) | s.diverged).tolist():
            search.tell(tuple(index), float(s.values[tuple(index)]))
        return search
