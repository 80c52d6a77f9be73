"""The units of a landscape: points of the grid, and points of the path."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.planner import GridPlanner, ListPlanner, Named, Planner
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.landscape.spec import LandscapeSpec

__all__ = ["landscape_planner"]

_ASKED = 4096  # units at once


def landscape_planner(spec: LandscapeSpec, keys: Keys) -> Planner:
    """All points of the grid, then, where there is a path, its points: those have no coordinates of their own.

    Args:
        spec: of the sweep.
        keys: of the sweep.
    """
    points = {axis: values.points() for axis, values in spec.axes.items()}
    if spec.path is None:
        return _grid(spec, keys, points)
    grid = _grid(spec, keys, {**points, "checkpoint": (None,)})
    path = _grid(spec, keys, {**dict.fromkeys(points, (None,)), "checkpoint": tuple(range(len(spec.path)))})
    return ListPlanner(chain(_units(grid), _units(path)), (grid.total or 0) + (path.total or 0))


def _grid(spec: LandscapeSpec, keys: Keys, points: dict[str, tuple[Value, ...]]) -> GridPlanner:
    models = spec.definitions()["models"]
    centers = Named({label: [models[name] for name in names] for label, names in spec.centers().items()})
    return GridPlanner(keys, {"model": centers, "draw": spec.draws.points(), **points})


def _units(planner: Planner) -> Iterator[Unit]:
    while units := planner.ask(_ASKED):
        yield from units
