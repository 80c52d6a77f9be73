"""Adaptive grids: which points of a grid to compute so that all others can be interpolated.

The grid is a ladder of lattices, each with half the intervals of the next. All points of the first two are computed. A
point of a finer lattice is predicted from the coarser one by cubic interpolation (Deslauriers and Dubuc 1989), the
weights of four neighbours along a line being -1, 9, 9, -1 sixteenths; where what was computed differs from that by more
than a tolerance, the surface bends, and the next lattice is computed around that point. In the end a few points that
nobody asked for are computed too: how far they lie from their interpolation is the error of the whole.

What is asked for depends only on the values of points that were asked for, not on their order, nor on other points
whose values happen to be known: so a sweep that is stopped goes on as it would have, and rows of a whole grid serve.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.arrays import Floats

__all__ = ["Filled", "Index", "Refinement", "ValueScale", "interpolated", "ladder"]

Index: TypeAlias = tuple[int, ...]
Mask: TypeAlias = NDArray[np.bool_]
ValueScale: TypeAlias = Literal["log", "linear"]

_LEAST = 1e-12  # losses below it count as it where their logarithm is taken


def ladder(shape: Sequence[int], start: int) -> list[tuple[int, ...]]:
    """Strides along each axis, from the coarsest lattice to the whole grid.

    Args:
        shape: points along each axis.
        start: no axis is halved to fewer intervals than this.

    Example:
        >>> ladder((33, 9), 4)
        [(8, 2), (4, 2), (2, 2), (1, 1)]
    """
    halvings = []
    for n in shape:
        count, intervals = 0, n - 1
        while intervals % 2 == 0 and intervals // 2 >= start:
            count, intervals = count + 1, intervals // 2
        halvings.append(count)
    most = max(halvings)
    return [tuple(2 ** min(h, most - level) for h in halvings) for level in range(most + 1)]


@dataclass(frozen=True, slots=True)
class Filled:
    """A surface of which some points were computed and the others interpolated.

    Attributes:
        values: of the whole grid, where they were not finite NaN.
        computed: which points were computed.
        used: which of them the interpolation is made from: all but the checks.
        errors: of the checks, how far they lie from their interpolation, on the scale of the refinement.
    """

    values: Floats
    computed: Mask
    used: Mask
    errors: Floats


class Refinement:
    """Which points of one surface to compute next, as their values come in.

    Args:
        shape: points along each axis.
        tolerance: the largest difference between a point and its prediction that is not followed up.
        scale: `log`: differences are those of log10, in decades; `linear`: those of the values.
        start: intervals of the coarsest lattice, at least.
        checks: how many other points are computed to measure the error.

    Example:
        >>> search = Refinement((17,), 0.01, "linear", start=2, checks=2)
        >>> asked = 0
        >>> while (wants := search.wants()):
        ...     asked += len(wants)
        ...     for (i,) in wants:
        ...         search.tell((i,), (i / 16) ** 3)
        >>> asked, abs(float(search.filled().values[3]) - (3 / 16) ** 3) < 1e-12
        (11, True)
    """

    def __init__(self, shape: Sequence[int], tolerance: float, scale: ValueScale, *, start: int, checks: int) -> None:
        self.shape = tuple(shape)
        self._tolerance, self._scale = tolerance, scale
        self._ladder = ladder(self.shape, start)
        self._checks = checks
        self._known = np.zeros(self.shape, bool)
        self._values = np.full(self.shape, np.nan)
        self._wants: set[Index] = set()
        self._decide()

    def tell(self, index: Index, value: float | None) -> None:
        """Report the value of a point; None and what is not finite count as a hole in the surface."""
        self._known[index] = True
        self._values[index] = math.nan if value is None else float(_scaled(np.array(value), self._scale))
        if self._wants:
            self._wants.discard(index)
            if not self._wants:
                self._decide()

    def wants(self) -> list[Index]:
        """The points whose values are needed next, in order; empty: the surface is known well enough."""
        return sorted(self._wants)

    @property
    def complete(self) -> bool:
        """Whether nothing more is needed."""
        return not self._wants

    def filled(self) -> Filled:
        """The surface so far; points that were not computed are interpolated."""
        used, _ = self._followed()
        used &= self._known
        last = len(self._ladder) - 1
        inside, _ = self._interpolated(used, last)
        errors = np.array([abs(self._values[i] - inside[i]) for i in self._chosen(used) if self._known[i]])
        best, _ = self._interpolated(self._known, last)
        values = _unscaled(best, self._scale)
        return Filled(values, self._known.copy(), used, errors[np.isfinite(errors)])

    def _decide(self) -> None:
        needed, whole = self._followed()
        missing = needed & ~self._known
        self._wants = set(zip(*(axis.tolist() for axis in np.nonzero(missing)), strict=True))
        if whole and not self._wants:
            self._wants = {i for i in self._chosen(needed) if not self._known[i]}

    def _followed(self) -> tuple[Mask, bool]:
        """The points that the known values call for, and whether no more can follow."""
        needed = self._lattice(0) | self._lattice(min(1, len(self._ladder) - 1))
        for level in range(1, len(self._ladder) - 1):
            if (needed & ~self._known).any():
                return needed, False
            _, bent = self._interpolated(needed, level)
            needed = needed | (self._around(bent, level) & self._lattice(level + 1))
        return needed, not (needed & ~self._known).any()

    def _lattice(self, level: int) -> Mask:
        mask = np.zeros(self.shape, bool)
        mask[tuple(slice(None, None, stride) for stride in self._ladder[level])] = True
        return mask

    def _around(self, bent: Mask, level: int) -> Mask:
        """Points at most one stride of this lattice away from bent ones, along every axis.

        The next lattice's own stride would not do: a fold along one axis would be followed on the rows where it was
        seen, and missed on the rows between them.
        """
        grown = bent
        for axis, stride in enumerate(self._ladder[level + 1]):
            wider = grown.copy()
            for way in (-2 * stride, -stride, stride, 2 * stride):
                wider |= _shifted(grown, axis, way)
            grown = wider
        return grown

    def _interpolated(self, used: Mask, upto: int) -> tuple[Floats, Mask]:
        return _interpolate(self._values, used, self._ladder[: upto + 1], self._tolerance)

    def _chosen(self, used: Mask) -> list[Index]:
        """The checks: points that are not used, picked by a hash of their place."""
        if not self._checks:
            return []
        free = np.argwhere(~used)
        if len(free) > 64 * self._checks:  # enough to pick from; a hash of a million points would take seconds
            free = free[:: len(free) // (64 * self._checks)]
        ranked = sorted((tuple(i) for i in free.tolist()), key=lambda i: digest(["check", *i], 8))
        return ranked[: self._checks]


def interpolated(values: Floats, computed: Mask, scale: ValueScale, start: int) -> Floats:
    """Values of a whole grid from those of the points that were computed, in the way of `Refinement`.

    Args:
        values: of the grid; NaN where there is a hole.
        computed: which of them count.
        scale: on which they are interpolated.
        start: intervals of the coarsest lattice, at least.
    """
    inside, _ = _interpolate(_scaled(values, scale), computed, ladder(values.shape, start), math.inf)
    return _unscaled(inside, scale)


def _scaled(values: Floats, scale: ValueScale) -> Floats:
    finite = np.where(np.isfinite(values), values, np.nan)
    return np.log10(np.maximum(finite, _LEAST)) if scale == "log" else finite


def _unscaled(values: Floats, scale: ValueScale) -> Floats:
    return np.power(10.0, values) if scale == "log" else values


def _interpolate(
    given: Floats, used: Mask, strides: Sequence[tuple[int, ...]], tolerance: float
) -> tuple[Floats, Mask]:
    """Values on the last of some lattices from used points alone, and which new points of that lattice bend."""
    values, bent = np.where(used, given, np.nan), np.zeros(given.shape, bool)
    for coarse, fine in itertools.pairwise(strides):
        bent[:] = False
        for axis in range(given.ndim):
            if coarse[axis] == fine[axis]:
                continue
            # Axes before this one are fine already, those after it still coarse.
            place = tuple(slice(None, None, (fine if i <= axis else coarse)[i]) for i in range(given.ndim))
            lines, seen = np.moveaxis(values[place], axis, -1), np.moveaxis(used[place], axis, -1)
            predicted, edge = _halved(lines[..., ::2])
            new, have = lines[..., 1::2], seen[..., 1::2]
            with np.errstate(invalid="ignore"):
                off = np.abs(new - predicted) > tolerance
            hole = np.isnan(new) != np.isnan(predicted)
            np.moveaxis(bent[place], axis, -1)[..., 1::2] = have & (off | hole | edge)
            new[...] = np.where(have, new, predicted)
    return values, bent


def _halved(even: Floats) -> tuple[Floats, Mask]:
    """Predictions half-way between neighbours along the last axis, and where exactly one of the two is a hole.

    Cubic where four neighbours are finite, at the ends from the nearest four; else linear; NaN beside a hole.
    """
    left, right = even[..., :-1], even[..., 1:]
    linear = (left + right) / 2
    n = even.shape[-1]
    predicted = linear
    if n >= 4:
        cubic = np.full_like(linear, np.nan)
        cubic[..., 1:-1] = (9 * (left[..., 1:-1] + right[..., 1:-1]) - even[..., :-3] - even[..., 3:]) / 16
        cubic[..., 0] = (5 * even[..., 0] + 15 * even[..., 1] - 5 * even[..., 2] + even[..., 3]) / 16
        cubic[..., -1] = (5 * even[..., -1] + 15 * even[..., -2] - 5 * even[..., -3] + even[..., -4]) / 16
        predicted = np.where(np.isfinite(cubic), cubic, linear)
    return predicted, np.isnan(left) != np.isnan(right)


def _shifted(mask: Mask, axis: int, way: int) -> Mask:
    """The mask moved along an axis; what leaves the grid is lost."""
    moved = np.zeros_like(mask)
    to: list[slice] = [slice(None)] * mask.ndim
    source = list(to)
    to[axis], source[axis] = (slice(way, None), slice(None, -way)) if way > 0 else (slice(None, way), slice(-way, None))
    moved[tuple(to)] = mask[tuple(source)]
    return moved
