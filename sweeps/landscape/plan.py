"""The units of a landscape: points of the grid, all or only those that are needed, and points of the path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, product
from typing import Any

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.planner import GridPlanner, ListPlanner, Named, Planner, RowsPlanner
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.landscape.refinement import Index, Refinement
from landsweep.sweeps.landscape.spec import LandscapeSpec, Refine

__all__ = ["RefiningPlanner", "landscape_planner", "refinement_of"]

_ASKED = 4096  # units at once


def landscape_planner(spec: LandscapeSpec, keys: Keys) -> Planner:
    """All points of the grid, then, where there is a path, its points: those have no coordinates of their own.

    Args:
        spec: of the sweep.
        keys: of the sweep.
    """
    if spec.refine is not None:
        return RefiningPlanner(spec, spec.refine, keys)
    points = {axis: values.points() for axis, values in spec.axes.items()}
    if spec.path is None:
        return _grid(spec, keys, points)
    grid, path = _grid(spec, keys, {**points, "checkpoint": (None,)}), _path(spec, keys)
    return ListPlanner(chain(_units(grid), _units(path)), (grid.total or 0) + (path.total or 0))


class RefiningPlanner(RowsPlanner):
    """Proposes the points of the path, and those of each surface that its refinement needs; keys are as without it.

    Args:
        spec: of the sweep.
        refine: how its grid is refined.
        keys: of the sweep.
    """

    def __init__(self, spec: LandscapeSpec, refine: Refine, keys: Keys) -> None:
        super().__init__(() if spec.path is None else _units(_path(spec, keys)))
        self._keys, self._metric, self._on_path = keys, spec.refined_metric(), spec.path is not None
        models = spec.definitions()["models"]
        self._centers = {label: [models[name] for name in names] for label, names in spec.centers().items()}
        self._points = {axis: values.points() for axis, values in spec.axes.items()}
        self._places = {axis: {p: i for i, p in enumerate(points)} for axis, points in self._points.items()}
        surfaces = product(self._centers, spec.draws.points())
        self._searches = {(label, draw): refinement_of(spec, refine) for label, draw in surfaces}

    def wanted(self) -> Iterator[Unit]:
        for surface, search in self._searches.items():
            yield from (self._unit(*surface, index) for index in search.wants())

    def waits(self) -> bool:
        return not all(search.complete for search in self._searches.values())

    def take_in(self, row: Mapping[str, Any]) -> None:
        search = self._searches.get((str(row["model"]), row["draw"]))
        place = tuple(self._places[axis].get(row[axis]) for axis in self._points)
        index = tuple(i for i in place if i is not None)
        if search is not None and len(index) == len(place):
            search.tell(index, row.get(self._metric))

    def _unit(self, label: str, draw: Value, index: Index) -> Unit:
        places = {axis: points[i] for (axis, points), i in zip(self._points.items(), index, strict=True)}
        params = {"model": label, "draw": draw, **places, **({"checkpoint": None} if self._on_path else {})}
        return self._keys.unit(params, {"model": self._centers[label]})


def refinement_of(spec: LandscapeSpec, refine: Refine) -> Refinement:
    """The refinement of one surface, nothing told yet."""
    shape = [len(axis) for axis in spec.axes.values()]
    return Refinement(shape, refine.tolerance, refine.scale, start=refine.start, checks=refine.checks)


def _grid(spec: LandscapeSpec, keys: Keys, points: Mapping[str, tuple[Value, ...]]) -> GridPlanner:
    models = spec.definitions()["models"]
    centers = Named({label: [models[name] for name in names] for label, names in spec.centers().items()})
    return GridPlanner(keys, {"model": centers, "draw": spec.draws.points(), **points})


def _path(spec: LandscapeSpec, keys: Keys) -> GridPlanner:
    count = 0 if spec.path is None else len(spec.path)
    return _grid(spec, keys, {**dict.fromkeys(spec.axes, (None,)), "checkpoint": tuple(range(count))})


def _units(planner: Planner) -> Iterator[Unit]:
    while units := planner.ask(_ASKED):
        yield from units
