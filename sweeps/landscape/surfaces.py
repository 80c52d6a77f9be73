"""Surfaces read off the rows, and honest numbers for how rough they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.sweeps.lab.arrays import Floats

__all__ = ["Roughness", "Surface", "roughness", "surface_data", "surfaces"]


@dataclass(frozen=True, slots=True)
class Surface:
    """One metric of one model and draw on the whole grid.

    Attributes:
        model: name.
        draw: number.
        axes: names.
        points: coordinates along each axis, ascending.
        values: [points of each axis]; NaN where there is no row.
        diverged: same shape; where the loss was not finite.
        computed: same shape; which values were computed, where the others are interpolated. None: all were.
        origin: coordinates of the centre, one for each axis.
    """

    model: str
    draw: int
    axes: tuple[str, ...]
    points: tuple[Floats, ...]
    values: Floats
    diverged: NDArray[np.bool_]
    computed: NDArray[np.bool_] | None = None
    origin: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin:
            object.__setattr__(self, "origin", (0.0,) * len(self.axes))

    @property
    def center(self) -> tuple[int, ...]:
        """Index of the grid point nearest to the origin."""
        return tuple(int(np.argmin(np.abs(p - o))) for p, o in zip(self.points, self.origin, strict=True))

    @property
    def exact_center(self) -> bool:
        """Whether that point is the origin itself."""
        return all(p[i] == o for p, i, o in zip(self.points, self.center, self.origin, strict=True))

    def line(self, axis: int) -> Floats:
        """Values along an axis through the centre."""
        index: list[int | slice] = list(self.center)
        index[axis] = slice(None)
        taken: Floats = self.values[tuple(index)]
        return taken

    def slice(self, first: int, second: int) -> Surface:
        """The plane of two axes through the centre."""
        index: list[int | slice] = list(self.center)
        index[first] = index[second] = slice(None)
        keep = (first, second)
        axes, points = tuple(self.axes[i] for i in keep), tuple(self.points[i] for i in keep)
        cut = tuple(index)
        computed = None if self.computed is None else self.computed[cut]
        origin = (self.origin[first], self.origin[second])
        return Surface(self.model, self.draw, axes, points, self.values[cut], self.diverged[cut], computed, origin)


def surfaces(
    rows: pd.DataFrame, axes: Sequence[str], metric: str, points: tuple[Floats, ...] | None = None
) -> list[Surface]:
    """A surface for each model and draw, all on one grid, in the order in which they appear.

    Cells without a row are NaN: a report may be made while the sweep still runs.

    Args:
        rows: of the grid.
        axes: names.
        metric: column of the values.
        points: coordinates along each axis, which hold those of all rows; none: those that occur.
    """
    drawn = []
    if points is None:
        points = tuple(np.unique(rows[axis].to_numpy(float)) for axis in axes)
    shape = tuple(len(p) for p in points)
    for (model, draw), part in rows.groupby(["model", "draw"], sort=False):
        values, diverged = np.full(shape, np.nan), np.zeros(shape, bool)
        where = tuple(np.searchsorted(p, part[axis].to_numpy(float)) for p, axis in zip(points, axes, strict=True))
        numbers = part[metric].to_numpy(float, na_value=np.nan)
        values[where] = np.where(np.isfinite(numbers), numbers, np.nan)
        diverged[where] = (part["status"] == "diverged").to_numpy(bool)
        drawn.append(Surface(str(model), int(draw), tuple(axes), points, values, diverged))
    return drawn


@dataclass(frozen=True, slots=True)
class Roughness:
    """How rough one surface is.

    Attributes:
        below_ten: share of points whose loss is below ten times the centre's.
        below_one: share of points whose loss is below 1.
        variation: total variation of log10(loss) along lines, divided by twice the range of the line, averaged over
            lines: 0.5 for a monotone line, at most 1 for one with a single valley, more for each further bump.
        bumps: local minima of lines beyond the first, averaged over lines.
        convex: share of neighbouring triples of points, along all axes, whose middle loss is not above the chord.
        diverged: share of points whose loss is not finite.
    """

    below_ten: float
    below_one: float
    variation: float
    bumps: float
    convex: float
    diverged: float


def surface_data(panels: Sequence[tuple[str, Surface]], value: str) -> pd.DataFrame:
    """A line for each point of planes that are shown side by side: model, both coordinates and value."""
    tables = []
    for model, surface in panels:
        x, y = (grid.ravel() for grid in np.meshgrid(*surface.points, indexing="ij"))
        columns = {"model": model, surface.axes[0]: x, surface.axes[1]: y, value: surface.values.ravel()}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def roughness(surface: Surface) -> Roughness:
    """Roughness over all lines of the grid that run along an axis; points without a finite loss are left out."""
    values = surface.values
    finite = np.isfinite(values)
    numbers = values[finite]
    center = values[surface.center]
    lines = list(_lines(surface))
    triples = [t for x, y in lines for t in _convexities(x, y)]
    logs = [np.log10(np.maximum(y, 1e-12)) for _, y in lines]
    return Roughness(
        below_ten=float(np.mean(values[finite] < 10 * center)) if len(numbers) else np.nan,
        below_one=float(np.mean(numbers < 1)) if len(numbers) else np.nan,
        variation=_mean([_variation(y) for y in logs]),
        bumps=_mean([_minima(y) - 1 for y in logs]),
        convex=_mean(triples),
        diverged=float(surface.diverged.mean()),
    )


def _lines(surface: Surface) -> Iterator[tuple[Floats, Floats]]:
    """Coordinates and finite values of each line of the grid with at least three of them."""
    for axis, x in enumerate(surface.points):
        others = [range(n) for i, n in enumerate(surface.values.shape) if i != axis]
        for index in itertools.product(*others):
            place: list[int | slice] = [*index[:axis], slice(None), *index[axis:]]
            y = surface.values[tuple(place)]
            finite = np.isfinite(y)
            if finite.sum() >= 3:
                yield x[finite], y[finite]


def _convexities(x: Floats, y: Floats) -> list[bool]:
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    chord = y[:-2] * (1 - share) + y[2:] * share
    return [bool(c) for c in y[1:-1] <= chord * (1 + 1e-6)]


def _variation(y: Floats) -> float:
    span = float(y.max() - y.min())
    return float(np.abs(np.diff(y)).sum()) / (2 * span) if span > 0 else 0.0


def _minima(y: Floats) -> int:
    slopes = np.sign(np.diff(y))
    slopes = slopes[slopes != 0]
    turns = int(np.sum((slopes[:-1] < 0) & (slopes[1:] > 0)))
    ends = int(len(slopes) > 0 and slopes[0] > 0) + int(len(slopes) > 0 and slopes[-1] < 0)
    return max(turns + ends, 1)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
