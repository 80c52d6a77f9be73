"""Roughness index: how much the loss goes up and down along random lines through a model."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.lab.weight_space.directions import RandomDirections
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.subject import Subject
from landsweep.sweeps.measure.surroundings import Surroundings

__all__ = ["Roughness"]


class Roughness(AloneMeasure):
    """`roughness`: roughness index of arXiv 2103.11069, on the loss itself, not on its logarithm.

    Along a line f(s), -l <= s <= l, the normalised total variation is T = sum |f(s_j+1) - f(s_j)| /
    (2 l (max f - min f)). The index is the standard deviation of T over the lines divided by its mean: 0 where the loss
    looks alike in all directions, as a quadratic does at its minimum, with T = 1 / l, or a linear function, with
    T = 1 / (2 l). It says nothing of heights, which is what `roughness_range` is for.
    """

    measure: Literal["roughness"] = "roughness"
    lines: int = Field(100, ge=2, description="how many random directions")
    reach: float = Field(0.1, gt=0, description="l: how far a line goes to both sides, in units of the direction")
    intervals: int = Field(20, ge=2, description="of a line; an even number has the model itself among its points")
    directions: RandomDirections = RandomDirections(kind="random")
    batch_norm: Literal["fixed", "reestimate"] = Field("fixed", description="or estimated anew at each point")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("roughness_index", "standard deviation of the normalised total variation over the lines, by mean"),
            Column("roughness_variation", "normalised total variation T of the loss along a line, mean over the lines"),
            Column("roughness_range", "largest less smallest loss along a line, mean over the lines"),
            Column("roughness_flat", "lines along which the loss is constant or not finite; not counted", type="int"),
        )

    def check(self, subject: Subject) -> None:
        Surroundings(subject, self.samples(subject), self.directions, self.batch_norm)

    def of_one(self, subject: Subject) -> Measured:
        around = Surroundings(subject, self.samples(subject), self.directions, self.batch_norm)
        points = np.linspace(-self.reach, self.reach, self.intervals + 1)
        losses = np.array([around.losses(draw, points.tolist()) for draw in range(self.lines)])
        ranges = np.ptp(losses, axis=1)
        counted = np.isfinite(ranges) & (ranges > 0)
        variations = _variation(losses[counted]) / (2 * self.reach * ranges[counted])
        values = {
            "roughness_index": _ratio(variations),
            "roughness_variation": float(variations.mean()) if len(variations) else None,
            "roughness_range": float(ranges[counted].mean()) if len(variations) else None,
            "roughness_flat": int((~counted).sum()),
        }
        return Measured(values, {"roughness_variations": variations.tolist()})


def _variation(losses: Floats) -> Floats:
    total: Floats = np.abs(np.diff(losses, axis=1)).sum(1)
    return total


def _ratio(variations: Floats) -> float | None:
    return float(variations.std(ddof=1) / variations.mean()) if len(variations) > 1 else None
