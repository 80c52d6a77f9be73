"""Distance from start: how the weights move away from those of a run's first checkpoint."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.measure.layers import checkpoints_of, weights_of
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured, Of
from landsweep.sweeps.measure.subject import Subject

__all__ = ["DistanceFromStart"]

_FEWEST = 3  # points of a fit: through two every line goes


class DistanceFromStart(AloneMeasure):
    """`distance_from_start`: Euclidean distance of the weights from the first checkpoint, against the step.

    Two fits, each by least squares: distance = a + b ln t, which arXiv 1705.08741 finds in the initial phase of
    training, and a power law beside it, ln distance = c + p ln t. t is the number of steps since the first checkpoint.
    """

    of: ClassVar[Of] = "group"

    measure: Literal["distance_from_start"] = "distance_from_start"

    def columns(self) -> tuple[Column, ...]:
        r2 = "share of variance that the fit explains (R2)"
        return (
            Column("start_distance", "distance of the last checkpoint's weights from the first one's"),
            Column("start_distance_slope", "b of distance = a + b ln t, t being steps since the first checkpoint"),
            Column("start_distance_offset", "a of distance = a + b ln t"),
            Column("start_distance_r2", f"of distance = a + b ln t: {r2}"),
            Column("start_distance_power", "p of distance proportional to t^p"),
            Column("start_distance_power_r2", f"of ln distance = c + p ln t: {r2}"),
        )

    def evaluators(self) -> tuple[str, ...]:
        return ()

    def check(self, subject: Subject) -> None:
        checkpoints_of(subject, "distance_from_start")

    def of_one(self, subject: Subject) -> Measured:
        steps = np.array(checkpoints_of(subject, "distance_from_start"), np.float64)
        first, *later = (np.concatenate([w.ravel() for w in weights_of(m).values()]) for m in subject.models)
        distances = np.array([np.linalg.norm(w - first) for w in later])
        times = np.log(steps[1:] - steps[0])
        slope, offset, r2 = _line(times, distances)
        moved = bool((distances > 0).all())
        power, _, power_r2 = _line(times, np.log(distances)) if moved else (None, None, None)
        values = {
            "start_distance": float(distances[-1]),
            "start_distance_slope": slope,
            "start_distance_offset": offset,
            "start_distance_r2": r2,
            "start_distance_power": power,
            "start_distance_power_r2": power_r2,
        }
        return Measured(values, {"start_distance_along_run": [0.0, *distances.tolist()]})


def _line(x: Floats, y: Floats) -> tuple[float | None, float | None, float | None]:
    """Slope, offset and R2 of a line through points; None where they are too few, R2 where they do not vary."""
    if len(x) < _FEWEST or not np.isfinite(y).all():
        return None, None, None
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    offset = float(y.mean() - slope * x.mean())
    residual, spread = y - offset - slope * x, y - y.mean()
    r2 = 1 - float(residual @ residual / (spread @ spread)) if bool(spread.any()) else None
    return slope, offset, r2
