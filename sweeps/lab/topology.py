"""Topology of a surface on a grid: its minima, the saddles at which their basins meet, and how deep each basin is.

The merge tree is that of the sublevel sets: the level rises, each local minimum begins a component, and where two
components meet there is a saddle. Of the two the one with the higher minimum ends there (elder rule), and its
persistence is the saddle's height above its minimum. The deepest basin never ends.

SMAD, the saddle-minimum average distance of arXiv 2602.07135, is the mean height of the saddles above the minima next
to them, each minimum being next to the saddle at which its component first meets another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import numpy as np

from landsweep.sweeps.lab.arrays import Floats

__all__ = ["Basin", "MergeTree", "Neighbours", "merge_tree"]

Neighbours: TypeAlias = Literal["axes", "diagonals"]
Point: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Basin:
    """One local minimum and where its basin ends.

    Attributes:
        minimum: indices of the lowest point.
        lowest: value there.
        saddle: indices of the point at which it first meets another basin; None where it meets none.
        rim: value at the saddle; infinite where there is none.
        death: value at which a deeper basin takes it in; infinite for one that is never taken in.
        size: points below the rim, or all of them where it meets no other basin.
    """

    minimum: Point
    lowest: float
    saddle: Point | None
    rim: float
    death: float
    size: int

    @property
    def persistence(self) -> float:
        """Height at which it ends above its minimum."""
        return self.death - self.lowest


@dataclass(frozen=True, slots=True)
class MergeTree:
    """The basins of a surface, the most persistent first.

    Attributes:
        basins: in order of persistence, then of their minimum.
        points: finite points of the surface.
    """

    basins: tuple[Basin, ...]
    points: int

    def pairs(self) -> list[tuple[float, float]]:
        """The persistence diagram: minimum and saddle of every basin that a deeper one takes in."""
        return [(b.lowest, b.death) for b in self.basins if b.death < math.inf]

    def saddle_minimum_distance(self, *, by_size: bool = False) -> float | None:
        """SMAD: mean height of the saddles above the minima next to them; None where no two basins meet.

        Args:
            by_size: weighs each basin by its number of points.
        """
        met = [b for b in self.basins if b.saddle is not None]
        if not met:
            return None
        heights, sizes = [b.rim - b.lowest for b in met], [float(b.size) if by_size else 1.0 for b in met]
        return float(np.average(heights, weights=sizes))


def merge_tree(values: Floats, *, neighbours: Neighbours = "axes", least: float = 0.0) -> MergeTree:
    """The merge tree of a surface on a grid.

    Points that are not finite are walls. Of points of the same value the one that comes first in the array counts as
    the lower one, so that a plateau is one minimum.

    Args:
        values: of any number of dimensions, at least one point along each.
        neighbours: of a point: those beside it along each axis, or those across corners too.
        least: basins whose persistence is not above it are taken in by their neighbours and make no saddle.

    Raises:
        ValueError: `least` is negative or not finite.
    """
    if not 0 <= least < math.inf:
        raise ValueError(f"least is a persistence, 0 or more; given was {least}")
    growth = _Growth(np.asarray(values, np.float64), neighbours, least)
    return MergeTree(tuple(sorted(growth.basins(), key=lambda b: (-b.persistence, b.minimum))), growth.points)


class _Growth:
    """Components of the sublevel sets, by union-find over the points in rising order."""

    def __init__(self, values: Floats, neighbours: Neighbours, least: float) -> None:
        walled = np.pad(values, 1, constant_values=np.inf)  # so that a point at the edge has neighbours on each side
        self._shape, self._walled = values.shape, walled.shape
        self._flat: list[float] = walled.ravel().tolist()
        self._steps = _steps(walled.shape, neighbours)
        self._least = least
        order = np.argsort(walled.ravel(), kind="stable")
        self._order: list[int] = order[np.isfinite(walled.ravel()[order])].tolist()
        self.points = len(self._order)
        self._parent = [-1] * walled.size  # -1: the level has not reached it
        self._root: dict[int, int] = {}  # of each component to its minimum
        self._size: dict[int, int] = {}
        self._rim: dict[int, tuple[int, int]] = {}  # minimum to saddle, and points below it
        self._death: dict[int, float] = {}  # minimum to value

    def basins(self) -> list[Basin]:
        for point in self._order:
            self._reach(point)
        minima = [*self._death, *self._root.values()]
        size = {m: self._size[root] for root, m in self._root.items()}
        return [self._basin(m, size.get(m, 0)) for m in minima]

    def _reach(self, point: int) -> None:
        """Let the level rise to a point: it begins a component, joins one, or lets several meet."""
        parent = self._parent
        roots = list({self._find(point + step) for step in self._steps if parent[point + step] >= 0})
        if not roots:
            parent[point], self._root[point], self._size[point] = point, point, 1
            return
        level = self._flat[point]
        roots.sort(key=lambda r: (self._flat[self._root[r]], self._root[r]))
        eldest = roots[0]
        ending = [r for r in roots[1:] if level - self._flat[self._root[r]] > self._least]
        for root in [eldest, *ending] if ending else []:
            self._rim.setdefault(self._root[root], (point, self._size[root]))
        for root in roots[1:]:
            minimum = self._root.pop(root)
            if root in ending:
                self._death[minimum] = level
            parent[root] = eldest
            self._size[eldest] += self._size.pop(root)
        parent[point] = eldest
        self._size[eldest] += 1

    def _find(self, point: int) -> int:
        parent = self._parent
        while parent[point] != point:
            parent[point] = parent[parent[point]]
            point = parent[point]
        return point

    def _basin(self, minimum: int, size: int) -> Basin:
        saddle, below = self._rim.get(minimum, (None, size))
        return Basin(
            self._indices(minimum),
            self._flat[minimum],
            None if saddle is None else self._indices(saddle),
            math.inf if saddle is None else self._flat[saddle],
            self._death.get(minimum, math.inf),
            below,
        )

    def _indices(self, point: int) -> Point:
        return tuple(int(i) - 1 for i in np.unravel_index(point, self._walled))


def _steps(shape: Sequence[int], neighbours: Neighbours) -> list[int]:
    """Differences between the position of a point and those of its neighbours, in a flat array."""
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    ways = [way for way in product((-1, 0, 1), repeat=len(shape)) if any(way)]
    if neighbours == "axes":
        ways = [way for way in ways if sum(map(abs, way)) == 1]
    return [sum(w * s for w, s in zip(way, strides, strict=True)) for way in ways]
