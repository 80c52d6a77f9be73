"""Parallel coordinates of a search: its trials through the settings of its space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.report.parallel import UNSET, Coordinate
from landsweep.orchestrator.report.parallel import parallel_figure as figure_of
from landsweep.orchestrator.report.parts import Figure
from landsweep.orchestrator.search.space import Dimension
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.search.figures import floats
from landsweep.sweeps.search.table import exists_in

__all__ = ["parallel_figure"]


def parallel_figure(trials: pd.DataFrame, dimensions: Sequence[Dimension], goal: str, *, minimise: bool) -> Figure:
    """All trials with a finite goal.

    Args:
        trials: of `trials_of`, at least one with a finite goal.
        dimensions: of the space.
        goal: its metric.
        minimise: whether less is better.
    """
    done = trials[(trials["state"] == "ok") & np.isfinite(floats(trials[goal]))]
    exists = {d.name: exists_in(done, d, dimensions) for d in dimensions}
    shown = [d for d in dimensions if exists[d.name].any()]
    coordinates = [Coordinate(d.name, _heights(done, d, exists[d.name]), _labels(d)) for d in shown]
    unset = any(d.when for d in shown)
    value = floats(done[goal])
    return figure_of(coordinates, value, goal, minimise=minimise, units="trials that ended", unset=unset)


def _heights(done: pd.DataFrame, d: Dimension, exists: NDArray[np.bool_]) -> Floats:
    """Where each trial crosses the axis of a setting: 0 at its lower end, 1 at its upper one."""
    cells = zip(done[d.name], exists, strict=True)
    return floats([_share(d, d.restored(cell)) if is_set else UNSET for cell, is_set in cells])


def _share(d: Dimension, value: object) -> float:
    if d.setting.choice is not None:
        options = [canonical(o) for o in d.setting.options()]
        return options.index(canonical(value)) / max(1, len(options) - 1)
    low, high = d.setting.bounds
    x, a, b = (np.log(v) if d.setting.log else v for v in (float(str(value)), low, high))
    return float((x - a) / (b - a))


def _labels(d: Dimension) -> list[tuple[float, str]]:
    if d.setting.choice is not None:
        return [(_share(d, o), o if isinstance(o, str) else canonical(o)) for o in d.setting.options()]
    return [(share, f"{end:.3g}") for share, end in zip((0.0, 1.0), d.setting.bounds, strict=True)]
